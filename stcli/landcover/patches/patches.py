"""Models of patches: small rasters that have one class as a whole.

A model joins one or several methods, each on its own view of the patch's features: the mean of
their tempered probabilities. All temperatures are fitted on folds: each patch is looked at by
methods that saw nothing of its group.

Letters: n patches, f features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.landcover.accuracy.calibration import Calibration, by_others, cross_fit
from stcli.landcover.members import Arrays, Machine, Member
from stcli.landcover.series.series import Held, joined, parts_of
from stcli.landcover.split import fewer_folds, refuse_unlearnable
from stcli.settings import PatchSettings

ARCHITECTURE = "patch-1"

Float = NDArray[np.floating[Any]]
#: Features (n, f) by the name of their view: see `stcli.landcover.patches.patchfeatures`.
Views = Mapping[str, NDArray[np.float64]]

#: Each method: the views that it looks at, and its price of a sample on the wrong side.
METHODS = {
    "spectrum": (("spectrum",), 10.0),
    "pattern": (("spectrum", "pattern"), 10.0),
    "pixels": (("pixels",), 30.0),
    "all": (("spectrum", "pattern", "pixels"), 10.0),
}


@dataclass(frozen=True, eq=False)
class Patches:
    """Labelled patches, as features.

    Attributes
    ----------
    views : mapping of str to ndarray of float64 (n, f)
    truth : ndarray of int64 (n,)
        From 0.
    groups : ndarray of int64 (n,) or None
        Patches of one number stay together; None where nothing is known of them.
    count : int
        Classes.
    """

    views: Views
    truth: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    count: int


@dataclass(frozen=True, eq=False)
class PatchModel:
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

    def each(self, views: Views) -> dict[str, Float]:
        """Give each method's own probabilities (K, n)."""
        found: dict[str, Float] = {}
        for name, member in self.members.items():
            shown = _shown(name, views)
            found[name] = np.zeros((self.count, len(shown)))
            found[name][self.seen] = member.probabilities(shown)
        return found

    def probabilities(self, views: Views) -> Float:
        """Give probabilities (K, n), not calibrated as a whole."""
        return joined(self.each(views), self.temperatures)

    def state(self) -> Arrays:
        """All arrays, named ``method.array``."""
        return {f"{m}.{k}": v for m, each in self.members.items() for k, v in each.state().items()}

    @classmethod
    def of(cls, state: Arrays, temperatures: dict[str, float], count: int) -> PatchModel:
        """Make it of what `state` gave; raises TypeError where that does not fit.

        A model that is kept has seen all its classes: others are not in its card.
        """
        parts = parts_of(state, tuple(temperatures))
        if not set(parts) <= set(METHODS):
            raise TypeError(f"unknown methods among {', '.join(parts)}")
        members: dict[str, Member] = {name: Machine.of(part) for name, part in parts.items()}
        return cls(members, temperatures, np.arange(count), count)


@dataclass(frozen=True, eq=False)
class TrainedPatches:
    """A model of all patches, and what its folds found.

    Attributes
    ----------
    model : PatchModel
    calibration : Calibration
    held : Held
    probabilities : ndarray (K, n)
        Of each patch, held out; calibrated by the other folds.
    """

    model: PatchModel
    calibration: Calibration
    held: Held
    probabilities: Float


Report = Callable[[int, int], None]


def fit(patches: Patches, chosen: NDArray[Any], settings: PatchSettings) -> PatchModel:
    """Train each method on some of the patches; temperatures are 1.

    Parameters
    ----------
    patches : Patches
    chosen : ndarray, (n,)
        Numbers, or a mask.
    settings : PatchSettings

    Raises
    ------
    InputError
        One class alone is among them.
    """
    seen, truth = np.unique(patches.truth[chosen], return_inverse=True)
    if len(seen) < 2:
        raise InputError(
            f"patches: {len(seen)} class found in a training part, at least two are wanted; "
            "label more groups."
        )
    members: dict[str, Member] = {}
    for name in settings.methods:
        shown = _shown(name, patches.views)[chosen]
        members[name] = Machine.fit(shown, truth, settings.seed, METHODS[name][1])
    return PatchModel(members, dict.fromkeys(members, 1.0), seen, patches.count)


def folds(patches: Patches, settings: PatchSettings) -> NDArray[np.int64]:
    """Give the fold of each patch: classes even, and groups whole where there are any.

    Returns
    -------
    ndarray of int64, (n,)

    Raises
    ------
    InputError
        Fewer than two groups, or than two patches of a class without groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    truth, groups = patches.truth, patches.groups
    kind: type[StratifiedGroupKFold | StratifiedKFold]
    if groups is None:
        most, kind = int(np.bincount(truth)[np.unique(truth)].min()), StratifiedKFold
        what = "patches of the rarest class"
    else:
        most, kind = len(np.unique(groups)), StratifiedGroupKFold
        what = "groups"
    if most < 2:
        raise InputError(f"patches: {most} {what} found, at least two are wanted for the folds.")
    number = fewer_folds(settings.folds, most, what)
    splitter = kind(number, shuffle=True, random_state=settings.seed)
    fold = np.empty(len(truth), dtype=np.int64)
    for k, (_, held) in enumerate(splitter.split(truth, truth, groups)):
        fold[held] = k
    return fold


def hold_out(
    patches: Patches,
    settings: PatchSettings,
    report: Report = lambda fold, folds: None,
) -> Held:
    """Train without each fold in turn, and look at it.

    Raises
    ------
    InputError
        A fold leaves one class, or none could learn what it holds out.
    """
    fold = folds(patches, settings)
    each: dict[str, Float] = {m: np.zeros((patches.count, len(fold))) for m in settings.methods}
    learnable = np.empty(len(fold), dtype=np.bool_)
    numbers = np.unique(fold)
    for k in numbers:
        here = fold == k
        model = fit(patches, ~here, settings)
        learnable[here] = np.isin(patches.truth[here], model.seen)
        for name, p in model.each({v: x[here] for v, x in patches.views.items()}).items():
            each[name][:, here] = p
        report(int(k) + 1, len(numbers))
    refuse_unlearnable(learnable)
    return Held(each, fold, learnable)


def train_patches(
    patches: Patches,
    settings: PatchSettings,
    report: Report = lambda fold, folds: None,
) -> TrainedPatches:
    """Validate on folds, calibrate on what they held out, train on all patches.

    Raises
    ------
    InputError
        Too few groups, patches or classes.
    """
    held = hold_out(patches, settings, report)
    truth = patches.truth
    chances = held.probabilities(truth)
    # of a class that a fold's training lacked there is nothing to be sure about
    use = held.learnable
    calibration = cross_fit(chances[:, use], truth[use], held.fold[use])
    honest = by_others(chances, truth, held.fold, use)
    everywhere = np.ones(len(truth), dtype=np.bool_)
    model = fit(patches, everywhere, settings)
    model = replace(model, temperatures=held.temperatures(truth, everywhere))
    return TrainedPatches(model, calibration, held, honest)


def _shown(name: str, views: Views) -> NDArray[np.float64]:
    """Join the features that a method sees."""
    return np.concatenate([views[view] for view in METHODS[name][0]], axis=1)
