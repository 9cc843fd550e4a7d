"""``info --provenance`` and ``rerun``: outputs in, how they were made out."""

from __future__ import annotations

from stcli.raster.reading.read import open_raster
from stcli.raster.reading.zarrtags import group_tags
from stcli.raster.writing.provenance import Provenance, read_provenance

__all__ = ["Provenance", "provenance"]


def provenance(path: str) -> Provenance:
    """Read how a raster was made.

    Raises
    ------
    InputError
        It cannot be read, or does not say.
    """
    if tags := group_tags(path):  # of a Zarr, which GDAL reads in format 2 only
        return read_provenance(path, tags)
    with open_raster(path) as raster:
        return read_provenance(path, raster.info.tags)
