"""Superpixels and objects."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from stcli.settings.checking import check

#: Of a compactness or a scale: far beyond, one that stands for "no limit" loses its digits.
_MOST = 1_000_000


@dataclass(frozen=True)
class BandScaling:
    """What maps each band to about [0, 1]: ``(value - low) / (high - low)``.

    Attributes
    ----------
    low, high : tuple of float
        One value a band, in the band's unit; ``high > low``.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    #: Scaled bands are held within ± this: the sums of superpixels then fit fixed-point numbers,
    #: and the square of a nodata value that nobody declared leaves digits to those of a window.
    HELD: ClassVar[float] = 2.0**13


@dataclass(frozen=True)
class SlicSettings:
    """SLIC superpixels (Achanta et al. 2012, doi:10.1109/TPAMI.2012.120).

    Attributes
    ----------
    size : int
        Mean pixels of a superpixel; the seed lattice has a step of ``round(sqrt(size))`` pixels.
    compactness : float or "auto"
        Weight of position against spectrum: a distance of one lattice step weighs as much as a
        root-mean-square difference of `compactness` in scaled bands. With ``"auto"`` each
        superpixel takes the largest such difference among its pixels (SLICO).
    iterations : int
        Rounds of assigning pixels and moving centres.
    min_size : float
        Segments below this share of `size` are absorbed by a neighbour.
    """

    size: int = 100
    compactness: float | Literal["auto"] = 0.1
    iterations: int = 10
    min_size: float = 0.25

    def __post_init__(self) -> None:
        check(self.size >= 4, "--size", self.size, ">= 4 pixels")
        known = self.compactness == "auto" or 0 <= self.compactness <= _MOST
        check(known, "--compactness", self.compactness, f">= 0 and at most {_MOST:,}, or auto")
        check(1 <= self.iterations <= 1000, "--iterations", self.iterations, "from 1 to 1000")
        check(0 <= self.min_size <= 1, "--min-size", self.min_size, "between 0 and 1")

    @property
    def step(self) -> int:
        """Step of the seed lattice in pixels."""
        return max(2, round(math.sqrt(self.size)))


#: Superpixels for land cover: half the rounds, and so about half the halo to read.
LANDCOVER_SLIC = SlicSettings(iterations=5)
#: Superpixels for stacks of dates: of a quarter of the pixels.
SERIES_SLIC = SlicSettings(size=25, iterations=5)


@dataclass(frozen=True)
class MergeSettings:
    """Objects by region merging (Baatz & Schäpe 2000), of bands scaled to 0–255.

    Attributes
    ----------
    scales : tuple of float
        Two objects merge while their heterogeneity grows by less than ``scale ** 2``; one level
        each, rising.
    shape : float
        Weight of shape against spectrum, 0 to 1.
    compactness : float
        Within shape, weight of compactness against smoothness, 0 to 1.
    """

    scales: tuple[float, ...] = (50.0,)
    shape: float = 0.1
    compactness: float = 0.5

    def __post_init__(self) -> None:
        check_scales(self.scales, "--scale")
        check(0 <= self.shape <= 1, "--shape", self.shape, "between 0 and 1")
        option = "--shape-compactness"
        check(0 <= self.compactness <= 1, option, self.compactness, "between 0 and 1")


def check_scales(scales: tuple[float, ...], option: str) -> None:
    """Refuse scales of levels that cannot be, in the words of the option that gave them.

    Raises
    ------
    UsageError
    """
    known = all(0 < scale <= _MOST for scale in scales)
    check(bool(scales) and known, option, scales, f"numbers > 0 and at most {_MOST:,}")
    rising = all(a < b for a, b in itertools.pairwise(scales))
    check(rising, option, scales, "rising scales")


@dataclass(frozen=True)
class ObjectSettings:
    """What is written of each object.

    Attributes
    ----------
    percentiles : tuple of float
        Percentiles of each band, 0 to 100.
    indices : tuple of str
        Spectral indices by name.
    index_bands : tuple of (str, str)
        Letters of the formulas and the bands that stand for them.
    texture : bool
        Grey-level co-occurrence figures of each band.
    geometry : bool
        Polygons, or a plain table.
    """

    percentiles: tuple[float, ...] = ()
    indices: tuple[str, ...] = ()
    index_bands: tuple[tuple[str, str], ...] = ()
    texture: bool = False
    geometry: bool = True

    def __post_init__(self) -> None:
        for percentile in self.percentiles:
            check(0 <= percentile <= 100, "--percentiles", percentile, "from 0 to 100")
