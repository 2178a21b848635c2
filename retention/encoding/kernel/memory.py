"""What the kernel's functions are compiled with, and how they reach Arrow's memory.

Rules:
    1. Memory is reached as arrays only: a ``window`` has the address and the size that Arrow says.
    2. Nothing here compares an index with a size. What calls it does (``lines``), and says how.
    3. Positions are int64; words of text are uint64, the first character in the lowest byte. The two are
       never mixed: Numba makes their sum a float.
    4. What is an instruction of the machine, at any alignment, is spelled as one (``intrinsic``): it
       compiles in a third of the time. Beside it stands what it does, for tests that compile nothing.
    5. Little-endian machines only. The self-check of the package finds any other.
"""

import ctypes
import functools

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

checked = functools.partial(numba.njit, cache=True, boundscheck=True, nogil=True, _nrt=False)
unchecked = functools.partial(checked, boundscheck=False, forceinline=True)

BYTES = types.Array(types.uint8, 1, "C", readonly=True)
U = np.uint64


def window(table, row, column):
    """The bytes whose address and size stand in *table*, as a read-only array that owns nothing."""
    address, size = (int(table[row, at]) for at in (column, column + 1))
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def load8(data, at):
    """Eight bytes as a word."""
    return np.uint64(sum(int(data[at + i]) << 8 * i for i in range(8)))


def load4(data, at):
    """Four bytes as a signed number."""
    return np.int64(np.uint32(load8([*data[at : at + 4], 0, 0, 0, 0], 0)).astype(np.int32))


def store8(out, at, word):
    """Write the eight bytes of a word."""
    for i in range(8):
        out[at + i] = int(word) >> 8 * i & 255


@intrinsic
def _window(_context, table, row, column):
    """Not a function that calls an intrinsic: without reference counting none may answer a new array."""

    def build(context, builder, signature, arguments):
        numbers = arrayobj.make_array(table)(context, builder, arguments[0])
        width = builder.extract_value(numbers.shape, 1)
        place = builder.add(builder.mul(arguments[1], width), arguments[2])
        address = builder.load(builder.gep(numbers.data, [place]))
        size = builder.load(builder.gep(numbers.data, [builder.add(place, place.type(1))]))
        array = arrayobj.make_array(signature.return_type)(context, builder)
        arrayobj.populate_array(
            array,
            data=builder.inttoptr(address, cgutils.voidptr_t),
            shape=[size],
            strides=[size.type(1)],
            itemsize=size.type(1),
            meminfo=None,
        )
        return array._getvalue()  # noqa: SLF001  Numba's own name for it

    return BYTES(table, types.int64, types.int64), build


def _place(context, builder, array, value, at, bits):
    """A pointer to so many bits of an array of bytes."""
    data = arrayobj.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [at]), ir.IntType(bits).as_pointer())


@intrinsic
def _load8(_context, data, at):
    def build(context, builder, _signature, arguments):
        return builder.load(_place(context, builder, data, *arguments, 64), align=1)

    return types.uint64(data, types.int64), build


@intrinsic
def _load4(_context, data, at):
    def build(context, builder, _signature, arguments):
        number = builder.load(_place(context, builder, data, *arguments, 32), align=1)
        return builder.sext(number, ir.IntType(64))

    return types.int64(data, types.int64), build


@intrinsic
def _store8(_context, out, at, word):
    def build(context, builder, _signature, arguments):
        builder.store(arguments[2], _place(context, builder, out, *arguments[:2], 64), align=1)
        return context.get_dummy_value()

    return types.none(out, types.int64, types.uint64), build


if not numba.config.DISABLE_JIT:
    window, load8, load4, store8 = _window, _load8, _load4, _store8


@unchecked()
def load_int64(data, index):
    """Number *index* of an array of int64."""
    return np.int64(load8(data, index * 8))


@unchecked()
def load_int32(data, index):
    """Number *index* of an array of int32."""
    return load4(data, index * 4)


@unchecked()
def bit(data, index):
    """Bit *index* of a bitmap, least significant first: 0 or 1."""
    return np.int64(data[U(index >> 3)]) >> (index & 7) & 1


@unchecked()
def put(out, at, character):
    """Write one character; the position behind it."""
    out[U(at)] = np.uint8(character)
    return at + 1


@unchecked()
def put_word(out, at, word, length):
    """Write a word, of which *length* characters count; the position behind those."""
    store8(out, at, word)
    return at + length


@unchecked()
def copy32(out, at, data, start):
    """Copy 32 bytes: constants are padded to that, for a copy of one length needs no branch."""
    first, second = load8(data, start), load8(data, start + 8)
    third, fourth = load8(data, start + 16), load8(data, start + 24)
    store8(out, at, first)
    store8(out, at + 8, second)
    store8(out, at + 16, third)
    store8(out, at + 24, fourth)
