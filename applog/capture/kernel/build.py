"""How every kernel function is compiled.

Rules:
    1. Bounds checks stay on: a wrong offset is an exception in a test, never a read of other memory.
    2. No function allocates, so Numba's reference counting is off (its atomics were 60 % of the time):
       scratch space is in the caller's arrays.
    3. The interpreter lock is released while a kernel runs.
"""

import functools

import numba

kernel = functools.partial(numba.njit, cache=True, boundscheck=True, nogil=True, _nrt=False)
"""Decorator: ``@kernel()`` for a helper, ``@kernel("signature")`` for an entry that Python calls."""
