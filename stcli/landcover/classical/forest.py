"""A random forest as plain arrays: trained by scikit-learn, applied by a kernel of its own.

A tree's nodes stand one after the other; a node is a feature, a threshold and its two children
(left where the feature is at most the threshold), a leaf is the shares of the classes that
reached it. The forest's probability is the mean over its trees of the leaves' shares, as in
scikit-learn. Breiman 2001, doi:10.1023/A:1010933404324.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.nn.weights import Arrays
from stcli.settings import ForestSettings

#: Pixels that walk down a tree side by side, and steps before it is seen whether all have arrived.
_ABREAST, _STEPS = 16, 4


class Forest:
    """The arrays of a forest.

    Parameters
    ----------
    state : dict of str to ndarray
        ``feature`` int16 (node,), -1 in a leaf; ``threshold`` float32 (node,); ``child`` int32
        (node, 2), of a leaf its row in `share` twice; ``share`` float32 (leaf, class); ``root``
        int32 (tree,).

    Raises
    ------
    KeyError, ValueError
        When arrays are missing, or point outside each other.
    """

    def __init__(self, state: Arrays, features: int, classes: int) -> None:
        self.feature, self.threshold = state["feature"], state["threshold"]
        self.child, self.share, self.root = state["child"], state["share"], state["root"]
        _check(self, features, classes)
        self._nodes = _packed(self)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify features float32 (pixel, feature): (pixel, class)."""
        total = np.zeros((len(features), self.share.shape[1]), dtype=np.float64)
        nodes = self._nodes, self._nodes.view(np.float32)
        _walk(np.ascontiguousarray(features), len(self.root), *nodes, self.share, total)
        return (total / len(self.root)).astype(np.float32)


def fit_forest(
    features: NDArray[np.float32],
    truth: NDArray[np.integer[Any]],
    classes: int,
    seed: int,
    settings: ForestSettings,
) -> Arrays:
    """Train a forest.

    Parameters
    ----------
    features : ndarray of float32 (pixel, feature)
    truth : ndarray of int (pixel,)
        From 0; a class may be absent.
    classes : int
    seed : int
    settings : ForestSettings

    Returns
    -------
    dict of str to ndarray
        The state of a `Forest`.
    """
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(
        settings.trees, min_samples_leaf=settings.leaf, random_state=seed % 2**32, n_jobs=1
    )
    model.fit(features, truth)
    return arrays_of(model, classes)


def arrays_of(model: Any, classes: int) -> Arrays:
    """Turn a fitted scikit-learn forest whose classes count from 0 into a state."""
    feature, threshold, child, share, root = [], [], [], [], []
    nodes = leaves = 0
    for tree in (estimator.tree_ for estimator in model.estimators_):
        leaf = tree.children_left < 0
        number = leaves + np.cumsum(leaf) - 1
        left, right = tree.children_left + nodes, tree.children_right + nodes
        child.append(np.stack([np.where(leaf, number, c) for c in (left, right)], axis=1))
        feature.append(np.where(leaf, -1, tree.feature))
        threshold.append(_at_most(tree.threshold))
        shares = np.zeros((int(leaf.sum()), classes))
        counts = tree.value[leaf, 0]
        shares[:, model.classes_.astype(int)] = counts / counts.sum(axis=1, keepdims=True)
        share.append(shares)
        root.append(nodes)
        nodes, leaves = nodes + len(leaf), leaves + len(shares)
    return {
        "feature": np.concatenate(feature).astype(np.int16),
        "threshold": np.concatenate(threshold),
        "child": np.concatenate(child).astype(np.int32),
        "share": np.concatenate(share).astype(np.float32),
        "root": np.array(root, dtype=np.int32),
    }


def _at_most(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round down to float32: a float32 lies on the same side of the result."""
    rounded = threshold.astype(np.float32)
    down = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > threshold, down, rounded)


def _check(forest: Forest, features: int, classes: int) -> None:
    """Refuse arrays with which the kernel would read elsewhere, or walk in circles."""
    leaf, nodes = forest.feature < 0, np.arange(len(forest.feature))
    inner, at = forest.child[~leaf], nodes[~leaf, None]
    fits = (
        forest.child.shape == (len(nodes), 2)
        and forest.threshold.shape == nodes.shape
        and forest.share.shape[1:] == (classes,)
        and bool((forest.feature < features).all())
        and bool(((inner > at) & (inner < len(nodes))).all())
        and bool(((forest.child[leaf] >= 0) & (forest.child[leaf] < len(forest.share))).all())
        and bool(((forest.root >= 0) & (forest.root < len(nodes))).all())
        and len(forest.root) > 0
    )
    if not fits:
        raise ValueError("the arrays of the forest point outside each other")


def _packed(forest: Forest) -> NDArray[np.uint32]:
    """Put what a step needs into 16 bytes, and the two children of a node beside each other.

    Returns
    -------
    ndarray of uint32, (node, 4)
        Feature, the bits of the threshold, the left child, of a leaf its row in `share`; the trees'
        roots first. A leaf is its own left child and nothing is beyond its threshold, so that a
        step from it leads nowhere.
    """
    inner = forest.feature >= 0
    old = np.concatenate([forest.root, forest.child[inner].ravel()])
    left = len(forest.root) + 2 * (np.cumsum(inner) - 1)
    grown = inner[old]
    nodes = np.zeros((len(old), 4), np.uint32)
    nodes[:, 0] = np.where(grown, forest.feature[old], 0)
    nodes.view(np.float32)[:, 1] = np.where(grown, forest.threshold[old], np.inf)
    nodes[:, 2] = np.where(grown, left[old], np.arange(len(old)))
    nodes[:, 3] = np.where(grown, 0, forest.child[old, 0])
    return nodes


@njit(cache=True, nogil=True)
def _walk(features, trees, nodes, thresholds, share, total):  # type: ignore[no-untyped-def]
    # Tree by tree: its nodes stay in the cache over all pixels. Many pixels at once, without a
    # branch: while one waits for its node the others go on. Nothing is negative, and is said so:
    # numba would ask each index.
    pixels, many = len(features), _ABREAST
    feature, threshold, left, leaf = np.uint32(0), np.uint32(1), np.uint32(2), np.uint32(3)
    at, row = np.empty(many, np.uint32), np.empty(many, np.uint64)
    for tree in range(trees):
        for first in range(0, pixels, many):
            for lane in range(many):
                at[lane] = np.uint32(tree)
                row[lane] = np.uint64(min(first + lane, pixels - 1))
            walking = True
            while walking:
                for _ in range(_STEPS):
                    for lane in range(many):
                        node = at[lane]
                        value = features[row[lane], nodes[node, feature]]
                        beyond = np.uint32(value > thresholds[node, threshold])
                        at[lane] = nodes[node, left] + beyond
                walking = False
                for lane in range(many):
                    walking |= nodes[at[lane], left] != at[lane]
            for lane in range(min(many, pixels - first)):
                for k in range(share.shape[1]):
                    total[first + lane, k] += share[nodes[at[lane], leaf], k]
