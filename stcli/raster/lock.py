"""One process at a time in a folder: a lock that the kernel lets go when its holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from stcli.errors import OutputError

LOCK = ".stcli-batch.lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process.

    Parameters
    ----------
    folder : Path
        Exists and is writable. A hidden file in it is held with ``flock`` and removed at the end.

    Raises
    ------
    OutputError
        Another process holds the folder, or nothing can be written in it.
    """
    path = folder / LOCK
    descriptor = _take(path)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone
        os.close(descriptor)


def _take(path: Path) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputError(
                f"{path.parent}: nothing can be written there ({error.strerror}); "
                "choose another directory"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
            os.close(descriptor)
            raise OutputError(
                f"{path.parent}: another batch (process {holder}) is at work there; "
                "let it finish, the next run takes what it leaves"
            ) from error
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)  # its holder removed it between the two calls: take the new one
