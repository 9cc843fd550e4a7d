"""One run at a time on an output or in a folder: locks that die with their process.

The lock is ``flock`` on a file, which the kernel lets go of when the process ends, however it
ends; the file's text names the holder. On NFS Linux turns it into a byte-range lock that other
hosts see, unless the mount says ``nolock`` or ``local_lock``: then only runs of one host refuse
each other. Where a file system has no locks at all the run goes on and says so.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from stcli.errors import OutputError

_ABSENT = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class Lock:
    """A held lock.

    Parameters
    ----------
    path : Path
        The lock's file.
    name : str
        What is locked, for the refusal.
    own : bool
        The lock's directory is its own: made where it is missing, and removed with the lock
        when it is empty.

    Raises
    ------
    OutputError
        Another process holds it, or it cannot be made.
    """

    def __init__(self, path: Path, name: str, own: bool = True) -> None:
        self.path, self._own = path, own
        self._descriptor = -1
        while self._descriptor < 0:
            self._descriptor = _taken(path, name, own)
        os.ftruncate(self._descriptor, 0)
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        try:
            os.pwrite(self._descriptor, holder.encode(), 0)
        except OSError:  # a full disk: the lock holds without its text
            logging.getLogger("stcli").debug("%s: the holder could not be noted", path)

    def release(self, remove: bool = False) -> None:
        """Let go; `remove` takes the file away first: who waits for it sees that it is gone."""
        if self._descriptor < 0:
            return
        if remove:
            self.path.unlink(missing_ok=True)
            if self._own:
                _remove_empty(self.path.parent)
        os.close(self._descriptor)
        self._descriptor = -1


@contextlib.contextmanager
def held(path: Path, without: bool) -> Iterator[bool]:
    """Hold a lock that nobody waits for while the block runs.

    Parameters
    ----------
    path : Path
        The lock's file; made where it is missing, left where it is.
    without : bool
        What is yielded on a file system that has no locks.

    Yields
    ------
    bool
        Whether it is held; not where another process holds it, or its file or folder went.
    """
    descriptor = -1
    try:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = _is(descriptor, path)
        except (BlockingIOError, FileNotFoundError):
            mine = False
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            mine = without
        yield mine
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _remove_empty(folder: Path) -> None:
    """Remove a directory if nothing is in it."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        pass  # it was renamed into place
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _unwritable(name: str, error: OSError) -> OutputError:
    return OutputError(
        f"{name}: nothing can be written beside it ({error.strerror}); choose another directory"
    )


def _taken(path: Path, name: str, own: bool) -> int:
    """Descriptor of the lock, or -1 where another run removed its file meanwhile."""
    if own:
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise _unwritable(name, error) from error
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        if own:
            return -1
        raise
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):  # no matter of the directory
            raise
        raise _unwritable(name, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        os.close(descriptor)
        raise OutputError(
            f"{name}: {holder} is writing it now; wait for its end, or write elsewhere"
        ) from error
    except OSError as error:
        if error.errno not in _ABSENT:
            os.close(descriptor)
            raise
        logging.getLogger("stcli").warning(
            "%s: its file system has no locks; a second run at once would not be refused", name
        )
    if _is(descriptor, path):
        return descriptor
    os.close(descriptor)
    return -1


def _is(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is still the one under the path."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
