"""A block that is read and labelled strip by strip has the labels of one that is held whole."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, Stream, halo, slic, slic_strips
from stcli.settings import BandScaling, SlicSettings

SETTINGS = {
    "fixed": SlicSettings(16, 0.1, 3),
    "adaptive": SlicSettings(16, "auto", 3),
    "large": SlicSettings(400, 0.1, 2),
    "one round": SlicSettings(9, 0.05, 1),
}
#: Rows of pixels after which reading pauses: of one row, of few, of a cell and more, of all.
READS = (1, 3, 29, 1000)


@pytest.fixture(params=[4, 32], ids=["low strips", "high strips"])
def low(request):
    """Rows of labels at a time: lower than a small scene."""
    return request.param


def streamed(values, valid, origin, settings, core, read_rows, rows):
    """Labels of a core by strips, and their heights."""
    shape, scaling = valid.shape, BandScaling((0.0,) * len(values), (1.0,) * len(values))

    def read(first, last):
        return values[:, first:last].copy(), valid[first:last].copy()

    stops = [*range(read_rows, shape[0], read_rows), shape[0]]
    space = LabelSpace(origin, shape, settings.step)
    stream = Stream(read, stops, shape, origin, core)
    strips = [strip.copy() for strip in slic_strips(stream, scaling, settings, space, rows)]
    return np.concatenate(strips), [len(strip) for strip in strips]


def whole(values, valid, origin, settings, core=None):
    scaling = BandScaling((0.0,) * len(values), (1.0,) * len(values))
    space = LabelSpace(origin, valid.shape, settings.step)
    return slic(Block(values, valid, origin, core), scaling, settings, space)


@pytest.mark.parametrize("kind", ["plain", "holes", "stripes", "speckled"])
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("origin", [(0, 0), (-5, 13)])
def test_strips_are_the_whole(make_scene, low, kind, name, origin):
    values, valid = make_scene(kind, (143, 71), 3, seed=2)
    settings = SETTINGS[name]
    expected = whole(values, valid, origin, settings)
    for read_rows in READS:
        core = slice(0, 143), slice(0, 71)
        found, heights = streamed(values, valid, origin, settings, core, read_rows, low)
        assert np.array_equal(found, expected)
        assert set(heights[:-1]) <= {low}


def test_a_core_in_strips_is_that_of_the_whole(make_scene, low):
    settings = SETTINGS["fixed"]
    around = halo(settings)
    shape = 3 * around, 2 * around + 30
    values, valid = make_scene("holes", shape, 2, seed=4)
    core = slice(around, 2 * around - 3), slice(around, around + 30)
    expected = whole(values, valid, (3, -2), settings, core)
    found, heights = streamed(values, valid, (3, -2), settings, core, 10, low)
    assert np.array_equal(found, expected)
    assert len(heights) > 1


def test_every_row_is_read_once_and_not_before_it_is_needed(make_scene, low):
    settings = SETTINGS["fixed"]
    values, valid = make_scene("plain", (400, 40), 2)
    seen: list[tuple[int, int]] = []
    scaling, space = BandScaling((0, 0), (1, 1)), LabelSpace((0, 0), (400, 40), settings.step)

    def read(first, last):
        seen.append((first, last))
        return values[:, first:last], valid[first:last]

    stops = [*range(10, 400, 10), 400]
    core = slice(0, 400), slice(0, 40)
    strips = slic_strips(
        Stream(read, stops, (400, 40), (0, 0), core), scaling, settings, space, low
    )
    first = next(strips)
    ahead = halo(settings) + (8 + 2 * settings.iterations) * settings.step + 10
    assert seen[-1][1] <= len(first) + ahead < 400
    for _ in strips:
        pass
    assert seen == [(stop - 10, stop) for stop in stops]


def test_nothing_valid_is_nothing_labelled(low):
    values, valid = np.zeros((2, 90, 50), np.float32), np.zeros((90, 50), bool)
    found, _ = streamed(
        values, valid, (0, 0), SETTINGS["fixed"], (slice(0, 90), slice(0, 50)), 16, low
    )
    assert not found.any()
