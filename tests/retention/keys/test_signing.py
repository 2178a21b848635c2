"""Signing keys: durable before they sign, and used only for the public key they give."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from retention import note
from retention.errors import KeyMaterialError, NoteError
from retention.keys import FileMasterKey, SigningKeys
from retention.keys import signing as module
from retention.note import Signer, VerifierKey
from tests.support.disk import Disk, flipped, put
from tests.support.keyring import STORE, Held, said, shown

pytestmark = pytest.mark.usefixtures("quick_sync")

NAME = f"applog/{STORE}"


@pytest.fixture
def signing(keys: Path, master: FileMasterKey) -> SigningKeys:
    """No keys yet."""
    return SigningKeys(keys / "signing", master)


@pytest.fixture
def signer(signing: SigningKeys) -> Signer:
    """A new key."""
    return signing.create(NAME)


def path_of(keys: Path, signer: Signer) -> Path:
    """Where its private key lies."""
    return keys / "signing" / f"{signer.key.key_id.hex()}.key"


def test_what_it_signs_is_verified(signing: SigningKeys, signer: Signer) -> None:
    """A note by the new key, or by the one found again, opens with its public half."""
    again = signing.signer(signer.key)

    for one in (signer, again):
        assert note.open_note(note.sign("text\n", [one]), [signer.key]).signed_by == (signer.key,)
    assert again.key == signer.key
    assert signer.key.name == NAME


def test_the_file_is_as_the_format_says(keys: Path, signer: Signer, master: FileMasterKey) -> None:
    """40 bytes with the seed, named by the note key's ID, for the owner alone (FORMAT.md 4)."""
    path = path_of(keys, signer)

    seed = aes_key_unwrap(master.read(), path.read_bytes())

    assert list((keys / "signing").iterdir()) == [path]
    assert (path.stat().st_size, path.stat().st_mode & 0o777) == (40, 0o600)
    assert (keys / "signing").stat().st_mode & 0o777 == 0o700
    assert Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() == signer.key.public


def test_every_key_is_new(signing: SigningKeys, signer: Signer) -> None:
    """Another creation under the same name is another key beside the first, as a rotation needs."""
    second = signing.create(NAME)

    assert second.key.public != signer.key.public
    assert signing.signer(signer.key).key == signer.key
    assert signing.signer(second.key).key == second.key


def test_an_existing_file_is_never_replaced(
    keys: Path, signing: SigningKeys, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if two keys had the same ID, the first would stay."""
    before = path_of(keys, signer).read_bytes()
    monkeypatch.setattr(module.VerifierKey, "of", lambda *_: signer.key)

    with pytest.raises(KeyMaterialError, match="exists already, and nothing was changed"):
        signing.create(NAME)

    assert path_of(keys, signer).read_bytes() == before


def test_a_name_that_is_none_is_refused(keys: Path, signing: SigningKeys) -> None:
    """No key is made that could not sign a note."""
    with pytest.raises(NoteError):
        signing.create("two words")

    assert not (keys / "signing").exists()


def test_a_missing_key_is_named(keys: Path, signing: SigningKeys, signer: Signer) -> None:
    """The file that was expected is in the message."""
    path_of(keys, signer).unlink()

    with pytest.raises(KeyMaterialError, match=rf"{signer.key.key_id.hex()}\.key: No such file"):
        signing.signer(signer.key)


def test_another_keys_seed_is_refused(
    keys: Path, signing: SigningKeys, signer: Signer, master: FileMasterKey
) -> None:
    """A private key that does not give the stated public one never signs; only public parts are shown."""
    seed = bytes(range(32))
    put(path_of(keys, signer), aes_key_wrap(master.read(), seed))

    with pytest.raises(KeyMaterialError, match="expected the private key of") as caught:
        signing.signer(signer.key)

    assert str(signer.key) in str(caught.value)
    assert not shown(seed, said(caught.value))


def test_every_flipped_byte_is_refused(keys: Path, signing: SigningKeys, signer: Signer) -> None:
    """An altered byte anywhere gives no signer."""
    path = path_of(keys, signer)
    whole = path.read_bytes()

    for at in range(len(whole)):
        put(path, flipped(whole, at))
        with pytest.raises(KeyMaterialError, match="the master key does not open it"):
            signing.signer(signer.key)

    put(path, whole)
    assert signing.signer(signer.key).sign(b"") == signer.sign(b"")


def test_a_day_key_in_its_place_is_refused(
    keys: Path, signing: SigningKeys, signer: Signer, master: FileMasterKey
) -> None:
    """72 bytes are no signing key, although they unwrap."""
    put(path_of(keys, signer), aes_key_wrap(master.read(), bytes(64)))

    with pytest.raises(KeyMaterialError, match="expected 40 bytes, found 72"):
        signing.signer(signer.key)


@pytest.mark.parametrize("form", ["failed", "persisted", "partial"])
def test_no_key_signs_before_it_is_durable(
    keys: Path, signing: SigningKeys, signer: Signer, form: str, disk: Disk
) -> None:
    """Whichever call of its making fails, no signer comes out, or one whose file is there."""
    signing.create(NAME)

    for step in range(len(disk.calls)):
        disk.fail(step, form, times=1)
        made: Signer | None = None
        try:
            made = signing.create(NAME)
        except OSError:
            assert made is None
        disk.repair()
        if made is not None:
            assert signing.signer(made.key).key == made.key

    assert path_of(keys, signer).exists()


def test_no_key_is_shown(
    keys: Path, signing: SigningKeys, signer: Signer, master: FileMasterKey, other: Held
) -> None:
    """Neither ``repr`` nor an error shows the seed or the master key."""
    seed = aes_key_unwrap(master.read(), path_of(keys, signer).read_bytes())

    with pytest.raises(KeyMaterialError) as caught:
        SigningKeys(keys / "signing", other).signer(signer.key)

    text = f"{signer} {signer!r} {signing!r} {said(caught.value)}"
    for secret in (seed, master.read(), other.read()):
        assert not shown(secret, text)


def test_the_key_is_the_notes(signer: Signer) -> None:
    """It is a C2SP verifier key: written as text and read back it is the same."""
    assert VerifierKey.parse(str(signer.key)) == signer.key
