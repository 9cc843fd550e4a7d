"""The WDM transform as its equations stand, with complex channels.

The reference, and the route of numbers of times that are even but no multiple of four. Letters as
in `stcli.noise.time.wdm`. Slower by a factor of about four; every transform is unitary, so
the inverse is the adjoint read backwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from stcli.noise.time.meyer import meyer


def forward(x: NDArray[Any], times: int, rows: int) -> NDArray[Any]:
    """Transform series (..., N) into coefficients (..., Nf, Nt)."""
    spectrum = scipy.fft.fft(x, norm="ortho")
    channels = spectrum[..., _bins(times, rows)] * _window(times)
    t = scipy.fft.ifft(channels, norm="ortho")
    cells = 2 * (t * _phases(times, rows)).real
    edges = cells[..., rows, ::2].copy()
    cells[..., 0, 1::2] = edges
    kept: NDArray[Any] = cells[..., :rows, :].astype(x.dtype)
    return kept


def inverse(cells: NDArray[Any], times: int, rows: int) -> NDArray[Any]:
    """Transform coefficients (..., Nf, Nt) back into series (..., N)."""
    wide = np.zeros((*cells.shape[:-2], rows + 1, times), cells.dtype)
    wide[..., :rows, :] = cells
    wide[..., rows, ::2] = cells[..., 0, 1::2]
    t = 2 * wide * _phases(times, rows).conj()
    channels = scipy.fft.fft(t, norm="ortho") * _window(times)
    spectrum = np.zeros((*cells.shape[:-2], times * rows), channels.dtype)
    bins = _bins(times, rows)
    for m in range(rows + 1):  # within a row no bin comes twice
        spectrum[..., bins[m]] += channels[..., m, :]
    x: NDArray[Any] = scipy.fft.ifft(spectrum, norm="ortho").real.astype(cells.dtype)
    return x


def _offsets(times: int) -> NDArray[np.int64]:
    """List l in the order of a discrete Fourier transform: 0 … h-1, -h … -1."""
    l = np.arange(times)  # noqa: E741 - the paper's letter
    return np.where(l < times // 2, l, l - times)


def _bins(times: int, rows: int) -> NDArray[np.int64]:
    centre = np.arange(rows + 1)[:, None] * (times // 2)
    bins: NDArray[np.int64] = (centre + _offsets(times)) % (times * rows)
    return bins


def _window(times: int) -> NDArray[np.float64]:
    return meyer(times)[np.abs(_offsets(times))]


def _phases(times: int, rows: int) -> NDArray[np.complex128]:
    n, m = np.arange(times), np.arange(rows + 1)[:, None]
    phases = np.array([1, -1j, -1, 1j])[(n + m % 2) % 4]
    phases[[0, rows]] = np.sqrt(0.5) * (n % 2 == 0)  # real channels at half the rate
    found: NDArray[np.complex128] = phases
    return found
