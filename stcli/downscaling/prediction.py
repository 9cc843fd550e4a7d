"""Using a trained upscaler: whole windows of the lattice, so that no tile can show.

A window is `window` coarse pixels a side at multiples of `window` of the lattice, with `margin`
pixels around it for context; the network sees one at a time, always of one shape. Beyond the
raster the outermost features repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stcli.downscaling.ensemble import Ensemble
from stcli.downscaling.features import base, features, shuffle
from stcli.downscaling.models import ARCHITECTURE, build
from stcli.downscaling.validation import averaged, residual_of
from stcli.errors import ModelError
from stcli.nn.tensors import tensors_of
from stcli.nn.weights import Card, load_card, load_weights, refuse_changed
from stcli.settings import UpscalerSettings


@dataclass(frozen=True)
class Where:
    """What of a block is asked for, and where it stands.

    Attributes
    ----------
    core : (slice, slice)
        Rows and columns of the block, cut at multiples of the settings' window on the lattice, or
        at the raster's edge.
    lattice : (int, int)
        Lattice position of the block's first pixel.
    """

    core: tuple[slice, slice]
    lattice: tuple[int, int]

    @property
    def corners(self) -> tuple[int, int]:
        """Lattice position of the core's first pixel."""
        return self.lattice[0] + self.core[0].start, self.lattice[1] + self.core[1].start


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
        if self.card.architecture != ARCHITECTURE:
            raise ModelError(
                f"{folder}: holds {self.card.architecture}, {ARCHITECTURE} is wanted; train it "
                "again with stcli train downscaler."
            )
        self.settings = settings_of(self.card)
        self.bands = tuple(band.name for band in self.card.bands)
        self.guides = tuple(self.card.data.get("guides", ()))
        self.network = build(len(self.bands), len(self.guides), self.settings)
        try:
            self.network.load_state_dict(tensors_of(load_weights(folder, self.card)))
        except RuntimeError as error:
            raise ModelError(f"{folder}: weights and card do not match ({error}).") from error
        self.network.eval()

    def __reduce__(self) -> tuple[Any, ...]:
        """Say where it lies: whoever unpickles it loads it there, once."""
        return _same, (self.folder.resolve(), self.card.digest)

    @property
    def ratios(self) -> dict[int, float]:
        """RMSE on held-out blocks over that of ibp, for each factor."""
        return {int(k): float(v) for k, v in self.card.metrics["rmse_over_ibp"].items()}

    @property
    def losing(self) -> dict[int, tuple[str, ...]]:
        """Bands that are left to ibp, for each factor: their correction was no better."""
        bands = self.card.metrics["bands_over_ibp"].items()
        return {int(s): tuple(name for name, r in found.items() if r >= 1) for s, found in bands}

    @torch.no_grad()
    def fine(
        self,
        coarse: NDArray[Any],
        guide: NDArray[Any] | None,
        factor: int,
        where: Where,
        ensemble: Ensemble | None = None,
    ) -> NDArray[np.float64]:
        """Make the part `core` of a block finer.

        Parameters
        ----------
        coarse : ndarray, (band, row, col)
            NaN is no value; the halo of `stcli.downscaling.features` around the core.
        guide : ndarray, (guide, row * factor, col * factor), optional
        factor : int
        where : Where
        ensemble : Ensemble, optional

        Returns
        -------
        ndarray of float64, (member, band, row * factor, col * factor) of the core
            One member without `ensemble`. Block means are the coarse values.
        """
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # tiles run side by side; and sums keep one order
        stack = features(coarse, guide, factor)
        shape = tuple(part.stop - part.start for part in where.core)
        count = ensemble.members if ensemble else 1
        found = np.zeros((count, len(coarse) * factor**2, *shape), np.float32)
        for row in _starts(where.corners[0], shape[0], self.settings.window):
            for col in _starts(where.corners[1], shape[1], self.settings.window):
                self._place(stack, (row, col), where, found, ensemble)
        rows, cols = (slice(factor * p.start, factor * p.stop) for p in where.core)
        fine = base(coarse, factor)[:, rows, cols]
        members = np.empty((count, *fine.shape))
        for member, residual in zip(members, found, strict=True):
            np.add(fine, shuffle(residual, factor), out=member)
        return members

    def _place(
        self,
        stack: NDArray[np.float32],
        centre: tuple[int, int],
        where: Where,
        found: NDArray[np.float32],
        ensemble: Ensemble | None,
    ) -> None:
        """Run one window and write its centre where it lies in the result."""
        side, margin = self.settings.window, self.settings.margin
        factor = round((found.shape[1] / len(self.bands)) ** 0.5)
        rows, cols = (
            np.arange(c - margin - at, c + side + margin - at).clip(0, n - 1)
            for c, at, n in zip(centre, where.lattice, stack.shape[1:], strict=True)
        )
        window = torch.from_numpy(stack[:, rows[:, None], cols])
        into: tuple[Any, ...] = (slice(None),)
        out: tuple[Any, ...] = (slice(None),)
        for c, at, n in zip(centre, where.corners, found.shape[2:], strict=True):
            low, high = max(c, at), min(c + side, at + n)
            into = (*into, slice(low - at, high - at))
            out = (*out, slice(low - c + margin, high - c + margin))
        mean = averaged(self.network, window, factor)
        if ensemble is None:
            found[(0, *into)] = mean[out]
            return
        plain = residual_of(self.network, window, factor)
        for member in range(ensemble.members):
            noise = torch.from_numpy(ensemble.noise(member, centre, side, margin))
            drawn = mean + residual_of(self.network, window, factor, noise) - plain
            found[(member, *into)] = drawn[out]


def _starts(first: int, count: int, side: int) -> range:
    """Multiples of a side whose windows touch some pixels."""
    return range(first // side * side, first + count, side)


def _same(folder: Path, digest: str) -> Model:
    model = Model(folder)
    refuse_changed(model.folder, model.card, digest)
    return model


def settings_of(card: Card) -> UpscalerSettings:
    """Read a network's settings from its card."""
    known = {**card.network, "factors": tuple(card.network["factors"])}
    return UpscalerSettings(**known)
