"""Models of series: what they are made of, how they are trained and how sure they are.

A model joins one or several methods (see `stcli.landcover.joined`); its folds are whole blocks.

Letters: n samples, s steps, b bands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.landcover.joined import Held, Joined, Report, Shown, Trained, hold_out, settle
from stcli.landcover.members import Discriminant, Machine, Member
from stcli.landcover.series.forest_member import Trees
from stcli.landcover.series.season import filled
from stcli.landcover.series.seriesfeatures import contrasts, features
from stcli.landcover.series.temporal_member import Network
from stcli.landcover.split import fewer_folds
from stcli.nn.device import Compute
from stcli.settings import SeriesSettings, TemporalSettings, TemporalTraining


@dataclass(frozen=True, eq=False)
class Samples:
    """Labelled series on the steps of a season.

    Attributes
    ----------
    series : ndarray of float32 (n, s, b)
        NaN for a gap.
    truth : ndarray of int64 (n,)
        From 0.
    groups : ndarray of int64 (n,)
        Samples of one number share a block.
    offsets : ndarray of float64 (s,)
        Days of the steps.
    count : int
        Classes.
    """

    series: NDArray[np.float32]
    truth: NDArray[np.int64]
    groups: NDArray[np.int64]
    offsets: NDArray[np.float64]
    count: int

    def part(self, chosen: NDArray[Any]) -> Samples:
        """Take some of the samples.

        Parameters
        ----------
        chosen : ndarray, (n,)
            Numbers, or a mask.
        """
        taken = (self.series[chosen], self.truth[chosen], self.groups[chosen])
        return Samples(*taken, self.offsets, self.count)


@dataclass(frozen=True)
class Recipe:
    """Settings of everything that shapes a model of series."""

    series: SeriesSettings = field(default_factory=SeriesSettings)
    network: TemporalSettings = field(default_factory=TemporalSettings)
    training: TemporalTraining = field(default_factory=TemporalTraining)


def shown(series: NDArray[np.float32], offsets: NDArray[np.float64]) -> Shown:
    """Show methods what they see of series: features of filled ones, or the series with gaps.

    Parameters
    ----------
    series : ndarray of float32, (n, s, b)
        NaN is a gap.
    offsets : ndarray of float64, (s,)
        Days of the steps.
    """

    def looked(name: str) -> Any:
        if name == "network":
            return series
        return (contrasts if name == "svm" else features)(filled(series, offsets))

    return looked


def train_members(samples: Samples, recipe: Recipe, where: Compute) -> Joined:
    """Train each method on all samples; temperatures are 1."""
    seen, truth = np.unique(samples.truth, return_inverse=True)
    members: dict[str, Member] = {}
    look = shown(samples.series, samples.offsets)
    for name in recipe.series.methods:
        if name == "network":
            training = replace(recipe.training, seed=recipe.series.seed)
            settings = (recipe.network, training)
            members[name] = Network.fit(look(name), truth, samples.offsets, settings, where)
        else:
            members[name] = KINDS[name].fit(look(name), truth, recipe.series.seed)
    return Joined(members, dict.fromkeys(members, 1.0), seen, samples.count)


#: Methods that are kept as arrays, by name.
KINDS: dict[str, Any] = {"discriminant": Discriminant, "svm": Machine, "forest": Trees}


def folds(samples: Samples, settings: SeriesSettings) -> NDArray[np.int64]:
    """Give each sample a fold (n,): whole blocks, classes as even as these allow.

    Fewer blocks than folds give as many folds as blocks, and at most as many as the largest class
    has samples; both with a word.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    blocks, most = len(np.unique(samples.groups)), int(np.bincount(samples.truth).max())
    what = "blocks" if blocks <= most else "samples of the largest class"
    number = fewer_folds(settings.folds, min(blocks, most), what)
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=settings.seed)
    fold = np.empty(len(samples.truth), dtype=np.int64)
    for k, (_, held) in enumerate(splitter.split(samples.truth, samples.truth, samples.groups)):
        fold[held] = k
    return fold


def hold_out_blocks(
    samples: Samples,
    recipe: Recipe,
    where: Compute,
    report: Report = lambda fold, folds: None,
) -> Held:
    """Train without each fold of blocks in turn, and look at it.

    Raises
    ------
    InputError
        A fold leaves too few samples or classes, or none could learn what it holds out.
    """

    def train(chosen: NDArray[np.bool_]) -> Joined:
        part = samples.part(chosen)
        _refuse_few(part)
        return train_members(part, recipe, where)

    def look(chosen: NDArray[np.bool_]) -> Shown:
        return shown(samples.series[chosen], samples.offsets)

    return hold_out(samples.truth, folds(samples, recipe.series), train, look, report)


def _refuse_few(samples: Samples) -> None:
    """Refuse samples that no method can tell classes by."""
    count, classes = len(samples.truth), len(np.unique(samples.truth))
    if not 1 < classes < count:
        raise InputError(
            f"series: {count} samples of {classes} classes found in a training part, two classes "
            "and more samples than classes are wanted; label more places, or choose a smaller "
            "--block."
        )


def train_series(
    samples: Samples,
    recipe: Recipe,
    where: Compute,
    report: Report = lambda fold, folds: None,
) -> Trained:
    """Validate on blocked folds, calibrate on what they held out, train on all samples.

    Raises
    ------
    InputError
        See `hold_out_blocks`.
    """
    held = hold_out_blocks(samples, recipe, where, report)
    return settle(train_members(samples, recipe, where), held, samples.truth)
