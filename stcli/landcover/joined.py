"""Models that join one or several methods: the mean of their tempered probabilities.

Temperatures, the model's own included, are fitted on folds: each sample is looked at by methods
that saw nothing of its fold. A sample whose class lay in its own fold alone says nothing there of
a model that knows the class, and is left out of them.

Letters: n samples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.accuracy.calibration import Calibration, by_others, cross_fit
from stcli.landcover.accuracy.tempering import temper, temperature
from stcli.landcover.members import Arrays, Member
from stcli.landcover.split import refuse_unlearnable

Float = NDArray[np.floating[Any]]
#: Gives what the method of a name looks at, one row a sample.
Shown = Callable[[str], Any]
Report = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Joined:
    """Trained methods, each with its temperature.

    Attributes
    ----------
    members : dict of str to Member
    temperatures : dict of str to float
    seen : ndarray of int64 (k,)
        Those of the K classes that were in the training.
    count : int
        K.
    """

    members: dict[str, Member]
    temperatures: dict[str, float]
    seen: NDArray[np.int64]
    count: int

    def each(self, shown: Shown) -> dict[str, Float]:
        """Give each method's own probabilities (K, n); 0 for classes that it has not seen."""
        found: dict[str, Float] = {}
        for name, member in self.members.items():
            looked = shown(name)
            found[name] = np.zeros((self.count, len(looked)))
            found[name][self.seen] = member.probabilities(looked)
        return found

    def probabilities(self, shown: Shown) -> Float:
        """Give probabilities (K, n), not calibrated as a whole."""
        return _mean(self.each(shown), self.temperatures)

    def state(self) -> Arrays:
        """All arrays, named ``method.array``, as weights are kept."""
        each = {m: member.state() for m, member in self.members.items()}
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


@dataclass(frozen=True, eq=False)
class Held:
    """What folds found out: each sample as methods saw it that know nothing of its fold.

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
            result[:, here] = _mean(part, self.temperatures(truth, ~here))
        return result


def hold_out(
    truth: NDArray[np.int64],
    fold: NDArray[np.int64],
    train: Callable[[NDArray[np.bool_]], Joined],
    shown: Callable[[NDArray[np.bool_]], Shown],
    report: Report,
) -> Held:
    """Train without each fold in turn, and look at it.

    Parameters
    ----------
    truth, fold : ndarray of int64 (n,)
        Class, from 0, and fold of each sample.
    train : callable
        ``train(chosen)``: a model of the samples that a mask (n,) marks.
    shown : callable
        ``shown(chosen)``: what methods look at of these samples.
    report : callable
        ``report(done, folds)`` after each fold.

    Raises
    ------
    InputError
        No training could learn what it holds out.
    """
    each: dict[str, Float] = {}
    learnable = np.empty(len(fold), dtype=np.bool_)
    numbers = np.unique(fold)
    for done, k in enumerate(numbers, start=1):
        here = fold == k
        model = train(~here)
        learnable[here] = np.isin(truth[here], model.seen)
        for name, p in model.each(shown(here)).items():
            each.setdefault(name, np.zeros((model.count, len(fold))))[:, here] = p
        report(done, len(numbers))
    refuse_unlearnable(learnable)
    return Held(each, fold, learnable)


@dataclass(frozen=True, eq=False)
class Trained:
    """A model of all samples, and what its folds found.

    Attributes
    ----------
    model : Joined
        Not calibrated as a whole.
    calibration : Calibration
    held : Held
    probabilities : ndarray (K, n)
        Of each sample, held out; calibrated by the other folds, as each of these was joined: by
        methods' temperatures for which this fold was seen, too.
    """

    model: Joined
    calibration: Calibration
    held: Held
    probabilities: Float


def settle(model: Joined, held: Held, truth: NDArray[np.int64]) -> Trained:
    """Fit temperatures and calibration of a model of all samples (n,) on what folds held out."""
    chances, use = held.probabilities(truth), held.learnable
    # of a class that a fold's training lacked there is nothing to be sure about
    calibration = cross_fit(chances[:, use], truth[use], held.fold[use])
    honest = by_others(chances, truth, held.fold, use)
    temperatures = held.temperatures(truth, np.ones(len(truth), dtype=np.bool_))
    return Trained(replace(model, temperatures=temperatures), calibration, held, honest)


def _mean(each: dict[str, Float], temperatures: dict[str, float]) -> Float:
    """Average tempered probabilities (K, n) of several methods."""
    tempered = [temper(p, temperatures[name]) for name, p in each.items()]
    return np.asarray(np.mean(tempered, axis=0))
