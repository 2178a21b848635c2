"""The compiled part of capture: framing and the flow meter, as machine code with bounds checks.

Rules:
    1. Import the compiled modules through ``compiled()`` only: it sets the cache directory first, and
       keeps numba (0.5 s, 150 MiB) out of processes that do not capture.
    2. A Numba cache does not notice that a helper or constant in another file changed. So the cache
       directory is named by the digest of every file of this package.
    3. Settings reach a kernel as arguments, never as globals.
"""

import hashlib
import os
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Kernels(NamedTuple):
    """The compiled modules."""

    framing: ModuleType
    meter: ModuleType


def cache_directory() -> Path:
    """Where this version's machine code is kept, below ``APPLOG_KERNEL_CACHE`` or the user's cache."""
    given = os.environ.get("APPLOG_KERNEL_CACHE")
    base = (
        Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "applog"
    )
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return base / f"kernel-{digest.hexdigest()[:16]}"


def compiled() -> Kernels:
    """The kernels: compiled on first use (about half a minute), then from the cache."""
    import numba  # noqa: PLC0415  heavy, and not for every process

    numba.config.CACHE_DIR = str(cache_directory())
    from applog.capture.kernel import framing, meter  # noqa: PLC0415  compiled when imported

    return Kernels(framing, meter)
