"""Take a raster from stdin: spooled once to a file without a name, which no crash can leave behind.

A raster is read by windows, in any order, by several threads; a pipe can be read once, in order.
So what comes through it is written to ``CPL_TMPDIR`` (or the system's folder for temporary files)
first. The spool has no directory entry: it is gone when the process is, however it ends. It is
opened as ``/proc/PID/fd/N``, which other processes of the same machine can open too. HDF5 alone
insists on a name, so a spooled NetCDF-4 keeps one until the process exits. A stdin that is a file
already (``stcli segment - out.tif < scene.tif``) is read where it lies.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path
from typing import IO

from stcli.errors import InputError, OutputError

STDIN = ("-", "/vsistdin/")
_CHUNK = 4 << 20
_HDF5 = b"\x89HDF\r\n\x1a\n"

logger = logging.getLogger("stcli")
_lock = threading.Lock()
_opened: list[tuple[IO[bytes], str]] = []


def on_stdin(path: str) -> bool:
    """Tell whether a path means stdin: ``-``, ``/vsistdin/`` or ``/vsistdin?…``."""
    return path in STDIN or path.startswith("/vsistdin?")


def readable(path: str) -> str:
    """Give the name under which a path can be opened: its own, or that of what is behind stdin.

    Raises
    ------
    InputError, OutputError
        As `spooled`.
    """
    return spooled() if on_stdin(path) else path


def no_file(path: str) -> InputError:
    """Say why there is no file of this name that the system can open."""
    if path.startswith("/vsi"):
        return InputError(
            f"{path}: a GDAL name found, a file on this machine is wanted; copy it here and name "
            "the copy"
        )
    return InputError(f"{path}: no such file; check the name")


def spooled() -> str:
    """Return a path from which what came through stdin can be read again and again.

    Returns
    -------
    str
        The same one at every call in this process: a pipe can be emptied only once.

    Raises
    ------
    InputError
        stdin is closed, a terminal, or nothing came through it.
    OutputError
        The spool cannot be written.
    """
    with _lock:
        if not _opened:
            _opened.append(_open())
        return _opened[0][1]


def _open() -> tuple[IO[bytes], str]:
    """Open what is behind stdin, and say under which name it can be opened again."""
    try:
        status = os.fstat(0)
    except OSError as error:
        raise InputError("-: stdin is closed; pipe a raster into it or name a file") from error
    if os.isatty(0):
        raise InputError("-: stdin is a terminal; pipe a raster into it or name a file")
    if stat.S_ISREG(status.st_mode) and os.lseek(0, 0, os.SEEK_CUR) == 0:
        return _named(os.fdopen(os.dup(0), "rb"))
    with os.fdopen(os.dup(0), "rb") as pipe:
        return _spool(pipe, pipe.read(len(_HDF5)))


def _named(file: IO[bytes]) -> tuple[IO[bytes], str]:
    return file, f"/proc/{os.getpid()}/fd/{file.fileno()}"


def _spool(pipe: IO[bytes], head: bytes) -> tuple[IO[bytes], str]:
    if not head:
        raise InputError("-: nothing came through stdin; see what the command before it said")
    folder = os.environ.get("CPL_TMPDIR") or tempfile.gettempdir()
    try:
        descriptor, name = tempfile.mkstemp(prefix="stcli-", dir=folder)
        spool = os.fdopen(descriptor, "w+b")
        if head == _HDF5:
            atexit.register(Path(name).unlink, missing_ok=True)
        else:
            Path(name).unlink()
        spool.write(head)
        shutil.copyfileobj(pipe, spool, _CHUNK)
        spool.flush()
    except OSError as error:
        raise OutputError(
            f"-: stdin cannot be spooled to {folder} ({error.strerror}); "
            "make room there, or let CPL_TMPDIR name another folder"
        ) from error
    logger.info("-: %s bytes of stdin are spooled to %s", f"{spool.tell():,}", folder)
    return (spool, name) if head == _HDF5 else _named(spool)
