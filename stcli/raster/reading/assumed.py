"""What the user knows of files that do not tell it themselves."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from stcli.errors import InputError, UsageError
from stcli.raster.info import crs_text
from stcli.raster.nodata import representable
from stcli.raster.reading.source import SourceInfo

logger = logging.getLogger("stcli")

#: Rules of bands that declare nothing of which pixels are valid.
SILENT = ("nan", "all")


@dataclass(frozen=True)
class Assumed:
    """What files are taken to declare where they declare nothing.

    Attributes
    ----------
    crs : str or None
        Of files without one: an authority code, WKT or a PROJ string.
    nodata : float or None
        Stored value of pixels without one, of bands that have no nodata value, mask or alpha.
    """

    crs: str | None = None
    nodata: float | None = None

    def of(self, info: SourceInfo) -> SourceInfo:
        """Complete what a file declares.

        Raises
        ------
        UsageError
            The text is no CRS.
        InputError
            The file has another CRS of its own: silently relabelling it would move it.
        """
        if self.crs is not None:
            info = _with_crs(info, self.crs)
        return info if self.nodata is None else _with_nodata(info, self.nodata)


NOTHING = Assumed()


def _with_crs(info: SourceInfo, text: str) -> SourceInfo:
    try:
        crs = CRS(text)
    except Exception as error:  # pyproj raises its own family, odc-geo ValueError
        raise UsageError(
            f"--assume-crs {text}: not a CRS; give an authority code such as EPSG:32618, "
            "WKT or a PROJ string"
        ) from error
    own = info.geobox.crs
    if own is not None and own != crs:
        raise InputError(
            f"{info.path}: has the CRS {crs_text(info.geobox)} and was to be assumed "
            f"{text}; drop --assume-crs, or reproject the file"
        )
    geobox = GeoBox(info.geobox.shape, info.geobox.transform, crs)
    return replace(info, geobox=geobox)


def _with_nodata(info: SourceInfo, nodata: float) -> SourceInfo:
    taken = [
        rule in SILENT and representable(nodata, np.dtype(band.dtype))
        for band, rule in zip(info.bands, info.rules, strict=True)
    ]
    if not any(taken):
        why = "no band can hold it" if set(info.rules) & set(SILENT) else "all bands tell their own"
        logger.warning("%s: --assume-nodata %g is not used, %s", info.path, nodata, why)
        return info
    bands = [replace(b, nodata=nodata) if t else b for b, t in zip(info.bands, taken, strict=True)]
    rules = ["assumed" if t else rule for rule, t in zip(info.rules, taken, strict=True)]
    return replace(info, bands=tuple(bands), rules=tuple(rules))
