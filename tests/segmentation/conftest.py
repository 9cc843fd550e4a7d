"""Scenes on which tiling would show if it could, and the engine's way through them."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.engine.tiling import TilePlan
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, halo, slic
from stcli.settings import BandScaling


def scene(kind: str, shape: tuple[int, int], bands: int = 3, seed: int = 0):
    """Values (band, row, col) in [0, 1] and validity of a made-up scene."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[: shape[0], : shape[1]]
    fields = (np.sin(row / 9) + np.cos(col / 13) > 0.2) * 0.5
    values = fields + (row * 7 // 40 + col // 23) % 3 * 0.2 + rng.normal(0, 0.08, (bands, *shape))
    valid = np.ones(shape, dtype=bool)
    if kind == "holes":
        valid &= (row - shape[0] // 3) ** 2 + (col - shape[1] // 2) ** 2 > 15**2
        valid &= ~((row > shape[0] - 12) & (col < 20))
    elif kind == "stripes":
        valid &= (row + col // 5) % 11 > 3
        values = np.where(col % 2, values, 1 - values)
    elif kind == "speckled":
        valid &= rng.random(shape) < 0.55
    elif kind == "noise":
        values = rng.random((bands, *shape))
    else:
        assert kind == "plain"
    return values.astype(np.float32), valid


@pytest.fixture
def make_scene():
    return scene


def label(values, valid, settings, origin=(0, 0), scaling=None):
    """Labels of a raster that is one block, its space and its scaling."""
    bands = len(values)
    scaling = scaling or BandScaling((0.0,) * bands, (1.0,) * bands)
    space = LabelSpace(origin, valid.shape, settings.step)
    return slic(Block(values, valid, origin), scaling, settings, space)


@pytest.fixture
def whole():
    return label


@pytest.fixture
def tiled():
    def run(values, valid, settings, tile_size, origin=(0, 0), around=None):
        plan = TilePlan(
            valid.shape, tile_size, halo(settings) if around is None else around, 1, origin
        )
        scaling = BandScaling((0.0,) * len(values), (1.0,) * len(values))
        space = LabelSpace(origin, valid.shape, settings.step)
        labels = np.full(valid.shape, -1, dtype=np.int64)
        for tile in plan:
            at = tile.read.toslices()
            block = Block(values[:, *at].copy(), valid[at].copy(), tile.lattice, tile.trim)
            labels[tile.core.toslices()] = slic(block, scaling, settings, space)
        return labels

    return run
