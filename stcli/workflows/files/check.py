"""``check``: files in, what is not valid in them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stcli.checks.cf import check_cf
from stcli.checks.cog import check_cog
from stcli.checks.findings import Checked
from stcli.checks.georef import check_georef
from stcli.errors import InputError
from stcli.raster.info import RasterInfo
from stcli.raster.reading.read import open_raster

__all__ = ["Unreadable", "cf", "check_all", "cog", "georef", "grid_of"]


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be looked at, and why."""

    path: str
    error: str


def check_all(paths: Sequence[str], check: Callable[[str], Checked]) -> list[Checked | Unreadable]:
    """Check files one after the other; one that cannot be read does not end it."""
    results: list[Checked | Unreadable] = []
    for path in paths:
        try:
            results.append(check(path))
        except InputError as error:
            results.append(Unreadable(path, str(error)))
    return results


def cog(path: str) -> Checked:
    """Check that a GeoTIFF is cloud optimised; see `stcli.checks.cog`."""
    return check_cog(path)


def cf(path: str) -> Checked:
    """Check a NetCDF file against the CF conventions; see `stcli.checks.cf`."""
    return check_cf(path)


def georef(path: str, like: RasterInfo | None = None) -> Checked:
    """Check that a raster says where it lies; see `stcli.checks.georef`."""
    with open_raster(path) as raster:
        return check_georef(raster.info, like)


def grid_of(path: str) -> RasterInfo:
    """Read the raster on whose grid others must lie; raises `InputError`."""
    with open_raster(path) as raster:
        return raster.info
