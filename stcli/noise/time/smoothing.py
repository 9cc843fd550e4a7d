"""How a log power changes in time: predictions from the cells around, and a mixture of them.

Each smoother predicts a cell from cells on both sides of it; the cell itself and its `guard` have
no say, so that neither chance nor a signal that short follows itself. There are trimmed means,
which steps and bursts do not blur much, and local parabolas, which follow a curve with little
noise. Which is best changes in time: the smoothers are mixed at each cell by how well
they, and a constant, predicted the cells around (exponential weights: Vovk 1990; Leung and Barron
2006, doi:10.1109/TIT.2006.878172)::

    w_k(t) ~ exp(-sum over ASIDE < |t' - t| <= SPAN of (y(t') - y_k(t'))**2 / (2 s**2))

s is the deviation of a single cell's log power, from differences of neighbours (their median, so
that change does not count as noise). Evidence against a constant, for a smoother whose prediction
has the variance s**2 / m, over T cells::

    z = (D + T / m) / sqrt(8 T / m),    D = sum over t of ((y - level)**2 - (y - y_k)**2) / s**2

which has mean 0 and deviation 1 where nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Rows = NDArray[np.float64]
#: Share of a window that is left out at each end.
TRIM = 0.2
#: Cells on either side over which predictions are judged, and those of them that, like the cell
#: itself, have no say: a signal would choose what follows it best.
SPAN = 25
ASIDE = 3
#: Deviations from a first estimate beyond which a cell counts as if it were there.
CLIP = 2.5
#: Losses of single cells above this many variances count as that many, in weights and as evidence.
WORST_NEAR = 9.0
WORST = 36.0


@dataclass(frozen=True)
class Smoother:
    """What predicts a cell.

    Attributes
    ----------
    width : int
        Cells of the window, odd.
    guard : int
        Cells on either side of the middle that, like it, have no say.
    parabola : bool
        Fit a parabola; a trimmed mean otherwise.
    """

    width: int
    guard: int
    parabola: bool = False


@dataclass(frozen=True)
class Prediction:
    """Predicted log powers (series, times), and how many cells' noise they hold: s**2 / cells."""

    values: Rows
    cells: float


@dataclass(frozen=True)
class Mixture:
    """What predictions make of log powers.

    Attributes
    ----------
    change : ndarray, (series, times)
        Mixed prediction less the level.
    errors : ndarray, (series,)
        Largest z.
    """

    change: Rows
    errors: Rows


def trimmed(values: NDArray[Any]) -> Rows:
    """Trimmed mean along the last axis of values (row, …, n): (row, …)."""
    ordered = np.sort(values, axis=-1)
    cut = int(values.shape[-1] * TRIM)
    mean: Rows = ordered[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return mean


def predict(y: Rows, smoothers: Sequence[Smoother]) -> list[Prediction]:
    """Predict each cell of log powers (series, times) from those about it.

    Smoothers whose window is wider than half of the times are left out; the first that remains
    tells which cells are out of the way.
    """
    usable = [s for s in smoothers if 2 * s.width <= y.shape[1]]
    if not usable:
        return []
    first = _means(y, usable[0])
    limit = CLIP * np.sqrt(_variance(y))
    calm = first + np.clip(y - first, -limit, limit)
    found = []
    for smoother in usable:
        if smoother.parabola:
            kernel = _parabola(smoother)
            found.append(Prediction(correlated(calm, kernel), float(1 / np.square(kernel).sum())))
        else:
            cells = float(smoother.width - 2 * smoother.guard - 1)
            found.append(Prediction(_means(calm, smoother), cells))
    return found


def mix(y: Rows, predictions: Sequence[Prediction]) -> Mixture:
    """Mix predictions of log powers (series, times); at least one is wanted."""
    level = trimmed(y)[:, None]
    variance = _variance(y)
    values = [np.broadcast_to(level, y.shape), *(p.values for p in predictions)]
    losses = np.stack([np.minimum((y - v) ** 2 / variance, WORST) for v in values])
    side = min(SPAN, y.shape[1] // 2 - 1)
    span = (np.abs(np.arange(-side, side + 1)) > ASIDE).astype(float)
    weight = np.stack([correlated(np.minimum(loss, WORST_NEAR), span) for loss in losses])
    weight = np.exp((weight.min(axis=0) - weight) / 2)
    change = (weight * np.stack(values)).sum(axis=0) / weight.sum(axis=0) - level
    times = y.shape[1]
    gained = (losses[0] - losses[1:]).sum(axis=2)
    cells = np.array([p.cells for p in predictions])[:, None]
    errors = (gained + times / cells) / np.sqrt(8 * times / cells)
    return Mixture(change, errors.max(axis=0))


def _variance(y: Rows) -> Rows:
    """Variance of a single cell from differences of neighbours, (series, 1)."""
    middle = np.median(np.abs(np.diff(y, axis=1)), axis=1, keepdims=True)
    variance: Rows = np.maximum((1.4826 * middle) ** 2 / 2, np.finfo(float).tiny)
    return variance


def _means(y: Rows, smoother: Smoother) -> Rows:
    """Trimmed means over windows, the middle and its guard left out."""
    half, guard = smoother.width // 2, smoother.guard
    padded = np.pad(y, ((0, 0), (half, half)), mode="reflect")
    windows = sliding_window_view(padded, smoother.width, axis=1)
    return trimmed(np.delete(windows, slice(half - guard, half + guard + 1), axis=2))


def _parabola(smoother: Smoother) -> Rows:
    """Weights that give the middle of the parabola fitted to a window, its guard left out."""
    away = np.arange(smoother.width) - smoother.width // 2
    use = np.abs(away) > smoother.guard
    design = np.stack([use, use * away.astype(float) ** 2], axis=1)
    kernel: Rows = np.linalg.pinv(design)[0] * use
    return kernel


def correlated(y: Rows, kernel: Rows) -> Rows:
    """Correlate log powers, mirrored at both ends, with a kernel of odd length."""
    half = kernel.size // 2
    padded = np.pad(y, ((0, 0), (half, half)), mode="reflect")
    found: Rows = sliding_window_view(padded, kernel.size, axis=1) @ kernel
    return found
