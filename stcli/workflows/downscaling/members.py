"""What an ensemble's bands are called, and which of them belong together."""

from __future__ import annotations

from collections.abc import Sequence

from stcli.errors import InputError
from stcli.raster.info import RasterInfo
from stcli.raster.reading.frames import ending


def suffixes(members: int) -> tuple[str, ...]:
    """Name what is written of a band: its mean, its standard deviation, its members."""
    return ("", "_std", *(f"_m{i}" for i in range(1, members + 1)))


def told(info: RasterInfo, name: str) -> str:
    """Read what a raster says of how it was made finer; empty if it does not."""
    tags = {key.lower(): value for key, value in info.tags.items()}
    found: str = tags.get(f"stcli_{name}", "")
    return found


def members_of(info: RasterInfo) -> int:
    """Count the members that a raster says it holds of each band; 0 for one that is no ensemble."""
    text = told(info, "members")
    return int(text) if text.isdecimal() else 0


def groups(names: Sequence[str], members: int, path: str) -> list[list[int]]:
    """Find the bands that are written of each band, whatever order they lie in.

    Parameters
    ----------
    names : sequence of str
        Of an ensemble's bands; the suffix stands before time and level.
    members : int
        0 for a raster that is no ensemble.
    path : str
        Named in the refusal.

    Returns
    -------
    list of list of int
        Of each mean, in order: the places of mean, standard deviation and members.

    Raises
    ------
    InputError
        Bands that belong to none.
    """
    if not members:
        return [[place] for place in range(len(names))]
    places, found = {name: place for place, name in enumerate(names)}, []
    for name in names:
        group = [places.get(ending(name, suffix)) for suffix in suffixes(members)]
        if None not in group:
            found.append([place for place in group if place is not None])
    if len(found) * (members + 2) != len(names):
        raise InputError(
            f"{path}: bands {', '.join(names)} found; of each band a mean NAME, NAME_std and "
            f"NAME_m1 to NAME_m{members} are wanted, as downscale writes them."
        )
    return found
