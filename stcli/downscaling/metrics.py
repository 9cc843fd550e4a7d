"""How good a fine raster is: errors, structure, spectrum, and agreement with the coarse one.

NaN is "no value"; a pixel counts where truth and estimate both have one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from stcli.downscaling.coarsen import block_sum
from stcli.downscaling.conserve import residual

#: Side of SSIM's windows (Wang et al. 2004; the mean of squares, not Gaussian weights).
WINDOW = 7
#: Side of the windows whose power spectra are averaged.
SPECTRUM = 128
#: Side, in coarse pixels, of the blocks whose errors are compared one by one.
BLOCK = 8


@dataclass(frozen=True)
class Quality:
    """Measures of one band; all of them None where no pixel has a value in both.

    Attributes
    ----------
    rmse, mae, bias : float or None
        In the band's unit; bias is estimate minus truth.
    psnr : float or None
        dB over the truth's range from its 1st to its 99th percentile; None for no error.
    ssim : float or None
        Over the same range; None where no window is complete.
    spectral_error : float or None
        Root mean square over radial frequencies of 10 log10 (power / the truth's power), in dB;
        None where no window is complete, or the truth is constant.
    mass_violation : float or None
        Largest relative difference of a block mean from its coarse value, over blocks whose truth
        has no gap: of others it is not known which pixels the coarse value is the mean of.
    """

    rmse: float | None = None
    mae: float | None = None
    bias: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    spectral_error: float | None = None
    mass_violation: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Describe it with JSON's types."""
        return asdict(self)


def quality(fine: NDArray[Any], truth: NDArray[Any], coarse: NDArray[Any], factor: int) -> Quality:
    """Measure one band against the truth.

    Parameters
    ----------
    fine, truth : ndarray, (row, col), one unit
    coarse : ndarray, (row // factor, col // factor)
        What `fine` was made from.
    factor : int
    """
    error = np.asarray(fine, np.float64) - truth
    known = ~np.isnan(error)
    if not known.any():
        return Quality()
    low, high = np.percentile(truth[known], (1, 99))
    rmse = float(np.sqrt(np.mean(error[known] ** 2)))
    span = float(high - low)
    return Quality(
        rmse,
        float(np.abs(error[known]).mean()),
        float(error[known].mean()),
        20 * float(np.log10(span / rmse)) if rmse > 0 and span > 0 else None,
        ssim(fine, truth, span),
        spectral_error(fine, truth),
        _violation(fine, np.where(block_sum(np.isnan(truth), factor) > 0, np.nan, coarse), factor),
    )


def _violation(fine: NDArray[Any], coarse: NDArray[Any], factor: int) -> float:
    relative = residual(fine, coarse, factor)[1]
    return float(np.max(relative[~np.isnan(relative)], initial=0.0))


def ssim(fine: NDArray[Any], truth: NDArray[Any], span: float) -> float | None:
    """Average the structural similarity over complete windows (Wang et al. 2004, eq. 13).

    doi:10.1109/TIP.2003.819861; K1 = 0.01, K2 = 0.03, sample covariances.

    Parameters
    ----------
    fine, truth : ndarray of float, (row, col)
        NaN is no value.
    """
    known = ~(np.isnan(fine) | np.isnan(truth))
    half = WINDOW // 2
    whole = uniform_filter(known.astype(np.float64), WINDOW, mode="constant") > 1 - 0.5 / WINDOW**2
    whole[:half], whole[len(whole) - half :] = False, False
    whole[:, :half], whole[:, whole.shape[1] - half :] = False, False
    if not whole.any() or span <= 0:
        return None
    # squares are of what differs from one level: of a large one they would keep no digit of it
    level = float(truth[known].mean(dtype=np.float64))
    x, y = (np.where(known, np.asarray(a, np.float64) - level, 0.0) for a in (fine, truth))
    mx, my = uniform_filter(x, WINDOW), uniform_filter(y, WINDOW)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    vx, vy, vxy = (
        sample * (uniform_filter(a * b, WINDOW) - ma * mb)
        for a, b, ma, mb in ((x, x, mx, mx), (y, y, my, my), (x, y, mx, my))
    )
    mx, my = mx + level, my + level
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    found = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(found[whole].mean())


def spectrum(
    field: NDArray[Any], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Average the power spectrum of complete windows over directions.

    Parameters
    ----------
    field : ndarray, (row, col)
    known : ndarray of bool
        Windows of `SPECTRUM` pixels (or the shorter side), half overlapping, with the mean taken
        off and under Hann's taper, count where all their pixels are known.

    Returns
    -------
    frequency, power : ndarray of float64
        Cycles a pixel, and the unit squared; None where no window is complete, or has fewer than
        8 pixels a side.
    """
    side = min(SPECTRUM, *field.shape)
    if side < 8:  # a row of millions would have as many windows
        return None
    taper = np.hanning(side + 2)[1:-1]
    total, count = np.zeros((side, side // 2 + 1)), 0
    for row in range(0, field.shape[0] - side + 1, max(1, side // 2)):
        for col in range(0, field.shape[1] - side + 1, max(1, side // 2)):
            part = np.s_[row : row + side, col : col + side]
            if known[part].all():
                calm = field[part] - field[part].mean()
                total += np.abs(np.fft.rfft2(calm * taper * taper[:, None])) ** 2
                count += 1
    if not count:
        return None
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) * side
    ring = np.rint(radius).astype(int)
    inside = (ring >= 1) & (ring <= side // 2)
    waves = np.full(side // 2 + 1, 2.0)  # of a real field's transform half the columns are left out
    waves[0], waves[side // 2] = 1, 1 + side % 2
    share = np.broadcast_to(waves, ring.shape)[inside]
    weight = np.bincount(ring[inside], share)
    power = np.bincount(ring[inside], share * total[inside] / count)
    return np.arange(1, side // 2 + 1) / side, power[1:] / weight[1:]


def spectral_error(fine: NDArray[Any], truth: NDArray[Any]) -> float | None:
    """Compare radially averaged power spectra, in dB; see `Quality`."""
    known = ~(np.isnan(fine) | np.isnan(truth))
    found = spectrum(np.where(known, fine, 0.0), known)
    wanted = spectrum(np.where(known, truth, 0.0), known)
    if found is None or wanted is None:
        return None
    eps, most = np.finfo(np.float64).eps, float(wanted[1].max())
    rounding = eps * float(np.abs(truth[known]).max()) * SPECTRUM**2  # of a window's sum
    if most <= rounding**2:
        return None
    floor = eps * most
    ratio = np.log10(np.maximum(found[1], floor) / np.maximum(wanted[1], floor))
    return float(10 * np.sqrt(np.mean(ratio**2)))


def median_block_ratio(
    fine: NDArray[Any], peer: NDArray[Any], truth: NDArray[Any], factor: int
) -> float | None:
    """Compare errors block by block: the median of RMSE over the peer's RMSE.

    One pixel in a hundred carries a third of the squared error; this is what happens elsewhere.
    None where no block is complete, or no block of the peer has an error.

    Parameters
    ----------
    fine, peer, truth : ndarray of float, (row, col)
        NaN is no value.
    """
    side = BLOCK * factor
    rows, cols = (n // side * side for n in truth.shape)
    if not rows or not cols:
        return None
    ours, theirs = (
        np.sqrt(block_sum((a[:rows, :cols] - truth[:rows, :cols]) ** 2.0, side))
        for a in (fine, peer)
    )
    known = (theirs > 0) & ~np.isnan(ours)
    return float(np.median(ours[known] / theirs[known])) if known.any() else None


def fair_crps(members: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Score an ensemble pixel by pixel (continuous ranked probability score, fair form).

    Mean |m_i - y| less the sum over all i, j of |m_i - m_j| over 2 K (K - 1) (Ferro 2014,
    doi:10.1002/qj.2270). Sorted members need no pairs: that sum is 2 sum of (2 i - K - 1) m_(i).

    Parameters
    ----------
    members : ndarray, (member, ...)
        Two at least.
    truth : ndarray, (...)

    Returns
    -------
    ndarray of float64, (...)
        In the members' unit; NaN where any of them or the truth is.
    """
    count = len(members)
    ordered = np.sort(np.asarray(members, np.float64), axis=0)
    apart = np.zeros(ordered.shape[1:])
    error = np.zeros(ordered.shape[1:])
    for index, one in enumerate(ordered, start=1):
        apart += (2 * index - count - 1) * one
        error += np.abs(one - truth)
    score: NDArray[np.float64] = error / count - apart / (count * (count - 1))
    return score


def spread_skill(members: NDArray[Any], truth: NDArray[Any]) -> float | None:
    """Compare an ensemble's spread with the error of its mean.

    Root mean variance (of a sample) times ((K + 1) / K)**0.5 over the RMSE of the mean: 1 where
    the truth is as one more member (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1); None where
    the mean has no error.

    Parameters
    ----------
    members : ndarray, (member, ...)
        Two at least; NaN is no value.
    truth : ndarray, (...)
    """
    ensemble = np.asarray(members, np.float64)
    count = len(ensemble)
    wrong = (ensemble.mean(axis=0) - truth) ** 2
    known = ~np.isnan(wrong)
    variance = float(ensemble.var(axis=0, ddof=1)[known].mean())
    error = float(wrong[known].mean())
    return float(np.sqrt(variance * (count + 1) / count / error)) if error > 0 else None
