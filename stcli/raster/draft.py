"""Files that appear under their names only when all of them are complete.

Each is made in a hidden directory ``.NAME.stcli-XXXXXX`` beside the place where it shall be;
on a clean exit all are flushed to the disk, then renamed; on any error nothing is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from stcli.errors import OutputError


def refuse_file(path: str, overwrite: bool) -> None:
    """Refuse a file that cannot be made, before any work.

    Raises
    ------
    OutputError
    """
    target = Path(path)
    if path == "-" or path.startswith("/vsi"):
        raise OutputError(f"{path}: cannot be written in place; name a local file")
    if target.is_dir():
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
            folder = _folder(Path(path))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            hidden.append(folder / Path(path).name)
        yield tuple(hidden)
        for file, path in zip(hidden, paths, strict=True):
            refuse_file(path, overwrite)  # another process may have been quicker
            _sync(file)
        for file, path in zip(hidden, paths, strict=True):
            file.replace(path)
            _sync(Path(path).parent)


def _folder(target: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.stcli-", dir=target.parent))
    except OSError as error:
        raise OutputError(
            f"{target}: nothing can be written beside it ({error.strerror}); "
            "choose another directory"
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
