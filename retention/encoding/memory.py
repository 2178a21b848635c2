"""What the kernel's functions are compiled with, and how they reach Arrow's memory.

Rules:
    1. Memory is reached as arrays only: a ``window`` has the address and the size that Arrow says.
    2. Nothing here compares an index with a size. What calls it does (``kernel``), and says how.
    3. Positions are int64; words of text are uint64, the first character in the lowest byte. The two are
       never mixed: Numba makes their sum a float.
    4. Eight bytes are read and written as bytes; LLVM makes each one instruction, for any alignment.
    5. Little-endian machines only. The self-check of the package finds any other.
"""

import ctypes
import functools

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

checked = functools.partial(numba.njit, cache=True, boundscheck=True, nogil=True, _nrt=False)
unchecked = functools.partial(checked, boundscheck=False, forceinline=True)

BYTES = types.Array(types.uint8, 1, "C", readonly=True)
U = np.uint64
ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN = (U(n) for n in range(1, 8))
BYTE = U(8)


def window(address, size):
    """The bytes at an address: what ``_window`` is where nothing is compiled (tests)."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * int(size)).from_address(int(address)))


@intrinsic
def _window(_context, address, size):
    """The bytes at an address, as a read-only array that owns nothing."""

    def build(context, builder, signature, arguments):
        array = arrayobj.make_array(signature.return_type)(context, builder)
        one = context.get_constant(types.intp, 1)
        arrayobj.populate_array(
            array,
            data=builder.inttoptr(arguments[0], cgutils.voidptr_t),
            shape=[arguments[1]],
            strides=[one],
            itemsize=one,
            meminfo=None,
        )
        return array._getvalue()  # noqa: SLF001  Numba's own name for it

    return BYTES(types.int64, types.int64), build


if not numba.config.DISABLE_JIT:
    window = _window


@unchecked()
def load8(data, at):
    """Eight bytes as a word."""
    i = U(at)
    return (
        U(data[i])
        | U(data[i + ONE]) << U(8)
        | U(data[i + TWO]) << U(16)
        | U(data[i + THREE]) << U(24)
        | U(data[i + FOUR]) << U(32)
        | U(data[i + FIVE]) << U(40)
        | U(data[i + SIX]) << U(48)
        | U(data[i + SEVEN]) << U(56)
    )


@unchecked()
def load_int64(data, index):
    """Number *index* of an array of int64."""
    return np.int64(load8(data, index * 8))


@unchecked()
def load_int32(data, index):
    """Number *index* of an array of int32."""
    i = U(index) * FOUR
    low = np.uint32(data[i]) | np.uint32(data[i + ONE]) << np.uint32(8)
    high = np.uint32(data[i + TWO]) | np.uint32(data[i + THREE]) << np.uint32(8)
    return np.int64(np.int32(np.uint32(low | high << np.uint32(16))))


@unchecked()
def bit(data, index):
    """Bit *index* of a bitmap, least significant first: 0 or 1."""
    return np.int64(data[U(index >> 3)] >> np.uint8(index & 7)) & 1


@unchecked()
def store(out, at, character):
    """Write one character; the position behind it."""
    out[U(at)] = np.uint8(character)
    return at + 1


@unchecked()
def store8(out, at, word, length):
    """Write the eight bytes of a word, of which *length* count; the position behind those."""
    i = U(at)
    out[i] = np.uint8(word & U(255))
    out[i + ONE] = np.uint8(word >> U(8) & U(255))
    out[i + TWO] = np.uint8(word >> U(16) & U(255))
    out[i + THREE] = np.uint8(word >> U(24) & U(255))
    out[i + FOUR] = np.uint8(word >> U(32) & U(255))
    out[i + FIVE] = np.uint8(word >> U(40) & U(255))
    out[i + SIX] = np.uint8(word >> U(48) & U(255))
    out[i + SEVEN] = np.uint8(word >> U(56))
    return at + length


@unchecked()
def store32(out, at, data, start):
    """Copy 32 bytes: constants are padded to that, for a copy of one length needs no branch."""
    first, second = load8(data, start), load8(data, start + 8)
    third, fourth = load8(data, start + 16), load8(data, start + 24)
    store8(out, at, first, 8)
    store8(out, at + 8, second, 8)
    store8(out, at + 16, third, 8)
    store8(out, at + 24, fourth, 8)
