"""Warnings of values that are unlike those which a model was trained with, by another unit.

Values are looked at where tiles are worked on anyway, on a sample that is counted from the
raster's corner: no tiling changes what is told, at the end of the run. A shard tells of its tiles.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stcli.engine.tiling import Tile
from stcli.errors import few
from stcli.nn.card import Card
from stcli.nn.likeness import Likeness
from stcli.settings import BandScaling
from stcli.workflows.scaling import sample_block, sample_step

logger = logging.getLogger("stcli")

#: Pixels of a raster that are looked at, at most.
_LOOKED = 1 << 16


class Known(Protocol):
    """A model: where it lies, and the card that tells the ranges of its bands."""

    @property
    def folder(self) -> Path:
        """Its folder."""

    @property
    def card(self) -> Card:
        """Its card."""


def sampled(
    block: NDArray[Any], valid: NDArray[np.bool_], where: Tile, shape: tuple[int, int]
) -> NDArray[Any]:
    """Take the pixels of a tile's core that are looked at: (band, pixel).

    Parameters
    ----------
    block : ndarray (band, row, col)
    valid : ndarray of bool (row, col)
    where : Tile
    shape : (int, int)
        Of the raster, which says how dense the sample is.
    """
    return sample_block(block, valid, where, sample_step(shape, _LOOKED))


def tell_values(path: str, found: Likeness, model: Known) -> None:
    """Warn of values in another unit than those of the training, by what was counted."""
    far = np.flatnonzero(found.far_share > 0.5)
    if found.slight_share > 0.5:
        share = f"{_percent(found.slight_share)} of the pixels are next to 0 in all bands beside"
        _warn(path, share, list(range(len(model.card.bands))), model)
    elif len(far):
        shares = [f"{_percent(found.far_share[k])} of {model.card.bands[k].name}" for k in far]
        _warn(path, f"{few(shares)} lie far outside", far.tolist(), model)


def tell_ranges(path: str, found: BandScaling, model: Known) -> None:
    """Warn likewise, by the ranges (2 to 98 %) of a raster's bands."""
    both = Likeness.of(np.array([found.low, found.high]).T, model.card.scaling)
    far = np.flatnonzero(both.far == both.pixels)
    if both.slight == both.pixels:
        said = "nearly all pixels are next to 0 in all bands beside"
        _warn(path, said, list(range(len(model.card.bands))), model)
    elif len(far):
        names = few([model.card.bands[k].name for k in far])
        said = f"nearly all values of {names} lie far outside"
        _warn(path, said, far.tolist(), model)


def _warn(path: str, said: str, bands: list[int], model: Known) -> None:
    ranges = [model.card.bands[k] for k in bands]
    known = few([f"{b.name} {b.low:g} to {b.high:g}" for b in ranges])
    logger.warning(
        "%s: %s what the model %s was trained with (%s); what comes out may mean nothing here: "
        "give the raster in the unit of the training, or take another model",
        *(path, said, model.folder, known),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
