"""Models of series on stacks of dates: superpixels, their mean series, their classes.

Superpixels are grown on two bands for each of the stack's: mean and standard deviation over the
steps that were seen. A superpixel's series is the mean of its pixels at each step. It is cut where
its lattice window ends (see `stcli.landcover.network.windows`), so that no tiling can change it.

Letters: s steps, b bands, K classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stcli.errors import ModelError
from stcli.landcover.joined import Joined, parts_of
from stcli.landcover.members import Member
from stcli.landcover.network.windows import Needs, Window
from stcli.landcover.series.season import LEAST_SEEN, Season, seen
from stcli.landcover.series.series import KINDS, shown
from stcli.landcover.series.temporal_member import Network
from stcli.nn.device import Compute
from stcli.nn.tensors import one_thread
from stcli.nn.weights import Card, load_weights
from stcli.settings import BandScaling, NetworkSettings, TemporalSettings

#: Lattice windows: only their sides are used. The margin is wide enough for a superpixel.
_WINDOWS = NetworkSettings(window=192, margin=32)


class SeriesMethod:
    """A model of series with the weights of a card.

    Parameters
    ----------
    folder : Path
    card : Card
    where : Compute
        Device and scan.

    Raises
    ------
    ModelError
        Damaged weights.
    TypeError, RuntimeError, UsageError
        Weights and card that do not fit together.
    """

    def __init__(self, folder: Path, card: Card, where: Compute) -> None:
        facts = card.network
        try:
            self.season = Season(
                **{**facts["season"], "offsets": tuple(facts["season"]["offsets"])}
            )
            composite = facts["composite"]
            self.composite = BandScaling(tuple(composite["low"]), tuple(composite["high"]))
            parts = parts_of(load_weights(folder, card), facts["methods"])
            members = _members(parts, card, where)
        except (KeyError, AttributeError) as error:
            raise TypeError(str(error)) from error
        self._offsets = np.array(self.season.offsets)
        known = np.array(facts["seen"], dtype=np.int64)
        temperatures = {name: float(facts["temperatures"][name]) for name in members}
        self.model = Joined(members, temperatures, known, len(card.classes))
        self.bands, self.classes, self.grid = len(card.bands), len(card.classes), _WINDOWS

    @property
    def needs(self) -> Needs:
        """Steps of what is read with a temporary, and a window's superpixels as series."""
        steps = len(self.season.offsets) * self.bands
        window = _WINDOWS.window**2 * (4 * steps + 40) + _WINDOWS.window**2 // 4 * 8 * 12 * steps
        return Needs(3 * 4 * steps + 24 * self.bands, 3 * 4 * self.classes, window=window)

    @torch.inference_mode()
    def window(self, window: Window) -> NDArray[np.float32]:
        """Classify the superpixels of a window of steps (s · b, row, col): (class, row, col).

        One that is seen at less than a third of the steps is not classified: NaN.
        """
        one_thread()
        index, series = mean_series(window, self.bands)
        chances = np.full((self.classes, len(series) + 1), np.nan, dtype=np.float32)
        enough = np.flatnonzero(seen(series).mean(axis=1) >= LEAST_SEEN)
        if len(enough):
            chances[:, enough] = self.model.probabilities(shown(series[enough], self._offsets))
        return chances[:, index]


def _members(parts: dict[str, Any], card: Card, where: Compute) -> dict[str, Member]:
    members: dict[str, Member] = {}
    for name, arrays in parts.items():
        if name == "network":
            settings = TemporalSettings(**card.network["temporal"])
            members[name] = Network.of(arrays, len(card.network["seen"]), settings, where)
        elif name in KINDS:
            members[name] = KINDS[name].of(arrays)
        else:
            raise ModelError(f"a method '{name}' found, {', '.join(KINDS)} or network wanted.")
    return members


def composite(steps: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """Make the bands that superpixels are grown on.

    Parameters
    ----------
    steps : ndarray of float32 (s · b, row, col)
        NaN in gaps.
    bands : int

    Returns
    -------
    ndarray of float32 (2 b, row, col)
        Mean over the seen steps, then standard deviation; 0 where none was seen.
    """
    result = np.zeros((2 * bands, *steps.shape[1:]), dtype=np.float32)
    for b in range(bands):
        x = steps[b::bands]
        known = np.isfinite(x)
        number = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, x, 0).sum(axis=0, dtype=np.float64) / number
        spread = np.where(known, x - mean, 0)
        result[b], result[bands + b] = mean, np.sqrt((spread**2).sum(axis=0) / number)
    return result


def mean_series(window: Window, bands: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Average the pixels of each superpixel of a window at each step.

    Returns
    -------
    index : ndarray of int64 (row, col)
        Superpixel of each pixel; their number where there is none.
    series : ndarray of float32 (superpixel, s, b)
        NaN at steps at which no pixel was seen.
    """
    labels, place = np.unique(window.segments, return_inverse=True)
    place = place.reshape(window.segments.shape)
    if labels[0] == 0:
        place = np.where(place == 0, len(labels) - 1, place - 1)
        count = len(labels) - 1
    else:
        count = len(labels)
    cells = window.values.reshape(len(window.values) // bands, bands, -1)
    series = np.full((count, len(cells), bands), np.nan, dtype=np.float32)
    inside = place.ravel() < count
    for s, step in enumerate(cells):
        use = inside & np.isfinite(step).all(axis=0)
        owner = place.ravel()[use]
        number = np.bincount(owner, minlength=count)
        for b in range(bands):
            total = np.bincount(owner, step[b][use], count)
            with np.errstate(invalid="ignore"):
                series[:, s, b] = total / np.where(number, number, np.nan)
    return place, series
