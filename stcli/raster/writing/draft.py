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
from stcli.raster.writing.hidden import hidden_folder, mark, marking
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
    if _is_device(target):
        raise OutputError(
            f"{path}: a device or a pipe, a file is wanted; name one, or - for stdout"
        )
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


def _is_device(target: Path) -> bool:
    """Tell whether a rename would put a file in the place of what is none."""
    place = target.parent.resolve()
    if place == Path("/dev") or place.is_relative_to("/proc"):  # a link there may lead to a file
        return True
    return target.exists() and not target.is_file() and not target.is_dir()


def _companions(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in _COMPANIONS]


def put(file: Path, target: Path) -> None:
    """Rename a file over what is there, and first what lies beside it and is a part of it."""
    for old in _companions(target):  # those of an overwritten file
        old.unlink(missing_ok=True)
    if sidecar(file).exists():
        sidecar(file).replace(sidecar(target))
    file.replace(target)


class Drafts(tuple[Path, ...]):
    """Where files are made that appear together, each with the name that it shall have.

    Attributes
    ----------
    places : dict of Path to str
        Of each, where it shall be.
    home : Path or None
        The folder where it is noted that they are about to appear: a run that is killed between
        two of them finds its own.
    """

    places: dict[Path, str]
    home: Path | None
    _overwrite: bool

    @classmethod
    def of(cls, places: dict[Path, str], overwrite: bool, home: Path | None) -> Drafts:
        """Name the drafts of files."""
        made = cls(places)
        made.places, made._overwrite, made.home = places, overwrite, home
        return made

    def ready(self) -> None:
        """Flush them to the disk, and refuse files that exist by now; raises `OutputError`."""
        for file, path in self.places.items():
            if file.exists():
                refuse_file(path, self._overwrite)  # another process may have been quicker
                sync(file)

    def appear(self, *finished: Path) -> None:
        """Put them under their names, as far as they are not yet; the first is the last.

        Parameters
        ----------
        *finished : Path
            Drafts of others that get their names next.
        """
        left = [file for file in self if file.exists()]
        if left and self.home is not None:
            mark(self.home, (*left, *finished))
        for file in reversed(left):
            put(file, Path(self.places[file]))
            appeared.note(self.places[file])
        for folder in {Path(self.places[file]).parent for file in left}:
            sync(folder)


#: None at all.
NO_DRAFTS = Drafts.of({}, False, None)


@contextlib.contextmanager
def drafts(
    paths: Sequence[str],
    overwrite: bool,
    home: Path | None = None,
    beside: Drafts = NO_DRAFTS,
) -> Iterator[Drafts]:
    """Make files that appear together.

    Parameters
    ----------
    paths : sequence of str
    overwrite : bool
    home : Path, optional
        The folder of the output that they belong to, which this run has locked; by default that of
        the first of several.
    beside : Drafts
        Further files, whose block lies around this one; they appear just before these.

    Raises
    ------
    OutputError
    """
    with contextlib.ExitStack() as stack:
        for path in paths:
            refuse_file(path, overwrite)
        if home is None and len(paths) > 1:
            home = stack.enter_context(marking(Path(paths[0])))
        places = {}
        for path in paths:
            places[stack.enter_context(hidden_folder(Path(path))) / Path(path).name] = path
        with _told_by_name(places):
            made = Drafts.of(places, overwrite, home)
            yield made
            made.ready()
            beside.ready()
            try:
                beside.appear(*made)
                made.appear()
            except KeyboardInterrupt:  # some are under their names: so are the others, at once
                beside.appear(*made)
                made.appear()


@contextlib.contextmanager
def drafts_beside(path: str, paths: Sequence[str], overwrite: bool) -> Iterator[Drafts]:
    """Make files that appear with an output of which no tiles are kept; see `drafts`.

    Parameters
    ----------
    path : str
        The output, which is to be made within the block.
    paths : sequence of str
    overwrite : bool
    """
    with contextlib.ExitStack() as stack:
        noted = paths and path not in STDOUT
        home = stack.enter_context(marking(Path(path))) if noted else None
        yield stack.enter_context(drafts(paths, overwrite, home))


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
