"""Methods that classify features, kept as plain arrays: trained by scikit-learn, applied here.

Letters: n samples, f features, K classes, v support vectors, P = K (K - 1) / 2 pairs of classes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.classical.svm import pair_weights

Arrays = dict[str, NDArray[Any]]


class Member(Protocol):
    """A trained method."""

    def probabilities(self, seen: Any, /) -> NDArray[np.float64]:
        """Give the probabilities (K, n) of features (n, f), or of what else it looks at."""

    def state(self) -> Arrays:
        """Give all that it has learnt."""


class Kept:
    """A dataclass of arrays that is kept by the names of its fields."""

    def state(self) -> Arrays:
        """Give all that it has learnt."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def of(cls, state: Arrays) -> Self:
        """Make it of what `state` gave; raises TypeError where that is another's."""
        return cls(**state)


@dataclass(frozen=True, eq=False)
class Discriminant(Kept):
    """Linear discriminant analysis with a shrunken covariance.

    Attributes
    ----------
    mean, spread : ndarray of float64 (f,)
    weight : ndarray of float64 (f, K)
    bias : ndarray of float64 (K,)
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    @classmethod
    def fit(cls, features: NDArray[np.float64], truth: NDArray[np.int64], seed: int) -> Self:
        """Fit, with the shrinkage of Ledoit and Wolf; truth counts the K classes from 0.

        Parameters
        ----------
        features : ndarray of float64, (n, f)
        truth : ndarray of int64, (n,)
        seed : int
        """
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        mean, spread = _standard(features)
        analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        analysis.fit((features - mean) / spread, truth)
        weight, bias = analysis.coef_.T, analysis.intercept_
        if len(bias) == 1:  # two classes: the odds of the second
            weight = np.concatenate([np.zeros_like(weight), weight], axis=1)
            bias = np.concatenate([np.zeros_like(bias), bias])
        return cls(mean, spread, np.ascontiguousarray(weight), bias)

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probabilities (K, n) of features (n, f)."""
        from scipy.special import softmax

        z = (features - self.mean) / self.spread
        return np.asarray(softmax(z @ self.weight + self.bias, axis=1).T)


@dataclass(frozen=True, eq=False)
class Machine(Kept):
    """A support vector machine with a Gaussian kernel, one against one.

    A class's score is the sum of log σ(2 d) of its decisions d against all others; the scores'
    softmax is its probability.

    Attributes
    ----------
    mean, spread : ndarray of float64 (f,)
    vectors : ndarray of float64 (v, f)
    weight : ndarray of float64 (v, P)
    bias : ndarray of float64 (P,)
    gamma : ndarray of float64 ()
    classes : ndarray of int64 ()
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    vectors: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    gamma: NDArray[np.float64]
    classes: NDArray[np.int64]

    #: Price of a sample on the wrong side.
    PRICE = 3.0

    @classmethod
    def fit(
        cls,
        features: NDArray[np.float64],
        truth: NDArray[np.int64],
        seed: int,
        price: float = PRICE,
        *,
        weighed: bool = False,
    ) -> Self:
        """Fit with γ = 1 / (f · variance); truth counts the K classes from 0.

        Parameters
        ----------
        features : ndarray of float64, (n, f)
        truth : ndarray of int64, (n,)
        seed : int
        price : float
        weighed : bool
            Features keep their spreads, which others lose.
        """
        from sklearn.svm import SVC

        mean, spread = _standard(features)
        spread = np.ones_like(spread) if weighed else spread
        z = (features - mean) / spread
        gamma = 1 / (z.shape[1] * (z.var() or 1.0))  # features that never vary have none
        svc = SVC(C=price, gamma=gamma).fit(z, truth)
        count = len(svc.classes_)
        sign = 1.0 if count > 2 else -1.0  # scikit-learn turns the one decision of two classes
        weight = sign * pair_weights(svc)
        return cls(
            *(mean, spread, svc.support_vectors_, weight, sign * svc.intercept_),
            *(np.asarray(gamma), np.asarray(count)),
        )

    def decisions(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the decisions (n, P); above 0 for the first class of a pair."""
        z = (features - self.mean) / self.spread
        square = (z**2).sum(1)[:, None] + (self.vectors**2).sum(1) - 2 * z @ self.vectors.T
        return np.asarray(np.exp(-self.gamma * np.maximum(square, 0)) @ self.weight + self.bias)

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probabilities (K, n) of features (n, f)."""
        from scipy.special import expit, softmax

        decided = self.decisions(features)
        score = np.zeros((int(self.classes), len(features)))
        for p, (i, j) in enumerate(combinations(range(len(score)), 2)):
            score[i] += np.log(expit(2 * decided[:, p]))
            score[j] += np.log(expit(-2 * decided[:, p]))
        return np.asarray(softmax(score, axis=0))


def _standard(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread; 1 for a feature that never varies."""
    spread = features.std(axis=0)
    return features.mean(axis=0), np.where(spread > 0, spread, 1.0)
