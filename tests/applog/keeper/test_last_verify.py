"""What the nightly verification found is kept, or forgotten without harm."""

from pathlib import Path

from applog.keeper.last_verify import LastVerify


def test_it_is_kept(tmp_path: Path) -> None:
    """What was written is read."""
    (tmp_path / "cache").mkdir()
    found = LastVerify(begun=1, ended=2, checks=("ledger: 1 entry",), failures=("segment x",))

    found.write(tmp_path)

    assert LastVerify.read(tmp_path) == found


def test_what_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    """cache/ may be deleted, or hold anything."""
    path = tmp_path / "cache" / "last-verify.json"
    before = LastVerify.read(tmp_path)
    path.parent.mkdir()
    path.write_text("{")

    assert before is None
    assert LastVerify.read(tmp_path) is None
