"""What a run has written, and would leave for the next one, if it ended now: for who ends it.

A kernel or a driver may not listen to an interrupt. The thread that then ends the process asks
here, without an import or a lock that the step may be holding.
"""

from __future__ import annotations

from collections.abc import Callable

from stcli.raster.writing import appeared

_kept: dict[str, Callable[[], int]] = {}


def begin() -> None:
    """Forget what another command of this process wrote."""
    appeared.forget()


def written() -> str:
    """Say which outputs are complete and under their names."""
    return appeared.told()


def keep(path: str, count: Callable[[], int]) -> None:
    """Let `count` tell how many tiles of an output are finished and kept."""
    _kept[path] = count


def drop(path: str) -> None:
    """Forget an output: it is complete, or its end is told by another."""
    _kept.pop(path, None)


def told() -> str:
    """Say what is kept, a line an output."""
    counts = {path: count() for path, count in list(_kept.items())}
    return "".join(
        f"{path}: {tiles} tiles are kept; the same command continues\n"
        for path, tiles in counts.items()
        if tiles
    )
