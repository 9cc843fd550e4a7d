"""The WDM transform of long series: few passes over memory, none along a whole series.

A Fourier transform of length N on its own walks through the whole series once for every factor of
N, and gives the processor's vectors nothing to do side by side. With h = Nt/2 and R = 2·Nf,
N = h·R, sample j = s·R + r and frequency k = m·h + l it is (Bailey 1990, doi:10.1007/BF00162341)::

    Z[l, r] = exp(-2πi·l·r/N) Σ_s x[s·R + r] exp(-2πi·l·s/h)
    Y[l, m] = X[m·h + l] = Σ_r Z[l, r] exp(-2πi·m·r/R)

two batches of short transforms. The series is real, so ``X[m·h + h-l]`` is the conjugate of
``Y[l, R-1-m]``: l from 0 to q = h/2 is all that there is. And m is a channel: Y is folded as it
lies, a few channels at a time, which are transformed while the processor still holds them.
Letters, and what is folded how, as in `stcli.noise.time.wdm`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.noise.time.meyer import meyer

#: Samples from which this pays, and the least length of the transforms of either batch.
LONG, LEAST = 1 << 18, 64
#: Values of the channels that are folded at a time, and channels whose values lie in one line.
_PART, _LINE = 1 << 16, 8
#: Factors exp(-2πi·l·r/N) that come from one table.
_FINE = 64

Array = NDArray[Any]


class Tables(NamedTuple):
    """What depends on the tiling alone.

    Attributes
    ----------
    near, far : ndarray of float, (q + 1,)
        The window at l and at h - l, for l = 0 … q, with its scale.
    turns : ndarray of complex, (q + 1,)
        exp(2πi·l/Nt), row 0's phases.
    fine, coarse : ndarray of complex, (q + 1, …)
        exp(∓2πi·l·r/N) for r = 0 … 63, and for every 64th r; minus forward.
    """

    near: Array
    far: Array
    turns: Array
    fine: Array
    coarse: Array


def pays(times: int, rows: int) -> bool:
    """Tell whether series of this tiling come here."""
    return times * rows >= LONG and min(times // 2, 2 * rows) >= LEAST


def forward(x: Array, times: int, rows: int, workers: int = 1) -> Array:
    """Transform one series (N,), float32 or float64, into coefficients (Nf, Nt)."""
    tables = _tables(times, rows, x.dtype.str, False)
    columns = scipy.fft.rfft(x.reshape(times // 2, 2 * rows), axis=0, workers=workers)
    _turn(columns, tables.fine, tables.coarse)
    columns = scipy.fft.fft(columns, overwrite_x=True, workers=workers)
    edges = _edges(columns, tables)
    cells = np.empty((rows, times), x.dtype)

    def part(first: int, last: int) -> None:
        half = np.empty((last - first, times // 2 + 1), columns.dtype)
        _fold(columns, tables.near, tables.far, half, first)
        if first == 0:
            half[0] = edges
        cells[first:last] = scipy.fft.irfft(half, times, overwrite_x=True)

    _in_parts(part, times, rows, workers)
    return cells


def inverse(cells: Array, times: int, rows: int, workers: int = 1) -> Array:
    """Transform coefficients (Nf, Nt) back into one series (N,); see `forward`."""
    tables = _tables(times, rows, cells.dtype.str, True)
    columns = np.empty((times // 4 + 1, 2 * rows), np.result_type(cells.dtype, np.complex64))
    wide = np.zeros((1, times), cells.dtype)

    def part(first: int, last: int) -> None:
        """Unfold channels; each column gathers from its own and from the next."""
        seen = cells[first : last + 1] if last < rows else np.concatenate([cells[first:], wide])
        half = scipy.fft.rfft(seen)
        if first == 0:
            half[0] = 0
        _unfold(half, tables.near, tables.far, columns, first)

    _in_parts(part, times, rows, workers)
    _add_edges(scipy.fft.rfft(cells[0]), tables, columns)
    columns = scipy.fft.ifft(columns, overwrite_x=True, workers=workers)
    _turn(columns, tables.fine, tables.coarse)
    x: Array = scipy.fft.irfft(columns, times // 2, axis=0, workers=workers)
    return x.reshape(-1)


@lru_cache(maxsize=8)
def _tables(times: int, rows: int, dtype: str, inverted: bool) -> Tables:
    reals = meyer(times) * (math.sqrt(rows) if inverted else 1 / math.sqrt(rows))
    l = np.arange(times // 4 + 1)  # noqa: E741 - the paper's letter
    turn = (2j if inverted else -2j) * math.pi / (times * rows) * l[:, None]
    complexes = (
        np.exp(2j * math.pi * l / times),
        np.exp(turn * np.arange(_FINE)),
        np.exp(turn * np.arange(0, 2 * rows, _FINE)),
    )
    kind = np.result_type(dtype, np.complex64)
    near, far = (reals[part].astype(dtype) for part in (l, times // 2 - l))
    return Tables(near, far, *(part.astype(kind) for part in complexes))


def _in_parts(part: Callable[[int, int], None], times: int, rows: int, workers: int) -> None:
    """Run `part` over all channels, the same parts whatever the number of threads."""
    step = max(_LINE, _PART // times // _LINE * _LINE)
    firsts = range(0, rows, step)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(part, firsts, (min(first + step, rows) for first in firsts)))


def _edges(columns: Array, tables: Tables) -> Array:
    """Fold the two edges of the band into row 0's half-spectrum (h + 1,)."""
    rows, scale = columns.shape[1] // 2, math.sqrt(0.5)
    low = tables.near * columns[:, 0] + tables.far * columns[:, -1]
    high = tables.near * columns[:, rows] + tables.far * columns[:, rows - 1]
    high *= tables.turns.conj()
    return np.concatenate([scale * (low + high), scale * (low - high).conj()[-2::-1]])


def _add_edges(half: Array, tables: Tables, columns: Array) -> None:
    """Transpose of `_edges`: add what row 0's half-spectrum (h + 1,) holds."""
    rows, scale = columns.shape[1] // 2, math.sqrt(0.5)
    near, far = half[: len(columns)], half[: -len(columns) - 1 : -1].conj()
    low, high = scale * (near + far), scale * (near - far) * tables.turns
    columns[:, 0] += tables.near * low
    columns[:, -1] += tables.far * low
    columns[:, rows] += tables.near * high
    columns[:, rows - 1] += tables.far * high


@njit(nogil=True, cache=True)
def _turn(columns: Any, fine: Any, coarse: Any) -> None:  # pragma: no cover - compiled
    """Multiply columns (l, r) by their factors."""
    count = columns.shape[1]
    for l in range(len(columns)):  # noqa: E741
        for part in range(coarse.shape[1]):
            first = part * _FINE
            for r in range(first, min(first + _FINE, count)):
                columns[l, r] *= coarse[l, part] * fine[l, r - first]


@njit(nogil=True, cache=True)
def _fold(
    columns: Any, near: Any, far: Any, half: Any, first: int
) -> None:  # pragma: no cover - compiled
    """Fold columns (l, m) into the half-spectra (channel, h + 1) from `first` on, 0 left out."""
    q, count = len(columns) - 1, columns.shape[1]
    for start in range(0, len(half), _LINE):
        stop = min(start + _LINE, len(half))
        for l in range(q + 1):  # noqa: E741
            for n in range(max(start, 1 - first), stop):
                m = first + n
                low = near[l] * columns[l, m].conjugate()
                high = near[l] * columns[l, count - m]
                if far[l] != 0:
                    sign = 1 - 2 * (m % 2)
                    low += sign * far[l] * columns[l, count - 1 - m].conjugate()
                    high += sign * far[l] * columns[l, m - 1]
                if m % 2:  # the factor -i of odd rows, +i where the spectrum is conjugated
                    low, high = complex(-low.imag, low.real), complex(-high.imag, high.real)
                half[n, q - l], half[n, q + l] = low, high


@njit(nogil=True, cache=True)
def _unfold(
    half: Any, near: Any, far: Any, columns: Any, first: int
) -> None:  # pragma: no cover - compiled
    """Transpose of `_fold`, from the half-spectra (channel + 1, h + 1) from `first` on."""
    q, count = len(columns) - 1, columns.shape[1]
    for start in range(0, len(half) - 1, _LINE):
        stop = min(start + _LINE, len(half) - 1)
        for l in range(q + 1):  # noqa: E741
            for n in range(start, stop):
                m = first + n
                own, following = half[n, q - l].conjugate(), half[n + 1, q + l]
                if m % 2:
                    own = complex(-own.imag, own.real)
                    columns[l, count - 1 - m] = near[l] * following - far[l] * own
                else:
                    following = complex(-following.imag, following.real)
                    columns[l, count - 1 - m] = far[l] * own - near[l] * following
                columns[l, m] = near[l] * own + far[l] * following
