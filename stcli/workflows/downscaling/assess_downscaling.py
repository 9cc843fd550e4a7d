"""``assess-downscaling``: a fine raster against the truth, beside cubic and back-projection."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.conserve import conserve
from stcli.downscaling.interpolation import interpolate
from stcli.downscaling.metrics import (
    Quality,
    fair_crps,
    median_block_ratio,
    quality,
    spread_skill,
)
from stcli.engine.memory import Cost, Grid, budget
from stcli.engine.tiling import Tile
from stcli.errors import InputError, UsageError
from stcli.raster.info import refuse_other_grid
from stcli.raster.reading.read import Raster
from stcli.settings import DownscaleSettings, RunSettings
from stcli.settings.checking import check
from stcli.workflows.downscaling.members import groups, members_of, told
from stcli.workflows.downscaling.nested import belonging
from stcli.workflows.each_band import EachBand
from stcli.workflows.job import Inputs, Pass, Progress, report, silent

#: What every raster is measured beside.
PEERS = ("cubic", "ibp")


@dataclass(frozen=True)
class EnsembleQuality:
    """Measures of an ensemble of one band; None where no pixel has a value in all.

    Attributes
    ----------
    members : int
    crps : float or None
        In the band's unit, fair form; a single field's is its mean absolute error.
    crps_over_ibp : float or None
        Over that of ibp.
    spread_skill : float or None
        See `stcli.downscaling.metrics.spread_skill`.
    """

    members: int
    crps: float | None = None
    crps_over_ibp: float | None = None
    spread_skill: float | None = None


@dataclass(frozen=True)
class BandAssessment:
    """One band: its measures, the peers', the median block ratio to ibp, and its members'."""

    band: str
    quality: Quality
    peers: dict[str, Quality]
    median_ratio: float | None
    ensemble: EnsembleQuality | None = None

    def to_json(self) -> dict[str, Any]:
        """Describe it with JSON's types."""
        return {
            "band": self.band,
            **self.quality.to_json(),
            "rmse_over_ibp": _over(self.quality.rmse, self.peers["ibp"].rmse),
            "median_block_over_ibp": self.median_ratio,
            **({} if self.ensemble is None else asdict(self.ensemble)),
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
    check(factor is None or factor >= 2, "--factor", factor, "2 or more")
    with fine.open() as estimate, truth.open() as reference:
        members = members_of(estimate.info)
        _refuse_apart(estimate, reference, members)
        s = factor or _factor(estimate)
        cost = Cost(4 * estimate.info.count * 8, once=30 * 8 * int(np.prod(estimate.info.shape)))
        whole = RunSettings(0, settings.memory, 1)
        work = Pass(EachBand(estimate), budget(Grid(estimate.info.shape), cost, whole))
        found: list[BandAssessment] = []
        own = groups(estimate.info.band_names, members, estimate.info.path)
        true = belonging(estimate.info, reference.info, own)
        step = _Step(estimate, reference, s, margin, tuple(zip(own, true, strict=True)))
        tally = work.run(step, lambda tile, result: found.extend(result or ()), "assess", progress)
        paths = estimate.info.path, reference.info.path
        if all(band.quality.rmse is None for band in found):
            raise InputError(
                f"{paths[0]}: no pixel off the margin with a value there and in {paths[1]} found, "
                "one at least is wanted."
            )
        ran = report(work.budget, tally, time.perf_counter() - begun)
        return Assessment(*paths, s, margin, tuple(found), ran)


def _refuse_apart(estimate: Raster, reference: Raster, members: int) -> None:
    a, b = estimate.info, reference.info
    refuse_other_grid(a, b)
    wanted = b.count * (members + 2 if members else 1)
    if a.count != wanted:
        raise InputError(f"{a.path}: {a.count} bands found, {wanted} wanted as in {b.path}.")


def _factor(estimate: Raster) -> int:
    text = told(estimate.info, "factor")
    if not text.isdecimal():
        raise UsageError(
            f"{estimate.info.path}: does not say its factor, --factor is wanted: fine pixels "
            "along a side of a coarse one."
        )
    return int(text)


@dataclass(frozen=True)
class _Step:
    """The block function: all bands of the whole raster.

    Attributes
    ----------
    estimate, reference : Raster
    factor, margin : int
    pairs : tuple of (list of int, int)
        Places of the bands that are estimated of each band, and of the true one.
    """

    estimate: Raster
    reference: Raster
    factor: int
    margin: int
    pairs: tuple[tuple[list[int], int], ...]

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
        info = self.estimate.info
        return [
            self._band(info.band_names[own[0]], block[own, :rows, :cols], truth[true, :rows, :cols])
            for own, true in self.pairs
        ]

    def _band(self, name: str, fine: NDArray[Any], truth: NDArray[Any]) -> BandAssessment:
        """Measure one band: (1 or member + 2, row, col), the mean first."""
        s, m = self.factor, self.margin
        coarse = block_mean(truth, s)
        small = np.s_[m : coarse.shape[0] - m, m : coarse.shape[1] - m]
        large = np.s_[s * m : truth.shape[0] - s * m, s * m : truth.shape[1] - s * m]
        tried = {peer: _peer(coarse, s, peer)[large] for peer in PEERS}
        truth = np.where(np.isnan(fine[0]), np.nan, truth)  # peers count where the band does
        found = {
            key: quality(field, truth[large], coarse[small], s)
            for key, field in {"": fine[0][large], **tried}.items()
        }
        ratio = median_block_ratio(fine[0][large], tried["ibp"], truth[large], s)
        members = fine[(slice(2, None), *large)]
        spread = ensemble_quality(members, truth[large], found["ibp"].mae) if len(members) else None
        return BandAssessment(name, found.pop(""), found, ratio, spread)


def ensemble_quality(
    members: NDArray[Any], truth: NDArray[Any], mae_of_ibp: float | None
) -> EnsembleQuality:
    """Measure the members of one band against the truth: (member, row, col) and (row, col)."""
    if mae_of_ibp is None:
        return EnsembleQuality(len(members))
    crps = float(np.nanmean(fair_crps(members, truth)))
    over = _over(crps, mae_of_ibp)
    return EnsembleQuality(len(members), crps, over, spread_skill(members, truth))


def _over(error: float | None, of_ibp: float | None) -> float | None:
    return error / of_ibp if error is not None and of_ibp else None


def _peer(coarse: NDArray[Any], factor: int, method: str) -> NDArray[np.float64]:
    """Interpolate; ibp conserving, as `downscale` writes it; cubic as it is."""
    fine = interpolate(coarse, DownscaleSettings(factor, method))
    return conserve(fine, coarse, factor) if method == "ibp" else fine
