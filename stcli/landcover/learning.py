"""The seam between an algorithm and what judges it: folds, calibration and report know no more.

A `Learner` learns the training samples of a task; what it `Learned` gives probabilities for any
window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stcli.landcover.accuracy.accuracy import ConfusionMatrix
from stcli.landcover.algorithms import Plan, fit
from stcli.landcover.network.task import Sample, Task
from stcli.landcover.network.training import Begin, Keep, Report
from stcli.landcover.network.windows import Window
from stcli.nn.tensors import tensors_of
from stcli.nn.weights import Arrays, Card, load_weights

#: Held-out pixels of a training that calibration is fitted on, at most, and their probabilities:
#: of more, every n-th pixel is taken.
MOST, MOST_CHANCES = 100_000, 1_000_000
#: Groups that the held-out blocks of a single split are dealt into, to calibrate and to measure.
GROUPS = 5
#: Layers whose outputs are the classes.
_HEADS = ("head.", "token_head.")


class Learned(Protocol):
    """What came out of learning."""

    @property
    def architecture(self) -> str:
        """Name in the card."""

    @property
    def network(self) -> dict[str, Any]:
        """The card's field of that name: what loading needs beside the state."""

    @property
    def state(self) -> Arrays:
        """All that must be stored."""

    @property
    def epoch(self) -> int:
        """The epoch that was kept; 0 for an algorithm that knows none."""

    @property
    def history(self) -> list[dict[str, float]]:
        """Figures of each epoch."""

    def window(self, window: Window, /) -> NDArray[np.float32]:
        """Class probabilities (class, row, col) as they come: not calibrated.

        NaN where not valid, and maybe beyond the window's centre.
        """


class Learner(Protocol):
    """An algorithm with its settings."""

    def learn(self, task: Task, report: Report, keep: Keep | None = None) -> Learned:
        """Learn ``task.train``; ``task.validation`` may choose when to stop, and may be empty."""


@dataclass(frozen=True)
class Algorithm:
    """Any of the algorithms of `stcli.landcover.algorithms`.

    Attributes
    ----------
    plan : Plan
    weights : dict of str to Tensor
        For a network to begin with; see `stcli.landcover.network.training.Begin`.
    """

    plan: Plan
    weights: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def learn(self, task: Task, report: Report, keep: Keep | None = None) -> Learned:
        """Train; see `stcli.landcover.algorithms.fit`."""
        return fit(task, self.plan, report, Begin(self.weights, keep))


def given_weights(folder: Path, card: Card, classes: tuple[str, ...]) -> dict[str, Tensor]:
    """Weights of a model to begin with: without its heads where its classes are others.

    Raises
    ------
    ModelError
        Damaged weights.
    """
    state = tensors_of(load_weights(folder, card))
    if tuple(c.name for c in card.classes) == classes:
        return state
    return {name: weight for name, weight in state.items() if not name.startswith(_HEADS)}


@dataclass(frozen=True, eq=False)
class Held:
    """What was found on samples that were held out.

    Attributes
    ----------
    probabilities : ndarray of float32 (class, pixel)
        At labelled pixels; of many, every n-th.
    truth : ndarray of int64 (pixel,)
        Class from 0.
    place : ndarray of int64 (pixel, 2)
        Row and column on the lattice.
    matrix : ConfusionMatrix
        Of all labelled pixels.
    """

    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]
    place: NDArray[np.int64]
    matrix: ConfusionMatrix

    def groups(self, side: int) -> NDArray[np.int64]:
        """Put each pixel into one of `GROUPS`, whole blocks of a side together: (pixel,)."""
        _, block = np.unique(self.place // side, axis=0, return_inverse=True)
        return np.asarray(block.ravel() % GROUPS, dtype=np.int64)


def judge(learned: Learned, samples: Sequence[Sample], classes: tuple[str, ...]) -> Held:
    """Give probabilities to held-out samples and compare them with their truth."""
    labelled = sum(int(np.count_nonzero(sample.truth)) for sample in samples)
    every, seen = -(-labelled // min(MOST, MOST_CHANCES // len(classes))), 0
    matrix = ConfusionMatrix.empty(classes)
    found: list[tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]] = []
    for sample in samples:
        chances, known = learned.window(sample.window), np.nonzero(sample.truth)
        truth = sample.truth[known].astype(np.int64)
        at = chances[:, known[0], known[1]]
        matrix = matrix.add(at.argmax(axis=0) + 1, truth)
        kept = slice(-seen % every, None, every)
        place = np.stack(known, axis=1) + np.array(sample.window.lattice)
        found.append((at[:, kept], truth[kept] - 1, place[kept]))
        seen += len(truth)
    chances, truth, place = (
        np.concatenate(part, axis=-1 if n == 0 else 0)
        for n, part in enumerate(zip(*found, strict=True))
    )
    return Held(chances, truth, place, matrix)
