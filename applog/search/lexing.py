r"""The text of a search becomes tokens that remember where they stood, and luqum's grammar orders them.

luqum lexes colons, hyphens and escapes its own way, so it never sees the person's text: it is given a
skeleton (``w0 : ( w2 OR w3 )``) in which every word is a number, and so cannot trip over one.

Rules:
    1. After ``field:`` and inside ``field:( … )`` a colon belongs to the value: IPv6, MACs and times need no
       quotes.
    2. ``&&`` ``||`` ``!`` ``-`` are AND, OR, NOT, NOT. ``+`` says what holds anyway; beside OR it is refused.
    3. A backslash makes any character plain; inside quotes nothing is a wildcard.
    4. What Lucene has and a log does not need (regex, fuzzy, boost) is refused with its reason, and what
       could be meant in two ways (``user:-x``, a lower-case ``or``) is refused rather than guessed.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from applog.errors import QueryError
from applog.search.values import read_mac, read_network

LONGEST, MOST_TERMS, DEEPEST = 4096, 200, 50

_CLOSERS = {"(": ")", "[": "]", "{": "}"}
_DELIMITERS = frozenset('()[]{}"')
_OPERATORS = {"AND": "AND", "OR": "OR", "NOT": "NOT", "&&": "AND", "||": "OR"}
_REFUSED = {
    "~": "fuzzy and proximity search (~) are not supported: use * and ?, or quote the value",
    "^": "boosts (^) are not supported: results are in order of time; quote the value if it belongs to it",
}
_REGEX = "regular expressions (/…/) are not supported: use * and ?, or quote the value"


_EQUALS = re.compile(r"([\w.@]+)!?=")
"""A comparison as other languages write it."""


class Token(NamedTuple):
    """A piece of the search."""

    column: int
    """Where it starts, from 1."""
    skeleton: str
    """What luqum is given for it."""
    text: str = ""
    """What was written, without quotes and escapes."""
    pattern: str | None = None
    r"""Of an unquoted word with wildcards: the text with ``\`` before each character that is not one."""


class _Bracket(NamedTuple):
    opener: str
    column: int
    values: bool
    """Inside it, colons belong to values."""
    depth: int
    """Outside it."""


def tokenize(text: str, *, is_field: Callable[[str], bool]) -> list[Token]:
    """The tokens of *text*; *is_field* knows every name that a field may have.

    Raises:
        QueryError: a piece that cannot stand there, or more than the limits allow.
    """
    if len(text) > LONGEST:
        raise QueryError(LONGEST + 1, f"expected at most {LONGEST} characters, found {len(text)}")
    for at, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise QueryError(at + 1, "found a control character or broken text")
    return _Lexer(text, is_field).run()


class _Lexer:
    """One pass over the text; ``at`` only moves forward."""

    def __init__(self, text: str, is_field: Callable[[str], bool]) -> None:
        self.text = text
        self.is_field = is_field
        self.at = 0
        self.tokens: list[Token] = []
        self.open: list[_Bracket] = []
        self.value_next = False
        self.terms = self.depth = self.negations = self.plus = 0

    def run(self) -> list[Token]:
        while self._skip_space():
            self._step(self.text[self.at])
        if self.open:
            raise QueryError(self.open[-1].column, f"this {self.open[-1].opener} is not closed")
        if self.plus and any(token.skeleton == "OR" for token in self.tokens):
            raise QueryError(
                self.plus, "+ has no meaning beside OR: leave it out, or use AND and parentheses"
            )
        return self.tokens

    def _step(self, character: str) -> None:
        if character in "([{":
            self._opened(character)
        elif character in ")]}":
            self._closed(character)
        elif character == '"':
            self._phrase()
        elif character in "<>":
            self._comparison()
        elif self.text[self.at : self.at + 2] in ("&&", "||"):
            self._operator(self.text[self.at : self.at + 2])
        elif character in "+-!" and not self._in_range():
            self._prefix(character)
        else:
            self._word()

    def _skip_space(self) -> bool:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at < len(self.text)

    def _in_range(self) -> bool:
        return bool(self.open) and self.open[-1].opener != "("

    def _emit(self, column: int, skeleton: str, text: str = "", pattern: str | None = None) -> None:
        self.tokens.append(Token(column, skeleton, text, pattern))

    def _term(self, column: int, text: str, pattern: str | None = None) -> None:
        self.terms += 1
        if self.terms > MOST_TERMS:
            raise QueryError(column, f"expected at most {MOST_TERMS} terms")
        self._emit(column, f"w{len(self.tokens)}", text, pattern)
        self.value_next, self.negations = False, 0
        self._apart()

    def _apart(self) -> None:
        """Two values never touch: ``a"b"`` is a mistake, not two terms."""
        rest = self.text[self.at : self.at + 2]
        if not rest or rest[0].isspace() or rest[0] in ")]}" or rest in ("&&", "||"):
            return
        reason = _REFUSED.get(rest[0], "expected a space; quote the whole value if this belongs to it")
        raise QueryError(self.at + 1, reason)

    def _nested(self, levels: int) -> None:
        self.depth += levels
        if self.depth + self.negations > DEEPEST:
            raise QueryError(self.at + 1, f"expected at most {DEEPEST} levels of parentheses and NOT")

    def _opened(self, character: str) -> None:
        values = self.value_next or (bool(self.open) and self.open[-1].values)
        if self._in_range():
            raise QueryError(self.at + 1, f"expected a value or {_CLOSERS[self.open[-1].opener]}")
        self.open.append(_Bracket(character, self.at + 1, values, self.depth))
        self.depth += self.negations
        self.value_next, self.negations = False, 0
        self._nested(1)
        self._emit(self.at + 1, character)
        self.at += 1

    def _closed(self, character: str) -> None:
        if not self.open:
            raise QueryError(self.at + 1, f"this {character} was never opened")
        bracket = self.open.pop()
        if (bracket.opener == "(") != (character == ")"):
            raise QueryError(self.at + 1, f"expected {_CLOSERS[bracket.opener]}, found {character}")
        self.depth = bracket.depth
        self._emit(self.at + 1, character)
        self.value_next, self.negations = False, 0
        self.at += 1

    def _comparison(self) -> None:
        sign = self.text[self.at : self.at + 2]
        sign = sign if sign[1:] == "=" else sign[0]
        self._emit(self.at + 1, sign)
        self.at += len(sign)
        self.value_next = True

    def _operator(self, written: str) -> None:
        if self.value_next:
            raise QueryError(self.at + 1, f"expected a value, found {written}; quote it if it is one")
        self.negations += written == "NOT"
        self._nested(0)
        self._emit(self.at + 1, _OPERATORS[written])
        self.at += len(written)

    def _prefix(self, character: str) -> None:
        if self.value_next:
            reason = f"expected a value; for NOT write it before the field, quote a value with {character}"
            raise QueryError(self.at + 1, reason)
        after = self.text[self.at + 1 : self.at + 2]
        if character != "!" and (not after or after.isspace() or after in ")]}"):
            raise QueryError(self.at + 1, f"expected a term right after {character}")
        if character == "+":
            self.plus = self.plus or self.at + 1
        else:
            self.negations += 1
            self._nested(0)
            self._emit(self.at + 1, "NOT")
        self.at += 1

    def _phrase(self) -> None:
        start = self.at
        written: list[str] = []
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != '"':
            self.at += self.text[self.at] == "\\"
            written.append(self.text[self.at : self.at + 1])
            self.at += 1
        if self.at >= len(self.text):
            raise QueryError(start + 1, "this quote is not closed")
        self.at += 1
        if not written:
            raise QueryError(start + 1, 'expected a value, found ""; nothing empty is stored')
        self._term(start + 1, "".join(written))

    def _word(self) -> None:
        start = self.at
        if self.text[start] == "/":
            raise QueryError(start + 1, _REGEX)
        values = self.value_next or (bool(self.open) and self.open[-1].values)
        plain, pattern, wild = self._scan(colons=values or self._bare_address())
        written = self.text[start : self.at]
        if not values and self.text[self.at : self.at + 1] == ":":
            self._field(start, written)
        elif self._in_range():
            self._bound(start, written, plain, pattern if wild else None)
        elif written in _OPERATORS:
            self.at = start
            self._operator(written)
        elif not self.value_next and written in ("and", "or", "not"):
            raise QueryError(start + 1, f"write {written.upper()} in capitals, or quote it if it is a value")
        elif not values and (mistyped := _EQUALS.match(written)) and self.is_field(mistyped[1]):
            raise QueryError(start + 1, f"write {mistyped[1]}:value, with NOT before it for the opposite")
        elif values and not self.value_next and self.is_field(written.partition(":")[0]) and ":" in written:
            raise QueryError(start + 1, "expected a value: a field cannot stand inside another's parentheses")
        else:
            self._term(start + 1, plain, pattern if wild else None)

    def _bound(self, start: int, written: str, plain: str, pattern: str | None) -> None:
        """An end of a range, or the TO between them."""
        if written == "TO":
            self._emit(start + 1, "TO")
        else:
            self._term(start + 1, plain, pattern)

    def _field(self, start: int, written: str) -> None:
        if not written:
            raise QueryError(start + 1, "expected the name of a field before :")
        self._emit(start + 1, f"w{len(self.tokens)}", written)
        self._emit(self.at + 1, ":")
        self.at += 1
        self.value_next = True

    def _bare_address(self) -> bool:
        """Whether an IPv6 address or network, or a MAC, stands here without a field."""
        end = self.at
        while end < len(self.text) and not self.text[end].isspace() and self.text[end] not in _DELIMITERS:
            end += 1
        word = self.text[self.at : end]
        return word.count(":") > 1 and (read_network(word) is not None or read_mac(word) is not None)

    def _scan(self, *, colons: bool) -> tuple[str, str, bool]:
        """Move over a word: its plain text, its pattern, and whether that has wildcards."""
        plain: list[str] = []
        pattern: list[str] = []
        wild = False
        while self.at < len(self.text):
            character = self.text[self.at]
            if self._ends_word(character, colons=colons):
                break
            if character in _REFUSED:
                raise QueryError(self.at + 1, _REFUSED[character])
            escaped = character == "\\"
            self.at += escaped
            character = self.text[self.at : self.at + 1]
            if not character:
                raise QueryError(self.at, "expected a character after the backslash")
            special = character in "*?\\"
            wild = wild or (special and not escaped)
            plain.append(character)
            pattern.append("\\" + character if special and escaped else character)
            self.at += 1
        return "".join(plain), "".join(pattern), wild

    def _ends_word(self, character: str, *, colons: bool) -> bool:
        if character.isspace() or character in _DELIMITERS or (character == ":" and not colons):
            return True
        return character in "&|" and self.text[self.at : self.at + 2] in ("&&", "||")
