"""What a command has put under its names so far: for who has to say so when it is interrupted."""

from __future__ import annotations

import re
from pathlib import Path

_HIDDEN = re.compile(r"\..*\.stcli")
_paths: list[str] = []


def note(path: str) -> None:
    """Remember an output that is complete and under its name, but of those in a hidden folder."""
    if not any(map(_HIDDEN.fullmatch, Path(path).parts[:-1])):
        _paths.append(path)


def forget() -> None:
    """Forget all outputs: another command begins."""
    _paths.clear()


def told() -> str:
    """Say which outputs were written."""
    if not _paths:
        return "no output was written"
    if len(_paths) == 1:
        return f"{_paths[0]} was written before"
    return f"{_paths[0]} and {len(_paths) - 1} more were written before"
