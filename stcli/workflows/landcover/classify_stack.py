"""``classify`` of a stack of dates: by a model of series, or a model of one date, fused."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import threads_of
from stcli.engine.tiling import Tile
from stcli.errors import InputError, ModelError, UsageError
from stcli.landcover import architectures
from stcli.landcover.prediction import Classifier, load_model
from stcli.nn.device import compute
from stcli.nn.weights import load_card
from stcli.raster.info import RasterInfo
from stcli.raster.reading.read import Raster
from stcli.raster.reading.timecube import count_dates
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.settings import RunSettings
from stcli.workflows.job import (
    Inputs,
    Output,
    Progress,
    fields,
    plan_pass,
    refuse_clash,
    report,
    silent,
)
from stcli.workflows.kernels import loading
from stcli.workflows.landcover.classify import Classified, Counted, compiled, noted, reach
from stcli.workflows.landcover.dated import Dating, dates_used, seasonal, tell_unmasked
from stcli.workflows.landcover.foreign import looked, tell_pixels
from stcli.workflows.landcover.looks import FusedLook, Look, NetworkLook, SeriesLook, series_method
from stcli.workflows.landcover.products import (
    Products,
    decided,
    layers,
    legend,
    legend_values,
    specs_of,
)
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Noted, Step, resumable
from stcli.workflows.segmentation.superpixels import label_space
from stcli.workflows.unlike import tell_values

#: Architectures of models that want a stack.
_OF_SERIES = (architectures.SERIES, architectures.GLOCAL_SERIES)


@dataclass(frozen=True)
class Stacking:
    """How dates become one map.

    Attributes
    ----------
    dating : Dating
    fuse : str or None
        ``"score"`` for a model of one date; None for a model of series.
    tau : float
        See `stcli.landcover.fusion`.
    best_date : str or None
        Where the raster of best dates goes.
    """

    dating: Dating = field(default_factory=Dating)
    fuse: str | None = None
    tau: float = 0.1
    best_date: str | None = None

    def __post_init__(self) -> None:
        if not 0.01 <= self.tau <= 1e6:
            raise UsageError(f"--tau: {self.tau:g} found, 0.01 to 1000000 wanted.")
        if self.tau != Stacking.tau and self.fuse is None:
            raise UsageError(
                "--tau: wants --fuse score, which weighs dates; without it leave --tau out."
            )
        if self.best_date is not None and self.fuse is None:
            raise UsageError(
                "--best-date: wants --fuse score, which finds a date best; without it leave it out."
            )
        if self.dating.season is not None and self.fuse is not None:
            raise UsageError(
                "--season: is for a model of series; with --fuse every date counts by itself."
            )


def stacked(model_folder: Path, stacking: Stacking) -> bool:
    """Tell whether a stack is to be classified: by fusing dates, or by a model of series.

    Raises
    ------
    ModelError
        No model is there.
    UsageError
        Options of a stack were given for a model of one date.
    """
    if stacking.fuse is not None or load_card(model_folder).architecture in _OF_SERIES:
        return True
    if stacking.dating != Dating():
        raise UsageError(
            "--dates, --season, --mask-band: are for a stack of dates; give --fuse score with a "
            f"model of one date, as {model_folder} is."
        )
    return False


def classify_stack(
    inputs: Inputs,
    products: Products,
    model_folder: Path,
    settings: RunSettings,
    stacking: Stacking,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Classified:
    """Classify land cover from several dates.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    begun = time.perf_counter()
    model = _model(inputs, products, model_folder, settings, stacking)
    products = decided(products, model)
    with inputs.open() as raster:
        look = look_of(raster, model, stacking)
        specs = _specs(raster.info, products, look, output, settings)
        found, step = Counted(model), Step(StackStep(look, products), stage="classify")
        with resumable(specs, raster.info.geobox, output) as product:
            product.identify(**_identity(inputs, look, stacking, products, output))
            product.tag({"STCLI_DATES": " ".join(dates_used(look.stack))})
            cost = look.cost(raster.info, specs)
            work = product.plan(raster, cost, settings, *reach(model))
            with loading(compiled(model, progress)):
                tally = product.run(replace(work, source=look.stack), step, found.take, progress)
            if tally.empty == tally.tiles and output.shard is None:
                raise InputError(f"{raster.info.path}: no valid pixel on any date found.")
    tell_values(raster.info.path, found.likeness, model)
    ran = report(work.budget, tally, time.perf_counter() - begun) | model.where.to_json()
    ran["dates"] = list(dates_used(look.stack))
    return found.classified(products.classes, legend(model.card, products), raster.info, ran)


def plan_stack(
    inputs: Inputs,
    products: Products,
    model_folder: Path,
    settings: RunSettings,
    stacking: Stacking,
    *,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `classify_stack` would do. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    model = _model(inputs, products, model_folder, settings, stacking)
    products = decided(products, model)
    with inputs.open() as raster:
        look = look_of(raster, model, stacking)
        specs = _specs(raster.info, products, look, output, settings)
        cost = writing(look.cost(raster.info, specs), specs)
        work = plan_pass(raster, cost, settings, *reach(model))
        return planned({"classify": work}, specs, raster.info.shape, output.shard)


def _model(
    inputs: Inputs,
    products: Products,
    folder: Path,
    settings: RunSettings,
    stacking: Stacking,
) -> Classifier:
    best = () if stacking.best_date is None else (stacking.best_date,)
    refuse_clash(inputs.paths, (*products.paths, *best))
    if products.decision.refine is not None:
        raise UsageError("--refine: is for a raster of one date; a stack of dates was given.")
    model = load_model(folder, compute(settings.device, settings.scan))
    if (model.card.architecture in _OF_SERIES) != (stacking.fuse is None):
        if stacking.fuse is None:
            raise ModelError(f"{folder}: a model of one date found; give --fuse score.")
        raise ModelError(
            f"{folder}: a model of several dates found, which fuses them itself; leave --fuse out."
        )
    return model


def look_of(raster: Raster, model: Classifier, stacking: Stacking) -> Look:
    """Match a stack with a model.

    Raises
    ------
    UsageError, InputError, ModelError
    """
    space, path = label_space(raster.info, model.slic), raster.info.path
    network = model.card.architecture == architectures.GLOCAL_SERIES
    if network:
        _refuse_one_date(raster, model, stacking.dating)
    stack = stacking.dating.stack_of(raster, model.card)
    tell_pixels(raster.info, model)
    if network:
        tell_unmasked(stack, model.card)
        return NetworkLook(model, space, stack)
    if model.card.architecture != architectures.SERIES:
        return FusedLook(model, space, stack, stacking.tau, stacking.best_date)
    season = stacking.dating.season
    return SeriesLook(model, space, seasonal(stack, series_method(model).season, season, path))


def _refuse_one_date(raster: Raster, model: Classifier, dating: Dating) -> None:
    """Refuse what a network of stacks cannot be asked: one date, or a season's begin.

    Raises
    ------
    ModelError, UsageError
    """
    found = len(set(dating.dates)) or count_dates(raster)
    if found < 2:
        raise ModelError(
            f"{raster.info.path}: {found or 'no'} date found, the model {model.folder} wants a "
            "stack of at least two; give a NetCDF with time, a file a date, or --dates."
        )
    if dating.season is not None:
        raise UsageError(
            f"--season: {model.folder} is a network of stacks, which takes all dates as they are; "
            "leave it out."
        )


@dataclass(frozen=True)
class StackStep:
    """The block function: the wanted products of a look, with a note for `Counted`."""

    look: Look
    products: Products

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Noted:
        """Classify a block."""
        (chances, best), model = self.look(block, valid, where), self.look.model
        results = layers(chances, self.products, legend_values(model.card, self.products))
        like = looked(block, valid, where, self.look.space, model)
        return noted(results if best is None else [*results, best[None]], like)


def _identity(
    inputs: Inputs, look: Look, stacking: Stacking, products: Products, output: Output
) -> dict[str, Any]:
    where = look.model.where.to_json()
    facts = {
        "model": look.model.card.digest,
        "device": where["device"],
        "scan": where["scan"],
        "dates_used": list(dates_used(look.stack)),
        "dating": stacking.dating.to_json(),
        "decision": fields(products.decision),
        "fuse": [stacking.fuse, stacking.tau],
        "begin": look.seasonal.begin if isinstance(look, SeriesLook) else None,
    }
    return output.identity(inputs, verb="classify stack", **facts)


def _specs(
    info: RasterInfo, products: Products, look: Look, output: Output, settings: RunSettings
) -> list[OutputSpec]:
    """Describe the outputs; the best date's classes are the dates, in their order."""
    specs = specs_of(info, products, look.model.card, output, threads_of(settings))
    if isinstance(look, FusedLook) and look.best_date is not None:
        band = OutputBand("best date", None, ("", *dates_used(look.stack)))
        best = replace(specs[0], path=look.best_date, dtype="uint16", bands=(band,))
        return [*specs, best]
    return specs
