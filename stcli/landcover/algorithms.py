"""Training any kind of model on one task: the same windows, segments and split for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.landcover import architectures, ensemble
from stcli.landcover.accuracy.accuracy import ConfusionMatrix
from stcli.landcover.accuracy.tempering import temperature
from stcli.landcover.classical import forest, svm
from stcli.landcover.classical.features import feature_count, window_features
from stcli.landcover.classical.pixels import PixelMethod
from stcli.landcover.network.network_method import network_method
from stcli.landcover.network.task import Sample, Task
from stcli.landcover.network.training import Begin, Report, train
from stcli.landcover.network.windows import Window
from stcli.landcover.prediction import classes as best_classes
from stcli.nn.tensors import arrays_of
from stcli.nn.weights import Arrays
from stcli.settings import ForestSettings, NetworkSettings, SvmSettings, TrainingSettings

#: Labelled pixels by which the ensemble's members are calibrated, at most.
_CALIBRATING = 50_000


@dataclass(frozen=True)
class Plan:
    """How a model is trained.

    Attributes
    ----------
    algorithm : str
        One of `stcli.settings.ALGORITHMS`.
    network : NetworkSettings
        Of the other algorithms, only the windows count.
    training : TrainingSettings
        Of the forest and the support vectors, only the seed counts.
    forest, svm
        Settings of theirs.
    """

    algorithm: str = "network"
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    forest: ForestSettings = field(default_factory=ForestSettings)
    svm: SvmSettings = field(default_factory=SvmSettings)


@dataclass(frozen=True)
class Fitted:
    """A trained model of any kind, before it is saved.

    Attributes
    ----------
    architecture : str
        Of the card.
    network : dict
        The card's field of that name: what `load_model` needs beside the state.
    state : dict of str to ndarray
    window : callable
        Maps a lattice window to probabilities float32 (class, row, col), not calibrated; NaN where
        not valid, and maybe beyond its centre.
    epoch : int
        That was kept; 0 where there are none.
    history : list of dict
        Figures of each epoch.
    """

    architecture: str
    network: dict[str, Any]
    state: Arrays
    window: Callable[[Window], NDArray[np.float32]]
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def matrix(self, samples: Sequence[Sample], classes: tuple[str, ...]) -> ConfusionMatrix:
        """Count agreement with the truth of samples, in their windows' centres."""
        matrix = ConfusionMatrix.empty(classes)
        for sample in samples:
            matrix = matrix.add(best_classes(self.window(sample.window)), sample.truth)
        return matrix


def silent(epoch: int, epochs: int, figures: dict[str, float]) -> None:
    """Report nothing."""


def fit(task: Task, plan: Plan, report: Report = silent, begin: Begin | None = None) -> Fitted:
    """Train a model; `begin` is where a network begins, and where its state is kept.

    Raises
    ------
    InputError
        When a side of the split has no labelled pixel, or the training part only one class.
    """
    _refuse_one_class(task)
    if plan.algorithm == "network":
        return _network(task, plan, report, begin)
    if plan.algorithm == "ensemble":
        return _ensemble(task, plan, report, begin)
    return _pixels(task, plan, plan.algorithm)


def _refuse_one_class(task: Task) -> None:
    """Refuse a training part from which nothing can be told apart."""
    counts = np.zeros(len(task.classes) + 1, dtype=np.int64)
    for sample in task.train:
        counts += np.bincount(sample.truth.ravel(), minlength=len(counts))
    present = np.flatnonzero(counts[1:])
    if len(present) == 1:
        raise InputError(
            f"the labels leave one class, {task.classes[present[0]]}, for training, two or more "
            "are wanted; label each class in more places, or choose smaller blocks with --block."
        )


def _network(task: Task, plan: Plan, report: Report, begin: Begin | None) -> Fitted:
    found = train(task, plan.network, plan.training, report, begin)
    state, seen = arrays_of(found.state), (task.scaling, task.step)
    method = network_method(state, len(task.classes), plan.network, seen, task.where)
    kept = (state, method.window, found.epoch, found.history)
    kind = architectures.GLOCAL_SERIES if plan.network.date_width else architectures.GLOCAL
    return Fitted(kind, asdict(plan.network), *kept)


def _pixels(task: Task, plan: Plan, algorithm: str) -> Fitted:
    """Train the forest or the support vectors."""
    settings: ForestSettings | SvmSettings = getattr(plan, algorithm)
    features, truth = draw(task, plan.network.margin, settings.pixels, plan.training.seed)
    known = (feature_count(len(task.scaling.low)), len(task.classes))
    if isinstance(settings, ForestSettings):
        state = forest.fit_forest(features, truth, known[1], plan.training.seed, settings)
        model: Any = forest.Forest(state, *known)
    else:
        state = svm.fit_svm(features, truth, known[1], settings)
        model = svm.Svm(state, *known)
    method = PixelMethod(model, known[1], task.scaling, plan.network, task.step)
    grid = {"window": plan.network.window, "margin": plan.network.margin}
    kind = architectures.FOREST if algorithm == "forest" else architectures.SVM
    return Fitted(kind, grid | asdict(settings), state, method.window)


def _ensemble(task: Task, plan: Plan, report: Report, begin: Begin | None) -> Fitted:
    """Train both members and fit their temperatures on the validation part."""
    members = (_network(task, plan, report, begin), _pixels(task, plan, "forest"))
    temperatures = (_temperature(members[0], task), _temperature(members[1], task))
    one, two = (member.window for member in members)
    together = ensemble.Mean((one, two), temperatures)
    names = (ensemble.NETWORK, ensemble.FOREST)
    kept = {
        ensemble.NETWORK: members[0].network,
        ensemble.FOREST: members[1].network,
        "temperatures": dict(zip(names, temperatures, strict=True)),
    }
    state = ensemble.join(members[0].state, members[1].state)
    return Fitted(
        architectures.ENSEMBLE,
        kept,
        state,
        together,
        members[0].epoch,
        members[0].history,
    )


def _temperature(member: Fitted, task: Task) -> float:
    """Fit a member's temperature on validation pixels, 1 where there are none."""
    chances, truth = [], []
    for sample in task.validation:
        found = member.window(sample.window)
        known = (sample.truth > 0) & ~np.isnan(found[0])
        chances.append(found[:, known])
        truth.append(sample.truth[known].astype(np.int64) - 1)
    if not truth or not sum(map(len, truth)):
        return 1.0
    pixels = np.concatenate(chances, axis=1)
    every = -(-pixels.shape[1] // _CALIBRATING)
    return temperature(pixels[:, ::every], np.concatenate(truth)[::every])


def draw(
    task: Task, margin: int, most: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw labelled pixels of the training windows' centres, each as likely as any other.

    Returns
    -------
    features : ndarray of float32 (pixel, feature)
    truth : ndarray of int64 (pixel,)
        Class from 0.

    Raises
    ------
    InputError
        When there is none.
    """
    masks = [_labelled(sample, margin) for sample in task.train]
    count = sum(int(mask.sum()) for mask in masks)
    if not count:
        raise InputError("the labels leave no pixel for training; label more places.")
    taken = np.ones(count, dtype=np.bool_)
    if count > most:
        taken[:] = False
        taken[np.random.default_rng(seed).choice(count, most, replace=False)] = True
    parts = list(_described(task, masks, taken))
    return np.concatenate([f for f, _ in parts]), np.concatenate([t for _, t in parts])


def _described(
    task: Task, masks: Sequence[NDArray[np.bool_]], taken: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Describe the pixels taken of each window."""
    first = 0
    for sample, mask in zip(task.train, masks, strict=True):
        after = first + int(mask.sum())
        mine = np.zeros_like(mask)
        mine[mask] = taken[first:after]
        first = after
        if mine.any():
            features = window_features(sample.window, task.scaling, task.step, mine)
            yield features, sample.truth[mine].astype(np.int64) - 1


def _labelled(sample: Sample, margin: int) -> NDArray[np.bool_]:
    """Mark labelled pixels of the centre: rims overlap, and would be drawn twice."""
    inside = np.zeros_like(sample.window.valid)
    inner = slice(margin, inside.shape[0] - margin)
    inside[inner, inner] = (sample.truth > 0)[inner, inner] & sample.window.valid[inner, inner]
    return inside
