"""The Wilson–Daubechies–Meyer transform: an orthonormal time–frequency basis of real series.

Letters: N = Nt·Nf samples of step dt; Nt time cells of dT = Nf·dt; Nf frequency rows of
dF = 1/(2·Nf·dt); n, m the cell; h = Nt/2; l a frequency in bins of 1/(N·dt) from a row's centre.

With X the Fourier transform of the series, Φ the Meyer window (Necula, Klimenko, Mitselmakher
2012, doi:10.1088/1742-6596/363/1/012032) and the channel's demodulated signal ::

    t_m[n] = Σ_l Φ(l) X[m·h + l] exp(2πi·n·l/Nt)

the coefficients are, for 0 < m < Nf, ``W[m, n] = 2 Re((-i)^(n + m mod 2) t_m[n])``: the phase of
an atom advances by a quarter turn from one cell to the next. Up to its sign, a convention, that
is the real part where n + m is even and the imaginary part where it is odd. Row 0 packs the two
edges of the band, at half the rate: ``√2 t_0[n]`` at even n, ``√2 t_Nf[n-1]`` at odd n.

How it is fast: multiplying by (-i)^n shifts a channel's spectrum by a quarter of its width, and
only the real part is wanted, so the spectrum is folded onto its Hermitian half and a *real*
inverse transform of length Nt does the rest: N numbers in, N numbers out, no complex channel.
The inverse is the transpose. Long series take the same road in fewer passes over memory: see
`stcli.noise.time.wdm_long`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.noise.time import wdm_long, wdm_plain
from stcli.noise.time.meyer import meyer

#: Values below which a second thread costs more than it gains.
_SMALL = 1 << 22


@dataclass(frozen=True)
class Tiling:
    """How a series is cut into cells.

    Attributes
    ----------
    times, rows : int
        Nt and Nf, both even: ``times * rows`` samples. Where Nt is no multiple of 4 the plain
        equations run, about four times slower.
    """

    times: int
    rows: int

    def __post_init__(self) -> None:
        if min(self.times, self.rows) < 2 or self.times % 2 or self.rows % 2:
            raise ValueError(f"{self.times} x {self.rows} cells found, even numbers wanted")

    @property
    def samples(self) -> int:
        """Length of the series."""
        return self.times * self.rows


def forward(x: NDArray[Any], tiling: Tiling, workers: int = 1) -> NDArray[Any]:
    """Transform series into coefficients.

    Parameters
    ----------
    x : ndarray of float, (..., N)
        float32 or float64, finite; other types become float64.
    tiling : Tiling
        Of N samples.
    workers : int
        Threads; no result depends on them.

    Returns
    -------
    ndarray, (..., Nf, Nt), of x's type and unit
        Orthonormal: white noise of variance s² gives variance s² in every cell.
    """
    x = _floating(x)
    if x.shape[-1] != tiling.samples:
        raise ValueError(f"{x.shape[-1]} samples found, {tiling.samples} wanted")
    if tiling.times % 4:
        return wdm_plain.forward(x, tiling.times, tiling.rows)
    if wdm_long.pays(tiling.times, tiling.rows):
        return _each(wdm_long.forward, x, (tiling.samples,), tiling, workers)
    spectrum = scipy.fft.rfft(x.reshape(-1, tiling.samples), workers=workers)
    window, turns = _tables(tiling, x.dtype.str, False)
    half = np.empty((len(spectrum) * tiling.rows, tiling.times // 2 + 1), spectrum.dtype)
    _share(_fold, (spectrum, window, turns, half), half.size, len(half), workers)
    cells: NDArray[Any] = scipy.fft.irfft(half, tiling.times, overwrite_x=True, workers=workers)
    return cells.reshape(*x.shape[:-1], tiling.rows, tiling.times)


def inverse(cells: NDArray[Any], tiling: Tiling, workers: int = 1) -> NDArray[Any]:
    """Transform coefficients (..., Nf, Nt) back into series (..., N); see `forward`."""
    cells = _floating(cells)
    if cells.shape[-2:] != (tiling.rows, tiling.times):
        raise ValueError(f"{cells.shape[-2:]} cells found, {tiling.rows, tiling.times} wanted")
    if tiling.times % 4:
        return wdm_plain.inverse(cells, tiling.times, tiling.rows)
    if wdm_long.pays(tiling.times, tiling.rows):
        return _each(wdm_long.inverse, cells, cells.shape[-2:], tiling, workers)
    half = scipy.fft.rfft(cells.reshape(-1, tiling.times), workers=workers)
    window, turns = _tables(tiling, cells.dtype.str, True)
    count = len(half) // tiling.rows
    spectrum = np.empty((count, tiling.samples // 2 + 1), half.dtype)
    _share(_unfold, (half, window, turns, spectrum), half.size, len(half), workers)
    x: NDArray[Any] = scipy.fft.irfft(spectrum, tiling.samples, overwrite_x=True, workers=workers)
    return x.reshape(*cells.shape[:-2], tiling.samples)


def _each(
    transform: Callable[..., NDArray[Any]],
    x: NDArray[Any],
    shape: tuple[int, ...],
    tiling: Tiling,
    workers: int,
) -> NDArray[Any]:
    """Transform series of `shape` one after the other: each is long enough for all threads."""
    series = x.reshape(-1, *shape)
    found = [transform(one, tiling.times, tiling.rows, workers) for one in series]
    several = found[0] if len(found) == 1 else np.stack(found)
    return several.reshape(*x.shape[: x.ndim - len(shape)], *found[0].shape)


def _floating(x: NDArray[Any]) -> NDArray[Any]:
    x = np.asarray(x)
    return np.ascontiguousarray(x, x.dtype if x.dtype == np.float32 else np.float64)


@lru_cache(maxsize=16)
def _tables(tiling: Tiling, dtype: str, inverted: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Window with its scale, and row 0's phases exp(2πi·k/Nt), for l and k = 0 … h."""
    scale = math.sqrt(tiling.rows) if inverted else 1 / math.sqrt(tiling.rows)
    turns = np.exp(2j * math.pi * np.arange(tiling.times // 2 + 1) / tiling.times)
    single = np.dtype(dtype) == np.float32
    window = (scale * meyer(tiling.times)).astype(dtype)
    return window, turns.astype(np.complex64 if single else np.complex128)


def _share(
    kernel: Callable[..., None], arrays: tuple[Any, ...], size: int, rows: int, workers: int
) -> None:
    """Run a kernel over all rows of all series, in threads where that pays."""
    if workers <= 1 or size < _SMALL:
        kernel(*arrays, 0, rows)
        return
    cuts = np.linspace(0, rows, workers + 1).astype(int)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda a, b: kernel(*arrays, a, b), cuts[:-1], cuts[1:]))


@njit(nogil=True, cache=True)
def _fold(
    spectrum: Any, window: Any, turns: Any, half: Any, first: int, last: int
) -> None:  # pragma: no cover - compiled
    """Fold spectra (series, N/2 + 1) into half-spectra (series·Nf, h + 1) of real channels."""
    h = half.shape[1] - 1
    rows = (spectrum.shape[1] - 1) // h
    q = h // 2
    for row in range(first, last):
        m = row % rows
        x = spectrum[row // rows]
        out = half[row]
        if m == 0:
            _fold_edges(x, window, turns, out)
            continue
        c = m * h + q
        sign = 1 - 2 * (m % 2)
        for k in range(q + 1):
            out[k] = window[q - k] * x[c - k].conjugate()
        for k in range(q + 1, h + 1):
            out[k] = window[k - q] * x[c - k].conjugate()
        for k in range((h + 3) // 4):
            out[k] += sign * window[k + q] * x[c + k]
        for k in range(3 * h // 4 + 1, h + 1):
            out[k] += sign * window[3 * q - k] * x[c + k - 2 * h]
        if m % 2:  # the factor -i of odd rows, +i where the spectrum is conjugated
            for k in range(h + 1):
                out[k] = complex(-out[k].imag, out[k].real)


@njit(nogil=True, cache=True, inline="always")
def _fold_edges(x: Any, window: Any, turns: Any, out: Any) -> None:  # pragma: no cover - compiled
    """Fold the two edges of a spectrum: times at even n, and one later, at odd n."""
    h, top = len(out) - 1, len(x) - 1
    scale = window.dtype.type(math.sqrt(0.5))
    for k in range(h + 1):
        low = window[k] * x[k] + window[h - k] * x[h - k].conjugate()
        high = window[k] * x[top - k].conjugate() + window[h - k] * x[top - h + k]
        out[k] = scale * (low + turns[k].conjugate() * high)


@njit(nogil=True, cache=True)
def _unfold(
    half: Any, window: Any, turns: Any, spectrum: Any, first: int, last: int
) -> None:  # pragma: no cover - compiled
    """Transpose of `_fold`: each bin of a spectrum gathers from the two rows that see it."""
    h = half.shape[1] - 1
    rows = (spectrum.shape[1] - 1) // h
    q = h // 2
    for row in range(first, last):
        m = row % rows
        x = spectrum[row // rows, m * h : (m + 1) * h]
        if m == 0:
            _unfold_low(half[row], window, x)
        else:
            u = half[row]
            for l in range(q):  # noqa: E741
                x[l] = window[l] * u[q - l].conjugate()
            for l in range(q, (3 * h + 3) // 4):  # noqa: E741
                x[l] = window[l] * u[l - q]
            for l in range((3 * h + 3) // 4, h):  # noqa: E741
                x[l] = 0
            if m % 2:
                for l in range((3 * h + 3) // 4):  # noqa: E741
                    x[l] = complex(-x[l].imag, x[l].real)
        if m + 1 == rows:
            _unfold_high(half[row - m], window, turns, spectrum[row // rows])
        else:
            u = half[row + 1]
            for l in range(h // 4 + 1, h):  # noqa: E741
                y = window[h - l] * (u[l + q] if l < q else u[h + q - l].conjugate())
                x[l] += y if m % 2 else complex(-y.imag, y.real)


@njit(nogil=True, cache=True, inline="always")
def _unfold_low(u: Any, window: Any, x: Any) -> None:  # pragma: no cover - compiled
    """Write the lowest bins from the even times of row 0."""
    h = len(u) - 1
    scale = window.dtype.type(math.sqrt(0.5))
    for l in range(h):  # noqa: E741
        x[l] = scale * window[l] * (u[l] + u[h - l].conjugate())


@njit(nogil=True, cache=True, inline="always")
def _unfold_high(u: Any, window: Any, turns: Any, x: Any) -> None:  # pragma: no cover - compiled
    """Add the highest bins from the odd times of row 0."""
    h, top = len(u) - 1, len(x) - 1
    scale = window.dtype.type(math.sqrt(0.5))
    x[top] = 0
    for l in range((3 * h + 3) // 4):  # noqa: E741
        y = turns[l] * (u[l] - u[h - l].conjugate())
        x[top - l] += scale * window[l] * y.conjugate()
