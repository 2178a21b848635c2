"""Where compiled kernels keep their machine code, and how they are imported.

Rules:
    1. A Numba cache does not notice that a helper or constant in another file changed. So its directory is
       named by the digest of every file of the kernel's package.
    2. Numba's setting is one for the process and read when a kernel's module is imported. So it is set
       right before, and nothing else is imported through this module meanwhile.
    3. Importing this module does not import numba (0.5 s, 150 MiB).
"""

import hashlib
import importlib
import os
import threading
from pathlib import Path
from types import ModuleType

_IMPORTING = threading.Lock()


def cache_directory(package: Path, name: str) -> Path:
    """Where machine code made from a package's present sources is kept.

    Args:
        package: The folder whose ``*.py`` files decide the machine code.
        name: What the directory's name starts with.

    Returns:
        ``name-<16 hexadecimal digits>`` below ``APPLOG_KERNEL_CACHE``, or else below the user's cache.
    """
    given = os.environ.get("APPLOG_KERNEL_CACHE")
    base = (
        Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "applog"
    )
    digest = hashlib.sha256()
    for source in sorted(package.glob("*.py")):
        digest.update(source.read_bytes())
    return base / f"{name}-{digest.hexdigest()[:16]}"


def import_compiled(directory: Path, *modules: str) -> list[ModuleType]:
    """Import modules that compile when imported, with *directory* as their cache.

    Args:
        directory: What ``cache_directory`` answered.
        modules: Their full names.
    """
    import numba  # noqa: PLC0415  heavy, and not for every process

    with _IMPORTING:
        numba.config.CACHE_DIR = str(directory)  # type: ignore[attr-defined]  # numba makes it at run time
        return [importlib.import_module(module) for module in modules]
