"""Where a training puts its model: refused before any work where it cannot."""

from __future__ import annotations

import os
from pathlib import Path

from stcli.errors import OutputError
from stcli.nn.weights import CARD


def refuse_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a model folder that cannot be written, before any work.

    Raises
    ------
    OutputError
    """
    if (folder / CARD).exists() and not overwrite:
        raise OutputError(f"{folder}: a model exists; --overwrite replaces it.")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file, a folder is wanted; give another name.")
    if not folder.parent.is_dir():
        raise OutputError(f"{folder}: there is no directory {folder.parent}; create it first.")
    place = folder if folder.exists() else folder.parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: the directory {place} is not writable.")
