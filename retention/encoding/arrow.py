"""Lines by Arrow's own functions, whole columns at a time: the reference, and the way of few rows.

Rules:
    1. What this module answers or refuses is encoder 1 (the package's rules). The kernel is compared with it.
    2. The caller has compared the schema, and knows that ``@timestamp`` has no NULL.
    3. A refusal names the field and what was expected, in the same words whatever way was taken: the kernel
       leaves refusals to this module.
"""

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retention.dataset import Dataset, Field, Kind
from retention.encoding.layout import LEAD
from retention.errors import SchemaError

_YEAR_10000_US = 253_402_300_800_000_000
_IPV4_LENGTH, _IPV6_LENGTH, _MAC_LENGTH = 4, 16, 6
_FEW = 256
"""So many distinct values of a column are worth a dictionary."""
_OCTETS = pa.array([str(octet) for octet in range(256)])
_ESCAPED = re.compile('["\\\\\x00-\x1f]')


def with_arrow(dataset: Dataset, batch: pa.RecordBatch) -> pa.Array:
    """The lines of *batch*, which is of *dataset*'s schema.

    Raises:
        SchemaError: *batch* holds a value that has no line.
    """
    constant = f',"event.dataset":"{dataset.name}","event.schema":{dataset.version}'
    lead = [dataset.by_name[name] for name in LEAD]
    rest = [field for field in dataset.fields if field.name not in LEAD]
    pieces: list[Any] = [*_pieces(lead, batch), constant, *_pieces(rest, batch), "}\n"]
    pieces[0] = "{" + pieces[0][1:]
    return pc.binary_join_element_wise(*_merged(pieces), "", null_handling="replace", null_replacement="")


def _pieces(fields: list[Field], batch: pa.RecordBatch) -> list[Any]:
    """Texts and string columns which, joined row by row, are the members of *fields*."""
    pieces: list[Any] = []
    for field in fields:
        column = batch.column(field.name)
        if column.null_count == len(column) and len(column):
            continue
        if column.null_count:
            pieces.append(_sparse_members(field, column))
        else:
            opening, values, closing = _members(field, column)
            pieces += [opening, values, closing]
    return pieces


def _members(field: Field, column: pa.Array) -> tuple[str, pa.Array, str]:
    """What stands before, in and behind the value of each row."""
    opening, closing = _AROUND.get(field.kind, ("", ""))
    return f',"{field.name}":{opening}', _FORMATTERS[field.kind](field, column), closing


def _sparse_members(field: Field, column: pa.Array) -> pa.Array:
    """Members of a column with NULLs, NULL where it is; made once per distinct value where these are few."""
    if field.kind in (Kind.TEXT, Kind.BOOLEAN):
        encoded = column.dictionary_encode()
        if len(encoded.dictionary) <= _FEW:
            distinct = pc.binary_join_element_wise(*_members(field, encoded.dictionary), "")
            return distinct.take(encoded.indices)
    return pc.binary_join_element_wise(*_members(field, column), "")


def _merged(pieces: list[Any]) -> list[Any]:
    """*pieces* with neighbouring constant texts made one: each costs the join a pass."""
    merged: list[Any] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _timestamps(field: Field, column: pa.Array) -> pa.Array:
    low, high = pc.min_max(column.cast(pa.int64())).as_py().values()
    if low is not None and (low < 0 or high >= _YEAR_10000_US):
        raise SchemaError(f"{field.name}: expected a time from 1970 to 9999, found {low} to {high} µs")
    return pc.binary_replace_slice(column.cast(pa.string()), start=10, stop=11, replacement="T")


def _integers(_field: Field, column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _booleans(_field: Field, column: pa.Array) -> pa.Array:
    return pc.if_else(column, "true", "false")


def _texts(field: Field, column: pa.Array) -> pa.Array:
    shortest = pc.min(pc.binary_length(column)).as_py()
    if shortest == 0:
        raise SchemaError(f'{field.name}: expected a text or nothing, found ""')
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{field.name}: expected UTF-8: {error}") from error
    return _escaped(column)


def _text_lists(field: Field, column: pa.Array) -> pa.Array:
    return _joined(field, column, _texts(field, column.flatten()))


def _addresses(field: Field, column: pa.Array) -> pa.Array:
    """IPv4 by whole columns, for it is nearly all there is; IPv6 once per distinct address."""
    is_ipv4 = pc.fill_null(pc.equal(pc.binary_length(column), _IPV4_LENGTH), fill_value=False)
    ipv4 = _ipv4_texts(column.filter(is_ipv4))
    if len(ipv4) == len(column):
        return ipv4
    others = pc.if_else(is_ipv4, pa.scalar(None, column.type), column)
    return pc.replace_with_mask(_by_distinct_value(field, others, format_address), is_ipv4, ipv4)


def _ipv4_texts(column: pa.Array) -> pa.Array:
    """Dotted text of 4-byte values without NULL."""
    whole = column.cast(pa.binary(_IPV4_LENGTH))
    at = whole.offset * _IPV4_LENGTH
    octets = np.frombuffer(whole.buffers()[1] or b"", np.uint8)[at : at + len(whole) * _IPV4_LENGTH]
    texts = (_OCTETS.take(pa.array(octets[place::_IPV4_LENGTH])) for place in range(_IPV4_LENGTH))
    return pc.binary_join_element_wise(*texts, ".")


def _address_lists(field: Field, column: pa.Array) -> pa.Array:
    return _joined(field, column, _addresses(field, column.flatten()))


def _macs(field: Field, column: pa.Array) -> pa.Array:
    return _by_distinct_value(field, column, format_mac)


_FORMATTERS = {
    Kind.TIMESTAMP: _timestamps,
    Kind.INTEGER: _integers,
    Kind.BOOLEAN: _booleans,
    Kind.TEXT: _texts,
    Kind.TEXTS: _text_lists,
    Kind.IP: _addresses,
    Kind.IPS: _address_lists,
    Kind.MAC: _macs,
}

_AROUND = {
    Kind.TIMESTAMP: ('"', 'Z"'),
    Kind.TEXT: ('"', '"'),
    Kind.TEXTS: ('["', '"]'),
    Kind.IP: ('"', '"'),
    Kind.IPS: ('["', '"]'),
    Kind.MAC: ('"', '"'),
}


def _joined(field: Field, lists: pa.Array, values: pa.Array) -> pa.Array:
    if values.null_count or pc.min(pc.list_value_length(lists)).as_py() == 0:
        raise SchemaError(f"{field.name}: expected a list of values or nothing, found [] or null inside")
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())
    rebuilt = pa.ListArray.from_arrays(offsets, values.cast(pa.string()), mask=lists.is_null())
    return pc.binary_join(rebuilt, '","')


def _by_distinct_value(field: Field, column: pa.Array, formatter: Any) -> pa.Array:
    """Format each distinct value once: addresses repeat."""
    encoded = column.dictionary_encode()
    try:
        texts = pa.array([formatter(value) for value in encoded.dictionary.to_pylist()], pa.string())
    except ValueError as error:
        raise SchemaError(f"{field.name}: {error}") from error
    return texts.take(encoded.indices)


def _escaped(column: pa.Array) -> pa.Array:
    """JSON escapes; columns that need none, nearly all, are answered as they are."""
    data = column.buffers()[2]
    if data is None:
        return column
    seen = np.frombuffer(data, np.uint8)
    if not ((seen < 0x20) | (seen == 0x22) | (seen == 0x5C)).any():
        return column
    return pa.array(
        [None if text is None else _ESCAPED.sub(_escape, text) for text in column.to_pylist()], pa.string()
    )


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return "\\" + character if character in '"\\' else f"\\u{ord(character):04x}"


@lru_cache(maxsize=65_536)
def format_address(packed: bytes) -> str:
    """RFC 5952 text of 4 or 16 network-order bytes; ``::ffff:0:0/96`` in mixed notation (its section 5).

    Raises:
        ValueError: any other length.
    """
    if len(packed) == _IPV4_LENGTH:
        return f"{packed[0]}.{packed[1]}.{packed[2]}.{packed[3]}"
    if len(packed) != _IPV6_LENGTH:
        raise ValueError(f"expected an address of 4 or 16 bytes, found {len(packed)}")
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return "::ffff:" + format_address(packed[12:])
    groups = [f"{packed[at] << 8 | packed[at + 1]:x}" for at in range(0, _IPV6_LENGTH, 2)]
    start, length = _longest_zero_run(groups)
    if length < 2:  # RFC 5952 4.2.2: one zero group is never shortened
        return ":".join(groups)
    return ":".join(groups[:start]) + "::" + ":".join(groups[start + length :])


def _longest_zero_run(groups: list[str]) -> tuple[int, int]:
    """First longest run of zero groups (RFC 5952 section 4.2.3): where and how long."""
    best = (0, 0)
    start = 0
    for at, group in enumerate(groups):
        if group != "0":
            start = at + 1
        elif at + 1 - start > best[1]:
            best = (start, at + 1 - start)
    return best


@lru_cache(maxsize=65_536)
def format_mac(packed: bytes) -> str:
    """Upper-case hexadecimal with hyphens (ECS, RFC 7042 section 2.1).

    Raises:
        ValueError: not six bytes.
    """
    if len(packed) != _MAC_LENGTH:
        raise ValueError(f"expected a MAC address of 6 bytes, found {len(packed)}")
    return packed.hex("-").upper()
