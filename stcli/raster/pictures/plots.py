"""Pictures of spectra and of maps, drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import OutputError

#: Edges of a histogram of whitened values.
_EDGES = np.linspace(-5, 5, 101)


def counts_of(values: NDArray[Any]) -> NDArray[np.int64]:
    """Count whitened values by the bins of a histogram.

    Parameters
    ----------
    values : ndarray
        Of any shape; NaN is passed over.

    Returns
    -------
    ndarray of int, (bin,)
    """
    return np.histogram(values, len(_EDGES) - 1, (_EDGES[0], _EDGES[-1]))[0]


def draw_whitening(
    draft: Path,
    spectrum: tuple[NDArray[np.float64], float, float],
    counts: NDArray[np.int64],
    units: tuple[str, str],
) -> None:
    """Draw S(t, f), and whitened values against the normal law.

    Parameters
    ----------
    draft : Path
        PNG to make, of a file that `drafts` publishes.
    spectrum : (ndarray, float, float)
        S on WDM cells (row, cell), length of a cell in time, and the Nyquist frequency.
    counts : ndarray of int, (bin,)
        Of whitened values, of `counts_of`.
    units : (str, str)
        Of time, and of S.

    Raises
    ------
    OutputError
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    cells, length, nyquist = spectrum
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    shown = left.imshow(
        cells,
        aspect="auto",
        origin="lower",
        norm=mpl.colors.LogNorm(),
        extent=(0, cells.shape[1] * length, 0, nyquist),
    )
    figure.colorbar(shown, ax=left, label=f"one-sided power spectral density S [{units[1]}]")
    left.set(xlabel=f"time [{units[0]}]", ylabel=f"frequency [1/{units[0]}]")
    _histogram(right, counts)
    _save(figure, draft)


def draw_map(
    draft: Path, values: NDArray[Any], shape: tuple[int, int], words: tuple[str, str]
) -> None:
    """Draw a plane in colours between its 2nd and 98th percentile.

    Parameters
    ----------
    draft : Path
        PNG to make, of a file that `drafts` publishes.
    values : ndarray (row, col)
        NaN stays white.
    shape : (int, int)
        Rows and columns of the raster that the plane shows, thinned or not: what the axes count.
    words : (str, str)
        The title, and what the colours mean with its unit.

    Raises
    ------
    OutputError
    """
    from matplotlib.figure import Figure

    rows, cols = shape
    height = min(10.0, max(2.5, 5.5 * rows / cols)) + 0.8
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.subplots()
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
    extent = (0, cols, rows, 0)
    shown = axes.imshow(values, vmin=low, vmax=high, interpolation="nearest", extent=extent)
    axes.set(title=words[0], xlabel="column", ylabel="row")
    figure.colorbar(shown, ax=axes, label=words[1], extend="both")
    _save(figure, draft)


def _save(figure: Any, draft: Path) -> None:
    try:
        figure.savefig(draft, format="png", dpi=120, metadata={"Software": None})
    except OSError as error:
        raise OutputError(
            f"{draft}: the picture cannot be written ({error.strerror}); make room or write "
            "elsewhere"
        ) from error


def _histogram(axes: Any, counts: NDArray[np.int64]) -> None:
    density = counts / (np.diff(_EDGES) * max(1, counts.sum()))
    axes.stairs(density, _EDGES, fill=True, color="0.75")
    z = np.linspace(-5, 5, 201)
    axes.plot(z, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), "k", lw=1)
    axes.set(xlabel="whitened value", ylabel="density", yscale="log", ylim=(1e-5, 1))
    axes.annotate("normal law", (2, 0.054), xytext=(2.4, 0.2), arrowprops={"arrowstyle": "-"})
    axes.annotate("whitened values", (-1.2, 0.01), ha="left")
