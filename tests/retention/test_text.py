"""Text from outside: safe to store and show, and not one byte of it lost."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.text import wire_text

RAW = st.binary(max_size=24) | st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass"))


def raw_of(text: str) -> bytes:
    """The bytes *text* was made of: the promise that nothing is lost, written down."""
    parts = re.split(r"\\x([0-9a-f]{2})", text)
    return b"".join(bytes.fromhex(part) if at % 2 else part.encode("utf-8") for at, part in enumerate(parts))


@given(RAW)
def test_nothing_is_lost(raw: bytes) -> None:
    """It never raises and its answer reads back, so no two inputs share one."""
    text = wire_text(raw)

    assert raw_of(text) == raw


@given(RAW)
def test_it_is_safe_to_show(raw: bytes) -> None:
    """No control character, no lone surrogate, and a backslash only as the start of an escape."""
    text = wire_text(raw)

    assert not any(unicodedata.category(one) in {"Cc", "Cs"} for one in text)
    assert "\\" not in re.sub(r"\\x[0-9a-f]{2}", "", text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\\")))
def test_ordinary_text_stays(text: str) -> None:
    """Valid text without controls and backslashes, in any script, is left alone."""
    assert wire_text(text.encode()) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"plain", "plain"),
        ("โรงเรียน".encode(), "โรงเรียน"),
        (b"a\\b", "a\\x5cb"),
        (b"\\xff", "\\x5cxff"),
        (b"\xff", "\\xff"),
        (b"\x00\x1b[0m\x7f", "\\x00\\x1b[0m\\x7f"),
        (b"\xc2\x85", "\\xc2\\x85"),
        (b"\xc0\x80", "\\xc0\\x80"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"caf\xc3", "caf\\xc3"),
        ("a\u2028b".encode(), "a\u2028b"),
    ],
    ids=[
        "empty",
        "ascii",
        "thai",
        "backslash",
        "forged",
        "byte",
        "c0",
        "c1",
        "overlong",
        "surrogate",
        "cut",
        "ls",
    ],
)
def test_known_forms(raw: bytes, text: str) -> None:
    """The written forms of FORMAT.md 1, frozen."""
    assert wire_text(raw) == text
