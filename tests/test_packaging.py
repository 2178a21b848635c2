"""What is shipped: locked dependencies, a licence, every package, and modules of a readable size."""

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools import find_packages

import applog

ROOT = Path(__file__).parents[1]
OURS = ("applog", "captive_portal", "retention")
LONGEST_MODULE = 500
LONGEST_FUNCTION = 50
LONG_FUNCTIONS = {
    "applog/demo/streams.py:tcp_conversation": "one conversation, told from its first packet to its last",
}
"""Functions over 50 lines, each with its reason; the compiled kernels are long by nature."""


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    """setup.cfg, read."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def locked(name: str) -> dict[str, list[str]]:
    """Packages of a lock file and their hashes."""
    found: dict[str, list[str]] = {}
    last = ""
    for line in (ROOT / name).read_text().splitlines():
        if package := re.match(r"([A-Za-z0-9_.-]+)==(\S+)", line):
            last = package[1].lower()
            found.setdefault(last, [])
        found[last] += re.findall(r"--hash=(sha256:[0-9a-f]{64})", line) if last else []
    return found


def required(setup: configparser.ConfigParser, section: str, key: str) -> list[str]:
    """Names that a list of requirements asks for."""
    wanted = setup[section][key].strip().splitlines()
    return [re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0].lower() for line in wanted if line]


def modules() -> Iterator[Path]:
    """Every Python file that is shipped."""
    for package in OURS:
        yield from (ROOT / package).rglob("*.py")


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
def test_everything_that_is_needed_is_locked(setup: configparser.ConfigParser, lock: str) -> None:
    """Every requirement stands in the lock with a hash, and so does all that it brings."""
    names = required(setup, "options", "install_requires") + required(
        setup, "options.extras_require", "build"
    )
    if lock == "requirements-test.lock":
        names += required(setup, "options.extras_require", "test")

    found = locked(lock)

    assert [name for name in names if name not in found] == []
    assert [name for name, hashes in found.items() if not hashes] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
def test_locked_versions_are_in_the_ranges(setup: configparser.ConfigParser, lock: str) -> None:
    """setup.cfg's lower bounds allow what the lock installs."""
    wanted = setup["options"]["install_requires"].strip().splitlines()
    pins = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([0-9.]+)", (ROOT / lock).read_text(), re.MULTILINE))

    for line in wanted:
        name, bound = line.split(">=")
        assert _numbers(pins[name]) >= _numbers(bound), line


def test_the_test_lock_holds_the_same_versions() -> None:
    """What is tested is what is installed."""
    text = {name: (ROOT / name).read_text() for name in ("requirements.lock", "requirements-test.lock")}
    pins = {name: set(re.findall(r"^[^ =]+==[^ \\]+", one, re.MULTILINE)) for name, one in text.items()}

    assert pins["requirements.lock"] <= pins["requirements-test.lock"]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_the_pythons_that_are_promised(setup: configparser.ConfigParser) -> None:
    """3.11 to 3.13, the same in the range, the classifiers and deploy/environment."""
    classifiers = setup["metadata"]["classifiers"]

    assert setup["options"]["python_requires"] == ">=3.11,<3.14"
    assert re.findall(r"Python :: (3\.[0-9]+)", classifiers) == ["3.11", "3.12", "3.13"]
    assert "(3, 11) <= sys.version_info < (3, 14)" in (ROOT / "deploy" / "environment").read_text()


def test_the_licence(setup: configparser.ConfigParser) -> None:
    """Apache-2.0, in the metadata and as its text."""
    text = (ROOT / "LICENSE").read_text()

    assert setup["metadata"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_package_is_shipped(setup: configparser.ConfigParser) -> None:
    """Every folder with modules is a package, and setup.cfg finds it; tests are not shipped."""
    include = setup["options.packages.find"]["include"].split()

    found = set(find_packages(str(ROOT), include=include))

    assert found == {".".join(path.parent.relative_to(ROOT).parts) for path in modules()}
    assert all(one.split(".")[0] in OURS for one in found)


def test_the_version_is_one(setup: configparser.ConfigParser) -> None:
    """The package's own version is the distribution's."""
    assert setup["metadata"]["version"] == "attr: applog.__version__"
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+\S*", applog.__version__)


def test_modules_are_of_readable_size() -> None:
    """No module has more than 500 lines."""
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}

    assert {name: size for name, size in sizes.items() if size > LONGEST_MODULE} == {}


def test_functions_are_of_readable_size() -> None:
    """No function has more than 50 lines, except the compiled ones and those listed with a reason."""
    long = {}
    for path in modules():
        if path.parent.name == "kernel":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = length

    assert sorted(long) == sorted(LONG_FUNCTIONS), long
    assert all(LONG_FUNCTIONS.values())
