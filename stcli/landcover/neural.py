"""The network as a method of classification: one lattice window after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stcli.landcover.dates import composite_scaling
from stcli.landcover.datetokens import EXTRA, pack_dates
from stcli.landcover.network import DATES_AT_ONCE, LOCAL_REACH, GLocal, Windows, pack
from stcli.landcover.windows import Needs, Scene, Window, by_windows, most_tokens, part_of
from stcli.nn.device import Compute
from stcli.nn.weights import Card, load_weights
from stcli.settings import BandScaling, NetworkSettings, SlicSettings

#: Pixels of the bands that one of the CNN's coarsest resolution stands for, along a side.
_COARSEST = 4


class NetworkMethod:
    """A GLocal network over lattice windows.

    Parameters
    ----------
    network : GLocal
    size : (int, int)
        Its bands and classes; of a stack, those of the composite.
    settings : NetworkSettings
    scaling : BandScaling
    step : int
        Pixels between the segments' seeds.
    where : Compute
        Device and scan.
    """

    def __init__(
        self,
        network: GLocal,
        size: tuple[int, int],
        settings: NetworkSettings,
        scaling: BandScaling,
        step: int,
        where: Compute,
    ) -> None:
        self.network, self.size, self.settings = network.eval().to(where.device), size, settings
        self.scaling, self.step, self.where = scaling, step, where

    @property
    def grid(self) -> NetworkSettings:
        """Its windows."""
        return self.settings

    @property
    def classes(self) -> int:
        """How many it tells apart."""
        return self.size[1]

    @property
    def margin(self) -> int:
        """Context of a window's centre."""
        return self.settings.margin

    @property
    def stride(self) -> int:
        """Side of a window's centre."""
        return self.settings.stride

    @property
    def needs(self) -> Needs:
        """The probabilities of a tile with their temporaries, and a window in the network."""
        tokens = most_tokens(self.settings, self.step)
        window = window_bytes(self.settings, *self.size, tokens)
        return Needs(core_pixel=3 * 4 * self.size[1], torch=window)

    def dates_bytes(self, dates: int) -> int:
        """Bytes that the dates of a stack take in one window, beside `needs`."""
        tokens = most_tokens(self.settings, self.step) * dates
        return date_bytes(self.settings, self.size[0] // 2, tokens, dates)

    def probabilities(self, scene: Scene, core: tuple[slice, slice]) -> NDArray[np.float32]:
        """Classify the part `core` of a scene; see `Method.probabilities`."""
        one_thread()
        return by_windows(scene, core, self)

    @torch.inference_mode()
    def window(self, window: Window) -> NDArray[np.float32]:
        """Classify a window's centre: (class, row, col), NaN elsewhere."""
        result = np.full((self.classes, *window.valid.shape), np.nan, dtype=np.float32)
        used, first, last = used_part(window.valid), self.margin, self.margin + self.stride
        asked = [slice(max(u.start, first), min(u.stop, last)) for u in used]
        if all(a.start < a.stop for a in asked):
            part, at = part_of(window, used), [u.start for u in used]
            windows = batch([part], self.scaling, self.step, self.settings.order)
            rows, cols = (slice(a.start - n, a.stop - n) for a, n in zip(asked, at, strict=True))
            logits, _ = self.network(windows.to(self.where.device), (rows, cols))
            result[:, *asked] = torch.softmax(logits[0], dim=0).cpu().numpy()
        return result


def network_of(
    state: dict[str, Tensor], card: Card, network: dict[str, Any], where: Compute
) -> NetworkMethod:
    """Make the method of a state and a card; `network` holds the fields of `NetworkSettings`.

    Raises
    ------
    TypeError, RuntimeError, UsageError
        When they do not fit together.
    """
    settings, scaling = NetworkSettings(**network), scaling_of(card)
    if settings.date_width:
        scaling = composite_scaling(scaling)
    size = (len(scaling.low), len(card.classes))
    model = GLocal(*size, settings, where.scan)
    model.load_state_dict(state, strict=True)
    step = SlicSettings(**card.segmentation).step
    return NetworkMethod(model, size, settings, scaling, step, where)


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


def one_thread() -> None:
    """Let torch run in one thread: tiles run side by side, and sums keep one order."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def batch(
    windows: Sequence[Window], scaling: BandScaling, step: int, order: str = "serpentine"
) -> Windows:
    """Make the network's input of lattice windows, all of them of stacks or none."""
    tokens = [window.tokens(step, order) for window in windows]
    parts = [
        (window.series, window.segments, mine)
        for window, mine in zip(windows, tokens, strict=True)
        if window.series is not None
    ]
    dates = pack_dates(parts, scaling) if parts else None
    valid = torch.from_numpy(np.stack([window.valid for window in windows]))
    values = np.stack([window.values for window in windows]).astype(np.float32)
    return Windows(scale(torch.from_numpy(values), valid, scaling), valid, *pack(tokens), dates)


def scale(values: Tensor, valid: Tensor, scaling: BandScaling) -> Tensor:
    """Scale bands (b, band, h, w), valid (b, h, w), to about [-1, 1], 0 where not valid."""
    low = torch.tensor(scaling.low, dtype=torch.float32)[:, None, None]
    high = torch.tensor(scaling.high, dtype=torch.float32)[:, None, None]
    return torch.where(valid[:, None], (values - low) / (high - low) * 2 - 1, 0.0)


def scaling_of(card: Card) -> BandScaling:
    """Scaling of the bands that a card names."""
    return BandScaling(tuple(b.low for b in card.bands), tuple(b.high for b in card.bands))


def window_bytes(settings: NetworkSettings, bands: int, count: int, tokens: int = 0) -> int:
    """Bytes that the network holds at its peak for one window, by its widest layers.

    At full resolution: bands and stem in float32, a residual's input, norm and two convolutions,
    token moments of bands and features with their squares, fused features and logits; a third
    again for half and quarter resolution and the convolutions' own buffers. A token takes ten
    inner widths of the scan and its moments.
    """
    c, d = settings.local_width, settings.model_width
    floats = 2 * (bands + 1) + 6 * c + 4 * (bands + c) + 3 * d + 3 * count
    token = 4 * (10 * 2 * d + 4 * (bands + c))
    return settings.window**2 * 4 * floats * 4 // 3 + tokens * token


def date_bytes(settings: NetworkSettings, bands: int, tokens: int, dates: int) -> int:
    """Bytes of so many dates of superpixels, at most `dates` of one, while classifying.

    Of each its sums and mean, its features as made, as scaled and as a tensor, and of a part, the
    part's; of those scanned at once twelve inner widths, one being what the other direction gave.
    """
    each = 8 * (bands + 2) + 4 * (bands + 1) + 4 * 4 * (bands + EXTRA)
    return tokens * each + min(tokens, DATES_AT_ONCE + dates) * 4 * 12 * 2 * settings.date_width
