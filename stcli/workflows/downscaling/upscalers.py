"""What can make a tile finer without a model: interpolation, and a linear guide."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.downscaling.features import base
from stcli.downscaling.features import halo as feature_halo
from stcli.downscaling.guide import detail, part, weights
from stcli.downscaling.interpolation import halo, interpolate
from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import InputError
from stcli.nn.likeness import Likeness
from stcli.raster.info import RasterInfo
from stcli.raster.reading.read import Raster
from stcli.raster.reading.stack import Nesting
from stcli.settings import DownscaleSettings
from stcli.workflows.downscaling.nested import nested
from stcli.workflows.each_band import EachBand
from stcli.workflows.unlike import Known

#: Side of the parts that a linear guide learns from, in pixels one scale coarser than the raster.
PART = 64
#: Parts along each axis, at most.
PARTS = 8


class Upscaler(Protocol):
    """What makes a tile's bands finer, one after the other."""

    @property
    def name(self) -> str:
        """What the output says was run."""

    @property
    def halo(self) -> int:
        """Coarse pixels that a tile reads around its core."""

    @property
    def align(self) -> int:
        """Coarse pixels of the lattice at whose multiples tiles are cut."""

    @property
    def checksum(self) -> str:
        """Of a model's weights; empty without a model."""

    @property
    def model(self) -> Known | None:
        """The model; None without one."""

    def bytes(self, info: RasterInfo, factor: int) -> Cost:
        """State what it needs beside the block read and the block written."""

    def fine(self, block: NDArray[Any], where: Tile) -> Iterator[NDArray[Any]]:
        """Yield each band of the core, (row * factor, col * factor), NaN for no value."""

    def liken(self, values: NDArray[Any]) -> Likeness | None:
        """Compare pixels (band, pixel) with a model's training; None without a model."""


@dataclass(frozen=True)
class Interpolation:
    """An upscaler that needs nothing but the band itself.

    Attributes
    ----------
    how : DownscaleSettings
    align : int
    said : str
        Name of the method where it runs in place of another.
    checksum, model : str, None
        Empty: there is no model.
    """

    how: DownscaleSettings
    align: int = 1
    said: str = ""
    checksum: str = ""
    model: None = None

    @property
    def name(self) -> str:
        """The method, or what was said of it."""
        return self.said or self.how.method

    @property
    def halo(self) -> int:
        """See `stcli.downscaling.interpolation.halo`."""
        return halo(self.how)

    def bytes(self, info: RasterInfo, factor: int) -> Cost:
        """One band's filled values, residuals, sums and filter results, as float64."""
        return Cost(7 * 8, core_pixel=8 * (factor**2 + 2 * factor))

    def fine(self, block: NDArray[Any], where: Tile) -> Iterator[NDArray[Any]]:
        """Interpolate band by band; see `Upscaler.fine`."""
        for band in block:
            yield interpolate(band, self.how, where.trim)

    def liken(self, values: NDArray[Any]) -> None:
        """Compare pixels (band, pixel) with no training: there is none."""


@dataclass(frozen=True)
class Guide:
    """A finer raster of the same scene.

    Attributes
    ----------
    raster : Raster
    nesting : Nesting
        Of the coarse raster in it.
    """

    raster: Raster
    nesting: Nesting

    @classmethod
    def of(cls, raster: Raster, coarse: Raster, factor: int) -> Guide:
        """Match a guide with the raster that it is to guide.

        Raises
        ------
        InputError
            Its pixels are not `factor` times finer, or the grids do not nest.
        """
        found = nested(raster, coarse)
        if found.factor[0] != factor:
            raise InputError(
                f"{raster.info.path}: a pixel of {coarse.info.path} spans {found.factor[0]} of its "
                f"pixels, {factor} are wanted; choose another --factor."
            )
        return cls(raster, found)

    def read(self, window: Window) -> NDArray[Any]:
        """Read the fine pixels (guide, row, col) of a coarse window; NaN where the guide ends."""
        s, offset, info = self.nesting.factor[0], self.nesting.offset, self.raster.info
        top, left = s * window.row_off + offset[0], s * window.col_off + offset[1]
        rows, cols = s * window.height, s * window.width
        found = np.full((info.count, rows, cols), np.nan)
        low = max(top, 0), max(left, 0)
        high = min(top + rows, info.shape[0]), min(left + cols, info.shape[1])
        if low[0] < high[0] and low[1] < high[1]:
            inside = Window(low[1], low[0], high[1] - low[1], high[0] - low[0])
            values, _ = EachBand(self.raster).read(inside)
            found[:, low[0] - top : high[0] - top, low[1] - left : high[1] - left] = values
        return found


@dataclass(frozen=True)
class LinearGuide:
    """Back-projection and the guide's detail, weighted; see `stcli.downscaling.guide`.

    Attributes
    ----------
    how : DownscaleSettings
    guide : Guide
    weights : ndarray of float64, (band, guide)
    name : str
    """

    how: DownscaleSettings
    guide: Guide
    weights: NDArray[np.float64] = field(repr=False)
    name: str = "ibp with a linear guide"
    align: int = 1
    checksum: str = ""
    model: None = None

    @property
    def halo(self) -> int:
        """That of the features."""
        return feature_halo(0, True)

    def bytes(self, info: RasterInfo, factor: int) -> Cost:
        """State the guide and its detail on the fine grid of what is read, and its base."""
        return guided_bytes(self.guide.raster.info.count, info.count, factor)

    def fine(self, block: NDArray[Any], where: Tile) -> Iterator[NDArray[Any]]:
        """Add the weighted detail to the base, band by band; see `Upscaler.fine`."""
        s = self.how.factor
        rows, cols = (slice(s * part.start, s * part.stop) for part in where.trim)
        found = detail(self.guide.read(where.read), s)[:, rows, cols]
        for band, weight in zip(block, self.weights, strict=True):
            yield base(band[None], s)[0, rows, cols] + np.tensordot(weight, found, 1)

    def liken(self, values: NDArray[Any]) -> None:
        """Compare pixels (band, pixel) with no training: there is none."""


def linear_guide(
    raster: Raster, guide: Guide, how: DownscaleSettings
) -> LinearGuide | Interpolation:
    """Learn a linear guide on parts of the raster, and leave to ibp the bands it does not help.

    Returns
    -------
    LinearGuide or Interpolation
        The name says which bands are guided.
    """
    each, parts = EachBand(raster), []
    for window in sampled_windows(raster.info.shape, PART * how.factor):
        parts.append(part(each.read(window)[0], guide.read(window), how.factor))
    found = weights(parts, guide.raster.info.count, raster.info.count)
    if not any(found.helped):
        return Interpolation(how, said="ibp (the linear guide is no better)")
    plain = [n for n, h in zip(raster.info.band_names, found.helped, strict=True) if not h]
    but = f" (ibp alone for {', '.join(plain)}: no better there)" if plain else ""
    return LinearGuide(how, guide, found.values, f"ibp with a linear guide{but}")


def sampled_windows(shape: tuple[int, int], side: int) -> Iterator[Window]:
    """Spread windows evenly over a raster, at most `PARTS` along each axis."""
    starts = []
    for length in shape:
        count = min(PARTS, -(-length // side))
        starts.append(np.linspace(0, max(0, length - side), count).astype(int).tolist())
    for row, col in itertools.product(*starts):
        yield Window(col, row, min(side, shape[1]), min(side, shape[0]))


def guided_bytes(guides: int, bands: int, factor: int) -> Cost:
    """Bytes of a guide, its base and its detail as float64, and of one band's base."""
    fine = factor**2 * 8
    return Cost(guides * (4 * fine + 4 * 8) + bands * 3 * 8 + 4 * fine + 7 * 8, core_pixel=2 * fine)
