"""The README's commands work as written: for a user in a fresh folder, and for root in the checkout."""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER = "applog-test"
UP, TEST, SEARCH = "deploy/up --demo", "deploy/test", ".venv/bin/applog search 'host:*' --limit 5"
SHOWING = ("search", "status", "import", "seal", "verify", "prove", "keys", "expire")
PASSED_ON = re.compile(r"PIP_.*|.*_(proxy|PROXY)|SSL_CERT_.*|REQUESTS_CA_BUNDLE")
"""How to reach the package index from here; nothing about Python or applog."""

pytestmark = pytest.mark.integration


def console(text: str) -> list[str]:
    """The commands of *text*'s console blocks, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def runnable(line: str) -> bool:
    """Whether *line* is one command of ours that shows something, without pipes and the like."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    plain = not any(set(word) <= set("();<>|&") for word in words)
    return plain and words[0] == ".venv/bin/applog" and words[1] in SHOWING


@dataclass
class Place:
    """A folder with the code, and who works there."""

    folder: Path
    prefix: tuple[str, ...]
    """What makes a command that user's."""
    variables: dict[str, str]
    up: "subprocess.Popen[str] | None" = None
    said: list[str] = field(default_factory=list)
    """What ``deploy/up`` wrote."""

    def command(self, line: str) -> list[str]:
        """*line* as a command of that user, with nothing in its environment but *variables*."""
        return [
            *self.prefix,
            "env",
            "-i",
            *(f"{k}={v}" for k, v in self.variables.items()),
            *shlex.split(line),
        ]

    def run(self, line: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run *line* to its end."""
        return subprocess.run(
            self.command(line), cwd=self.folder, capture_output=True, text=True, timeout=seconds, check=False
        )

    def start(self, log: Path, seconds: float = 300) -> None:
        """Start ``deploy/up --demo`` and wait until it watches its inbox."""
        with log.open("w") as out:
            self.up = subprocess.Popen(
                self.command(UP), cwd=self.folder, stdout=out, stderr=subprocess.STDOUT, text=True
            )
        until(lambda: "watching " in log.read_text() or self.up.poll() is not None, seconds)  # type: ignore[union-attr]
        assert self.up.poll() is None, log.read_text()

    def applog(self) -> int:
        """Process number of the ``applog run`` that ``deploy/up`` became, below what started it."""
        assert self.up is not None
        number = self.up.pid
        while children := Path(f"/proc/{number}/task/{number}/children").read_text().split():
            number = int(children[0])
        return number

    def stop(self) -> int:
        """Ask it to end, and wait until it has."""
        assert self.up is not None
        os.kill(self.applog(), signal.SIGTERM)
        return self.up.wait(60)


def until(reached: Callable[[], bool], seconds: float) -> None:
    """Wait until *reached*."""
    ends = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends, f"not reached after {seconds} s"
        time.sleep(0.2)


@contextlib.contextmanager
def ended(place: Place) -> Iterator[None]:
    """Whatever happens in the block, ``deploy/up`` does not outlive it."""
    try:
        yield
    finally:
        if place.up is not None and place.up.poll() is None:
            with contextlib.suppress(OSError):
                os.kill(place.applog(), signal.SIGKILL)
            place.up.kill()
            place.up.wait(30)


def python_for_users() -> str:
    """The folder of a Python 3.11 to 3.13 that every user may run: pyenv's may lie in root's home."""
    probe = "import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))"
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        for folder in ("/usr/bin", "/usr/local/bin"):
            found = Path(folder) / name
            asked = ["runuser", "-u", USER, "--", str(found), "-c", probe]
            if found.exists() and subprocess.run(asked, check=False, capture_output=True).returncode == 0:
                return folder
    return ""


@pytest.fixture(scope="module")
def user() -> pwd.struct_passwd:
    """An ordinary user, made if missing."""
    if os.getuid() != 0:
        pytest.skip("needs root, to work as another user")
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(USER)
    subprocess.run(["useradd", "-m", USER], check=True)
    return pwd.getpwnam(USER)


@pytest.fixture(scope="module")
def fresh(user: pwd.struct_passwd) -> Iterator[Place]:
    """The working tree as it would be cloned, in a folder of the ordinary user."""
    python = python_for_users()
    if not python:
        subprocess.run(["apt-get", "install", "-y", "-qq", "python3", "python3-venv"], check=True)
        python = python_for_users()
    assert python, "no Python 3.11 to 3.13 with venv that an ordinary user may run"
    folder = Path(tempfile.mkdtemp(prefix="applog-fresh-"))
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    there = [name for name in listed.stdout.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists()]
    packed = subprocess.run(
        ["tar", "--null", "-T", "-", "-c"], cwd=ROOT, input=b"\0".join(there), capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    subprocess.run(["chown", "-R", f"{USER}:", str(folder)], check=True)
    known = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    variables = {
        "HOME": user.pw_dir,
        "PATH": f"{python}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        **known,
    }
    yield Place(folder, ("runuser", "-u", USER, "--"), variables)
    shutil.rmtree(folder)


def test_every_command_of_the_readme_is_known() -> None:
    """The two commands, and commands that show something: whatever else is written there is not tested."""
    commands = console((ROOT / "README.md").read_text())

    assert commands[:2] == [UP, TEST]
    assert SEARCH in commands
    assert [line for line in commands if line not in (UP, TEST) and not runnable(line)] == []


def test_an_ordinary_user_follows_the_readme(fresh: Place, tmp_path: Path) -> None:
    """Up with a demo, every command gives an answer, a dropped capture is imported, and it stops cleanly."""
    log = tmp_path / "up.log"
    inbox = fresh.folder / "data" / "inbox"

    with ended(fresh):
        fresh.start(log)
        for line in console((fresh.folder / "README.md").read_text()):
            if line in (UP, TEST):
                continue
            done = fresh.run(line)
            assert done.returncode == 0, (line, done.stderr, done.stdout)
            assert done.stdout.strip(), line
            if line == SEARCH:
                assert len(done.stdout.splitlines()) >= 6 + 3, done.stdout
        shutil.copy(ROOT / "tests" / "pcaps" / "tls.pcap", inbox / "tls.pcap")
        shutil.chown(inbox / "tls.pcap", USER)
        until((inbox / "done" / "tls.pcap").exists, 60)
        code = fresh.stop()

    assert code == 0, log.read_text()
    assert "imported tls.pcap: 64 packets; 4 flow" in log.read_text()
    assert log.read_text().rstrip().endswith("stopped")
    assert "Traceback" not in log.read_text()
    assert (fresh.folder / "data").stat().st_uid == pwd.getpwnam(USER).pw_uid


def test_it_starts_again_where_it_was(fresh: Place, tmp_path: Path) -> None:
    """The second start needs no installation and keeps what is stored."""
    log = tmp_path / "up.log"
    if not (fresh.folder / "data" / "store.json").exists():  # whichever test comes first starts it first
        with ended(fresh):
            fresh.start(tmp_path / "first.log", seconds=300)
            assert fresh.stop() == 0
    before = fresh.run(".venv/bin/applog search '*' --limit 0").stdout

    with ended(fresh):
        begun = time.monotonic()
        fresh.start(log, seconds=60)
        took = time.monotonic() - begun
        after = fresh.run(".venv/bin/applog search '*' --limit 0").stdout
        assert fresh.stop() == 0

    assert "installing" not in log.read_text()
    assert took < 60
    assert found(after) > found(before) > 0


def found(answer: str) -> int:
    """How many records an answer says there are."""
    counted = re.search(r"of ([0-9,]+) flow records", answer)
    return int(counted[1].replace(",", "")) if counted else 0


def test_an_ordinary_user_can_run_the_tests(fresh: Place) -> None:
    """`deploy/test` passes in the fresh folder, without root; what needs a real part is skipped."""
    done = fresh.run(TEST, seconds=600)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert re.search(r"[0-9]+ passed", done.stdout)
    assert "failed" not in done.stdout.splitlines()[-1]


def test_root_follows_the_readme_in_the_checkout(tmp_path: Path) -> None:
    """The same in this folder with the environment that is here, and the data elsewhere."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    known = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    variables = {
        "HOME": str(Path.home()),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "APPLOG_DATA": str(tmp_path / "data"),
        **known,
    }
    if cache := os.environ.get("APPLOG_KERNEL_CACHE"):
        variables["APPLOG_KERNEL_CACHE"] = cache
    place = Place(ROOT, (), variables)
    log = tmp_path / "up.log"

    with ended(place):
        place.start(log)
        done = place.run(SEARCH)
        code = place.stop()

    assert code == 0, log.read_text()
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 6 + 3
    assert (tmp_path / "data" / "store.json").exists()
