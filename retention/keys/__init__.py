"""The only package that reads private keys.

Rules (FORMAT.md 4):
    1. Every private key lies wrapped (AES-KW, RFC 3394) under the master key, which comes through a
       ``MasterKeySource``.
    2. A wrong, missing or exchanged key is refused with words, never half opened.
    3. Key bytes are in no message, log or argument list.
"""

from retention.keys.check import check, write_check
from retention.keys.days import DayKey, DayKeys
from retention.keys.master import CredentialMasterKey, FileMasterKey, StoreMasterKey, find_master
from retention.keys.passphrase import ARGON2, CHEAPEST, Argon2Cost, PassphraseMasterKey
from retention.keys.recipients import DAYS_AHEAD, Recipients
from retention.keys.rotation import finish_rotation, rotate_master
from retention.keys.signing import SigningKeys
from retention.keys.wrapping import MasterKeySource

__all__ = [
    "ARGON2",
    "CHEAPEST",
    "DAYS_AHEAD",
    "Argon2Cost",
    "CredentialMasterKey",
    "DayKey",
    "DayKeys",
    "FileMasterKey",
    "MasterKeySource",
    "PassphraseMasterKey",
    "Recipients",
    "SigningKeys",
    "StoreMasterKey",
    "check",
    "find_master",
    "finish_rotation",
    "rotate_master",
    "write_check",
]
