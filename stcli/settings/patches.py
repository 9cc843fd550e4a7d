"""Land cover of patches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stcli.settings.checking import check

#: Methods that a model of patches may be made of, by the words of ``--algorithm``.
PATCH_METHODS = {
    "svm": ("spectrum",),
    "ensemble": ("spectrum", "pattern", "pixels", "all"),
}


@dataclass(frozen=True)
class PatchSettings:
    """How a model of patches is trained.

    Attributes
    ----------
    algorithm : str
        ``"svm"``: one support vector machine on the spectrum; ``"ensemble"``: the mean of several
        methods' calibrated probabilities.
    folds : int
        Of the validation.
    block : float or None
        Side of a validation block in units of the patches' coordinates; None for no blocks.
    """

    algorithm: str = "ensemble"
    folds: int = 5
    block: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        known = tuple(PATCH_METHODS)
        check(self.algorithm in known, "--algorithm", self.algorithm, " or ".join(known))
        check(self.folds >= 2, "--folds", self.folds, ">= 2")
        side = self.block is None or 0 < self.block < math.inf
        check(side, "--block", self.block, "> 0 and finite")
        check(0 <= self.seed < 2**32, "--seed", self.seed, "from 0 to 2**32 - 1")

    @property
    def methods(self) -> tuple[str, ...]:
        """What the model is made of."""
        return PATCH_METHODS[self.algorithm]
