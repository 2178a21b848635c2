"""The command line: words for errors, codes for scripts, help that can be run, and a quick start."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from applog import __version__
from applog.cli import cli
from applog.commands import settings_of
from tests.support.command import CAPTURES, applog, environment, new_store, quickly

HEAVY = ("numba", "numpy", "duckdb", "pyarrow", "luqum", "schedule", "zstandard", "cryptography", "msgspec")
VERBS = sorted(cli.list_commands(click.Context(cli)))


def verb(name: str) -> click.Command:
    """The command *name*."""
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def test_the_verbs() -> None:
    """What can be done, and nothing else."""
    verbs = "demo expire import init keeper keys prove run seal search status verify warm"
    assert " ".join(VERBS) == verbs


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_and_an_example_that_is_its_own(name: str) -> None:
    """A sentence, and at its end an unwrapped command line of this verb, shown as it can be typed."""
    text = verb(name).help or ""

    before, example = text.rsplit("\b\n", 1)
    shown = quickly(Path("nowhere"), name, "--help")

    assert re.match(r"[A-Z].+[.:]", before)
    assert example.split()[0] == "applog"
    assert name in example.split()
    assert shown.code == 0
    assert example.strip() in shown.out
    assert "\\b" not in shown.out


@pytest.mark.parametrize("name", VERBS)
def test_every_example_is_understood(name: str) -> None:
    """The options and arguments of each example exist."""
    example = (verb(name).help or "").rsplit("\b\n", 1)[1].strip()
    words = re.findall(r"'[^']*'|\S+", example)[1:]
    words = [word.strip("'") for word in words]
    behind = words[words.index(name) + 1 :]

    context = verb(name).make_context(name, behind, resilient_parsing=False)

    assert context.command.name == name


def test_every_option_has_help() -> None:
    """The options before the verb, and those of the verbs, say what they are for."""
    without = [
        f"{command.name} {option.opts[0]}"
        for command in (cli, *map(verb, VERBS))
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]

    assert without == []


def test_help_starts_quickly_for_it_loads_nothing_heavy() -> None:
    """`applog --help` imports no library that takes time, and neither does a mistyped verb."""
    for words in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", f"from applog.cli import main; main(['{words}'])"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
        assert "click" in loaded
        assert loaded.isdisjoint(HEAVY), loaded.intersection(HEAVY)


def test_the_version_is_shown() -> None:
    """As it is in the package."""
    assert applog(Path("nowhere"), "--version").out.strip() == f"applog, version {__version__}"


def test_our_errors_are_words(tmp_path: Path) -> None:
    """`applog: error:` and `applog: hint:` on standard error, nothing on standard output, and a code."""
    done = applog(tmp_path / "none", "status")

    assert done.code == 4
    assert done.out == ""
    assert done.err.splitlines() == [
        f"applog: error: no applog store at {tmp_path / 'none'}: expected a file store.json there",
        "applog: hint: create one with: applog init",
    ]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["import", "/nowhere"], 5),
        (["import", str(CAPTURES / "empty.pcap")], 5),
        (["search", "nofield:1"], 5),
        (["search", "--since", "never"], 5),
        (["init"], 4),
        (["prove", "flow"], 5),
        (["prove", "flow/0:0"], 5),
        (["verify", "--since", "never"], 5),
        (["verify"], 0),
        (["seal"], 0),
        (["keys", "show"], 0),
        (["verify", "--checkpoint", "/nowhere"], 5),
        (["keys", "set-passphrase", "--yes", "--new", "/nowhere"], 5),
        (["import"], 2),
        (["import", "x", "--profile", "most"], 2),
        (["search", "--limit", "-1"], 2),
        (["nothing"], 2),
        (["status"], 0),
    ],
)
def test_codes_tell_errors_apart(tmp_path: Path, words: list[str], code: int) -> None:
    """2 the command line, 4 the store, 5 the input; one line of error, no traceback, no capital."""
    store = new_store(tmp_path / "store")

    done = quickly(store.root, *words)

    assert done.code == code, done.err
    assert "Traceback" not in done.err
    if code in (4, 5):
        first = done.err.splitlines()[0]
        assert first.startswith("applog: error: ")
        assert not first.endswith(".")


def test_a_bug_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not an error of ours crashes with its traceback."""
    store = new_store(tmp_path / "store")

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("applog.commands.status.show_status", broken)

    done = quickly(store.root, "status")

    assert done.code == 1
    assert "ZeroDivisionError: a bug" in done.err
    assert "applog: error" not in done.err


def test_an_interruption_says_what_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130 and says that what was acknowledged is stored."""
    store = new_store(tmp_path / "store")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("applog.commands.status.show_status", interrupted)

    done = quickly(store.root, "status")

    assert done.code == 130
    assert "applog: error: interrupted" in done.err
    assert "run the command again to go on" in done.err


def test_init_makes_a_store_once(tmp_path: Path) -> None:
    """The first makes it and says what to keep safe; the second refuses; --if-missing is silent."""
    data = tmp_path / "data"

    made, refused, silent = (
        quickly(data, "init"),
        quickly(data, "init"),
        quickly(data, "init", "--if-missing"),
    )

    assert made.code == 0
    assert f"created a store in {data}" in made.out
    assert "back up" in made.out
    assert "lodge the checkpoint" in made.out
    assert refused.code == 4
    assert "already holds a store" in refused.err
    assert (silent.code, silent.out, silent.err) == (0, "", "")


def test_the_demo_can_be_searched(tmp_path: Path) -> None:
    """`applog demo` leaves a day whose names are found, and no capture behind."""
    store = new_store(tmp_path / "store")

    made = quickly(store.root, "demo")
    found = quickly(store.root, "search", "host:*", "--limit", "5")

    assert made.code == 0
    assert "applog search 'host:*'" in made.out
    assert len(found.out.splitlines()) >= 6
    assert list((store.root / "cache").glob("*.pcap")) == []


def test_warm_says_where_the_kernel_is(tmp_path: Path) -> None:
    """After `applog warm` the kernel is in the directory that it names."""
    done = quickly(tmp_path, "warm")

    assert done.code == 0
    assert re.match(r"kernel ready in \S+/kernel-[0-9a-f]{16} after [0-9.]+ s", done.out)


@pytest.mark.parametrize("given", [None, "elsewhere"])
def test_machine_code_lies_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """Whatever the command: compiled by one, it is there for all; the environment may say where instead."""
    monkeypatch.setenv("APPLOG_KERNEL_CACHE", given or "")
    if given is None:
        monkeypatch.delenv("APPLOG_KERNEL_CACHE")
    ctx = click.Context(cli, obj={"config": None, "data": tmp_path, "claimed_name": None})

    settings_of(ctx)

    assert os.environ["APPLOG_KERNEL_CACHE"] == (given or str(tmp_path / "cache"))
