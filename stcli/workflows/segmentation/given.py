"""What a user gives in words that need the raster: ground units, a band scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from stcli.errors import InputError, UsageError
from stcli.raster.info import RasterInfo
from stcli.raster.reading.read import open_raster
from stcli.settings import BandScaling, SlicSettings

#: Tag under which a label raster keeps the scaling that made it.
SCALING = "STCLI_SCALING"
#: Tag under which merged levels keep how they were merged.
MERGE = "STCLI_MERGE"


@dataclass(frozen=True)
class Given:
    """Wishes that are read once the raster is open.

    Attributes
    ----------
    area : float or None
        Mean area of a superpixel in square metres, instead of its pixels.
    scaling : str
        ``"percentiles"`` to measure it, ``"LOW:HIGH,..."`` one pair for all bands or one a band,
        or a label raster whose scaling is taken.
    """

    area: float | None = None
    scaling: str = "percentiles"

    def settings(self, slic: SlicSettings, info: RasterInfo) -> SlicSettings:
        """Put the size in pixels into settings.

        Raises
        ------
        UsageError
            The area is below 4 pixels, or the size above the raster's.
        InputError
            The raster's CRS has no unit of length.
        """
        if self.area is not None:
            slic = replace(slic, size=pixels_in(self.area, info))
        if slic.size > max(4, math.prod(info.shape)):
            raise UsageError(
                f"--size: {slic.size} pixels found, at most {math.prod(info.shape)} wanted, "
                f"those of {info.path}."
            )
        return slic

    def band_scaling(self, info: RasterInfo) -> BandScaling | None:
        """Scaling that is given; None where it is to be measured.

        Raises
        ------
        UsageError, InputError
        """
        if self.scaling == "percentiles":
            return None
        pairs = _pairs(self.scaling)
        if pairs is None:
            pairs = _kept(self.scaling)
        if len(pairs) == 1:
            pairs = pairs * info.count
        if len(pairs) != info.count:
            raise UsageError(
                f"--scaling: {len(pairs)} pairs found, one or {info.count} wanted, "
                f"as {info.path} has bands."
            )
        return BandScaling(tuple(low for low, _ in pairs), tuple(high for _, high in pairs))


def pixels_in(area: float, info: RasterInfo) -> int:
    """Pixels in so many square metres.

    Raises
    ------
    UsageError
        Fewer than 4.
    InputError
        The CRS is missing, or in degrees.
    """
    crs = info.geobox.crs
    if crs is None or not crs.projected:
        found = "no CRS" if crs is None else f"{crs.proj.name}, not projected,"
        raise InputError(
            f"{info.path}: {found} found, a projected CRS is wanted for --size-unit m2; "
            "give --size in pixels."
        )
    metres = crs.proj.axis_info[0].unit_conversion_factor
    pixel = abs(info.geobox.transform.determinant) * metres**2
    if not area / pixel >= 4:
        raise UsageError(
            f"--size: {area:g} m2 found, at least 4 pixels wanted, {4 * pixel:g} m2 in {info.path}."
        )
    return round(area / pixel)


def text_of(scaling: BandScaling) -> str:
    """Write a scaling as ``--scaling`` reads it, to the bit."""
    return ",".join(f"{lo!r}:{hi!r}" for lo, hi in zip(scaling.low, scaling.high, strict=True))


def _pairs(text: str) -> list[tuple[float, float]] | None:
    """Read ``LOW:HIGH,...``; None if it is no such list.

    Raises
    ------
    UsageError
        A pair does not rise, or is not finite.
    """
    try:
        parts = [[float(number) for number in part.split(":")] for part in text.split(",")]
    except ValueError:
        return None
    pairs = [(part[0], part[-1]) for part in parts]
    for part, (low, high) in zip(parts, pairs, strict=True):
        if len(part) != 2 or not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(f"--scaling: '{text}' found, LOW:HIGH,... rising and finite wanted.")
    return pairs


def _kept(path: str) -> list[tuple[float, float]]:
    """Read the scaling that a label raster keeps.

    Raises
    ------
    InputError
    """
    with open_raster((path,)) as raster:
        pairs = _pairs(raster.info.tags.get(SCALING, "-"))
    if pairs is None:
        raise InputError(
            f"{path}: no scaling found, a label raster that stcli segment wrote is wanted; "
            "or give LOW:HIGH,..."
        )
    return pairs
