"""The trainings of one run: a single split, or folds and a final fit; and what each held out says.

Nothing here knows the algorithm: it is a `stcli.landcover.learning.Learner`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Budget
from stcli.engine.run import Tally
from stcli.errors import InputError
from stcli.landcover.accuracy.accuracy import ConfusionMatrix, accuracy
from stcli.landcover.accuracy.calibration import Calibration, Reliability, cross_fit, reliability
from stcli.landcover.accuracy.folds import Fold, calibrate, held_out, pooled, summary
from stcli.landcover.accuracy.tempering import temper
from stcli.landcover.learning import Held, Learned, Learner, judge
from stcli.landcover.network.task import Sample, Task
from stcli.landcover.network.training import Keep
from stcli.landcover.prediction import classes
from stcli.landcover.split import Block, draw_blocks, draw_folds
from stcli.nn.device import Compute
from stcli.settings import RunSettings, TrainingSettings
from stcli.workflows.job import Progress
from stcli.workflows.landcover.samples import Recipe, cut_scenes
from stcli.workflows.landcover.scenes import OpenScene
from stcli.workflows.landcover.survey import Survey

Figures = Callable[[int, int, dict[str, float]], None]
#: A held-out window and the classes found in it.
Shown = tuple[Sample, NDArray[np.uint8]]
#: Held-out windows kept for the report's pictures.
_SHOWN = 4


@dataclass(frozen=True)
class Ground:
    """What all trainings of a run share."""

    scenes: Sequence[OpenScene]
    survey: Survey
    recipe: Recipe
    settings: RunSettings
    progress: Progress

    def task(self, held: frozenset[Block] | None) -> tuple[Task, Budget, Tally]:
        """Cut the windows of a split; None for one of random pixels."""
        return cut_scenes(self.scenes, self.survey, held, self.recipe, self.settings, self.progress)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of all trainings.

    Attributes
    ----------
    learned : Learned
        The model to keep.
    matrix : ConfusionMatrix
        Of held-out pixels, over all folds.
    metrics : dict
        Accuracy as plain values, for the card.
    calibration : Calibration or None
        None where the held-out pixels lie in one block: nothing could be fitted and checked.
    curves : dict of str to list
        Figures of each epoch of each training.
    reliability : (Reliability, Reliability) or None
        Before the temperature and after.
    shown : list of (Sample, ndarray of int (row, col))
        Held-out windows and the classes, from 1, found by the training that they were held from.
    budget : Budget
    tally : Tally
    held : dict
        The blocks held out, by training.
    where : Compute
        Device and scan.
    """

    learned: Learned
    matrix: ConfusionMatrix
    metrics: dict[str, Any]
    calibration: Calibration | None
    curves: dict[str, list[dict[str, float]]]
    reliability: tuple[Reliability, Reliability] | None
    shown: list[Shown]
    budget: Budget
    tally: Tally
    held: dict[str, list[Block]] | None
    where: Compute


@dataclass
class Trainings:
    """Runs the trainings one after the other, and counts their epochs as one row.

    Attributes
    ----------
    ground : Ground
    learner : Learner
    figures : callable
        Hears ``figures(epoch, epochs, values)`` over all trainings.
    keep : callable
        ``keep(stage)`` is where the state of a training is kept.
    """

    ground: Ground
    learner: Learner
    figures: Figures
    keep: Callable[[str], Keep]
    _curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def run(self, labels: str) -> Outcome:
        """Run all; `labels` is where they come from, for refusals.

        Raises
        ------
        InputError
            Labels in too few blocks.
        BudgetError
        """
        if self.ground.recipe.training.folds:
            return self._folds(labels)
        return self._single(labels)

    def _single(self, labels: str) -> Outcome:
        training, survey = self.ground.recipe.training, self.ground.survey
        held = _held(survey, training, labels)
        task, budget, tally = self.ground.task(held)
        learned = self._learn(task, "train", (0, 1))
        found = judge(learned, task.validation, task.classes)
        spatial = held is not None
        groups = found.groups(survey.side if spatial else 1)
        calibration, shapes = None, None
        if len(set(groups.tolist())) > 1:
            calibration = cross_fit(found.probabilities, found.truth, groups)
            shapes = _shapes(found.probabilities, found.truth, calibration)
        metrics = {
            "epoch": learned.epoch,
            "split": training.split,
            "validation": accuracy(found.matrix).to_json(),
            **_sides(found, survey, held),
        }
        shown = [_shown(sample, learned) for sample in _widest(task.validation)]
        blocks = None if held is None else {"train": sorted(held)}
        return Outcome(
            *(learned, found.matrix, metrics, calibration, self._curves, shapes, shown),
            *(budget, tally, blocks, task.where),
        )

    def _folds(self, labels: str) -> Outcome:
        training, survey = self.ground.recipe.training, self.ground.survey
        if len(survey.counts) < training.folds:
            raise InputError(
                f"{labels}: the labels lie in {len(survey.counts)} blocks of {survey.side} px, "
                f"--folds {training.folds} wants as many; choose a smaller --block."
            )
        dealt = draw_folds(survey.counts, training.folds, training.seed)
        count = training.folds + training.final_fit
        folds, shown, first = [], [], None
        for number, held in enumerate(dealt):
            stage = f"fold {number + 1}"
            task, budget, tally = self.ground.task(held)
            # nothing may choose an epoch by what it is measured on
            alone = Task(task.train, [], task.classes, task.scaling, task.step, task.where)
            learned = self._learn(alone, stage, (number, count))
            found = judge(learned, task.validation, task.classes)
            away = sum(survey.counts[block] for block in held)
            folds.append(Fold(found, survey.pixels - away))
            shown += [_shown(sample, learned) for sample in _widest(task.validation)[:1]]
            first = first or learned
        assert first is not None  # there are two folds at least
        learned = first
        if training.final_fit:
            task, budget, tally = self.ground.task(frozenset())
            learned = self._learn(task, "final fit", (training.folds, count))
        calibration = calibrate(folds)
        metrics = {
            "epoch": learned.epoch,
            "split": training.split,
            "validation": accuracy(pooled(folds)).to_json(),
            **summary(folds),
        }
        shapes = _shapes(*held_out(folds), calibration)
        blocks = {f"fold {n}": sorted(held) for n, held in enumerate(dealt, start=1)}
        return Outcome(
            *(learned, pooled(folds), metrics, calibration, self._curves, shapes),
            *(shown[:_SHOWN], budget, tally, blocks, task.where),
        )

    def _learn(self, task: Task, stage: str, place: tuple[int, int]) -> Learned:
        """Run one training, the `place[0]`-th of `place[1]`."""

        def report(epoch: int, epochs: int, values: dict[str, float]) -> None:
            self.figures(place[0] * epochs + epoch, place[1] * epochs, values)

        learned = self.learner.learn(task, report, self.keep(stage))
        self._curves[stage] = learned.history
        return learned


def _held(survey: Survey, training: TrainingSettings, labels: str) -> frozenset[Block] | None:
    """Draw the held-out blocks; None for a random split of pixels."""
    if training.split == "random":
        return None
    held = draw_blocks(survey.counts, training.validation, training.seed)
    if not held:
        raise InputError(
            f"{labels}: all labels lie in one block of {survey.side} px, at least two are wanted; "
            "choose a smaller --block."
        )
    return held


def _sides(found: Held, survey: Survey, held: frozenset[Block] | None) -> dict[str, Any]:
    """Name the classes that stand on one side alone of a split by blocks."""
    if held is None:
        return {}
    one = Fold(found, survey.pixels - sum(survey.counts[block] for block in held))
    return {"unlearnable": list(one.unlearnable), "unvalidated": list(one.unvalidated)}


def _shapes(
    probabilities: Any, truth: Any, calibration: Calibration
) -> tuple[Reliability, Reliability]:
    after = temper(probabilities, calibration.temperature, calibration.growth)
    return reliability(probabilities, truth), reliability(after, truth)


def _shown(sample: Sample, learned: Learned) -> Shown:
    return sample, classes(learned.window(sample.window))


def _widest(samples: Sequence[Sample]) -> list[Sample]:
    """Take the windows with most labelled pixels, in that order."""
    return sorted(samples, key=lambda s: -int((s.truth > 0).sum()))[:_SHOWN]
