"""The configuration: one TOML file, read once into frozen structs.

Rules:
    1. ``--config`` and ``--data`` before the verb win over ``APPLOG_CONFIG`` and ``APPLOG_DATA``, these over
       the file, the file over the defaults.
    2. An unknown key or a wrong value is refused at start: which key, what was found, what is allowed.
"""

import os
import tomllib
from pathlib import Path

import msgspec

from applog.capture.profile import PROFILES
from applog.errors import SettingsError

SYSTEM_DATA = Path("/var/lib/applog")
SYSTEM_CONFIG = Path("/etc/applog/applog.toml")


class CaptureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[capture]``."""

    profile: str = "standard"
    """How much is recorded: minimum, standard or detailed."""


class InboxSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[inbox]``: the folder that ``applog run`` watches for capture files."""

    folder: str | None = None
    """Its path. Absent: ``inbox`` in the data directory."""

    every_seconds: int = 5
    """How often it is looked at, 1 to 3600."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured."""

    data: str | None = None
    """The data directory."""

    capture: CaptureSettings = CaptureSettings()
    inbox: InboxSettings = InboxSettings()

    @property
    def data_directory(self) -> Path:
        """Where the store is: configured, else /var/lib/applog for root and ./data for others."""
        if self.data is not None:
            return Path(self.data)
        return SYSTEM_DATA if os.geteuid() == 0 else Path("data")

    @property
    def inbox_folder(self) -> Path:
        """The watched folder."""
        return Path(self.inbox.folder) if self.inbox.folder else self.data_directory / "inbox"


def load(config: Path | None, data: Path | None) -> Settings:
    """The settings of *config* (else the system's file, if there is one), with *data* put over them.

    Raises:
        SettingsError: the file cannot be read, or a key or value is not allowed.
    """
    path = config or (SYSTEM_CONFIG if SYSTEM_CONFIG.exists() else None)
    settings = _read(path) if path is not None else Settings()
    if data is not None:
        settings = msgspec.structs.replace(settings, data=str(data))
    _check(settings)
    return settings


def _read(path: Path) -> Settings:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"configuration {path}: {error}") from error
    try:
        _check_keys(values, Settings)
        return msgspec.convert(values, Settings)
    except (msgspec.ValidationError, SettingsError) as error:
        raise SettingsError(f"configuration {path}: {error}") from error


def _check_keys(values: dict[str, object], section: type[msgspec.Struct], prefix: str = "") -> None:
    allowed = {field.name: field.type for field in msgspec.structs.fields(section)}
    for key, value in values.items():
        if key not in allowed:
            raise SettingsError(f"{prefix}{key}: unknown key; expected one of {', '.join(allowed)}")
        if isinstance(value, dict) and issubclass(kind := allowed[key], msgspec.Struct):
            _check_keys(value, kind, f"{prefix}{key}.")


def _check(settings: Settings) -> None:
    if settings.capture.profile not in PROFILES:
        allowed = ", ".join(PROFILES)
        raise SettingsError(f"capture.profile: expected {allowed}; found {settings.capture.profile!r}")
    if not 1 <= settings.inbox.every_seconds <= 3_600:
        raise SettingsError(f"inbox.every_seconds: expected 1 to 3600; found {settings.inbox.every_seconds}")
