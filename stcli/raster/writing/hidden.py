"""Hidden folders beside outputs on their way, and what runs that are gone have left of them.

``.NAME.stcli-XXXXXXXX`` holds drafts, which no later run can use; ``.NAME.stcli`` a job, which one
may continue (`stcli.raster.writing.folder`). An output on stdout has ``.stcli-XXXXXXXX`` in
``CPL_TMPDIR``. Whoever works in such a folder holds a lock in it, which dies with its process: so
the next run beside it knows what was left behind, and removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from stcli.errors import OutputError
from stcli.lock import Lock, held

#: What a job of several steps keeps of the first ones.
STAGED = "staged"
#: The lock of a folder of drafts; no draft has its name.
ALIVE = ".stcli-alive"
_LOCK, _MARKER = "lock", "published"
#: What `tempfile` adds to a name.
_RANDOM = re.compile(r"[a-z0-9_]{8}")


def hidden_home(target: Path) -> Path:
    """Name the folder of an output's job: absolute, for workers too."""
    return target.parent.absolute() / f".{target.name}.stcli"


@contextlib.contextmanager
def hidden_folder(target: Path | None) -> Iterator[Path]:
    """Give a folder for drafts, which goes when the block ends.

    Parameters
    ----------
    target : Path or None
        The file to be; None for stdout.

    Raises
    ------
    OutputError
    """
    while True:
        folder = make_folder(target)
        with held(folder / ALIVE, without=True) as mine:
            if mine:  # else another run took it for one that was left behind
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                return


def make_folder(target: Path | None) -> Path:
    """Make a folder of drafts beside a file to be, or for stdout; first remove what was left.

    Its maker is to hold the lock `ALIVE` in it.

    Raises
    ------
    OutputError
    """
    sweep(target)
    place, prefix = _place(target)
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    except OSError as error:
        if target is None:
            raise OutputError(
                f"-: no temporary directory can be made in {place} ({error.strerror}); "
                "let CPL_TMPDIR name another directory"
            ) from error
        raise OutputError(
            f"{target}: nothing can be written beside it ({error.strerror}); "
            "choose another directory"
        ) from error


def sweep(target: Path | None) -> None:
    """Remove what runs on an output left that are gone, but what a later one may continue.

    Where locks are not to be had nothing is known to be left behind, and nothing is removed.

    Parameters
    ----------
    target : Path or None
        The output; None for stdout.
    """
    place, prefix = _place(target)
    with contextlib.suppress(OSError):  # of others, or gone meanwhile
        for entry in list(os.scandir(place)):
            drafts = entry.name.startswith(prefix) and _RANDOM.fullmatch(entry.name, len(prefix))
            if drafts and entry.is_dir(follow_symlinks=False):
                _remove_left(Path(entry.path), ALIVE)
    if target is not None:
        sweep_job(target)


def sweep_job(target: Path, done: bool = False) -> None:
    """Remove a job's folder as `sweep` does; the directory, which may be large, is not searched.

    Parameters
    ----------
    target : Path
        The output.
    done : bool
        It is complete, with all that belongs to it: its job's folder is of no more use.
    """
    home = hidden_home(target)
    if home.is_dir() and not _is_wanted(home, target, done):
        _remove_left(home, _LOCK)


def _place(target: Path | None) -> tuple[Path, str]:
    """Directory of an output's folders of drafts, and how their names begin."""
    if target is None:
        return Path(os.environ.get("CPL_TMPDIR") or tempfile.gettempdir()), ".stcli-"
    return target.parent, f".{target.name}.stcli-"


def _is_wanted(home: Path, target: Path, done: bool) -> bool:
    """Tell whether a later run may continue what is in a job's folder."""
    marked = any(is_marked(folder, target) for folder in (home, home / STAGED))
    if done and marked and target.exists():
        return False
    return any((home / name).exists() for name in ("job/job.json", STAGED, _MARKER))


def _remove_left(folder: Path, lock: str) -> None:
    """Remove a folder whose owner is gone."""
    with contextlib.suppress(OSError), held(folder / lock, without=False) as left:
        if left:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def marking(target: Path) -> Iterator[Path]:
    """Hold an output's folder, of a run that keeps no tiles, to note in it what is renamed.

    It goes with the block; it stays where the run ends between two renames.

    Parameters
    ----------
    target : Path
        The output.

    Raises
    ------
    OutputError
        Another run is writing the output, or nothing can be written beside it.
    """
    home = hidden_home(target)
    lock, done = Lock(home / _LOCK, str(target)), False
    try:
        yield home
        unmark(home)
        done = True
    finally:
        lock.release(remove=done or not (home / _MARKER).exists())


def mark(folder: Path, files: Sequence[Path]) -> None:
    """Note in a hidden folder which finished files are about to be put under their names."""
    marker = folder / _MARKER
    with marker.open("w") as file:  # on the disk before the names are
        file.write("\n".join(map(_identity, files)))
        file.flush()
        os.fsync(file.fileno())


def unmark(folder: Path) -> None:
    """Forget what `mark` noted."""
    (folder / _MARKER).unlink(missing_ok=True)


def is_marked(folder: Path, target: Path) -> bool:
    """Tell whether what is under an output's name is of the job that was killed as it ended."""
    try:
        marked = (folder / _MARKER).read_text().splitlines()
    except OSError:  # none
        return False
    try:
        return _identity(target) in marked
    except FileNotFoundError:
        return True  # killed before this rename: what lies beside the name is its own


def is_own(path: str, *beside: str) -> bool:
    """Tell whether an output is there of a run of its job that was killed as it tidied up.

    Parameters
    ----------
    path : str
        The output.
    *beside : str
        What is written with it, and is to be of that run, too.
    """
    home = hidden_home(Path(path))
    return all(is_marked(home, Path(each)) for each in (path, *beside))


def _identity(path: Path) -> str:
    """Tell a file from others, also from one that got its number in the file system later."""
    found = path.stat()
    changed = "" if path.is_dir() else found.st_mtime_ns  # a rename may change a directory's
    return f"{found.st_dev} {found.st_ino} {changed}"
