"""``train downscaler``: rasters in, a model that makes their like finer out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli import __version__
from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.models import ARCHITECTURE, seeded
from stcli.downscaling.samples import Sample, copies, paired, transferred
from stcli.downscaling.training import Figures, Trained, silent, train
from stcli.engine.memory import Cost, Grid, budget
from stcli.errors import InputError, UsageError
from stcli.nn.tensors import arrays_of
from stcli.nn.weights import BandCard, Card, save_weights
from stcli.raster.info import pixel_size
from stcli.raster.pictures.page import write_page
from stcli.raster.reading.frames import Frames, beside, frames, matched_bands
from stcli.raster.reading.read import Raster
from stcli.raster.reading.stack import nest
from stcli.settings import DownscalerTraining, RunSettings, UpscalerSettings
from stcli.workflows.downscaling.nested import Pair, none_whole
from stcli.workflows.downscaling.training_page import training_page
from stcli.workflows.downscaling.upscalers import Guide
from stcli.workflows.each_band import EachBand
from stcli.workflows.empty import no_valid_pixel
from stcli.workflows.job import Inputs, Output, fields
from stcli.workflows.model_folder import refuse_folder

#: What a model's folder tells of its training, for people.
REPORT = "report.html"
#: Samples that are made of a field at one factor, at most: shifted and blurred ones.
COPIES = 6
#: From so many times on each is coarsened from one place where the block grid may begin.
MANY = 4
#: Times that are judged by, at most, spread evenly.
JUDGED = 8


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
        _refuse_large(fine, guide, network, settings)
        samples, checked = _samples((fine, guide, coarse), network, training)
        guides, threads = 0 if guide is None else len(_frames(guide).variables), settings.jobs or 1
        bands = _frames(asked).variables
        model = seeded(len(bands), guides, network, training.seed, threads)
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
    bands = len(_frames(raster).variables)
    if len(training.psf) not in (0, 1, bands):
        raise UsageError(
            f"--mtf, --psf: {len(training.psf)} values found, 1 or {bands} wanted, "
            "one for each band."
        )


def _samples(
    rasters: tuple[Raster, Raster | None, Raster | None],
    network: UpscalerSettings,
    training: DownscalerTraining,
) -> tuple[list[Sample], int]:
    """Make samples of fine bands, guide and coarse bands; the first, one a factor, are judged."""
    raster, finer, coarse = rasters
    if coarse is not None:
        found = _pairs(raster, finer, coarse, network.factors[0])
        return found, min(len(found), JUDGED)
    truth, known = _read(raster), _frames(raster)
    guides = _shown(known, finer, None if finer is None else _guide(raster, finer))
    fields = [
        (field, guide)
        for places, guide in zip(known.places, guides, strict=True)
        if not np.isnan(field := truth[list(places)]).all(axis=(1, 2)).any()
    ]
    if not fields:
        raise no_valid_pixel(raster)
    least = 2 * max(network.factors)  # block grids are shifted by up to a block
    if min(truth.shape[1:]) < least:
        rows, cols = truth.shape[1:]
        raise InputError(
            f"{raster.info.path}: {rows} rows and {cols} columns found, at least {least} of each "
            "are wanted to coarsen it; a larger raster or a smaller factor is wanted."
        )
    return _coarsened(fields, network, training)


def _coarsened(
    fields: list[tuple[NDArray[Any], NDArray[Any] | None]],
    network: UpscalerSettings,
    training: DownscalerTraining,
) -> tuple[list[Sample], int]:
    """Coarsen the field and the guide of each time; those that are judged by come first."""
    judged, many = set(_spread(len(fields))), len(fields) >= MANY
    firsts: list[Sample] = []
    others: list[Sample] = []
    for number, (truth, guide) in enumerate(fields):
        for factor in network.factors:
            bands = len(truth)
            known = training.transfer or training.psf
            blurs = transferred(training.psf, factor, bands) if known else [(0.0,) * bands]
            first, *more = copies(truth, guide, factor, blurs, number if many else None)
            (firsts if number in judged else others).append(first)
            others += more
    return firsts + others, len(firsts)


def _spread(count: int) -> list[int]:
    """Choose numbers below a count, `JUDGED` at most, spread evenly."""
    return sorted({int(n) for n in np.linspace(0, count - 1, min(count, JUDGED)).round()})


def _pairs(fine: Raster, finer: Raster | None, coarse: Raster, factor: int) -> list[Sample]:
    """Read a fine raster and a guide on the blocks of a coarse one; some to judge by come first."""
    Pair.of(fine, coarse)
    known, whole = _frames(coarse), _whole(coarse)
    places = beside(known, _frames(fine), fine.info.path)
    guide = None if finer is None else Guide.of(finer, coarse, factor).read(whole)
    truth, seen = Guide.of(fine, coarse, factor).read(whole), _read(coarse)
    names = known.variables, _frames(fine).variables
    order = list(matched_bands(*names, coarse.info.path, fine.info.path))
    trios = zip(known.places, places, _shown(known, finer, guide), strict=True)
    made = [paired(seen[list(a)], truth[list(b)][order], shown, factor) for a, b, shown in trios]
    made = [one for one in made if not np.isnan(one.target).all()]
    if not made:
        raise none_whole(fine, coarse)
    first = _spread(len(made))
    return [made[n] for n in first] + [one for n, one in enumerate(made) if n not in first]


def _shown(
    known: Frames, finer: Raster | None, guide: NDArray[Any] | None
) -> list[NDArray[Any] | None]:
    """Cut a guide's bands into what stands beside each frame."""
    if finer is None or guide is None:
        return [None] * len(known.times)
    places = beside(known, _frames(finer), finer.info.path)
    return [guide[list(shown)] for shown in places]


def _frames(raster: Raster) -> Frames:
    return frames(raster.info.band_names, raster.info.path)


def _read(raster: Raster) -> NDArray[Any]:
    values, _ = EachBand(raster).read(_whole(raster))
    return values.astype(np.float64)


def _whole(raster: Raster) -> Window:
    rows, cols = raster.info.shape
    return Window(0, 0, cols, rows)


def _guide(raster: Raster, fine: Raster) -> NDArray[Any]:
    """Read a guide on the raster's grid: as it is, or by block means."""
    nesting = nest(fine.info, raster.info)
    if nesting is None:
        return _read(fine)
    factor = nesting.factor[0]
    return block_mean(Guide.of(fine, raster, factor).read(_whole(raster)), factor)


def _refuse_large(
    raster: Raster, fine: Raster | None, network: UpscalerSettings, settings: RunSettings
) -> None:
    """Refuse rasters that do not fit in memory whole, with their features; raises `BudgetError`."""
    times = len(_frames(raster).times)
    bands, guides = raster.info.count, fine.info.count if fine else 0
    shown = guides * (times if fine and len(_frames(fine).times) == 1 else 1)
    copies = COPIES if times < MANY else COPIES - 3
    pixel = 8 * (6 * bands + 6 * guides) + copies * 4 * 4 * (bands + shown) * len(network.factors)
    finer = 1 if fine is None else 8 * guides * fine.info.shape[0] / raster.info.shape[0]
    cost = Cost(pixel + 2 * int(finer), once=1_000_000_000)
    budget(Grid(raster.info.shape), cost, RunSettings(0, settings.memory, 1))


def _card(
    raster: Raster,
    fine: Raster | None,
    judged: Sequence[Sample],
    recipe: tuple[UpscalerSettings, DownscalerTraining],
    trained: Trained,
) -> Card:
    info, known = raster.info, _frames(raster)
    seen = [one.coarse.reshape(len(one.coarse), -1) for one in judged]
    lows, highs = np.nanpercentile(np.concatenate(seen, axis=1), (2, 98), axis=1)
    bands = zip(known.variables, lows.tolist(), highs.tolist(), strict=True)
    guides = () if fine is None else _frames(fine).variables
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
