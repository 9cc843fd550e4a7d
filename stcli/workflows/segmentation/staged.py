"""A job of several steps: a place beside its output where what the first ones made is kept."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from stcli.errors import InputError, UsageError
from stcli.lock import Lock
from stcli.raster.writing.hidden import STAGED, hidden_home, sweep

#: After these nothing that was made is of use.
_HOPELESS = (InputError, UsageError)


@contextlib.contextmanager
def staged(path: str, keep: bool = True) -> Iterator[Path]:
    """Give a directory beside an output that stays when the job is killed, or ends early.

    It goes when the job is done, or its input or options are to blame.

    Parameters
    ----------
    path : str
        The output.
    keep : bool
        Take up what an earlier run left there.

    Raises
    ------
    OutputError
        Another run is writing the output, or nothing can be written beside it.
    """
    sweep(Path(path))
    home = hidden_home(Path(path))
    lock, place = Lock(home / "lock", path), home / STAGED
    stays = False
    try:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(exist_ok=True)
        yield place
    except BaseException as error:
        stays = not isinstance(error, _HOPELESS) and place.is_dir() and any(place.iterdir())
        raise
    finally:
        if not stays and place.exists():
            gone = home / "gone"  # after a kill from here on nothing is of use
            shutil.rmtree(gone, ignore_errors=True)
            shutil.rmtree(place.rename(gone), ignore_errors=True)
        lock.release(remove=not stays)
