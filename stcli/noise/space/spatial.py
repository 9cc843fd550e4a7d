"""The local noise map: how strong the noise is at each pixel, for each wavelet level.

Diagonal (HH) coefficients of an undecimated wavelet hold noise and little else. Their robust
deviation in a window, over the level's gain for white noise of deviation 1, is the noise::

    sigma_j(p) = median over a window around p of |HH_j| / (0.6745 g_j)

(Donoho and Johnstone 1994, doi:10.1093/biomet/81.3.425, made local; g_j computed from the
filters), made more efficient by one step: the second moment of what lies within two deviations,
corrected for the cut. Windows grow from a third of the full side; each gives an interval, and the
largest window is taken whose interval still meets those of all smaller ones (intersection of
confidence intervals: Goldenshluger and Nemirovski 1997; Katkovnik 1999,
doi:10.1109/78.782189). So a map is smooth where the noise is, and sharp where it steps.

Windows stand on nodes of the lattice anchored to the CRS grid; between nodes the map is bilinear.
Coefficients that lean on filled pixels are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.lanes import OPTIONS, load, smaller, splat, store, total
from stcli.lanes import WIDTH as LANES
from stcli.noise.space.separable import Plane, correlate
from stcli.noise.space.wavelets import Bank, bank, diagonal
from stcli.settings import NoiseMapSettings

#: Median of |x| for x normal with deviation 1.
MEDIAN = 0.6744897501960817
#: Share of a coefficient's energy that may come from filled pixels.
FILLED = 0.05
#: Coefficients that a window needs, as a share of all.
ENOUGH = 0.1
#: Deviations within which a coefficient counts, and the second moment of a normal cut there.
CUT = 2.0
CUT_MOMENT = 0.7737413035499235
#: Windows tried, as shares of the full radius.
SHARES = (1 / 3, 1 / 2, 2 / 3, 1.0)
#: Deviation of log sigma from n coefficients, times sqrt(n): a median's (1.17/sqrt(2)), twice,
#: because diagonal coefficients hold a quarter of the band and n counts them undecimated.
SCATTER = 1.65
#: Half-width of an interval in deviations (chosen on six pictures, none of them a benchmark's).
WIDTH = 2.0
#: Rounds of cutting and measuring that a larger window takes from a smaller one's deviation.
ROUNDS = 3
#: Share of a pixel's value below which a coefficient is rounding: a constant plane has no noise.
ROUNDING = float(np.finfo(np.float64).eps)
#: Keeps the logarithm of no noise at all finite.
TINY = 1e-300


def halo(settings: NoiseMapSettings) -> int:
    """Pixels that the map looks away from a pixel, holes not counted."""
    filters = bank(settings.wavelet)
    windows = settings.levels * (settings.window // 2)
    return windows + settings.step + filters.reach(settings.levels)


def noise_map(
    plane: Plane,
    valid: NDArray[np.bool_],
    corner: tuple[int, int],
    settings: NoiseMapSettings,
    margin: int = 0,
) -> list[Plane]:
    """Measure the noise of a plane at each pixel and level.

    Parameters
    ----------
    plane : ndarray of float64 (row, col)
        Values with holes filled.
    valid : ndarray of bool (row, col)
    corner : (int, int)
        Lattice position of the first pixel.
    margin : int
        Pixels along each side where the map is not wanted and left NaN.

    Returns
    -------
    list of ndarray of float64 (row, col)
        Deviation of the noise for levels 1 to `settings.levels`, in the plane's unit: what white
        noise would have that gives the level's coefficients. NaN where too few coefficients are
        free of holes.
    """
    filters = bank(settings.wavelet)
    nodes = [
        _nodes(start, length, settings.step, margin)
        for start, length in zip(corner, plane.shape, strict=True)
    ]
    maps = []
    for level, size in enumerate(diagonal(plane, filters, settings.levels), start=1):
        np.abs(size, out=size)
        size[size <= ROUNDING * np.abs(plane)] = 0.0
        size[leaning(valid, filters, level)] = -1.0
        radius = level * (settings.window // 2)
        steps = np.array([radius * share // level for share in SHARES], dtype=np.int64)
        found = _deviations(size, nodes[0], nodes[1], steps, level)
        out = np.full(plane.shape, np.nan)
        inside = tuple(slice(margin, length - margin) for length in plane.shape)
        _interpolate(found, nodes[0] - margin, nodes[1] - margin, out[inside])
        out /= filters.gain(level, (1, 1))
        maps.append(out)
    return maps


def leaning(valid: NDArray[np.bool_], filters: Bank, level: int) -> NDArray[np.bool_]:
    """Tell which HH coefficients of a level owe more than `FILLED` of their energy to holes."""
    if valid.all():
        return np.zeros(valid.shape, dtype=np.bool_)
    taps, first = filters.equivalent(level, 1)
    energy = np.square(taps) / np.square(taps).sum()
    step = energy.tolist(), first
    found: NDArray[np.bool_] = correlate((~valid).astype(np.float64), step, step) > FILLED
    return found


def _nodes(start: int, length: int, step: int, margin: int) -> NDArray[np.int64]:
    """Place the lattice's nodes about a block that begins at `start`, as indices into it."""
    first = margin - (start + margin) % step
    return np.arange(first, length - margin + step, step)


@njit(**OPTIONS)
def _deviations(size, rows, cols, steps, stride):  # type: ignore[no-untyped-def]
    """Robust deviation of non-negative entries about each node, in the largest window that suits.

    Parameters
    ----------
    size : ndarray of float64 (row, col)
        Negative: does not count.
    rows, cols : ndarray of int64
        Nodes.
    steps : ndarray of int64
        Radii of the windows in strides, rising.
    stride : int
        Pixels between the entries that are looked at.

    Returns
    -------
    ndarray of float64 (node row, node col)
        NaN where the entries are too few.
    """
    out = np.full((len(rows), len(cols)), np.nan)
    window = np.empty((2 * steps[-1] + 1) * _length(steps[-1]))
    for i in range(len(rows)):
        for j in range(len(cols)):
            low, high, sigma = -np.inf, np.inf, np.nan
            for most in steps:
                laid = window[: (2 * most + 1) * _length(most)]
                _lay(size, rows[i], cols[j], most, stride, laid)
                count = _moment(laid, np.inf)[1]
                if count < max(1.0, ENOUGH * (2 * most + 1) ** 2):
                    continue
                if np.isnan(sigma):
                    sigma = _within(laid, np.median(laid[laid < np.inf]) / MEDIAN, 1)
                    found = sigma
                else:
                    found = _within(laid, sigma, ROUNDS)
                half = WIDTH * SCATTER / np.sqrt(count)
                low = max(low, np.log(found + TINY) - half)
                high = min(high, np.log(found + TINY) + half)
                if low > high:
                    break
                sigma = found
            out[i, j] = sigma
    return out


@njit(**OPTIONS)
def _length(most):  # type: ignore[no-untyped-def]
    """Places of a row of a window: a whole number of lanes."""
    return (2 * most + LANES) // LANES * LANES


@njit(**OPTIONS)
def _lay(size, row, col, most, stride, window):  # type: ignore[no-untyped-def]
    """Lay out the rows of a window; infinite is what does not count, and what is behind a row."""
    height, width = size.shape
    flat, length, first = size.reshape(-1), _length(most), col - most * stride
    easy = stride == 1 and first >= 0 and first + length <= width
    nothing, infinite = splat(0.0), splat(np.inf)
    for m in range(2 * most + 1):
        r, at = row + (m - most) * stride, m * length
        inside = 0 <= r < height
        if inside and easy:
            for c in range(0, length, LANES):
                value = load(flat, r * width + first + c)
                store(window, at + c, smaller(value, nothing, infinite, value))
        for c in range(2 * most + 1 if inside and easy else 0, length):
            place = first + c * stride
            window[at + c] = np.inf
            if inside and c <= 2 * most and 0 <= place < width and size[r, place] >= 0:
                window[at + c] = size[r, place]


@njit(**OPTIONS)
def _moment(window, limit):  # type: ignore[no-untyped-def]
    """Sum of squares of finite entries up to a limit, and how many they are."""
    nothing, one, infinite = splat(0.0), splat(1.0), splat(np.inf)
    squares, count, most = nothing, nothing, splat(limit)
    for k in range(0, len(window), LANES):
        value = load(window, k)
        square = smaller(most, value, nothing, value * value)
        squares = squares + smaller(value, infinite, square, nothing)
        few = smaller(most, value, nothing, one)
        count = count + smaller(value, infinite, few, nothing)
    return total(squares), total(count)


@njit(**OPTIONS)
def _within(window, sigma, rounds):  # type: ignore[no-untyped-def]
    """Second moment of what lies within `CUT` deviations, corrected for the cut, as a deviation."""
    for _ in range(rounds):
        squares, count = _moment(window, CUT * sigma)
        sigma = np.sqrt(squares / max(count, 1.0) / CUT_MOMENT)
    return sigma


@njit(nogil=True, cache=True)
def _interpolate(nodes: Any, rows: Any, cols: Any, out: Any) -> Any:
    """Interpolate between nodes; unknown ones do not count."""
    step = rows[1] - rows[0]
    for r in range(out.shape[0]):
        i = (r - rows[0]) // step
        v = (r - rows[i]) / step
        for c in range(out.shape[1]):
            j = (c - cols[0]) // step
            u = (c - cols[j]) / step
            total, weight = 0.0, 0.0
            for m in range(2):
                for n in range(2):
                    share = (v if m else 1 - v) * (u if n else 1 - u)
                    if share > 0 and not np.isnan(nodes[i + m, j + n]):
                        total += share * nodes[i + m, j + n]
                        weight += share
            out[r, c] = total / weight if weight > 0 else np.nan


#: Compiled kernels of a noise map, the first and the last.
KERNELS = (_deviations, _interpolate)
