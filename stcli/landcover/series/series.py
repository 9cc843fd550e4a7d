"""Models of series: what they are made of, how they are trained and how sure they are.

A model joins one or several methods: the mean of their tempered probabilities. Temperatures, the
model's own included, are fitted on blocked folds: each sample is looked at by methods that saw
nothing of its block. A sample whose class lay in its own fold alone says nothing there of a model
that knows the class, and is left out of them.

Letters: n samples, s steps, b bands, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.landcover.accuracy.calibration import Calibration, by_others, cross_fit
from stcli.landcover.accuracy.tempering import temper, temperature
from stcli.landcover.members import Arrays, Discriminant, Machine, Member
from stcli.landcover.series.forest_member import Trees
from stcli.landcover.series.season import filled
from stcli.landcover.series.seriesfeatures import contrasts, features
from stcli.landcover.series.temporal_member import Network
from stcli.landcover.split import fewer_folds, refuse_unlearnable
from stcli.nn.device import Compute
from stcli.settings import SeriesSettings, TemporalSettings, TemporalTraining

Float = NDArray[np.floating[Any]]


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


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trained methods, each with its temperature and the classes it has seen.

    Attributes
    ----------
    members : dict of str to Member
    temperatures : dict of str to float
    seen : ndarray of int64 (k,)
        Those of the K classes that were in the training.
    offsets : ndarray of float64 (s,)
    count : int
        K.
    """

    members: dict[str, Member]
    temperatures: dict[str, float]
    seen: NDArray[np.int64]
    offsets: NDArray[np.float64]
    count: int

    def each(self, series: NDArray[np.float32]) -> dict[str, Float]:
        """Give each method's own probabilities (K, n) of series (n, s, b)."""
        found: dict[str, Float] = {}
        for name, member in self.members.items():
            found[name] = np.zeros((self.count, len(series)))
            found[name][self.seen] = member.probabilities(view(name, series, self.offsets))
        return found

    def probabilities(self, series: NDArray[np.float32]) -> Float:
        """Give probabilities (K, n) of series (n, s, b)."""
        return joined(self.each(series), self.temperatures)


def view(name: str, series: NDArray[np.float32], offsets: NDArray[np.float64]) -> Any:
    """Show a method what it sees of series: features of filled ones, or the series with gaps.

    Parameters
    ----------
    name : str
        Of a method.
    series : ndarray of float32, (n, s, b)
        NaN is a gap.
    offsets : ndarray of float64, (s,)
        Days of the steps.
    """
    if name == "network":
        return series
    return (contrasts if name == "svm" else features)(filled(series, offsets))


def joined(each: dict[str, Float], temperatures: dict[str, float]) -> Float:
    """Average tempered probabilities (K, n) of several methods."""
    tempered = [temper(p, temperatures[name]) for name, p in each.items()]
    return np.asarray(np.mean(tempered, axis=0))


def train_members(samples: Samples, recipe: Recipe, where: Compute) -> Ensemble:
    """Train each method on all samples; temperatures are 1."""
    seen, truth = np.unique(samples.truth, return_inverse=True)
    members: dict[str, Member] = {}
    for name in recipe.series.methods:
        shown = view(name, samples.series, samples.offsets)
        if name == "network":
            training = replace(recipe.training, seed=recipe.series.seed)
            settings = (recipe.network, training)
            members[name] = Network.fit(shown, truth, samples.offsets, settings, where)
        else:
            members[name] = KINDS[name].fit(shown, truth, recipe.series.seed)
    return Ensemble(members, dict.fromkeys(members, 1.0), seen, samples.offsets, samples.count)


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


@dataclass(frozen=True, eq=False)
class Held:
    """What folds found out: each sample as methods saw it that know nothing of its block.

    Attributes
    ----------
    each : dict of str to ndarray (K, n)
        Each method's own probabilities.
    fold : ndarray of int64 (n,)
    learnable : ndarray of bool (n,)
        False where a sample's class was absent from its fold's training.
    """

    each: dict[str, Float]
    fold: NDArray[np.int64]
    learnable: NDArray[np.bool_]

    def temperatures(self, truth: NDArray[np.int64], inside: NDArray[np.bool_]) -> dict[str, float]:
        """Fit each method's temperature to truth (n,) inside (n,), as far as learnable."""
        use = inside & self.learnable
        return {n: temperature(p[:, use], truth[use]) for n, p in self.each.items()}

    def probabilities(self, truth: NDArray[np.int64]) -> Float:
        """Join the methods (K, n); a fold's temperatures are fitted on the other folds."""
        result = np.empty_like(next(iter(self.each.values())))
        for k in np.unique(self.fold):
            here = self.fold == k
            part = {name: p[:, here] for name, p in self.each.items()}
            result[:, here] = joined(part, self.temperatures(truth, ~here))
        return result


Report = Callable[[int, int], None]


def hold_out(
    samples: Samples,
    recipe: Recipe,
    where: Compute,
    report: Report = lambda fold, folds: None,
) -> Held:
    """Train without each fold in turn, and look at it.

    Raises
    ------
    InputError
        A fold leaves too few samples or classes, or none could learn what it holds out.
    """
    fold = folds(samples, recipe.series)
    each: dict[str, Float] = {
        m: np.zeros((samples.count, len(fold))) for m in recipe.series.methods
    }
    learnable = np.empty(len(fold), dtype=np.bool_)
    numbers = np.unique(fold)
    for k in numbers:
        here = fold == k
        others = samples.part(~here)
        _refuse_few(others)
        trained = train_members(others, recipe, where)
        learnable[here] = np.isin(samples.truth[here], trained.seen)
        for name, p in trained.each(samples.series[here]).items():
            each[name][:, here] = p
        report(int(k) + 1, len(numbers))
    refuse_unlearnable(learnable)
    return Held(each, fold, learnable)


def _refuse_few(samples: Samples) -> None:
    """Refuse samples that no method can tell classes by."""
    count, classes = len(samples.truth), len(np.unique(samples.truth))
    if not 1 < classes < count:
        raise InputError(
            f"series: {count} samples of {classes} classes found in a training part, two classes "
            "and more samples than classes are wanted; label more places, or choose a smaller "
            "--block."
        )


@dataclass(frozen=True, eq=False)
class Trained:
    """A model on all samples, and what its folds found.

    Attributes
    ----------
    model : Ensemble
        Not calibrated.
    calibration : Calibration
    held : Held
    probabilities : ndarray (K, n)
        Of each sample, held out; calibrated by the other folds.
    """

    model: Ensemble
    calibration: Calibration
    held: Held
    probabilities: Float


def train_series(
    samples: Samples,
    recipe: Recipe,
    where: Compute,
    report: Report = lambda fold, folds: None,
) -> Trained:
    """Validate on blocked folds, calibrate on what they held out, train on all samples."""
    held = hold_out(samples, recipe, where, report)
    chances, use = held.probabilities(samples.truth), held.learnable
    calibration = cross_fit(chances[:, use], samples.truth[use], held.fold[use])
    honest = by_others(chances, samples.truth, held.fold, use)
    model = train_members(samples, recipe, where)
    everywhere = np.ones(len(held.fold), dtype=np.bool_)
    temperatures = held.temperatures(samples.truth, everywhere)
    return Trained(replace(model, temperatures=temperatures), calibration, held, honest)


def state_of(model: Ensemble) -> Arrays:
    """All arrays of a model, named ``method.array``, as weights are kept."""
    each = {m: member.state() for m, member in model.members.items()}
    return {f"{m}.{k}": np.array(v) for m, state in each.items() for k, v in state.items()}


def parts_of(state: Arrays, names: Sequence[str]) -> dict[str, Arrays]:
    """Sort arrays by their method; of a method that is not among `names`, TypeError."""
    parts: dict[str, Arrays] = {name: {} for name in names}
    for key, array in state.items():
        method, _, name = key.partition(".")
        if method not in parts:
            raise TypeError(f"arrays of an unknown method {method}")
        parts[method][name] = array
    return parts
