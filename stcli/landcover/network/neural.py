"""The network in torch: its input of lattice windows, and how it classifies them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stcli.landcover.network.datetokens import EXTRA, pack_dates
from stcli.landcover.network.network import DATES_AT_ONCE, GLocal, Windows, pack
from stcli.landcover.network.windows import Window
from stcli.nn.device import Compute
from stcli.nn.tensors import one_thread, tensors_of
from stcli.nn.weights import Arrays
from stcli.settings import BandScaling, NetworkSettings


class TorchNetwork:
    """A network of a state, on any device: see `stcli.landcover.network.network_method.Network`.

    Parameters
    ----------
    state : dict of str to ndarray
    size : (int, int)
        Its bands and classes; of a stack, those of the composite.
    settings : NetworkSettings
    seen : (BandScaling, int)
        How bands are scaled, and pixels between the segments' seeds.
    where : Compute
        Device and scan.

    Raises
    ------
    RuntimeError
        When the state is of another network.
    """

    def __init__(
        self,
        state: Arrays,
        size: tuple[int, int],
        settings: NetworkSettings,
        seen: tuple[BandScaling, int],
        where: Compute,
    ) -> None:
        self.network = GLocal(*size, settings, where.scan)
        self.network.load_state_dict(tensors_of(state), strict=True)
        self.network.eval().to(where.device)
        self.size, self.settings, self.seen, self.device = size, settings, seen, where.device

    @torch.inference_mode()
    def __call__(self, window: Window, asked: tuple[slice, slice]) -> NDArray[np.float32]:
        """Probabilities (class, row, col) of the asked rows and columns of a window."""
        one_thread()
        windows = batch([window], *self.seen, self.settings.order)
        logits, _ = self.network(windows.to(self.device), asked)
        return torch.softmax(logits[0], dim=0).cpu().numpy()

    def bytes(self, tokens: int) -> int:
        """Bytes that it holds at its peak for a window of so many tokens."""
        return window_bytes(self.settings, *self.size, tokens)

    def dates_bytes(self, tokens: int, dates: int) -> int:
        """Bytes of so many dates of superpixels, at most `dates` of one, beside those."""
        return date_bytes(self.settings, self.size[0] // 2, tokens, dates)


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
    bands = torch.from_numpy(np.stack([window.scaled(scaling) for window in windows]))
    return Windows(bands, valid, *pack(tokens), dates)


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
