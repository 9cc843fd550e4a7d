"""``assess-downscaling``: a fine raster against the truth, beside cubic and back-projection."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.conserve import conserve
from stcli.downscaling.interpolation import interpolate
from stcli.downscaling.metrics import Quality, median_block_ratio, quality
from stcli.engine.memory import Cost, Grid, budget
from stcli.engine.tiling import Tile
from stcli.errors import InputError, UsageError
from stcli.raster.info import grid_difference
from stcli.raster.read import Raster
from stcli.settings import DownscaleSettings, RunSettings
from stcli.workflows.job import Inputs, Pass, Progress, report, silent
from stcli.workflows.nested import EachBand

#: What every raster is measured beside.
PEERS = ("cubic", "ibp")


@dataclass(frozen=True)
class BandAssessment:
    """One band: its measures, the peers', and the median block ratio to ibp."""

    band: str
    quality: Quality
    peers: dict[str, Quality]
    median_ratio: float | None

    def to_json(self) -> dict[str, Any]:
        """Describe it with JSON's types."""
        ratio = self.quality.rmse / self.peers["ibp"].rmse if self.peers["ibp"].rmse else None
        return {
            "band": self.band,
            **self.quality.to_json(),
            "rmse_over_ibp": ratio,
            "median_block_over_ibp": self.median_ratio,
            "peers": {name: peer.to_json() for name, peer in self.peers.items()},
        }


@dataclass(frozen=True)
class Assessment:
    """What was measured, band by band, and how it ran."""

    fine: str
    truth: str
    factor: int
    margin: int
    bands: tuple[BandAssessment, ...]
    run: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Describe it with JSON's types."""
        named = {"fine": self.fine, "truth": self.truth}
        how = {"factor": self.factor, "margin": self.margin}
        return {**named, **how, "bands": [b.to_json() for b in self.bands], "run": self.run}


def assess_downscaling(
    fine: Inputs,
    truth: Inputs,
    factor: int | None,
    margin: int,
    settings: RunSettings,
    progress: Progress = silent,
) -> Assessment:
    """Measure a fine raster against the truth on the same grid.

    The coarse raster is the block mean of the truth. The rasters are held whole: a Fourier
    spectrum and percentiles need all pixels.

    Parameters
    ----------
    fine, truth : Inputs
    factor : int or None
        None takes it from the fine raster's tags.
    margin : int
        Coarse pixels that are left out at the edges.

    Raises
    ------
    UsageError, InputError, BudgetError
    """
    begun = time.perf_counter()
    with fine.open() as estimate, truth.open() as reference:
        _refuse_apart(estimate, reference)
        s = factor or _factor(estimate)
        cost = Cost(4 * estimate.info.count * 8, once=30 * 8 * int(np.prod(estimate.info.shape)))
        whole = RunSettings(0, settings.memory, 1)
        work = Pass(EachBand(estimate), budget(Grid(estimate.info.shape), cost, whole))
        found: list[BandAssessment] = []
        step = _Step(estimate, reference, s, margin)
        tally = work.run(step, lambda tile, result: found.extend(result or ()), "assess", progress)
        if not found:
            raise InputError(f"{estimate.info.path}: no valid pixel found, one at least is wanted.")
        ran = report(work.budget, tally, time.perf_counter() - begun)
        paths = estimate.info.path, reference.info.path
        return Assessment(*paths, s, margin, tuple(found), ran)


def _refuse_apart(estimate: Raster, reference: Raster) -> None:
    a, b = estimate.info, reference.info
    difference = grid_difference(a.geobox, b.geobox)
    if difference:
        raise InputError(
            f"{a.path}: not on the grid of {b.path} ({difference}), one grid is wanted."
        )
    if a.count != b.count:
        raise InputError(f"{a.path}: {a.count} bands found, {b.count} wanted as in {b.path}.")


def _factor(estimate: Raster) -> int:
    tags = {key.lower(): value for key, value in estimate.info.tags.items()}
    text = tags.get("stcli_factor", "")
    if not text.isdigit():
        raise UsageError(
            f"{estimate.info.path}: does not say its factor, --factor is wanted: fine pixels "
            "along a side of a coarse one."
        )
    return int(text)


@dataclass(frozen=True)
class _Step:
    """The block function: all bands of the whole raster."""

    estimate: Raster
    reference: Raster
    factor: int
    margin: int

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[BandAssessment]:
        truth, _ = EachBand(self.reference).read(where.core)
        rows, cols = (n // self.factor * self.factor for n in truth.shape[1:])
        edge = self.factor * self.margin
        if min(rows, cols) <= 2 * edge:
            raise InputError(
                f"{self.reference.info.path}: {rows} x {cols} pixels found, more than "
                f"{2 * edge} a side are wanted; choose another --margin or --factor."
            )
        names = self.estimate.info.band_names
        pairs = zip(names, block[:, :rows, :cols], truth[:, :rows, :cols], strict=True)
        return [self._band(name, ours, theirs) for name, ours, theirs in pairs]

    def _band(self, name: str, fine: NDArray[Any], truth: NDArray[Any]) -> BandAssessment:
        s, m = self.factor, self.margin
        coarse = block_mean(truth, s)
        small = np.s_[m : coarse.shape[0] - m, m : coarse.shape[1] - m]
        large = np.s_[s * m : truth.shape[0] - s * m, s * m : truth.shape[1] - s * m]
        tried = {peer: _peer(coarse, s, peer)[large] for peer in PEERS}
        try:
            found = {
                key: quality(field, truth[large], coarse[small], s)
                for key, field in {"": fine[large], **tried}.items()
            }
        except ValueError as error:
            raise InputError(
                f"{self.estimate.info.path}: band {name} has {error}, one at least is wanted."
            ) from error
        ratio = median_block_ratio(fine[large], tried["ibp"], truth[large], s)
        return BandAssessment(name, found.pop(""), found, ratio)


def _peer(coarse: NDArray[Any], factor: int, method: str) -> NDArray[np.float64]:
    """Interpolate; ibp conserving, as `downscale` writes it; cubic as it is."""
    fine = interpolate(coarse, DownscaleSettings(factor, method))
    return conserve(fine, coarse, factor) if method == "ibp" else fine
