"""What K folds say together: accuracy with its spread, and what a fold could not have learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.accuracy.accuracy import ConfusionMatrix, accuracy
from stcli.landcover.accuracy.calibration import Calibration, cross_fit
from stcli.landcover.learning import Held

#: Figures of a fold that are averaged.
FIGURES = ("overall", "mean_iou", "mean_f1", "learnable_overall")


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: what was held out, and the labelled pixels (class,) that were learnt from."""

    held: Held
    learnt: NDArray[np.int64]

    @property
    def unlearnable(self) -> tuple[str, ...]:
        """Classes that are held out here and were nowhere to be learnt from."""
        present = self.held.matrix.counts.sum(axis=0) > 0
        names = self.held.matrix.classes
        return tuple(n for n, p, c in zip(names, present, self.learnt, strict=True) if p and not c)

    @property
    def unvalidated(self) -> tuple[str, ...]:
        """Classes that are learnt and nowhere held out here."""
        present = self.held.matrix.counts.sum(axis=0) > 0
        names = self.held.matrix.classes
        return tuple(n for n, p, c in zip(names, present, self.learnt, strict=True) if c and not p)

    def to_json(self) -> dict[str, Any]:
        """Figures of this fold, shares of one; None where undefined."""
        matrix = self.held.matrix
        found = accuracy(matrix).to_json()
        return {
            "labelled": found["total"],
            "overall": found["overall"],
            "mean_iou": found["mean_iou"],
            "mean_f1": mean_f1(matrix),
            "learnable_overall": _overall(matrix, self.learnt > 0),
            "unlearnable": list(self.unlearnable),
        }


def mean_f1(matrix: ConfusionMatrix) -> float | None:
    """Mean F1 over the classes of the reference; None without any."""
    scores = [c.f1 for c in accuracy(matrix).classes if c.support]
    return float(np.mean(scores)) if scores else None


def summary(folds: Sequence[Fold]) -> dict[str, Any]:
    """Each fold's figures, and their mean and standard deviation (n - 1) over the folds."""
    each = [{"fold": number} | fold.to_json() for number, fold in enumerate(folds, start=1)]
    together = {}
    for name in FIGURES:
        values = [fold[name] for fold in each if fold[name] is not None]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        together[name] = {"mean": float(np.mean(values)) if values else None, "std": spread}
    return {"folds": each, "out_of_fold": together}


def pooled(folds: Sequence[Fold]) -> ConfusionMatrix:
    """All folds' held-out pixels in one matrix: each labelled pixel once."""
    matrix = folds[0].held.matrix
    for fold in folds[1:]:
        matrix = matrix + fold.held.matrix
    return matrix


def calibrate(folds: Sequence[Fold]) -> Calibration:
    """Fit temperature and thresholds on all folds, measuring each by a fit on the others."""
    groups = np.concatenate([np.full(len(f.held.truth), n) for n, f in enumerate(folds)])
    return cross_fit(*held_out(folds), groups)


def held_out(folds: Sequence[Fold]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities (class, pixel) and truth (pixel,) of all folds, end to end."""
    return (
        np.concatenate([fold.held.probabilities for fold in folds], axis=1),
        np.concatenate([fold.held.truth for fold in folds]),
    )


def _overall(matrix: ConfusionMatrix, learnt: NDArray[np.bool_]) -> float | None:
    """Share of right pixels among those whose class could be learnt."""
    total = int(matrix.counts[:, learnt].sum())
    return float(np.diag(matrix.counts)[learnt].sum() / total) if total else None
