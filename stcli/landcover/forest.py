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

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify features float32 (pixel, feature): (pixel, class)."""
        total = np.zeros((len(features), self.share.shape[1]), dtype=np.float64)
        tree = (self.feature, self.threshold, self.child, self.share)
        _walk(np.ascontiguousarray(features), self.root, *tree, total)
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


@njit(cache=True, nogil=True)
def _walk(features, root, feature, threshold, child, share, total):  # type: ignore[no-untyped-def]
    # tree by tree: a tree's upper nodes stay in the cache over all pixels
    for tree in range(len(root)):
        for pixel in range(len(features)):
            node = root[tree]
            while feature[node] >= 0:
                right = features[pixel, feature[node]] > threshold[node]
                node = child[node, 1 if right else 0]
            leaf = child[node, 0]
            for k in range(share.shape[1]):
                total[pixel, k] += share[leaf, k]
