"""``classify --refine``: segments from other seeds for the views; what changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.prediction import Classifier
from stcli.landcover.refinement import VIEWS, Changes, View
from stcli.nn.weights import Card
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, slic
from stcli.settings import SlicSettings


@dataclass(frozen=True)
class Resegmenting:
    """Gives the segments of a block under a view; see `stcli.landcover.refinement.Segmenting`.

    Seeds stand on the same lattice, moved; so no halo is wider and no tiling shows.
    """

    model: Classifier
    block: Block
    space: LabelSpace

    def __call__(self, view: View) -> NDArray[Any]:
        """Segment the block: labels (row, col)."""
        slic_settings, space, at = self.model.slic, self.space, self.block.lattice
        down, across = (round(share * slic_settings.step) for share in view.shift)
        moved = Block(self.block.values, self.block.valid, (at[0] + down, at[1] + across))
        origin = space.origin[0] + down, space.origin[1] + across
        settings = _weighed(slic_settings, view.compactness)
        return slic(moved, self.model.scaling, settings, replace(space, origin=origin))


def _weighed(settings: SlicSettings, factor: float) -> SlicSettings:
    """Multiply the compactness; superpixels that find their own keep to it."""
    if settings.compactness == "auto":
        return settings
    return replace(settings, compactness=settings.compactness * factor)


def refining_bytes(model: Classifier, itemsize: int) -> tuple[int, int, int]:
    """Bytes that looking again takes: of a pixel read, of one of the core, of a window.

    The first labels stay while others are made. Of the core: the refined probabilities, of every
    unsure pixel its place, piece and sum. Of a window: its turned copy and turned probabilities.
    """
    classes, bands = len(model.card.classes), len(model.card.bands)
    window = (model.stride + 2 * model.margin) ** 2
    return 8, 4 * (2 * classes + 1) + 18, window * (bands * itemsize + 9 + 8 * classes)


def told(changes: Changes, card: Card, below: float, pixels: int) -> dict[str, Any]:
    """Say in plain values what refinement did to a map of so many classified pixels.

    Returns
    -------
    dict
        ``below``, ``views`` (with the first answer), ``looked``, ``settled`` and ``changed`` in
        pixels, ``share`` looked at and ``agreement``, the mean share of views that agreed, both 0
        to 1; ``changes``: from and to which class how many pixels, most first.
    """
    views, names = len(VIEWS) + 1, [c.name for c in card.classes]
    pairs = [
        {"from": names[old], "to": names[new], "pixels": int(changes.classes[old, new])}
        for old, new in zip(*np.nonzero(changes.classes), strict=True)
    ]
    return {
        "below": below,
        "views": views,
        "looked": changes.looked,
        "share": changes.looked / max(1, pixels),
        "settled": changes.settled,
        "agreement": changes.votes / views / max(1, changes.looked),
        "changed": int(changes.classes.sum()),
        "changes": sorted(pairs, key=lambda pair: -pair["pixels"]),
    }
