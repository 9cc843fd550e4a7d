"""numba's compiler, with a folder that keeps what it compiled.

numba keeps it beside the module, or in the user's cache, and compiles nothing that is to be kept
where it can write neither: in a package that root installed, for an account without a home, or in
a container whose root cannot be written. There it is kept in a folder of the user's among
temporary files.

Source: numba's reference manual, ``NUMBA_CACHE_DIR``.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import numba
from numba import njit

from stcli.errors import OutputError

__all__ = ["FOLDER", "kernel_folder", "njit"]

_PACKAGE = Path(__file__).parent
_config: Any = numba.config


def kernel_folder(named: str) -> str:
    """Give the folder of compiled kernels; empty for beside their modules.

    Parameters
    ----------
    named : str
        What ``NUMBA_CACHE_DIR`` names, or nothing.

    Raises
    ------
    OutputError
        It cannot be written, or none can.
    """
    if named:
        if not _made(Path(named)):
            raise OutputError(f"NUMBA_CACHE_DIR={named}: cannot be written; it is for kernels.")
        return named
    if all(_beside(room) for room in _PACKAGE.iterdir() if room.is_dir()):
        return ""
    for folder, safe in ((_users(), _made), (_temporary(), _private)):
        if folder is not None and safe(folder):
            return str(folder)
    raise OutputError(
        f"{_PACKAGE}: kernels can be kept neither here nor in the user's cache nor among temporary "
        "files; name a folder for them by NUMBA_CACHE_DIR."
    )


def _beside(room: Path) -> bool:
    """Tell whether files can be written beside the modules of a room."""
    kept = room / "__pycache__"
    return os.access(kept if kept.exists() else room, os.W_OK)


def _users() -> Path | None:
    """Folder of numba in the user's cache (XDG Base Directory Specification), if there is one."""
    with contextlib.suppress(RuntimeError):  # no home is known
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"
    return None


def _temporary() -> Path | None:
    """Folder of this user among temporary files, if there are any."""
    with contextlib.suppress(FileNotFoundError):
        return Path(tempfile.gettempdir()) / f"stcli-kernels-{os.getuid()}"
    return None


def _made(folder: Path) -> bool:
    """Tell whether there is such a folder that can be written; make it, for this user alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _private(folder: Path) -> bool:
    """Tell the same, and that nobody else can put kernels, which are programs, into it."""
    if not _made(folder):
        return False
    found = folder.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return mine and not found.st_mode & 0o022


#: Where compiled kernels are kept; empty for beside their modules.
FOLDER = _config.CACHE_DIR = kernel_folder(_config.CACHE_DIR)
