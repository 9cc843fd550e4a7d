"""Series carried on beyond their ends, as their spectrum would have it.

A filter that whitens a finite series needs something beyond its ends. Zeros are a step there, a
mirror image is a kink, and where a series spans many orders of magnitude either rings through the
result. Here both ends are *predicted*: of all factors of 1 / S one is causal and has a causal
inverse (Kolmogorov's, by the cepstrum), so what it makes of a series are innovations, and a series
whose later innovations are 0 is the linear prediction by all that came before. The past begins
with the series: before it there is nothing. The end carried on and the beginning carried back
meet under a cosine, so that the frame closes on itself.

Sources: Kolmogorov 1941 (prediction of stationary sequences); Oppenheim and Schafer, Discrete-Time
Signal Processing, on minimum phase from the real cepstrum.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from stcli.noise.time.frame import Frame
from stcli.noise.time.stationary import at_frequencies


def continued(
    x: NDArray[np.float64], where: Frame, density: NDArray[np.float64], workers: int = 1
) -> NDArray[np.float64]:
    """Fill the frame of series.

    Parameters
    ----------
    x : ndarray, (series, N)
        Level taken off.
    where : Frame
    density : ndarray, (L/2 + 1,)
        S0 of all series, positive, in any unit; or 0 throughout, which leaves the padding 0.
    workers : int
        Threads of the Fourier transforms.

    Returns
    -------
    ndarray, (series, N')
        x in its place, and what it is predicted to be around it.
    """
    if not density.any():
        return np.pad(x, ((0, 0), (where.before, where.after)))
    gap = where.before + where.after
    rise = np.sin(np.pi / 2 * (np.arange(gap) + 0.5) / gap) ** 2
    span = scipy.fft.next_fast_len(x.shape[1] + where.tiling.samples, real=True)
    whitener = causal(density, span)
    after = _predicted(x, gap, whitener, span, workers)
    before = _predicted(x[:, ::-1], gap, whitener, span, workers)[:, ::-1]
    filled = (1 - rise) * after + rise * before
    return np.concatenate([filled[:, where.after :], x, filled[:, : where.after]], axis=1)


def causal(density: NDArray[np.float64], samples: int) -> NDArray[np.complex128]:
    """Give the causal filter that whitens and whose inverse is causal.

    Parameters
    ----------
    density : ndarray, (L/2 + 1,)
        S, positive, at 0 … Nyquist.
    samples : int
        Length of the Fourier transform, larger than that of the filter, about L.

    Returns
    -------
    ndarray of complex128, (samples // 2 + 1,)
        Its transfer, |H|² = 1 / S.
    """
    cepstrum = scipy.fft.irfft(-0.5 * np.log(at_frequencies(density, samples)), samples)
    later = (samples + 1) // 2
    cepstrum[1:later] *= 2
    cepstrum[samples // 2 + 1 :] = 0
    filtered: NDArray[np.complex128] = np.exp(scipy.fft.rfft(cepstrum))
    return filtered


def _predicted(
    x: NDArray[np.float64],
    count: int,
    whitener: NDArray[np.complex128],
    span: int,
    workers: int,
) -> NDArray[np.float64]:
    """Predict so many samples after series (series, N): (series, count)."""
    samples = x.shape[1]
    spectra = scipy.fft.rfft(x, span, workers=workers) * whitener
    innovations = scipy.fft.irfft(spectra, span, workers=workers)
    innovations[:, samples:] = 0
    spectra = scipy.fft.rfft(innovations, workers=workers) / whitener
    later = scipy.fft.irfft(spectra, span, workers=workers)
    found: NDArray[np.float64] = later[:, samples : samples + count]
    return found
