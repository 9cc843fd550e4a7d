"""The dates of superpixels as tokens of a scan over time.

A token is a date on which some pixel of a superpixel is clear: its bands, the share of clear
pixels, the days since the date before it. Where in the year it lies, the scan's own encoding of the
day tells; its number in the series is told by nothing, so other dates may come than in training.

Letters: k dates of all superpixels end to end, t dates, b bands, n superpixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stcli.landcover.dates import Series
from stcli.landcover.network.temporal import Packed
from stcli.landcover.network.tokens import Tokens
from stcli.landcover.network.windows import scale
from stcli.settings import BandScaling

#: What describes a date beside its bands: share of clear pixels, days since the one before.
EXTRA = 2
#: A gap of so many days counts as little or as much.
_GAP = 10.0


def pack_dates(
    parts: Sequence[tuple[Series, NDArray[Any], Tokens]], scaling: BandScaling
) -> Packed:
    """Lay the dates of the superpixels of several windows end to end, in the order of tokens.

    Parameters
    ----------
    parts : sequence of (Series, ndarray of int (row, col), Tokens)
        Of each window its series, its segments and its tokens.
    scaling : BandScaling
        Whose first b bands are those of the dates.

    Returns
    -------
    Packed
        Bands (k, b + `EXTRA`); a superpixel that was never clear has no date.
    """
    found, first = [], 0
    for series, segments, tokens in parts:
        owner, features, day = _dates_of(series, _rows(series, segments, tokens), scaling)
        found.append((owner + first, features, day))
        first += tokens.count
    owner, features, day = (np.concatenate(each) for each in zip(*found, strict=True))
    return Packed(torch.from_numpy(features), torch.from_numpy(day), torch.from_numpy(owner), first)


def _rows(series: Series, segments: NDArray[Any], tokens: Tokens) -> NDArray[np.int64]:
    """Row in the series of each token."""
    label = np.zeros(tokens.count + 1, dtype=series.labels.dtype)
    label[tokens.index.ravel()] = segments.ravel()
    return np.searchsorted(series.labels, label[:-1])


def _dates_of(
    series: Series, rows: NDArray[np.int64], scaling: BandScaling
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Superpixel (k,), features (k, b + EXTRA) and day of the year (k,) of each date seen."""
    clear = series.clear[rows]
    owner, date = np.nonzero(clear)
    bands = series.values.shape[2]
    low, high = (np.array(side[:bands], dtype=np.float32) for side in (scaling.low, scaling.high))
    values = scale(series.values[rows[owner], date], low, high)
    days = series.days[date]
    gap = np.diff(days, prepend=0)
    gap[np.diff(owner, prepend=-1) > 0] = 0  # nothing comes before a series
    extra = np.stack([clear[owner, date], np.log1p(gap / _GAP)], axis=1)
    features = np.concatenate([values, extra], axis=1).astype(np.float32)
    return owner, features, _day_of_year(days).astype(np.float32)


def _day_of_year(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """Days since the 1st of January of days since 1970-01-01."""
    dates = days.astype("datetime64[D]")
    return np.asarray((dates - dates.astype("datetime64[Y]")).astype(np.int64))
