"""The network as a method of classification: one lattice window after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stcli.landcover.network import GLocal, Windows, pack
from stcli.landcover.windows import Needs, Scene, Window, centres, cut, most_tokens
from stcli.nn.device import Compute
from stcli.nn.weights import Card, load_weights
from stcli.settings import BandScaling, NetworkSettings, SlicSettings


class NetworkMethod:
    """The GLocal network with the weights of a card.

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
        self.where, self.settings = where, NetworkSettings(**card.network)
        self.slic, self.scaling = SlicSettings(**card.segmentation), scaling_of(card)
        self.network = GLocal(len(card.bands), len(card.classes), self.settings, where.scan)
        self.network.load_state_dict(load_weights(folder, card), strict=True)
        self.network.eval().to(where.device)
        self._size = (len(card.bands), len(card.classes))

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
        tokens = most_tokens(self.settings, self.slic.step)
        window = window_bytes(self.settings, *self._size, tokens)
        return Needs(core_pixel=3 * 4 * self._size[1], torch=window)

    @torch.inference_mode()
    def probabilities(self, scene: Scene, core: tuple[slice, slice]) -> NDArray[np.float32]:
        """Classify the part `core` of a scene; see `Method.probabilities`."""
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # tiles run side by side; and sums keep one order
        lattice = tuple(s.start + at for s, at in zip(core, scene.lattice, strict=True))
        shape = tuple(s.stop - s.start for s in core)
        result = np.full((self._size[1], *shape), np.nan, dtype=np.float32)
        for centre in centres(lattice, shape, self.settings):
            window = cut(scene, centre, self.settings)
            if window.valid.any():
                self._place(window, centre, lattice, result)
        result[:, ~scene.valid[core]] = np.nan
        return result

    def _place(
        self,
        window: Window,
        centre: tuple[int, int],
        lattice: tuple[int, int],
        result: NDArray[np.float32],
    ) -> None:
        """Write the centre of a window's probabilities where it lies in the result."""
        chances = self._window(window)
        into, out = [], []
        for c, at, n in zip(centre, lattice, result.shape[1:], strict=True):
            low, high = max(c, at), min(c + self.settings.stride, at + n)
            into.append(slice(low - at, high - at))
            out.append(slice(low - c + self.settings.margin, high - c + self.settings.margin))
        result[(slice(None), *into)] = chances[(slice(None), *out)]

    def _window(self, window: Window) -> NDArray[np.float32]:
        windows = batch([window], self.scaling, self.slic.step)
        logits, _ = self.network(windows.to(self.where.device))
        return torch.softmax(logits[0], dim=0).cpu().numpy()


def batch(windows: Sequence[Window], scaling: BandScaling, step: int) -> Windows:
    """Make the network's input of lattice windows."""
    index, shape, starts = pack([window.tokens(step) for window in windows])
    valid = torch.from_numpy(np.stack([window.valid for window in windows]))
    values = np.stack([window.values for window in windows]).astype(np.float32)
    return Windows(scale(torch.from_numpy(values), valid, scaling), valid, index, shape, starts)


def scale(values: Tensor, valid: Tensor, scaling: BandScaling) -> Tensor:
    """Scale bands (b, band, h, w) to about [-1, 1], 0 where not valid."""
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
