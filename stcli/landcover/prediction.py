"""Class probabilities of a block, window by window, and what they say about their certainty."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stcli.errors import ModelError, UsageError
from stcli.landcover.network import ARCHITECTURE, GLocal, Windows, pack
from stcli.landcover.windows import Scene, Window, centres, cut
from stcli.nn.device import Compute, compute
from stcli.nn.weights import Card, load_card, load_weights
from stcli.settings import BandScaling, NetworkSettings, SlicSettings

#: Bands of an uncertainty raster, each in [0, 1], 0 for certain.
UNCERTAINTY = ("entropy", "margin", "least confidence")


class Model:
    """A trained network and how to feed it.

    Parameters
    ----------
    folder : Path
        As written by ``stcli train landcover``.
    where : Compute, optional
        Device and scan; by default the CPU and its kernel.

    Raises
    ------
    ModelError
        When the folder holds no such model, or a damaged one.
    """

    def __init__(self, folder: Path, where: Compute | None = None) -> None:
        self.folder = folder
        self.where = where or compute("cpu")
        self.card: Card = load_card(folder)
        if self.card.architecture != ARCHITECTURE:
            raise ModelError(
                f"{folder}: a model of kind '{self.card.architecture}' found, "
                f"'{ARCHITECTURE}' wanted."
            )
        try:
            self.settings = NetworkSettings(**self.card.network)
            self.slic = SlicSettings(**self.card.segmentation)
            self.network = GLocal(
                len(self.card.bands), len(self.card.classes), self.settings, self.where.scan
            )
            self.network.load_state_dict(load_weights(folder, self.card), strict=True)
        except (TypeError, RuntimeError, UsageError) as error:
            raise ModelError(f"{folder}: weights and card do not fit together.") from error
        self.network.eval().to(self.where.device)

    @property
    def scaling(self) -> BandScaling:
        """Scaling of the bands, from the card."""
        bands = self.card.bands
        return BandScaling(tuple(b.low for b in bands), tuple(b.high for b in bands))

    def check_bands(self, path: str, names: Sequence[str], *, chosen: bool = False) -> None:
        """Refuse a raster whose bands are not the model's.

        Bands that the user chose one by one may bear other names, if none of them is the name of
        another of the model's bands; a warning says which was taken for which.

        Raises
        ------
        ModelError
        """
        wanted = [band.name for band in self.card.bands]
        if list(names) == wanted:
            return
        pairs = list(zip(names, wanted, strict=False))
        mixed = any(a != b and a in wanted for a, b in pairs)
        if chosen and len(names) == len(wanted) and not mixed:
            taken = ", ".join(f"{a} as {b}" for a, b in pairs)
            logging.getLogger("stcli").warning("%s: taking %s", path, taken)
        else:
            raise ModelError(
                f"{path}: {len(names)} bands ({', '.join(names)}), the model {self.folder} wants "
                f"{len(wanted)} ({', '.join(wanted)}); choose and order them with -b."
            )

    @torch.inference_mode()
    def probabilities(self, scene: Scene, core: tuple[slice, slice]) -> NDArray[np.float32]:
        """Classify the part `core` of a scene.

        The scene holds ``margin`` pixels around `core`, less where the raster ends.

        Returns
        -------
        ndarray of float32 (class, row, col)
            Over `core`; NaN where not valid.
        """
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # tiles run side by side; and sums keep one order
        lattice = tuple(s.start + at for s, at in zip(core, scene.lattice, strict=True))
        shape = tuple(s.stop - s.start for s in core)
        result = np.full((len(self.card.classes), *shape), np.nan, dtype=np.float32)
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
        windows = batch([window], self.scaling, self.slic.step, self.settings.order)
        logits, _ = self.network(windows.to(self.where.device))
        return torch.softmax(logits[0], dim=0).cpu().numpy()


def batch(
    windows: Sequence[Window], scaling: BandScaling, step: int, order: str = "serpentine"
) -> Windows:
    """Make the network's input of lattice windows."""
    packed = pack([window.tokens(step, order) for window in windows])
    valid = torch.from_numpy(np.stack([window.valid for window in windows]))
    values = np.stack([window.values for window in windows]).astype(np.float32)
    return Windows(scale(torch.from_numpy(values), valid, scaling), valid, *packed)


def scale(values: Tensor, valid: Tensor, scaling: BandScaling) -> Tensor:
    """Scale bands (b, band, h, w) to about [-1, 1], 0 where not valid."""
    low = torch.tensor(scaling.low, dtype=torch.float32)[:, None, None]
    high = torch.tensor(scaling.high, dtype=torch.float32)[:, None, None]
    return torch.where(valid[:, None], (values - low) / (high - low) * 2 - 1, 0.0)


def classes(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Most probable class (row, col), from 1; 0 where the probabilities are NaN."""
    best = np.argmax(probabilities, axis=0).astype(np.uint8) + np.uint8(1)
    return np.where(np.isnan(probabilities[0]), np.uint8(0), best)


def uncertainty(probabilities: NDArray[Any]) -> NDArray[np.float32]:
    """Measure doubt at each pixel: the three bands of `UNCERTAINTY`.

    Returns
    -------
    ndarray of float32 (3, row, col)
        Entropy over its maximum, one minus the gap of the best two, one minus the best.
    """
    p = probabilities.astype(np.float32)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=0) / np.log(len(p))
    second, first = np.sort(p, axis=0)[-2:]
    doubt = np.stack([entropy, 1 - (first - second), 1 - first]).astype(np.float32)
    return np.clip(doubt, 0, 1)  # rounding alone goes beyond


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
