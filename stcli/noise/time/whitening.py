"""Whiten series by a spectrum, and undo it exactly.

Whitening is linear: the series, less its level, in its frame, is divided by sqrt(S0 · rate / 2)
in frequency and by sqrt(R) on WDM cells. White noise of variance 1 comes out where the spectrum is
that of the series. The frame's padding, and the cells where the series has gaps, come out as
numbers too; the result keeps them apart as the *rest*, because the inverse needs them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from stcli.noise.time.spectrum import Spectrum, flatten
from stcli.noise.time.stationary import gain
from stcli.noise.time.wdm import forward, inverse


def levels(x: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Median of the valid (series, N) samples of x (series, N): (series,); 0 for none."""
    masked = np.where(valid, x.astype(np.float64, copy=False), np.nan)
    some = valid.any(axis=1)
    level = np.zeros(len(x))
    if some.any():
        level[some] = np.nanmedian(masked[some], axis=1)
    return level


def centred(
    x: NDArray[Any], valid: NDArray[np.bool_], level: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Take the level (series,) off x (series, N) where valid (series, N); a gap enters as 0."""
    return np.where(valid, x - level[:, None], 0.0)


def whiten(x: NDArray[np.float64], spectrum: Spectrum, workers: int = 1) -> NDArray[np.float64]:
    """Whiten centred series (series, N) into their whole frame (series, N')."""
    return level_off(flatten(x, spectrum, workers), spectrum, workers)


def level_off(
    white: NDArray[np.float64], spectrum: Spectrum, workers: int = 1
) -> NDArray[np.float64]:
    """Divide what `stcli.noise.time.spectrum.flatten` makes of series by sqrt(R): (series, N')."""
    if spectrum.silent or (spectrum.relative == 1).all():
        return white
    cells = forward(white, spectrum.frame.tiling, workers)
    cells /= np.sqrt(spectrum.relative)
    return inverse(cells, spectrum.frame.tiling, workers)


def unwhiten(
    whitened: NDArray[np.float64], spectrum: Spectrum, workers: int = 1
) -> NDArray[np.float64]:
    """Undo `whiten`: frames (series, N') back to centred series (series, N)."""
    where, tiling = spectrum.frame, spectrum.frame.tiling
    if spectrum.silent:
        return whitened[:, where.inside]
    if not (spectrum.relative == 1).all():
        cells = forward(whitened, tiling, workers)
        cells *= np.sqrt(spectrum.relative)
        whitened = inverse(cells, tiling, workers)
    amplitude = gain(spectrum.density, tiling.samples, spectrum.step)
    spectra = scipy.fft.rfft(whitened, workers=workers) / amplitude
    x: NDArray[np.float64] = scipy.fft.irfft(spectra, tiling.samples)[:, where.inside]
    return x
