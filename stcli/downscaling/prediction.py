"""Using a trained upscaler: whole windows of the lattice, so that no tile can show.

A window is `window` coarse pixels a side at multiples of `window` of the lattice, with `margin`
pixels around it for context; the network sees one at a time, always of one shape. Beyond the
raster the outermost features repeat.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stcli.downscaling.features import base, features, shuffle
from stcli.downscaling.models import build
from stcli.downscaling.network import Upscaler
from stcli.downscaling.training import residual_of
from stcli.downscaling.turns import moved, moved_back
from stcli.errors import ModelError
from stcli.nn.weights import Card, load_card, load_weights
from stcli.settings import UpscalerSettings

#: Ways to turn and mirror a window; the results of all are averaged.
TURNS = tuple((turns, mirror) for mirror in (False, True) for turns in range(4))


class Model:
    """A trained upscaler and its card.

    Parameters
    ----------
    folder : Path
        Made by ``stcli train downscaler``.

    Raises
    ------
    ModelError
        Damaged, or another kind of model.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.card = folder, load_card(folder)
        if not self.card.architecture.startswith("stcli-upscaler"):
            raise ModelError(
                f"{folder}: holds {self.card.architecture}, an upscaler is wanted; "
                "make one with stcli train downscaler."
            )
        self.settings = settings_of(self.card)
        self.bands = tuple(band.name for band in self.card.bands)
        self.guides = tuple(self.card.data.get("guides", ()))
        self.network = build(len(self.bands), len(self.guides), self.settings)
        try:
            self.network.load_state_dict(load_weights(folder, self.card))
        except RuntimeError as error:
            raise ModelError(f"{folder}: weights and card do not match ({error}).") from error
        self.network.eval()

    @property
    def ratios(self) -> dict[int, float]:
        """RMSE on held-out blocks over that of ibp, for each factor."""
        return {int(k): float(v) for k, v in self.card.metrics["rmse_over_ibp"].items()}

    @torch.no_grad()
    def fine(
        self,
        coarse: NDArray[Any],
        guide: NDArray[Any] | None,
        factor: int,
        core: tuple[slice, slice],
        lattice: tuple[int, int],
    ) -> NDArray[np.float64]:
        """Make the part `core` of a block finer.

        Parameters
        ----------
        coarse : ndarray, (band, row, col)
            NaN is no value; the halo of `stcli.downscaling.features` around `core`.
        guide : ndarray, (guide, row * factor, col * factor), optional
        factor : int
        core : (slice, slice)
            Cut at multiples of the settings' window on the lattice, or at the raster's edge.
        lattice : (int, int)
            Lattice position of the block's first pixel.

        Returns
        -------
        ndarray of float64, (band, row * factor, col * factor) of the core
            Block means are the coarse values.
        """
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # tiles run side by side; and sums keep one order
        stack = features(coarse, guide, factor)
        shape = tuple(part.stop - part.start for part in core)
        found = np.zeros((len(coarse) * factor**2, *shape), np.float32)
        corners = [at + part.start for at, part in zip(lattice, core, strict=True)]
        for row in _starts(corners[0], shape[0], self.settings.window):
            for col in _starts(corners[1], shape[1], self.settings.window):
                self._place(stack, (row, col), lattice, corners, found, factor)
        rows, cols = (slice(factor * p.start, factor * p.stop) for p in core)
        result: NDArray[np.float64] = base(coarse, factor)[:, rows, cols] + shuffle(found, factor)
        return result

    def _place(
        self,
        stack: NDArray[np.float32],
        centre: tuple[int, int],
        lattice: tuple[int, int],
        corners: list[int],
        found: NDArray[np.float32],
        factor: int,
    ) -> None:
        """Run one window and write its centre where it lies in the result."""
        side, margin = self.settings.window, self.settings.margin
        rows, cols = (
            np.arange(c - margin - at, c + side + margin - at).clip(0, n - 1)
            for c, at, n in zip(centre, lattice, stack.shape[1:], strict=True)
        )
        window = torch.from_numpy(stack[:, rows[:, None], cols])
        residual = averaged(self.network, window, factor)
        into, out = [], []
        for c, at, n in zip(centre, corners, found.shape[1:], strict=True):
            low, high = max(c, at), min(c + side, at + n)
            into.append(slice(low - at, high - at))
            out.append(slice(low - c + margin, high - c + margin))
        found[(slice(None), *into)] = residual[(slice(None), *out)]


def averaged(network: Upscaler, window: torch.Tensor, factor: int) -> NDArray[np.float32]:
    """Average a network over the eight ways of turning and mirroring its input.

    Returns
    -------
    ndarray of float32, (band * factor**2, row, col)
    """
    total = torch.zeros(())
    for turns, mirror in TURNS:
        turned = moved(window, turns, mirror, network.plain, factor)
        found = torch.from_numpy(residual_of(network, turned, factor))
        total = total + moved_back(found, turns, mirror, factor)
    mean: NDArray[np.float32] = (total / len(TURNS)).numpy()
    return mean


def _starts(first: int, count: int, side: int) -> range:
    """Multiples of a side whose windows touch some pixels."""
    return range(first // side * side, first + count, side)


def settings_of(card: Card) -> UpscalerSettings:
    """Read a network's settings from its card."""
    known = {**card.network, "factors": tuple(card.network["factors"])}
    return UpscalerSettings(**known)
