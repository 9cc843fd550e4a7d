"""Files that appear under their names only when all of them are complete.

Each is made in a hidden directory ``.NAME.stcli-XXXXXX`` beside the place where it shall be;
on a clean exit all are flushed to the disk, then renamed; on any error nothing is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from stcli.errors import OutputError
from stcli.raster.writing import appeared
from stcli.raster.writing.output import STDOUT


def refuse_file(path: str, overwrite: bool, directory: bool = False) -> None:
    """Refuse an output that cannot be made, before any work.

    Parameters
    ----------
    directory : bool
        The output may replace a directory.

    Raises
    ------
    OutputError
    """
    target = Path(path)
    if path == "-" or path.startswith("/vsi"):
        raise OutputError(f"{path}: cannot be written in place; name a local file")
    if target.is_dir() and not directory:
        raise OutputError(f"{path}: is a directory, a file name is wanted")
    if target.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; give --overwrite or another name")
    if not target.parent.is_dir():
        raise OutputError(f"{path}: there is no directory {target.parent}; create it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the directory {target.parent} is not writable")


@contextlib.contextmanager
def drafts(paths: Sequence[str], overwrite: bool) -> Iterator[tuple[Path, ...]]:
    """Make files that appear together.

    Yields
    ------
    tuple of Path
        Where to make each file, with the name it shall have.

    Raises
    ------
    OutputError
    """
    with contextlib.ExitStack() as stack:
        hidden = []
        for path in paths:
            refuse_file(path, overwrite)
            folder = hidden_folder(Path(path))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            hidden.append(folder / Path(path).name)
        places = dict(zip(hidden, paths, strict=True))
        with _told_by_name(places):
            yield tuple(hidden)
            for file, path in places.items():
                refuse_file(path, overwrite)  # another process may have been quicker
                sync(file)
            try:
                _put(places)
            except KeyboardInterrupt:  # some are under their names: so are the others, at once
                _put(places)


def _put(places: dict[Path, str]) -> None:
    """Put files under their names, as far as they are not yet."""
    for file, path in places.items():
        if file.exists():
            file.replace(path)
            appeared.note(path)
    for path in places.values():
        sync(Path(path).parent)


@contextlib.contextmanager
def _told_by_name(places: dict[Path, str]) -> Iterator[None]:
    """Let errors name files as they shall be named, and not as drafts of them are."""
    try:
        yield
    except OSError as error:
        path = places.get(Path(str(error.filename)))
        if path is None:
            raise
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); make room or write elsewhere"
        ) from error
    except OutputError as error:
        text = str(error)
        for file, path in places.items():
            text = text.replace(str(file), path)
        raise OutputError(text) from error


def write_whole(path: str, data: bytes, overwrite: bool) -> None:
    """Write bytes under a name, whole or not at all, or to stdout; raises `OutputError`."""
    if path in STDOUT:
        pour(data)
        return
    with drafts((path,), overwrite) as (hidden,):
        try:
            hidden.write_bytes(data)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def pour(data: bytes) -> None:
    """Write bytes to stdout.

    Raises
    ------
    OutputError
    BrokenPipeError
        The reader has left.
    """
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"-: stdout cannot be written ({error.strerror}); send it elsewhere, or name a file"
        ) from error


def hidden_folder(target: Path) -> Path:
    """Make a hidden directory beside a file to be; raises `OutputError`."""
    try:
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.stcli-", dir=target.parent))
    except OSError as error:
        raise OutputError(
            f"{target}: nothing can be written beside it ({error.strerror}); "
            "choose another directory"
        ) from error


def discard(path: Path) -> None:
    """Remove a file or a directory, if it is there; of a link to one the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
