"""How a block of dates is looked at: by a model of series, a network of stacks, or date by date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.landcover.fusion import fuse
from stcli.landcover.network.network_method import NetworkMethod
from stcli.landcover.network.windows import Scene
from stcli.landcover.prediction import Classifier
from stcli.landcover.series.season import on_steps
from stcli.raster.info import RasterInfo
from stcli.raster.reading.datestack import DateStack
from stcli.raster.writing.output import OutputSpec
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, pixel_bytes, slic
from stcli.workflows.kernels import LOADED
from stcli.workflows.landcover.classify import TOIL
from stcli.workflows.landcover.dated import Seasonal
from stcli.workflows.landcover.stacks import Growing, growing_bytes

if TYPE_CHECKING:
    from stcli.landcover.series.series_method import SeriesMethod


@dataclass(frozen=True)
class SeriesLook:
    """Looks at a block of dates with a model of series."""

    model: Classifier
    space: LabelSpace
    seasonal: Seasonal

    @property
    def stack(self) -> DateStack:
        """What is read."""
        return self.seasonal.stack

    @property
    def method(self) -> SeriesMethod:
        """The model's method."""
        return series_method(self.model)

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> tuple[NDArray[np.float32], NDArray[np.uint16] | None]:
        """Give probabilities (class, row, col) over the core."""
        from stcli.landcover.series.series_method import composite  # loads torch

        bands, method = len(self.stack.variables), self.method
        cells = block.reshape(-1, bands, *block.shape[1:])
        places, steps = np.array(self.seasonal.places), len(method.season.offsets)
        values = on_steps(cells, places, steps).reshape(-1, *block.shape[1:])
        grown = Block(composite(values, bands), valid, where.lattice)
        segments = slic(grown, method.composite, self.model.slic, self.space)
        scene = Scene(values, valid, segments, where.lattice)
        return self.model.probabilities(scene, where.trim), None

    def cost(self, info: RasterInfo, specs: list[OutputSpec]) -> Cost:
        """Bytes: the dates as read, their steps, superpixels of the composite, outputs."""
        needs, bands = self.model.needs, 2 * len(self.stack.variables)
        grown = pixel_bytes(bands, self.model.slic, info.shape)
        read = self.stack.read_bytes + needs.read_pixel + max(grown, 8 * 4 * bands) + 8
        return _cost(read, needs.core_pixel, needs.window, specs)


@dataclass(frozen=True)
class NetworkLook:
    """Looks at a block of dates with a network of stacks."""

    model: Classifier
    space: LabelSpace
    stack: DateStack

    @property
    def method(self) -> NetworkMethod:
        """The model's method."""
        assert isinstance(self.model.method, NetworkMethod)  # `look_of` has looked
        return self.model.method

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> tuple[NDArray[np.float32], NDArray[np.uint16] | None]:
        """Give probabilities (class, row, col) over the core."""
        growing = Growing(self.method.scaling, self.model.slic, self.space, self.stack.days)
        scene = growing.scene(block, valid, where.lattice)
        return self.model.probabilities(scene, where.trim), None

    def cost(self, info: RasterInfo, specs: list[OutputSpec]) -> Cost:
        """Bytes: the dates as read, superpixels of the composite, a window's dates, outputs."""
        needs = self.model.needs
        read = growing_bytes(self.stack, self.model.slic, info.shape) + needs.read_pixel
        window = needs.window + self.method.dates_bytes(len(self.stack.dates))
        return replace(_cost(read, needs.core_pixel, window, specs), toil=TOIL)


@dataclass(frozen=True)
class FusedLook:
    """Looks at each date of a block with a model of one date, and fuses what it sees."""

    model: Classifier
    space: LabelSpace
    stack: DateStack
    tau: float
    best_date: str | None = None

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> tuple[NDArray[np.float32], NDArray[np.uint16] | None]:
        """Give fused probabilities (class, row, col) over the core, and the best date."""
        cells = block.reshape(len(self.stack.days), -1, *block.shape[1:])
        chances, best = fuse((self._date(cell, where) for cell in cells), self.tau)
        return chances, None if self.best_date is None else best

    def _date(self, cell: NDArray[Any], where: Tile) -> NDArray[np.float32]:
        valid = np.isfinite(cell[0])  # a date is there in all variables or in none
        if not valid[where.trim].any():
            shape = (len(self.model.card.classes), where.core.height, where.core.width)
            return np.full(shape, np.nan, dtype=np.float32)
        values = np.where(valid, cell, 0)
        part = Block(values, valid, where.lattice)
        segments = slic(part, self.model.scaling, self.model.slic, self.space)
        return self.model.probabilities(Scene(values, valid, segments, where.lattice), where.trim)

    def cost(self, info: RasterInfo, specs: list[OutputSpec]) -> Cost:
        """Bytes: the dates as read, one date's superpixels, sums of fusing, outputs."""
        needs, bands = self.model.needs, len(self.stack.variables)
        read = self.stack.read_bytes + 4 * bands + 9 + needs.read_pixel
        read += pixel_bytes(bands, self.model.slic, info.shape)
        core = needs.core_pixel + len(self.model.card.classes) * 3 * 8 + 40
        return _cost(read, core, needs.window, specs)


def series_method(model: Classifier) -> SeriesMethod:
    """Give the method of a model of series."""
    from stcli.landcover.series.series_method import SeriesMethod  # loads torch

    assert isinstance(model.method, SeriesMethod)  # its card says so
    return model.method


Look = SeriesLook | NetworkLook | FusedLook


def _cost(read: int, core: int, window: int, specs: list[OutputSpec]) -> Cost:
    outputs = sum(len(spec.bands) * np.dtype(spec.dtype).itemsize for spec in specs)
    return Cost(read, core + 2 * outputs + 16, window=window, kernels=LOADED)
