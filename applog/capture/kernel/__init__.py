"""The compiled part of capture: framing and the flow meter, as machine code with bounds checks.

Rules:
    1. Import the compiled modules through ``compiled()`` only: it sets the cache directory first, and
       keeps numba (0.5 s, 150 MiB) out of processes that do not capture.
    2. A Numba cache does not notice that a helper or constant in another file changed. So the cache
       directory is named by the digest of every file of this package.
    3. Settings reach a kernel as arguments, never as globals.
"""

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from retention import machine_code


class Kernels(NamedTuple):
    """The compiled modules."""

    framing: ModuleType
    meter: ModuleType


def cache_directory() -> Path:
    """Where this version's machine code is kept, below ``APPLOG_KERNEL_CACHE`` or the user's cache."""
    return machine_code.cache_directory(Path(__file__).parent, "kernel")


def compiled() -> Kernels:
    """The kernels: compiled on first use (about half a minute), then from the cache."""
    names = (f"{__name__}.{field}" for field in Kernels._fields)
    return Kernels(*machine_code.import_compiled(cache_directory(), *names))
