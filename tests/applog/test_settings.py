"""The configuration is read whole or refused: which key, what was found, what is allowed."""

from pathlib import Path

import pytest

from applog.capture.profile import PROFILES
from applog.errors import SettingsError
from applog.settings import SYSTEM_DATA, Settings, load
from tests.support.command import new_store, quickly


def refusal(tmp_path: Path, content: str | bytes) -> str:
    """What is said about a configuration of *content*."""
    path = tmp_path / "applog.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError) as refused:
        load(path, None)
    assert refused.value.exit_code == 5
    return str(refused.value)


def test_everything_that_can_be_configured(tmp_path: Path) -> None:
    """Every key of the file reaches the settings."""
    path = tmp_path / "applog.toml"
    path.write_text(
        'data = "/srv/applog"\n[capture]\nprofile = "detailed"\n'
        '[inbox]\nfolder = "/srv/drop"\nevery_seconds = 60\n'
        "[retention]\ndefault = 120\nflow = 365\nlease = 100\n"
        '[time]\nservers = ["a.example", "192.0.2.1", "2001:db8::1"]\n'
        '[keeper]\nverify_at = "23:59"\n[keeper.readers]\nwww-data = "auditor"\n'
    )

    settings = load(path, None)

    assert settings.data_directory == Path("/srv/applog")
    assert settings.capture.profile == "detailed"
    assert settings.inbox_folder == Path("/srv/drop")
    assert settings.inbox.every_seconds == 60
    assert settings.retention.days() == {
        "flow": 365,
        "dns": 120,
        "lease": 100,
        "coverage": 120,
        "audit": 1096,
    }
    assert settings.time.servers == ("a.example", "192.0.2.1", "2001:db8::1")
    assert settings.keeper.verify_at == "23:59"
    assert settings.keeper.readers == {"www-data": "auditor"}


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """Nothing configured is a configuration, and the defaults are themselves allowed."""
    path = tmp_path / "applog.toml"
    path.touch()

    settings = load(path, tmp_path / "data")

    assert settings.capture.profile == "standard"
    assert settings.inbox.every_seconds == 5
    assert settings.inbox_folder == tmp_path / "data" / "inbox"
    assert settings.retention.days() == {"flow": 97, "dns": 97, "lease": 104, "coverage": 104, "audit": 1096}
    assert len(settings.time.servers) >= 3
    assert settings.keeper.readers == {}


def test_the_example_states_the_defaults() -> None:
    """deploy/applog.toml.example can be used as it is, and changes nothing."""
    example = Path(__file__).parents[2] / "deploy" / "applog.toml.example"

    assert load(example, None) == Settings()


def test_time_can_be_left_unconfirmed(tmp_path: Path) -> None:
    """No time servers is a choice: nothing is ever deleted then."""
    path = tmp_path / "applog.toml"
    path.write_text("[time]\nservers = []\n")

    assert load(path, None).time.servers == ()


def test_the_data_option_wins_over_the_file(tmp_path: Path) -> None:
    """--data is stronger than the file."""
    path = tmp_path / "applog.toml"
    path.write_text('data = "/srv/applog"\n')

    assert load(path, tmp_path).data_directory == tmp_path


@pytest.mark.parametrize(("user", "expected"), [(0, SYSTEM_DATA), (1000, Path("data"))])
def test_the_default_data_directory(monkeypatch: pytest.MonkeyPatch, user: int, expected: Path) -> None:
    """Root keeps its store in the system's place, everybody else beside them."""
    monkeypatch.setattr("os.geteuid", lambda: user)

    assert Settings().data_directory == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('dta = "/srv"', ["dta: unknown key", "data, capture, inbox"]),
        ('[capture]\nprofil = "standard"', ["capture.profil: unknown key", "expected one of profile"]),
        ("[inbox]\nevery = 5", ["inbox.every: unknown key", "folder, every_seconds"]),
        ("[Inbox]\nevery_seconds = 5", ["Inbox: unknown key"]),
        ('[capture]\nprofile = "full"', ["capture.profile", "'full'", *PROFILES]),
        ("[inbox]\nevery_seconds = 0", ["inbox.every_seconds", "found 0", "1 to 3600"]),
        ("[inbox]\nevery_seconds = 3601", ["inbox.every_seconds", "found 3601", "1 to 3600"]),
        ('[inbox]\nevery_seconds = "5"', ["inbox.every_seconds", "`int`", "`str`"]),
        ("[inbox]\nevery_seconds = 5.5", ["inbox.every_seconds", "`int`", "`float`"]),
        ("[inbox]\nevery_seconds = true", ["inbox.every_seconds", "`int`", "`bool`"]),
        ("inbox = 5", ["inbox", "`object`", "`int`"]),
        ("data = 5", ["data", "`str | null`", "`int`"]),
        ("[retention]\ndefault = 89", ["retention.default", "found 89", "90 (the floor that the law sets)"]),
        ("[retention]\naudit = 89", ["retention.audit", "found 89", "90 (the floor"]),
        ("[retention]\nflow = 3651", ["retention.flow", "found 3651", "3650"]),
        ("[retention]\nflows = 97", ["retention.flows: unknown key", "flow, dns, lease"]),
        ('[time]\nservers = ["a", "b"]', ["time.servers", "none, or at least 3", "found 2"]),
        ('[time]\nservers = ["a", "a", "a"]', ["time.servers", "none, or at least 3", "found 1"]),
        ('[time]\nservers = ["a", "b", ""]', ["time.servers", "names or addresses"]),
        ('[keeper]\nverify_at = "24:00"', ["keeper.verify_at", "00:00 to 23:59", "'24:00'"]),
        ('[keeper.readers]\nbob = "root"', ["keeper.readers.bob", "operator, auditor, custodian", "'root'"]),
        ("[keeper.readers]\nbob = 1", ["keeper.readers", "`str`", "`int`"]),
        ("data = [", ["applog.toml", "Invalid value"]),
        ("data = 'a'\ndata = 'b'", ["applog.toml", "Cannot overwrite a value"]),
        (b"data = '\xff'", ["applog.toml", "can't decode byte 0xff"]),
    ],
)
def test_what_is_not_allowed_is_refused(tmp_path: Path, content: str | bytes, words: list[str]) -> None:
    """The message names the key, what was found and what is allowed; the file is named where it is read."""
    said = refusal(tmp_path, content)

    assert [word for word in words if word not in said] == [], said


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A configuration that was asked for and is not there is never taken for an empty one."""
    with pytest.raises(SettingsError, match=r"nothing\.toml: No such file"):
        load(tmp_path / "nothing.toml", None)


def test_the_environment_and_the_options(tmp_path: Path) -> None:
    """APPLOG_CONFIG and APPLOG_DATA are understood, and the options before the verb win over them."""
    store, other = new_store(tmp_path / "store"), new_store(tmp_path / "other")
    config = tmp_path / "applog.toml"
    config.write_text("[capture]\nprofile = 1\n")

    wrong = quickly(store.root, "status", APPLOG_CONFIG=str(config))
    right = quickly(store.root, "status", APPLOG_DATA=str(other.root))

    assert wrong.code == 5
    assert "capture.profile" in wrong.err
    assert f"store {store.root}," in right.out
