"""The network as a method of classification: one lattice window after the other.

On a CPU it runs as kernels of its own (`network_cpu`); elsewhere, of stacks of dates, and
where the reference scan is asked for, in torch, which is loaded for that alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.dates import composite_scaling
from stcli.landcover.network.network_cpu import GLocalCpu
from stcli.landcover.network.windows import Needs, Window, cut_out, most_tokens
from stcli.nn.device import Compute
from stcli.nn.weights import Arrays, Card, load_weights
from stcli.settings import BandScaling, NetworkSettings, SlicSettings

#: Pixels beyond which nothing changes a feature of the CNN branch: two 3x3 convolutions at each of
#: three resolutions, the stem, and what halving joins; a multiple of what a pixel halves to.
LOCAL_REACH = 20
#: Pixels of the bands that one of the CNN's coarsest resolution stands for, along a side.
_COARSEST = 4


class Network(Protocol):
    """What runs a network's layers."""

    def __call__(self, window: Window, asked: tuple[slice, slice], /) -> NDArray[np.float32]:
        """Probabilities (class, row, col) of the asked rows and columns of a window."""

    def bytes(self, tokens: int) -> int:
        """Bytes that it holds at its peak for a window of so many tokens."""

    def dates_bytes(self, tokens: int, dates: int) -> int:
        """Bytes of so many dates of superpixels, at most `dates` of one, beside those."""


class NetworkMethod:
    """A GLocal network over lattice windows.

    Parameters
    ----------
    network : Network
    classes : int
    grid : NetworkSettings
        Its windows, among others.
    scaling : BandScaling
        Of the bands; of a stack, those of the composite.
    step : int
        Pixels between the segments' seeds.
    """

    def __init__(
        self,
        network: Network,
        classes: int,
        grid: NetworkSettings,
        scaling: BandScaling,
        step: int,
    ) -> None:
        self.network, self.classes, self.grid = network, classes, grid
        self.scaling, self.step = scaling, step

    @property
    def needs(self) -> Needs:
        """The probabilities of a tile with their temporaries, and a window in the network."""
        window = self.network.bytes(most_tokens(self.grid, self.step))
        return Needs(core_pixel=3 * 4 * self.classes, window=window)

    def dates_bytes(self, dates: int) -> int:
        """Bytes that the dates of a stack take in one window, beside `needs`."""
        return self.network.dates_bytes(most_tokens(self.grid, self.step) * dates, dates)

    def window(self, window: Window) -> NDArray[np.float32]:
        """Classify a window's centre: (class, row, col), NaN elsewhere."""
        result = np.full((self.classes, *window.valid.shape), np.nan, dtype=np.float32)
        used, first = used_part(window.valid), self.grid.margin
        last = first + self.grid.stride
        asked = [slice(max(u.start, first), min(u.stop, last)) for u in used]
        if all(a.start < a.stop for a in asked):
            part, at = cut_out(window, used), [u.start for u in used]
            rows, cols = (slice(a.start - n, a.stop - n) for a, n in zip(asked, at, strict=True))
            result[:, *asked] = self.network(part, (rows, cols))
        return result


def network_of(state: Arrays, card: Card, network: dict[str, Any], where: Compute) -> NetworkMethod:
    """Make the method of a state and a card; `network` holds the fields of `NetworkSettings`.

    Raises
    ------
    TypeError, RuntimeError, UsageError
        When they do not fit together.
    """
    settings, scaling = NetworkSettings(**network).applied, card.scaling
    if settings.date_width:
        scaling = composite_scaling(scaling)
    step = SlicSettings(**card.segmentation).step
    return network_method(state, len(card.classes), settings, (scaling, step), where)


def network_method(
    state: Arrays,
    classes: int,
    settings: NetworkSettings,
    seen: tuple[BandScaling, int],
    where: Compute,
) -> NetworkMethod:
    """Make the method of a state; `seen` is how it sees: scaled bands, and the seeds' step.

    Raises
    ------
    TypeError, RuntimeError
        When the state is not of such a network.
    """
    size = (len(seen[0].low), classes)
    network: Network
    if where.device == "cpu" and where.scan.name == "cpu" and not settings.date_width:
        network = GLocalCpu(state, size, settings, *seen)
    else:
        from stcli.landcover.network.neural import TorchNetwork

        network = TorchNetwork(state, size, settings, seen, where)
    return NetworkMethod(network, classes, settings, *seen)


def load_network(folder: Path, card: Card, where: Compute) -> NetworkMethod:
    """Make the method of a model's folder: see `stcli.landcover.prediction.Factory`."""
    return network_of(load_weights(folder, card), card, card.network, where)


def used_part(valid: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Find the part of a window (row, col) that its valid pixels can feel.

    What lies further from every one of them than the CNN reaches need not be computed. Its sides
    stand on multiples of 4, where the window's own quarter resolution has its pixels.
    """
    sides = []
    for axis in (0, 1):
        at = np.flatnonzero(valid.any(axis=1 - axis))
        low, high = (int(at[0]), int(at[-1]) + 1) if len(at) else (0, 0)
        start = max(low - LOCAL_REACH, 0) // _COARSEST * _COARSEST
        stop = -(-min(high + LOCAL_REACH, valid.shape[axis]) // _COARSEST) * _COARSEST
        sides.append(slice(start, stop))
    return sides[0], sides[1]
