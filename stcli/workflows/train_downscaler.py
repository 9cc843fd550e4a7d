"""``train downscaler``: rasters in, a model that makes their like finer out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli import __version__
from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.models import ARCHITECTURE, seeded
from stcli.downscaling.samples import Sample, copies, transferred
from stcli.downscaling.training import Figures, Trained, silent, train
from stcli.engine.memory import Cost, Grid, budget
from stcli.errors import InputError, UsageError
from stcli.nn.weights import BandCard, Card, save_weights
from stcli.raster.info import pixel_size
from stcli.raster.read import Raster
from stcli.raster.stack import nest
from stcli.settings import DownscalerTraining, RunSettings, UpscalerSettings
from stcli.workflows.job import Inputs, fields
from stcli.workflows.nested import EachBand
from stcli.workflows.train_landcover import refuse_folder
from stcli.workflows.upscalers import Guide

#: Samples that are made of a field at one factor, at most: shifted and blurred ones.
COPIES = 6


@dataclass(frozen=True)
class TrainedDownscaler:
    """What came out: where, its card, its history, and how long it took."""

    folder: Path
    card: Card
    history: list[dict[str, float]]
    seconds: float

    @property
    def ratios(self) -> dict[str, float]:
        """RMSE on held-out blocks over ibp's, for each factor."""
        found: dict[str, float] = self.card.metrics["rmse_over_ibp"]
        return found


def train_downscaler(
    inputs: Inputs,
    guide: Inputs | None,
    folder: Path,
    network: UpscalerSettings,
    training: DownscalerTraining,
    settings: RunSettings,
    *,
    overwrite: bool = False,
    figures: Figures = silent,
) -> TrainedDownscaler:
    """Train an upscaler on rasters that are fine already, by coarsening them.

    Parameters
    ----------
    inputs : Inputs
        The bands to learn, at the resolution that the model is to reach where it is trained.
    guide : Inputs or None
        Bands of the same grid or a finer one that it nests in, which are then coarsened to it.
    folder : Path
    network : UpscalerSettings
    training : DownscalerTraining
    settings : RunSettings
        Memory budget and jobs.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_folder(folder, overwrite)
    if guide is not None and len(network.factors) > 1:
        raise UsageError(f"--factor {network.factors}: one factor is wanted with a guide.")
    with inputs.open() as raster, _opened(guide) as fine:
        if len(training.psf) not in (0, 1, raster.info.count):
            raise UsageError(
                f"--mtf, --psf: {len(training.psf)} values found, 1 or {raster.info.count} wanted, "
                "one for each band."
            )
        _refuse_large(raster, fine, network, settings)
        truth, seen = _read(raster), None if fine is None else _guide(raster, fine)
        if np.isnan(truth).all():
            raise InputError(f"{raster.info.path}: no valid pixel found, at least one is wanted.")
        guides, threads = 0 if seen is None else len(seen), settings.jobs or 1
        model = seeded(raster.info.count, guides, network, training.seed, threads)
        samples, checked = _samples(truth, seen, network, training)
        try:
            trained = train(model, samples, training, checked, figures)
        except ValueError as error:
            raise InputError(
                f"{raster.info.path}: {error}; a larger raster or a smaller factor is wanted."
            ) from error
        if set(trained.ratios) != set(network.factors):
            raise InputError(
                f"{raster.info.path}: too few valid pixels to validate every factor; a larger "
                "raster or fewer factors are wanted."
            )
        card = _card(raster, fine, truth, (network, training), trained)
    card = card.model_copy(update={"parameters": sum(p.numel() for p in model.parameters())})
    card = save_weights(folder, model.state_dict(), card)
    return TrainedDownscaler(folder, card, trained.history, round(time.perf_counter() - begun, 3))


def _samples(
    truth: NDArray[Any],
    guide: NDArray[Any] | None,
    network: UpscalerSettings,
    training: DownscalerTraining,
) -> tuple[list[Sample], int]:
    """Make samples; the first so many, one a factor, are validated on."""
    firsts, others, bands = [], [], len(truth)
    for factor in network.factors:
        known = training.transfer or training.psf
        blurs = transferred(training.psf, factor, bands) if known else [(0.0,) * bands]
        first, *more = copies(truth, guide, factor, blurs)
        firsts.append(first)
        others += more
    return firsts + others, len(firsts)


def _read(raster: Raster) -> NDArray[Any]:
    rows, cols = raster.info.shape
    values, _ = EachBand(raster).read(_whole(rows, cols))
    return values.astype(np.float64)


def _whole(rows: int, cols: int) -> Any:
    from rasterio.windows import Window

    return Window(0, 0, cols, rows)


def _guide(raster: Raster, fine: Raster) -> NDArray[Any]:
    """Read a guide on the raster's grid: as it is, or by block means."""
    nesting = nest(fine.info, raster.info)
    if nesting is None:
        return _read(fine)
    factor = nesting.factor[0]
    rows, cols = raster.info.shape
    return block_mean(Guide.of(fine, raster, factor).read(_whole(rows, cols)), factor)


@contextlib.contextmanager
def _opened(inputs: Inputs | None) -> Iterator[Raster | None]:
    if inputs is None:
        yield None
    else:
        with inputs.open() as raster:
            yield raster


def _refuse_large(
    raster: Raster, fine: Raster | None, network: UpscalerSettings, settings: RunSettings
) -> None:
    """Refuse rasters that do not fit in memory whole, with their features; raises `BudgetError`."""
    bands, guides = raster.info.count, fine.info.count if fine else 0
    pixel = 8 * (6 * bands + 6 * guides) + COPIES * 4 * 4 * (bands + guides) * len(network.factors)
    finer = 1 if fine is None else 8 * guides * fine.info.shape[0] / raster.info.shape[0]
    cost = Cost(pixel + 2 * int(finer), once=1_000_000_000)
    budget(Grid(raster.info.shape), cost, RunSettings(0, settings.memory, 1))


def _card(
    raster: Raster,
    fine: Raster | None,
    truth: NDArray[Any],
    recipe: tuple[UpscalerSettings, DownscalerTraining],
    trained: Trained,
) -> Card:
    info = raster.info
    lows, highs = np.nanpercentile(truth, (2, 98), axis=(1, 2))
    bands = zip(info.band_names, lows.tolist(), highs.tolist(), strict=True)
    return Card(
        schema="stcli-card-1",
        architecture=ARCHITECTURE,
        bands=tuple(BandCard(name=name, low=low, high=high) for name, low, high in bands),
        classes=(),
        resolution=pixel_size(info.geobox),
        segmentation={},
        network=fields(recipe[0]),
        training=fields(recipe[1]),
        data={
            "inputs": [Path(path).name for path in info.path.split(" + ")],
            "guides": [] if fine is None else list(fine.info.band_names),
            "units": [band.units for band in info.bands],
        },
        metrics=_metrics(info.band_names, trained),
        version=__version__,
        parameters=0,
    )


def _metrics(names: tuple[str, ...], trained: Trained) -> dict[str, Any]:
    """List what was measured on held-out blocks, by factor."""
    ratios = trained.ratios.items()
    return {
        "rmse_over_ibp": {str(s): float(np.mean(found)) for s, found in ratios},
        "bands_over_ibp": {str(s): dict(zip(names, found, strict=True)) for s, found in ratios},
        "members": {str(s): found.to_json() for s, found in trained.spread.items()},
    }
