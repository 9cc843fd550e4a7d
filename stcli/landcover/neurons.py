"""One hidden layer on features: a method kept as plain arrays, trained by scikit-learn.

Letters: n samples, f features, h hidden neurons, K classes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from stcli.landcover.members import Arrays

#: Hidden neurons, strength of the penalty on squared weights, and passes over the samples.
HIDDEN, PENALTY, PASSES = 128, 3.0, 40


@dataclass(frozen=True, eq=False)
class Neurons:
    """A perceptron with one hidden layer of rectified neurons.

    Attributes
    ----------
    mean, spread : ndarray of float64 (f,)
    inner : ndarray of float64 (f, h)
    inner_bias : ndarray of float64 (h,)
    outer : ndarray of float64 (h, K)
    outer_bias : ndarray of float64 (K,)
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    inner: NDArray[np.float64]
    inner_bias: NDArray[np.float64]
    outer: NDArray[np.float64]
    outer_bias: NDArray[np.float64]

    @classmethod
    def fit(cls, features: NDArray[np.float64], truth: NDArray[np.int64], seed: int) -> Self:
        """Fit; truth counts the K classes from 0."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        spread = features.std(axis=0)
        mean, spread = features.mean(axis=0), np.where(spread > 0, spread, 1.0)
        layer = MLPClassifier((HIDDEN,), alpha=PENALTY, max_iter=PASSES, random_state=seed)
        with warnings.catch_warnings():
            # a fixed number of passes is the method: it does not run until nothing moves
            warnings.simplefilter("ignore", ConvergenceWarning)
            layer.fit((features - mean) / spread, truth)
        return cls(
            *(mean, spread, layer.coefs_[0], layer.intercepts_[0]),
            *(layer.coefs_[1], layer.intercepts_[1]),
        )

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probabilities (K, n) of features (n, f)."""
        z = (features - self.mean) / self.spread
        score = np.maximum(z @ self.inner + self.inner_bias, 0) @ self.outer + self.outer_bias
        if score.shape[1] == 1:  # two classes: the odds of the second
            return np.asarray(np.stack([expit(-score[:, 0]), expit(score[:, 0])]))
        return np.asarray(softmax(score, axis=1).T)

    def state(self) -> Arrays:
        """Give all that it has learnt."""
        return dict(vars(self))

    @classmethod
    def of(cls, state: Arrays) -> Self:
        """Make it of what `state` gave; raises TypeError where that is another's."""
        return cls(**state)
