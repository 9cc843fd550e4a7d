"""numba's compiler, with a folder that keeps what it compiled.

By itself numba keeps a kernel beside its module, or in the user's cache, compiles nothing that is
to be kept where it can write neither (a package that root installed, an account without a home, a
container whose root cannot be written), and knows no kernel as outdated whose own file is the
same, though it is put together from functions of other files. So there is a folder for each state
of all files with kernels: in the package, else in the user's cache, else among temporary files.

Nor does numba look whether what it kept is whole, or let one process alone add to the list of a
function's kernels: see `_Shelf`.

Source: numba's reference manual, ``NUMBA_CACHE_DIR``; its developer manual, "Notes on Caching".
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core import caching
from numba.np import linalg

from stcli.errors import OutputError

__all__ = ["FOLDER", "compiling", "kernel_folder", "njit"]

#: Folders of other states that stay.
_KEPT = 3
_PACKAGE = Path(__file__).parent
_config: Any = numba.config
_caching: Any = caching
#: What a file of numba's that is not whole raises when it is read.
_TORN = (EOFError, _caching.pickle.UnpicklingError)


def kernel_folder(named: str) -> Path:
    """Give the folder of compiled kernels, and make it.

    Parameters
    ----------
    named : str
        What ``NUMBA_CACHE_DIR`` names, or nothing.

    Raises
    ------
    OutputError
        It cannot be written, or none can.
    """
    name = f"stcli-{_state()}"
    if named:
        if not _made(Path(named) / name):
            raise OutputError(
                f"NUMBA_CACHE_DIR={named}: cannot be written; name a folder for kernels that can."
            )
        return Path(named) / name
    if _made(_PACKAGE / "__pycache__" / name):
        return _PACKAGE / "__pycache__" / name
    for base in _private_places():
        if _made(base / name) and _safe(base / name):
            return base / name
    raise OutputError(
        f"{_PACKAGE}: kernels can be kept neither here nor in the user's cache nor among temporary "
        "files; set NUMBA_CACHE_DIR to a folder for them."
    )


def _state() -> str:
    """Tell one state of the files with kernels from another: a hash of what is in them."""
    found = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*.py")):
        text = file.read_bytes()
        if b"njit" in text or b"llvmlite" in text:
            found.update(text)
    return found.hexdigest()[:16]


def _private_places() -> Iterator[Path]:
    """Give the folder in the user's cache, if there is one, and that among temporary files.

    Source: XDG Base Directory Specification.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    with contextlib.suppress(RuntimeError):  # no home is known
        yield (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "stcli"
    with contextlib.suppress(FileNotFoundError):
        yield Path(tempfile.gettempdir()) / f"stcli-kernels-{os.getuid()}"


def _made(folder: Path) -> bool:
    """Tell whether there is such a folder that can be written; make it, for this user alone."""
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # another process removes the same
                _prune(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _prune(made: Path) -> None:
    """Remove the oldest folders of other states: what finds them gone compiles anew."""
    others = [folder for folder in made.parent.glob("stcli-*") if folder != made]
    others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in others[_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)


def _safe(folder: Path) -> bool:
    """Tell whether nobody else can put kernels, which are programs, into a folder."""
    mine = folder.lstat()
    if not stat.S_ISDIR(mine.st_mode) or mine.st_uid != os.getuid():
        return False
    whole = folder.resolve()
    for place in (whole, *whole.parents):
        found = place.stat()
        shared = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
        if shared or found.st_uid not in (0, os.getuid()):
            return False
    return True


def compiling() -> contextlib.AbstractContextManager[None]:
    """Wait while another process compiles, most likely the same; without locks nothing waits."""
    return _alone("compiling")


@contextlib.contextmanager
def _alone(lock: str) -> Iterator[None]:
    """Hold a lock of the folder while the block runs; without locks nothing waits."""
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):
            descriptor = os.open(FOLDER / lock, os.O_RDWR | os.O_CREAT, 0o600)
            opened.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


class _Shelf(_caching.IndexDataCacheFile):  # type: ignore[misc]
    """What is kept of one function: its kernels, one for each kind of arguments, and their list.

    Numba reads the list, puts a number behind the last, and writes list and kernel under it. Of two
    processes that do so at once both take one number, and a kernel of other arguments would be run
    in place of the one that is asked for. So one at a time adds to any list, and reads it then.

    Neither is flushed to the disk: what a power cut leaves may be empty or torn, and is compiled
    anew. A kernel that there is no room for is used, and not kept.
    """

    def save(self, key: Any, data: Any) -> None:
        try:
            with _alone("adding"):
                super().save(key, data)
        except OSError as error:
            logging.getLogger("stcli").warning(
                "%s: kernels cannot be kept here (%s), and are compiled by each run; make room, or "
                "name another folder by NUMBA_CACHE_DIR",
                *(FOLDER, error.strerror),
            )

    def _load_index(self) -> dict[Any, str]:
        try:
            found: dict[Any, str] = super()._load_index()
        except _TORN:
            return {}
        return found

    def _load_data(self, name: str) -> Any:
        try:
            return super()._load_data(name)
        except _TORN as error:
            raise FileNotFoundError(name) from error  # which is answered by compiling


def _refuse_blas() -> None:
    """Say once that there is no BLAS.

    Numba asks with its first kernel, for dot products inside of a covariance alone, and the answer,
    all of scipy's linear algebra, would take longer to load than the kernels of a segmentation.
    """
    _linalg.ensure_blas = _ensure_blas
    raise ImportError


_linalg: Any = linalg
_ensure_blas = _linalg.ensure_blas
_linalg.ensure_blas = _refuse_blas

#: Where compiled kernels are kept.
FOLDER = kernel_folder(_config.CACHE_DIR)
_config.CACHE_DIR = str(FOLDER)
_caching.IndexDataCacheFile = _Shelf
