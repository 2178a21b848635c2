"""The configuration: one TOML file, read once into frozen structs.

Rules:
    1. ``--config`` and ``--data`` before the verb win over ``APPLOG_CONFIG`` and ``APPLOG_DATA``, these over
       the file, the file over the defaults.
    2. An unknown key or a wrong value is refused at start: which key, what was found, what is allowed.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import get_origin

import msgspec

from applog.capture.profile import PROFILES
from applog.errors import SettingsError
from applog.keeper.roles import ROLES
from retention.ledger.state import FLOOR_DAYS
from retention.ntp import QUORUM
from retention.periods import RETENTION_DAYS

MAX_DAYS = 3650
"""Longer is a slip of the pen; the law asks for 90 days, and for two years at most when it is ordered."""

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


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[retention]``: how many days records are kept; then they are deleted. 90 to 3650."""

    default: int = 97
    """For every dataset that has no number of its own: the 90 days of the law, and a week to notice. Those
    that outlive others (``retention.periods``) are not kept for less than their number there by this one."""

    flow: int | None = None
    dns: int | None = None
    lease: int | None = None
    coverage: int | None = None
    audit: int | None = None

    def days(self) -> dict[str, int]:
        """For how many days records of each dataset are kept."""
        configured: dict[str, int | None] = msgspec.structs.asdict(self)
        del configured["default"]
        return {
            name: max(self.default, RETENTION_DAYS.get(name, 0)) if days is None else days
            for name, days in configured.items()
        }


class TimeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[time]``: who confirms the time. Nothing is deleted on the word of the local clock."""

    servers: tuple[str, ...] = (
        "time1.nimt.or.th",
        "time.navy.mi.th",
        "clock.nectec.or.th",
        "time.cloudflare.com",
        "time.google.com",
    )
    """NTP servers, three at least. Empty: the time is never confirmed, and nothing is ever deleted."""


class KeeperSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[keeper]``: what seals, signs, deletes and verifies."""

    verify_at: str = "02:30"
    """When everything that is sealed is recomputed each night, Bangkok time."""

    readers: dict[str, str] = {}
    """System user → role (operator, auditor, custodian): who else may ask through the keeper's socket."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured."""

    data: str | None = None
    """The data directory."""

    capture: CaptureSettings = CaptureSettings()
    inbox: InboxSettings = InboxSettings()
    retention: RetentionSettings = RetentionSettings()
    time: TimeSettings = TimeSettings()
    keeper: KeeperSettings = KeeperSettings()

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
        kind = allowed[key]
        if isinstance(value, dict) and get_origin(kind) is None and issubclass(kind, msgspec.Struct):
            _check_keys(value, kind, f"{prefix}{key}.")


def _check(settings: Settings) -> None:
    if settings.capture.profile not in PROFILES:
        allowed = ", ".join(PROFILES)
        raise SettingsError(f"capture.profile: expected {allowed}; found {settings.capture.profile!r}")
    if not 1 <= settings.inbox.every_seconds <= 3_600:
        raise SettingsError(f"inbox.every_seconds: expected 1 to 3600; found {settings.inbox.every_seconds}")
    _check_retention(settings.retention)
    _check_time(settings.time)
    _check_keeper(settings.keeper)


def _check_retention(retention: RetentionSettings) -> None:
    configured: dict[str, int | None] = msgspec.structs.asdict(retention)
    for key, days in configured.items():
        if days is not None and not FLOOR_DAYS <= days <= MAX_DAYS:
            raise SettingsError(
                f"retention.{key}: expected {FLOOR_DAYS} (the floor that the law sets) to {MAX_DAYS} days; "
                f"found {days}"
            )


def _check_time(time: TimeSettings) -> None:
    different = set(time.servers)
    if any(not re.fullmatch(r"[A-Za-z0-9.:-]+", server) for server in time.servers):
        raise SettingsError(f"time.servers: expected names or addresses; found {list(time.servers)}")
    if time.servers and len(different) < QUORUM:
        raise SettingsError(
            f"time.servers: expected none, or at least {QUORUM} that can agree; found {len(different)}"
        )


def _check_keeper(keeper: KeeperSettings) -> None:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", keeper.verify_at):
        raise SettingsError(f"keeper.verify_at: expected 00:00 to 23:59; found {keeper.verify_at!r}")
    for user, role in keeper.readers.items():
        if role not in ROLES:
            raise SettingsError(f"keeper.readers.{user}: expected {', '.join(ROLES)}; found {role!r}")
