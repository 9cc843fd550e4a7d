"""Models of patches: small rasters that have one class as a whole.

A model joins one or several methods (see `stcli.landcover.joined`), each on its own views of the
patches' features; its folds are whole groups.

Letters: n patches, f features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.landcover.joined import Held, Joined, Report, Shown, Trained, hold_out, parts_of, settle
from stcli.landcover.members import Arrays, Machine, Member
from stcli.landcover.split import fewer_folds
from stcli.settings import PatchSettings

ARCHITECTURE = "patch-1"

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


def model_of(state: Arrays, temperatures: dict[str, float], count: int) -> Joined:
    """Make a model of what its ``state`` gave; raises TypeError where that does not fit.

    A model that is kept has seen all its classes: others are not in its card.
    """
    parts = parts_of(state, tuple(temperatures))
    if not set(parts) <= set(METHODS):
        raise TypeError(f"unknown methods among {', '.join(parts)}")
    members: dict[str, Member] = {name: Machine.of(part) for name, part in parts.items()}
    return Joined(members, temperatures, np.arange(count), count)


def fit(patches: Patches, chosen: NDArray[Any], settings: PatchSettings) -> Joined:
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
        looked = shown(patches.views)(name)[chosen]
        members[name] = Machine.fit(looked, truth, settings.seed, METHODS[name][1])
    return Joined(members, dict.fromkeys(members, 1.0), seen, patches.count)


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


def hold_out_groups(
    patches: Patches,
    settings: PatchSettings,
    report: Report = lambda fold, folds: None,
) -> Held:
    """Train without each fold of groups in turn, and look at it.

    Raises
    ------
    InputError
        A fold leaves one class, or none could learn what it holds out.
    """

    def train(chosen: NDArray[np.bool_]) -> Joined:
        return fit(patches, chosen, settings)

    def look(chosen: NDArray[np.bool_]) -> Shown:
        return shown({name: view[chosen] for name, view in patches.views.items()})

    return hold_out(patches.truth, folds(patches, settings), train, look, report)


def train_patches(
    patches: Patches,
    settings: PatchSettings,
    report: Report = lambda fold, folds: None,
) -> Trained:
    """Validate on folds, calibrate on what they held out, train on all patches.

    Raises
    ------
    InputError
        Too few groups, patches or classes; see `hold_out_groups`.
    """
    held = hold_out_groups(patches, settings, report)
    model = fit(patches, np.ones(len(patches.truth), dtype=np.bool_), settings)
    return settle(model, held, patches.truth)


def shown(views: Views) -> Shown:
    """Show methods the views that they look at, side by side (n, f)."""
    return lambda name: np.concatenate([views[view] for view in METHODS[name][0]], axis=1)
