"""Files that appear under their names only when all of them are complete.

Each is made in a hidden directory ``.NAME.stcli-XXXXXXXX`` beside the place where it shall be;
on a clean exit all are flushed to the disk, then renamed; on any error nothing is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stcli.errors import OutputError
from stcli.raster.writing import appeared
from stcli.raster.writing.hidden import hidden_folder
from stcli.raster.writing.output import STDOUT

#: Of what GDAL reads beside a raster as a part of it.
_COMPANIONS = (".ovr", ".msk", ".aux.xml")


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
    for file in () if overwrite else _companions(target):
        if file.exists():
            raise OutputError(
                f"{file}: exists already and would be taken for a part of {path}; give "
                "--overwrite or another name"
            )


def _companions(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in _COMPANIONS]


def put(file: Path, target: Path) -> None:
    """Rename a file over what is there, and first what lies beside it and is a part of it."""
    for old in _companions(target):  # those of an overwritten file
        old.unlink(missing_ok=True)
    if sidecar(file).exists():
        sidecar(file).replace(sidecar(target))
    file.replace(target)


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
            folder = stack.enter_context(hidden_folder(Path(path)))
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


@contextlib.contextmanager
def settled(files: Sequence[Path]) -> Iterator[None]:
    """Flush drafts to the disk before a raster, made around the block, gets its name.

    Parameters
    ----------
    files : sequence of Path
        As `drafts` gave them, around the raster; complete at the end of the block.
    """
    yield
    for file in files:
        sync(file)


def _put(places: dict[Path, str]) -> None:
    """Put files under their names, as far as they are not yet."""
    for file, path in places.items():
        if file.exists():
            put(file, Path(path))
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
    write_pieces(path, (data,), overwrite)


def write_pieces(path: str, pieces: Iterable[bytes], overwrite: bool) -> None:
    """Write bytes as they come: under a name whole or not at all; or to stdout.

    Raises
    ------
    OutputError
    """
    if path in STDOUT:
        for piece in pieces:
            pour(piece)
        return
    with drafts((path,), overwrite) as (hidden,):
        try:
            with hidden.open("wb") as file:
                file.writelines(pieces)
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


def sidecar(path: Path) -> Path:
    """Where GDAL looks for what a raster's own file cannot say."""
    return path.with_name(path.name + ".aux.xml")


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
