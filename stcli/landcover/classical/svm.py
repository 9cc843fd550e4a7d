"""A support vector machine as plain arrays: trained by scikit-learn, applied as two products.

Features are standardised and cut at `_FAR` deviations, for one that hardly varied in training
must not put all pixels far from all vectors; K(x, s) = exp(-gamma |x - s|²); each pair of classes
has a decision f = Σ_s a_s K(x, s) + b, and a softmax of a linear map of all decisions gives the
probabilities. That map is a logistic regression on decisions of machines that did not see the
pixel (Platt 1999, here for all pairs at once), so it knows how far a decision can be trusted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stcli.nn.tensors import one_thread, tensors_of
from stcli.nn.weights import Arrays
from stcli.settings import SvmSettings

#: Parts of the pixels, each decided by a machine of the others, for the calibration.
_PARTS = 3
#: Deviations at which standardised features are cut; the least deviation.
_FAR, _LEAST = 3.0, 0.02


class Svm:
    """The arrays of a support vector machine.

    Parameters
    ----------
    state : dict of str to ndarray
        ``center``, ``width`` (feature,); ``vector`` (support, feature), standardised; ``weight``
        (support, pair), ``offset`` (pair,); ``gamma`` (1,); ``to_class`` (pair, class), ``prior``
        (class,). All float32.

    Raises
    ------
    KeyError, ValueError
        When arrays are missing, or do not fit together.
    """

    def __init__(self, state: Arrays, features: int, classes: int) -> None:
        self.state = tensors_of(state)
        support, pairs = state["weight"].shape
        wanted = {
            "center": (features,),
            "width": (features,),
            "vector": (support, features),
            "offset": (pairs,),
            "gamma": (1,),
            "to_class": (pairs, classes),
            "prior": (classes,),
        }
        if any(tuple(state[name].shape) != shape for name, shape in wanted.items()):
            raise ValueError("the arrays of the support vector machine do not fit together")

    def decisions(self, features: NDArray[np.float32]) -> Tensor:
        """Decide pairs for features float32 (pixel, feature): (pixel, pair)."""
        s = self.state
        x = ((torch.from_numpy(features) - s["center"]) / s["width"]).clamp(-_FAR, _FAR)
        square = (x * x).sum(dim=1, keepdim=True) + (s["vector"] * s["vector"]).sum(dim=1)
        distance = (square - 2 * x @ s["vector"].T).clamp(min=0)
        return torch.exp(-s["gamma"] * distance) @ s["weight"] + s["offset"]

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify features float32 (pixel, feature): (pixel, class)."""
        one_thread()
        logits = self.decisions(features) @ self.state["to_class"] + self.state["prior"]
        return torch.softmax(logits, dim=1).numpy()


def fit_svm(
    features: NDArray[np.float32],
    truth: NDArray[np.integer[Any]],
    classes: int,
    settings: SvmSettings,
) -> Arrays:
    """Train a machine: as `forest.fit_forest`, but nothing is drawn, so there is no seed."""
    center, width = features.mean(axis=0), np.maximum(features.std(axis=0), _LEAST)
    x = np.clip((features - center) / width, -_FAR, _FAR).astype(np.float64)
    gamma = 1 / (x.shape[1] * max(float(x.var()), 1e-6))
    model = _machine(x, truth, gamma, settings)
    to_class, prior = _calibration(x, truth, gamma, settings, classes)
    state = {
        "center": center,
        "width": width,
        "vector": model.support_vectors_,
        "weight": pair_weights(model),
        "offset": model.intercept_,
        "gamma": [gamma],
        "to_class": to_class,
        "prior": prior,
    }
    return {name: np.asarray(array, dtype=np.float32) for name, array in state.items()}


def pair_weights(model: Any) -> NDArray[np.float64]:
    """Lay out the coefficients of a fitted scikit-learn SVC by pairs: (support, pair)."""
    ends = np.cumsum(model.n_support_)
    parts = [slice(e - n, e) for e, n in zip(ends, model.n_support_, strict=True)]
    count, pairs = len(parts), []
    for i in range(count):
        for j in range(i + 1, count):
            weight = np.zeros(ends[-1])
            # scikit-learn's row j - 1 (i) holds class i's (j's) weights against j (i)
            weight[parts[i]] = model.dual_coef_[j - 1, parts[i]]
            weight[parts[j]] = model.dual_coef_[i, parts[j]]
            pairs.append(weight)
    return np.stack(pairs, axis=1)


def _machine(
    x: NDArray[np.float64], truth: NDArray[Any], gamma: float, settings: SvmSettings
) -> Any:
    from sklearn.svm import SVC

    model = SVC(C=settings.penalty, gamma=gamma, decision_function_shape="ovo")
    return model.fit(x, truth)


def _calibration(
    x: NDArray[np.float64],
    truth: NDArray[Any],
    gamma: float,
    settings: SvmSettings,
    classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the map from decisions to classes: (pair, class) and (class,)."""
    from sklearn.linear_model import LogisticRegression

    rows, part = _parts(truth)
    decisions, known = [], []
    for number in range(_PARTS):
        out = rows[part == number]
        model = _machine(x[rows[part != number]], truth[rows[part != number]], gamma, settings)
        decisions.append(model.decision_function(x[out]).reshape(len(out), -1))
        known.append(truth[out])
    fitted = LogisticRegression(max_iter=1000).fit(np.concatenate(decisions), np.concatenate(known))
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:  # of two classes scikit-learn keeps the second's alone
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    to_class = np.zeros((weight.shape[1], classes))
    prior = np.full(classes, -np.inf)  # a class without a pixel has no chance
    present = fitted.classes_.astype(int)
    to_class[:, present], prior[present] = weight.T, bias
    return to_class, prior


def _parts(truth: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Deal each class's pixels to the parts in turn, rare ones twice or more: rows and parts."""
    rows, parts = [], []
    for value in np.unique(truth):
        mine = np.flatnonzero(truth == value)
        mine = np.resize(mine, max(len(mine), _PARTS))
        rows.append(mine)
        parts.append(np.arange(len(mine)) % _PARTS)
    return np.concatenate(rows), np.concatenate(parts)
