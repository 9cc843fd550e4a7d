"""``train landcover``: labelled scenes in, a model folder with its card and report out.

A first pass surveys each scene (band scaling, labelled pixels of each block); then windows are cut
and learnt from, once for a single split or once a fold. Validation is guarded: segments and
windows see only their own side's pixels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stcli import __version__
from stcli.errors import UsageError
from stcli.landcover.algorithms import Plan
from stcli.landcover.learning import Algorithm
from stcli.landcover.legend import colors
from stcli.nn.device import compute
from stcli.nn.weights import BandCard, CalibrationCard, Card, ClassCard, save_weights
from stcli.raster.identity import identify
from stcli.raster.info import pixel_size
from stcli.settings import DATE_WIDTH, RunSettings
from stcli.workflows.job import Progress, fields, report, silent
from stcli.workflows.landcover.bandnoise import Heed
from stcli.workflows.landcover.dated import dates_used
from stcli.workflows.landcover.fine_tune import Start
from stcli.workflows.landcover.kept_training import KeptTraining, is_made
from stcli.workflows.landcover.samples import Recipe
from stcli.workflows.landcover.scenes import LabelledScene, OpenScene, opened
from stcli.workflows.landcover.survey import Survey, check_labels, survey
from stcli.workflows.landcover.training_report import write_report
from stcli.workflows.landcover.trainings import Figures, Ground, Outcome, Trainings
from stcli.workflows.model_folder import refuse_folder


@dataclass(frozen=True)
class Model:
    """What came out: the folder, its card, how it ran, and what its maker should know."""

    folder: Path
    card: Card
    outcome: Outcome
    seconds: float
    run: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def epoch(self) -> int:
        """The epoch whose weights were kept."""
        return self.outcome.learned.epoch


@dataclass(frozen=True)
class Fitting:
    """How a training is run.

    Attributes
    ----------
    overwrite : bool
        Replace a model that exists.
    resume : bool
        Take up a training of this command that ended early.
    init : Path or None
        A model to begin with.
    """

    overwrite: bool = False
    resume: bool = True
    init: Path | None = None


@dataclass(frozen=True)
class Ears:
    """Who hears how far a training is: passes, and epochs with their figures."""

    progress: Progress = silent
    figures: Figures = field(default=lambda epoch, epochs, values: None)


def train_landcover(
    scenes: Sequence[LabelledScene],
    folder: Path,
    recipe: Recipe,
    settings: RunSettings,
    fitting: Fitting = Fitting(),
    ears: Ears = Ears(),
) -> Model:
    """Train a land-cover model.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    begun = time.perf_counter()
    refuse_folder(folder, fitting.overwrite or is_made(folder))
    stack = scenes[0].dating is not None
    start = Start.of(fitting.init, stack)
    recipe = _dated(start.recipe(recipe), stack)
    plan = Plan(recipe.algorithm, recipe.network, recipe.training)
    mode = recipe.training.bands_noise
    heed = Heed.of(scenes[0].inputs, mode, settings, ears.progress)
    scenes = [replace(scene, inputs=heed.inputs(scene.inputs)) for scene in scenes]
    with (
        KeptTraining(folder, fitting.resume) as kept,
        opened(scenes, settings, ears.progress) as rooms,
    ):
        found = survey(rooms, recipe.network.stride, recipe.training, settings, ears.progress)
        classes, labels = rooms[0].truth.classes, scenes[0].labels[0].path
        check_labels(labels, found, classes)
        found = replace(found, scaling=heed.scaling(found.scaling))
        found = start.scaled(found, rooms[0])
        weights, notes = start.weights(classes)
        kept.identify(**_identity(scenes, plan, recipe, settings), init=start.digest)
        ground = Ground(rooms, found, recipe, settings, ears.progress)
        outcome = Trainings(ground, Algorithm(plan, weights), ears.figures, kept.state).run(labels)
        card = _card(rooms, found, recipe, outcome)
        where = outcome.where.to_json()
        data = _data(scenes, rooms, found, outcome) | start.to_json() | heed.to_json()
        card = card.model_copy(update={"data": data, "training": card.training | where})
        notes = (*_stacks(rooms), *notes, *_notes(outcome))

        def tell(card: Card) -> None:
            write_report(folder, card, outcome, notes)
            kept.note(card)

        card = save_weights(folder, outcome.learned.state, card, tell)
        ran = report(outcome.budget, outcome.tally, 0) | where
    seconds = time.perf_counter() - begun
    ran |= {"seconds": round(seconds, 3)}
    return Model(folder, card, outcome, seconds, ran, notes)


def _dated(recipe: Recipe, stack: bool) -> Recipe:
    """Give the network a scan over dates, or none.

    Raises
    ------
    UsageError
        Noise of bands is asked for, which are dates.
    """
    if stack and recipe.training.bands_noise != "none":
        raise UsageError("--bands-noise: is for scenes of one date; a stack of dates was given.")
    width = (recipe.network.date_width or DATE_WIDTH) if stack else 0
    return replace(recipe, network=replace(recipe.network, date_width=width))


def _stacks(scenes: Sequence[OpenScene]) -> tuple[str, ...]:
    """Say of each stack what was taken for its dates and bands."""
    return tuple(
        f"{scene.raster.info.path}: a stack of {len(scene.stack.days)} dates of "
        f"{', '.join(scene.names)}; --no-series takes its bands as one scene"
        for scene in scenes
        if scene.stack is not None
    )


def _identity(
    scenes: Sequence[LabelledScene], plan: Plan, recipe: Recipe, settings: RunSettings
) -> dict[str, Any]:
    """All that can change the weights, in plain facts."""
    where = compute(settings.device, settings.scan, settings.jobs)
    return {
        "version": __version__,
        "recipe": fields(recipe),
        "plan": fields(plan),
        "where": where.to_json(),
        "scenes": [
            {
                "inputs": identify(scene.inputs.paths),
                "chosen": [list(scene.inputs.bands), scene.inputs.resampling],
                "assumed": fields(scene.inputs.assumed),
                "dating": None if scene.dating is None else scene.dating.to_json(),
                "labels": [fields(source) for source in scene.labels],
                "label_files": identify([source.path for source in scene.labels]),
            }
            for scene in scenes
        ],
    }


def _card(scenes: Sequence[OpenScene], found: Survey, recipe: Recipe, outcome: Outcome) -> Card:
    info, scaling, truth = scenes[0].raster.info, found.scaling, scenes[0].truth
    bands = zip(scenes[0].names, scaling.low, scaling.high, strict=True)
    legend = zip(truth.values, truth.classes, colors(truth.classes), strict=True)
    fitted = outcome.calibration
    return Card(
        schema="stcli-card-1",
        architecture=outcome.learned.architecture,
        bands=tuple(BandCard(name=name, low=low, high=high) for name, low, high in bands),
        classes=tuple(ClassCard(value=v, name=name, color=color) for v, name, color in legend),
        resolution=pixel_size(info.geobox),
        segmentation=fields(recipe.slic),
        network=outcome.learned.network,
        training=fields(recipe.training),
        data={},
        metrics=outcome.metrics,
        version=__version__,
        parameters=sum(array.size for array in outcome.learned.state.values()),
        calibration=None if fitted is None else CalibrationCard(**fitted.to_json()),
    )


def _data(
    scenes: Sequence[LabelledScene], rooms: Sequence[OpenScene], found: Survey, outcome: Outcome
) -> dict[str, Any]:
    """Say what the model was trained on."""
    each = [
        {
            "inputs": [Path(path).name for path in scene.inputs.paths],
            "labels": [Path(source.path).name for source in scene.labels],
            "class_column": [source.class_column for source in scene.labels],
            **({} if room.stack is None else {"dates": list(dates_used(room.stack))}),
            **({} if scene.dating is None else scene.dating.cleared_by()),
        }
        for scene, room in zip(scenes, rooms, strict=True)
    ]
    blocks = None if outcome.held is None else {"side_px": found.side, "held": outcome.held}
    return {
        "scenes": each,
        "labelled_pixels": dict(zip(rooms[0].truth.classes, found.pixels.tolist(), strict=True)),
        "split": outcome.metrics["split"],
        "blocks": blocks,
    }


#: What is said of classes that stand on one side alone of a single split.
_ONE_SIDED = {
    "unlearnable": "not learnt, for all of its labels are held out",
    "unvalidated": "not validated, for none of its labels is held out",
}


def _notes(outcome: Outcome) -> tuple[str, ...]:
    """Say what a reader of the figures must know."""
    notes = [
        f"fold {fold['fold']}: {', '.join(fold['unlearnable'])} could not have been learnt "
        "(absent from its training)"
        for fold in outcome.metrics.get("folds", ())
        if fold["unlearnable"]
    ]
    for side, said in _ONE_SIDED.items():
        names = ", ".join(outcome.metrics.get(side, ()))
        if names:
            more = "label more places, or choose a smaller --block"
            notes.append(f"{names}: {said}; {more}")
    if outcome.calibration is None:
        notes.append("probabilities are not calibrated: the held-out labels lie in one block")
    return tuple(notes)
