"""Write a small file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from stcli.errors import OutputError
from stcli.raster.output import STDOUT


def refuse_file(path: str, overwrite: bool) -> None:
    """Refuse an output file that cannot be written, before any work.

    Raises
    ------
    OutputError
    """
    if path in STDOUT:
        return
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{path}: is a directory, a file name is wanted")
    if target.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; give --overwrite or another name")
    if not target.parent.is_dir():
        raise OutputError(f"{path}: there is no directory {target.parent}; create it first")


def write_whole(path: str, data: bytes, overwrite: bool) -> None:
    """Write bytes under a name, or to stdout, so that nothing half-written is ever visible.

    Raises
    ------
    OutputError
    """
    refuse_file(path, overwrite)
    if path in STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.stcli-", dir=target.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(target)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()


def _umask() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022
