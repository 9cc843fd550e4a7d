"""The random forest as one of the methods that a model of series may be made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.classical.forest import Forest, fit_forest
from stcli.landcover.members import Kept
from stcli.settings import ForestSettings

#: A few hundred samples of a few hundred features: many trees, grown to the end.
_SETTINGS = ForestSettings(trees=300, leaf=1)


@dataclass(frozen=True, eq=False)
class Trees(Kept):
    """The arrays of `stcli.landcover.classical.forest.Forest`."""

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    child: NDArray[np.int32]
    share: NDArray[np.float32]
    root: NDArray[np.int32]

    @classmethod
    def fit(cls, features: NDArray[np.float64], truth: NDArray[np.int64], seed: int) -> Self:
        """Fit to features (n, f); truth (n,) counts the K classes from 0."""
        x = features.astype(np.float32)
        state = fit_forest(x, truth, int(truth.max()) + 1, seed, _SETTINGS)
        return cls(**state)

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the probabilities (K, n) of features (n, f)."""
        forest = Forest(self.state(), features.shape[1], self.share.shape[1])
        return forest.probabilities(features.astype(np.float32)).T.astype(np.float64)
