"""Figures of reports, as PNG in memory: lines, spectra, confusion, reliability, rasters.

The same arguments give the same bytes. Colours are those of Okabe and Ito (2008), which people
with colour-blindness tell apart; lines differ in their dashes too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")
_DPI = 110
#: Numbers are written into the cells of a confusion matrix up to this many classes.
_WRITTEN = 20


@dataclass(frozen=True)
class Axis:
    """What an axis counts: its name with the unit, and whether it is logarithmic."""

    label: str
    log: bool = False


@dataclass(frozen=True)
class Line:
    """A named line.

    Attributes
    ----------
    name : str
    x, y : sequences of float, of one length
        NaN leaves a gap.
    """

    name: str
    x: ArrayLike
    y: ArrayLike


def draw_lines(lines: Sequence[Line], x: Axis, y: Axis, mark: float | None = None) -> bytes:
    """Draw lines over one axis: curves of training, or power spectra on logarithmic axes.

    Parameters
    ----------
    lines : sequence of Line
    x, y : Axis
    mark : float or None
        Where a thin line stands: the epoch that was kept, a scale that matters.

    Returns
    -------
    bytes
        PNG.
    """
    figure, axes = _sheet(7.5, 3.8)
    for k, line in enumerate(lines):
        style = {"color": _COLOURS[k % len(_COLOURS)], "ls": _DASHES[k % len(_DASHES)]}
        few = len(np.atleast_1d(np.asarray(line.x))) < 3
        axes.plot(line.x, line.y, label=line.name, marker="o" if few else None, **style)
    if mark is not None:
        axes.axvline(mark, color="0.6", lw=1, zorder=0)
    axes.set(xlabel=x.label, ylabel=y.label)
    axes.set_xscale("log" if x.log else "linear")
    axes.set_yscale("log" if y.log else "linear")
    axes.grid(alpha=0.3)
    if len(lines) > 1 or lines[0].name:
        axes.legend(frameon=False)
    return _png(figure)


def draw_confusion(counts: ArrayLike, classes: Sequence[str], unit: str = "pixels") -> bytes:
    """Draw a confusion matrix; the colour is the share of the reference class.

    Parameters
    ----------
    counts : ndarray of int, (class, class)
        Row = class of the map, column = class of the reference.
    classes : sequence of str
    unit : str
        What was counted.

    Returns
    -------
    bytes
        PNG.
    """
    table = np.asarray(counts)
    total = table.sum(axis=0, keepdims=True)
    share = table / np.maximum(total, 1)
    side = min(14.0, 2.8 + 0.62 * len(classes))
    figure, axes = _sheet(side + 1.2, side)
    shown = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="class of the reference", ylabel="class of the map")
    figure.colorbar(shown, ax=axes, label=f"share of the reference class's {unit}", shrink=0.85)
    for row, col in np.argwhere(table > 0) if len(classes) <= _WRITTEN else ():
        dark = "white" if share[row, col] > 0.55 else "black"
        text = _short(int(table[row, col]))
        axes.text(col, row, text, ha="center", va="center", fontsize=8, color=dark)
    return _png(figure)


def draw_reliability(
    confidence: ArrayLike, accuracy: ArrayLike, counts: ArrayLike, note: str = ""
) -> bytes:
    """Draw how often predictions of each confidence are right.

    Parameters
    ----------
    confidence, accuracy : ndarray of float, (bin,)
        Mean confidence and share of right predictions, 0 to 1; NaN for a bin that is empty.
    counts : ndarray of int, (bin,)
        Predictions.
    note : str
        A figure to show, as ``expected calibration error 0.03``.

    Returns
    -------
    bytes
        PNG.
    """
    sure, right, n = (np.asarray(values, np.float64) for values in (confidence, accuracy, counts))
    use = (n > 0) & np.isfinite(sure) & np.isfinite(right)
    figure, axes = _sheet(4.6, 6.0, heights=(3, 1))
    above, below = axes
    above.plot((0, 1), (0, 1), color="0.6", lw=1)
    above.plot(sure[use], right[use], "o-", color=_COLOURS[0], ms=5)
    above.annotate("right as often as said", (0.02, 0.06), rotation=46, color="0.4", fontsize=8)
    above.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    above.set_title(note, fontsize=10)
    below.bar(sure[use], n[use] / max(1.0, n.sum()), width=0.7 / len(n), color=_COLOURS[5])
    below.set(xlabel="confidence, as predicted", ylabel="share of pixels", xlim=(0, 1))
    for part in axes:
        part.grid(alpha=0.3)
    return _png(figure)


def draw_beside(
    planes: Sequence[NDArray[Any]],
    titles: Sequence[str],
    unit: str,
    reference: int = -1,
) -> bytes:
    """Draw rasters of one place beside each other with one stretch.

    Parameters
    ----------
    planes : sequence of ndarray, (row, col)
        Of any resolution, of the same ground each; NaN stays grey.
    titles : sequence of str
    unit : str
        What the colours mean.
    reference : int
        The plane whose 2nd and 98th percentiles are the ends of the colours.

    Returns
    -------
    bytes
        PNG.
    """
    known = planes[reference][np.isfinite(planes[reference])]
    low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
    rows, cols = planes[reference].shape
    wide = min(4.2, 13.0 / len(planes))
    figure, axes = _sheet(
        wide * len(planes) + 1, wide * min(2.0, rows / cols) + 0.5, columns=len(planes)
    )
    for part, plane, title in zip(np.atleast_1d(axes), planes, titles, strict=True):
        part.set_facecolor("0.88")
        shown = part.imshow(
            plane, vmin=low, vmax=high, interpolation="nearest", extent=(0, cols, rows, 0)
        )
        part.set(xticks=(), yticks=())
        part.set_title(title, fontsize=10)
    figure.colorbar(shown, ax=axes, label=unit, extend="both", shrink=0.9)
    return _png(figure)


def _sheet(
    width: float, height: float, columns: int = 1, heights: Sequence[float] = (1,)
) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(len(heights), columns, height_ratios=heights)


def _png(figure: Any) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_DPI, metadata={"Software": None})
    return data.getvalue()


def _short(count: int) -> str:
    """Write a count in few characters: 1234567 is 1.2M."""
    for size, letter in ((1_000_000, "M"), (10_000, "k")):
        if count >= size:
            thousand = 1_000_000 if letter == "M" else 1000
            return f"{count / thousand:.3g}{letter}"
    return str(count)
