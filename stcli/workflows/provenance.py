"""``info --provenance`` and ``rerun``: outputs in, how they were made out."""

from __future__ import annotations

from stcli.raster.provenance import Provenance, read_provenance
from stcli.raster.read import open_raster

__all__ = ["Provenance", "provenance"]


def provenance(path: str) -> Provenance:
    """Read how a raster was made.

    Raises
    ------
    InputError
        It cannot be read, or does not say.
    """
    with open_raster(path) as raster:
        return read_provenance(path, raster.info.tags)
