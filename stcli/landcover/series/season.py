"""Seasons: which step of a year a date stands for, and series put on those steps.

A model's season is a day of the year and the steps that follow it. A date belongs to the step
nearest to it, the earlier of two equally near ones, if no further than half the longest gap
between steps. A step holds the mean of its valid dates; one without is a gap, NaN.

`filled` alone puts something into a gap, for methods that want whole series: the straight line
between the steps beside it, the nearest step at the ends. How much was filled is always told.

Letters: n series, s steps, b bands, t dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

YEAR = 365.25
_EPOCH = date(1970, 1, 1)
#: A series seen at a smaller share of its steps is not classified.
LEAST_SEEN = 1 / 3


@dataclass(frozen=True)
class Season:
    """Steps of a year.

    Attributes
    ----------
    month, day : int
        When it begins.
    offsets : tuple of float
        Days of the steps since then, rising from 0 or more.
    """

    month: int
    day: int
    offsets: tuple[float, ...]

    @property
    def reach(self) -> float:
        """Days that a date may be away from its step."""
        return float(max(np.diff(self.offsets), default=YEAR)) / 2

    def begin(self, year: int) -> int:
        """Day since 1970-01-01 on which the season of a year begins."""
        last = 28 if self.month == 2 else self.day  # no 29th of February in most years
        return (date(year, self.month, min(self.day, last)) - _EPOCH).days

    def places(self, days: NDArray[np.int64], begin: int) -> NDArray[np.int64]:
        """Step of each date (t,), -1 for those that belong to none."""
        offsets = np.asarray(self.offsets)
        since = np.asarray(days, dtype=np.float64) - begin
        gap = np.abs(since[:, None] - offsets[None])
        nearest = gap.argmin(axis=1)
        return np.where(gap.min(axis=1) <= self.reach, nearest, -1)

    def fullest(self, days: NDArray[np.int64]) -> int:
        """Day on which the season begins that the most steps of dates (date,) lie in.

        Of several, the one with most dates, then the earliest.
        """
        years = range(self._year(days.min()) - 1, self._year(days.max()) + 2)

        def found(year: int) -> tuple[int, int, int]:
            places = self.places(days, self.begin(year))
            used = places[places >= 0]
            return len(np.unique(used)), len(used), -year

        return self.begin(max(years, key=found))

    @staticmethod
    def _year(day: Any) -> int:
        return (_EPOCH + timedelta(days=int(day))).year


def season_of(days: NDArray[np.int64], owner: NDArray[np.int64]) -> Season:
    """Find the season of samples: each has about the same dates of its own year.

    It begins on the most frequent first day of the year; its steps are the median days of the
    first, second, … dates of samples that have as many dates as most.

    Parameters
    ----------
    days : ndarray of int64 (row,)
        Since 1970-01-01, rising in each sample.
    owner : ndarray of int64 (row,)
        Sample of each row, rising.
    """
    count = np.bincount(owner)
    usual = np.bincount(count).argmax()
    whole = days[np.isin(owner, np.flatnonzero(count == usual))].reshape(-1, usual)
    firsts = [(_EPOCH + timedelta(days=int(d))) for d in whole[:, 0]]
    marks, times = np.unique([d.month * 100 + d.day for d in firsts], return_counts=True)
    month, day = divmod(int(marks[times.argmax()]), 100)
    bare = Season(month, day, (0.0,))
    begins = np.array([nearest_begin(bare, int(d)) for d in whole[:, 0]])
    offsets = np.median(whole - begins[:, None], axis=0)
    return Season(month, day, tuple(float(x) for x in np.unique(offsets)))


def nearest_begin(season: Season, first: int) -> int:
    """Begin of the season nearest to a first date."""
    year = Season._year(first)
    return min((season.begin(y) for y in (year - 1, year, year + 1)), key=lambda b: abs(b - first))


def on_steps(
    values: NDArray[np.float32], places: NDArray[np.int64], steps: int
) -> NDArray[np.float32]:
    """Average the dates of each step.

    Parameters
    ----------
    values : ndarray of float32 (t, b, …)
        NaN for a gap; a date counts where all of its bands are there.
    places : ndarray of int64 (t,)
        Step of each date; -1 for none.
    steps : int

    Returns
    -------
    ndarray of float32 (s, b, …)
        NaN in steps without a date.
    """
    result = np.full((steps, *values.shape[1:]), np.nan, dtype=np.float32)
    for step in np.unique(places[places >= 0]):
        dates = values[places == step]
        seen = np.isfinite(dates).all(axis=1, keepdims=True)
        total = np.where(seen, dates, 0).sum(axis=0, dtype=np.float64)
        number = seen.sum(axis=0)
        result[step] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return result


def seen(series: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which steps (n, s) of series (n, s, b) hold data."""
    return np.asarray(np.isfinite(series).all(axis=2))


def filled(series: NDArray[np.float32], offsets: NDArray[np.float64]) -> NDArray[np.float32]:
    """Draw straight lines over gaps of series (n, s, b); a series without any step becomes 0.

    Parameters
    ----------
    offsets : ndarray of float64 (s,)
        Days of the steps.
    """
    known = seen(series)
    steps = np.arange(series.shape[1])
    before = np.maximum.accumulate(np.where(known, steps, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, steps, len(steps))[:, ::-1], axis=1)[:, ::-1]
    low = np.where(before < 0, after, before) % len(steps)
    high = np.where(after == len(steps), before, after) % len(steps)
    span = offsets[high] - offsets[low]
    share = np.where(span > 0, (offsets - offsets[low]) / np.where(span > 0, span, 1), 0)
    clean = np.where(known[:, :, None], series, 0)
    rows = np.arange(len(series))[:, None]
    line = clean[rows, low] * (1 - share)[..., None] + clean[rows, high] * share[..., None]
    return np.where(known[:, :, None], series, line).astype(np.float32)
