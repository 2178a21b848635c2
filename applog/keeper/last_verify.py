"""What the newest nightly verification found, for ``applog status``.

Rules:
    1. It lies in ``cache/``: losing it loses no evidence, only the knowledge when it was last looked.
    2. A file that cannot be read counts as none.
    3. It is for showing. The keeper itself believes what it found, not what lies here.
"""

from pathlib import Path

import msgspec

from retention.durable import write_file


class LastVerify(msgspec.Struct, frozen=True, kw_only=True):
    """One verification."""

    begun: int
    """UTC µs."""
    ended: int
    checks: tuple[str, ...]
    failures: tuple[str, ...]

    @classmethod
    def read(cls, root: Path) -> "LastVerify | None":
        """That of the store at *root*, or None."""
        try:
            return msgspec.json.decode(_path(root).read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, root: Path) -> None:
        """Keep it in the store at *root*."""
        write_file(_path(root), msgspec.json.encode(self))


def _path(root: Path) -> Path:
    return root / "cache" / "last-verify.json"
