"""Exchanges the master key, so that a power cut at any moment leaves nothing that cannot be opened.

Rules (FORMAT.md 4.1):
    1. The new key lies durably in ``.next`` before any file is rewritten under it.
    2. The old key goes only when every wrapped file opens with the new one: it is shredded, then ``.next``
       takes its name. In between ``.next`` alone is the store's key.
    3. What was begun is finished by the next rotation or start; finishing is the same work from the start.
    4. The lock of all keys is held throughout: nobody makes a key that the rotation would miss.
    5. A rotation keeps the passphrase, so that one passphrase is enough to finish it.
"""

from pathlib import Path

from retention.durable import read_file, shred, sync_directory
from retention.errors import KeyMaterialError
from retention.keys.master import CredentialMasterKey, FileMasterKey, StoreMasterKey
from retention.keys.passphrase import PassphraseMasterKey
from retention.keys.wrapping import held, opened, unwrap, wrapped_files, write_wrapped


def rotate_master(master: StoreMasterKey, passphrase: str | None = None) -> None:
    """Put every private key under a new master key: in ``master.key``, or behind *passphrase*.

    A store that has a passphrase keeps it (rule 5), or goes to ``master.key``. A rotation that was begun
    before is finished first.

    Raises:
        KeyMaterialError: the present key does not open every file, or is a systemd credential, or
            *passphrase* is not the present one or too short; nothing was changed.
        OSError: the disk's; everything opens as before, and ``finish_rotation`` goes on.
    """
    master.read()  # asks for a passphrase now, not while others wait for the lock
    with held(master.directory / "journal"):
        _finish(master)
        current = _replaceable(master)
        if isinstance(current, PassphraseMasterKey) and passphrase is not None:
            PassphraseMasterKey(current.path, lambda: passphrase).read()
        for path in wrapped_files(master.directory):
            unwrap(path, master)
        if passphrase is None:
            master.next_file.create()
        else:
            master.next_passphrase.create(passphrase)
        _finish(master)


def finish_rotation(master: StoreMasterKey) -> bool:
    """Finish a rotation that was cut short; False if there was none.

    Raises:
        KeyMaterialError: a file opens neither with the old nor with the new key, which both stay.
        OSError: the disk's; everything opens as before, and calling again goes on.
    """
    if master.upcoming() is None:
        return False
    master.read()
    with held(master.directory / "journal"):
        return _finish(master)


def _finish(master: StoreMasterKey) -> bool:
    """The steps behind the writing of ``.next``; the lock is held."""
    upcoming = master.upcoming()
    if upcoming is None:
        return False
    current, key = _replaceable(master), upcoming.read()
    # 1. Copies of keys that a cut rewriting left would outlive the shredding of their originals.
    for path in _left_over(master.directory):
        shred(path)
    # 2. Rewrite what lies under the old key. A failure leaves both keys, and every file under one of them.
    for path in wrapped_files(master.directory):
        if opened(read_file(path), key) is None:
            write_wrapped(path, unwrap(path, master), key)
    # 3. The old key goes; a failure leaves .next, which opens everything.
    if current is not None:
        shred(current.path)
    # 4. The new one takes its place.
    upcoming.path.rename(upcoming.path.with_suffix(""))
    sync_directory(master.directory)
    return True


def _replaceable(master: StoreMasterKey) -> FileMasterKey | PassphraseMasterKey | None:
    """Where the old key lies, if that is a place we can take it from."""
    current = master.current()
    if isinstance(current, CredentialMasterKey):
        raise KeyMaterialError(
            f"the master key {current} is a systemd credential, which only systemd replaces: put its text "
            "into keys/master.key, rotate without the credential, and make the new file a credential"
        )
    return current


def _left_over(directory: Path) -> list[Path]:
    patterns = ("journal/.*.key.*.tmp", "day/*/.*.key.*.tmp", "signing/.*.key.*.tmp", ".master.*.tmp")
    return [path for pattern in patterns for path in directory.glob(pattern)]
