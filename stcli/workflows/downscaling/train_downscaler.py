"""``train downscaler``: rasters in, a model that makes their like finer out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stcli import __version__
from stcli.downscaling.models import ARCHITECTURE, seeded
from stcli.downscaling.samples import Sample
from stcli.downscaling.training import Figures, Trained, silent, train
from stcli.errors import InputError, UsageError
from stcli.nn.tensors import arrays_of
from stcli.nn.weights import BandCard, Card, save_weights
from stcli.raster.info import pixel_size
from stcli.raster.pictures.page import write_page
from stcli.raster.reading.read import Raster
from stcli.settings import DownscalerTraining, RunSettings, UpscalerSettings
from stcli.workflows.downscaling.training_fields import Rasters, frames_of, samples_of
from stcli.workflows.downscaling.training_page import training_page
from stcli.workflows.job import Inputs, Output, fields
from stcli.workflows.model_folder import refuse_folder

#: What a model's folder tells of its training, for people.
REPORT = "report.html"


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


@dataclass(frozen=True)
class Given:
    """What a model learns from.

    Attributes
    ----------
    fine : Inputs
        The bands to learn, at the resolution that the model is to reach where it is trained.
    guide : Inputs or None
        Bands of the same grid or a finer one that it nests in, which are then coarsened to it.
    coarse : Inputs or None
        The bands that are made finer, of another source; without them `fine` is coarsened.
    """

    fine: Inputs
    guide: Inputs | None = None
    coarse: Inputs | None = None


def train_downscaler(
    given: Given,
    folder: Path,
    network: UpscalerSettings,
    training: DownscalerTraining,
    settings: RunSettings,
    *,
    output: Output = Output(),
    figures: Figures = silent,
) -> TrainedDownscaler:
    """Train an upscaler on rasters that are fine already, by coarsening them, or on pairs.

    Beside weights and card the folder gets ``report.html``.

    Parameters
    ----------
    given : Given
    folder : Path
    network : UpscalerSettings
    training : DownscalerTraining
    settings : RunSettings
        Memory budget and jobs.
    output : Output, optional

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_folder(folder, output.overwrite)
    _refuse_options(given, network, training)
    with contextlib.ExitStack() as stack:
        inputs = given.fine
        fine = stack.enter_context(inputs.open())
        guide, coarse = (
            None if inputs is None else stack.enter_context(inputs.open())
            for inputs in (given.guide, given.coarse)
        )
        asked = coarse or fine
        _refuse_bands(asked, training)
        samples, checked = samples_of(Rasters(fine, guide, coarse), network, training, settings)
        guides = 0 if guide is None else len(frames_of(guide).variables)
        bands = frames_of(asked).variables
        model = seeded(len(bands), guides, network, training.seed, settings.jobs or 1)
        try:
            trained = train(model, samples, training, checked, figures)
        except ValueError as error:
            raise InputError(
                f"{fine.info.path}: {error}; a larger raster or a smaller factor is wanted."
            ) from error
        if set(trained.ratios) != set(network.factors):
            raise InputError(
                f"{fine.info.path}: too few valid pixels to validate every factor; a larger "
                "raster or fewer factors are wanted."
            )
        card = _card(asked, guide, samples[:checked], (network, training), trained)
        shown = dict(zip(bands, card.data["units"], strict=True))
        drawn = samples[: len(network.factors)]
        page = training_page(model, drawn, trained, asked.info.path, shown, output.argv)
    card = card.model_copy(update={"parameters": sum(p.numel() for p in model.parameters())})
    place = str(folder / REPORT)
    state = arrays_of(model.state_dict())
    card = save_weights(folder, state, card, lambda c: write_page(place, page, overwrite=True))
    return TrainedDownscaler(folder, card, trained.history, round(time.perf_counter() - begun, 3))


def _refuse_options(given: Given, network: UpscalerSettings, training: DownscalerTraining) -> None:
    one = "a guide" if given.guide is not None else "--coarse" if given.coarse is not None else ""
    if one and len(network.factors) > 1:
        raise UsageError(f"--factor {network.factors}: one factor is wanted with {one}.")
    if given.coarse is not None and (training.transfer or training.psf):
        raise UsageError(
            "--coarse: found beside --transfer, --mtf or --psf, which say how to coarsen; choose "
            "one of them."
        )


def _refuse_bands(raster: Raster, training: DownscalerTraining) -> None:
    bands = len(frames_of(raster).variables)
    if len(training.psf) not in (0, 1, bands):
        raise UsageError(
            f"--mtf, --psf: {len(training.psf)} values found, 1 or {bands} wanted, "
            "one for each band."
        )


def _card(
    raster: Raster,
    fine: Raster | None,
    judged: Sequence[Sample],
    recipe: tuple[UpscalerSettings, DownscalerTraining],
    trained: Trained,
) -> Card:
    info, known = raster.info, frames_of(raster)
    seen = [one.coarse.reshape(len(one.coarse), -1) for one in judged]
    lows, highs = np.nanpercentile(np.concatenate(seen, axis=1), (2, 98), axis=1)
    bands = zip(known.variables, lows.tolist(), highs.tolist(), strict=True)
    guides = () if fine is None else frames_of(fine).variables
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
            "inputs": [Path(path).name for path in info.sources],
            "guides": list(guides),
            "guide_ranges": _guide_ranges(judged, len(known.variables), len(guides)),
            "units": [info.bands[place].units for place in known.places[0]],
        },
        metrics=_metrics(known.variables, trained),
        version=__version__,
        parameters=0,
    )


def _guide_ranges(judged: Sequence[Sample], bands: int, guides: int) -> list[list[float]]:
    """Find the range (2 to 98 %) of each guide's block means, which stand behind the bands."""
    seen = [
        one.inputs[bands : bands + guides, np.isfinite(one.target).all(axis=0)] for one in judged
    ]
    ranges = np.percentile(np.concatenate(seen, axis=1), (2, 98), axis=1)
    return [[float(low), float(high)] for low, high in ranges.T]


def _metrics(names: tuple[str, ...], trained: Trained) -> dict[str, Any]:
    """List what was measured on held-out blocks, by factor."""
    ratios = trained.ratios.items()
    return {
        "rmse_over_ibp": {str(s): float(np.mean(found)) for s, found in ratios},
        "bands_over_ibp": {str(s): dict(zip(names, found, strict=True)) for s, found in ratios},
        "members": {str(s): found.to_json() for s, found in trained.spread.items()},
    }
