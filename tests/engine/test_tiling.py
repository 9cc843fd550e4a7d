"""Tiles as pure integers, against a brute-force oracle that paints every pixel."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from stcli.engine.tiling import Tile, TilePlan, aligned, whole


def spans(window: Window) -> tuple[slice, slice]:
    rows = slice(window.row_off, window.row_off + window.height)
    return rows, slice(window.col_off, window.col_off + window.width)


@st.composite
def plans(draw) -> TilePlan:
    size = st.integers(1, 40)
    shape = draw(st.tuples(size, size) | st.tuples(st.just(1), size) | st.just((1, 1)))
    align = draw(st.integers(1, 9))
    tile_size = align * draw(st.integers(1, 6))
    origin = draw(st.tuples(st.integers(-200, 200), st.integers(-200, 200)))
    return TilePlan(shape, tile_size, draw(st.integers(0, 15)), align, origin)


@given(plans())
@settings(max_examples=200, deadline=None)
def test_every_pixel_lies_in_exactly_one_core_and_no_core_is_empty(plan):
    seen = np.zeros(plan.shape, dtype=int)
    for tile in plan:
        assert tile.core.height > 0
        assert tile.core.width > 0
        seen[spans(tile.core)] += 1
    assert (seen == 1).all()


@given(plans())
@settings(max_examples=200, deadline=None)
def test_read_is_core_and_halo_clipped_and_trim_cuts_back(plan):
    number = np.arange(plan.shape[0] * plan.shape[1]).reshape(plan.shape)
    for tile in plan:
        for axis, (core, read) in enumerate(zip(spans(tile.core), spans(tile.read), strict=True)):
            assert read.start == max(core.start - plan.halo, 0)
            assert read.stop == min(core.stop + plan.halo, plan.shape[axis])
            assert tile.lattice[axis] == plan.origin[axis] + read.start
        assert np.array_equal(number[spans(tile.read)][tile.trim], number[spans(tile.core)])


@given(plans())
@settings(max_examples=200, deadline=None)
def test_cores_are_cut_on_multiples_of_align_of_the_lattice(plan):
    for tile in plan:
        for axis, core in enumerate(spans(tile.core)):
            for edge in (core.start, core.stop):
                inside = 0 < edge < plan.shape[axis]
                assert not inside or (edge + plan.origin[axis]) % plan.align == 0
            assert core.stop - core.start <= plan.tile_size


@given(plans())
@settings(max_examples=100, deadline=None)
def test_len_indexing_slicing_and_iteration_agree(plan):
    tiles = list(plan)
    assert len(plan) == len(tiles) == plan.grid[0] * plan.grid[1]
    assert [tile.index for tile in tiles] == list(range(len(tiles)))
    assert [plan[i] for i in range(len(plan))] == tiles
    assert [plan[i - len(plan)] for i in range(len(plan))] == tiles
    for part in (slice(None), slice(1, None, 2), slice(None, None, -1), slice(-3, 100)):
        assert plan[part] == tiles[part]
    for beyond in (len(plan), -len(plan) - 1):
        with pytest.raises(IndexError):
            plan[beyond]
    assert tiles[-1] in plan
    assert plan.index(tiles[-1]) == len(plan) - 1


@given(plans())
@settings(max_examples=100, deadline=None)
def test_read_along_counts_what_tiles_read(plan):
    rows = sum(t.read.height for t in plan if t.core.col_off == 0)
    cols = sum(t.read.width for t in plan if t.core.row_off == 0)
    assert (plan.read_along(0), plan.read_along(1)) == (rows, cols)
    assert sum(t.read.width * t.read.height for t in plan) == rows * cols


@given(plans(), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_magnified_cuts_the_same_tiles_on_the_finer_raster(plan, factor):
    fine = plan.magnified(factor)
    assert len(fine) == len(plan)
    for tile, made in zip(plan, fine, strict=True):
        assert made.core == Window(*(factor * edge for edge in tile.core.flatten()))
        assert made.read == Window(*(factor * edge for edge in tile.read.flatten()))
        assert made.lattice == tuple(factor * at for at in tile.lattice)


def test_tiles_run_row_by_row_and_know_their_place():
    plan = TilePlan((5, 7), tile_size=4, halo=1, align=2, origin=(-3, 9))
    assert plan.grid == (2, 2)
    assert plan[3] == Tile(
        index=3,
        core=Window(3, 3, 4, 2),
        read=Window(2, 2, 5, 3),
        trim=(slice(1, 3), slice(1, 5)),
        lattice=(-1, 11),
    )


def test_a_crop_on_the_same_grid_is_cut_at_the_same_pixels():
    def cuts(plan):
        return {plan.origin[1] + tile.core.col_off for tile in plan}

    scene = TilePlan((1, 300), 20, align=20, origin=(0, -7))
    crop = TilePlan((1, 200), 20, align=20, origin=(0, 43))
    assert cuts(crop) - {43} == {cut for cut in cuts(scene) if 43 < cut < 243}


def test_two_billion_tiles_are_planned_at_once():
    begun = time.process_time()
    plan = TilePlan((3_000_000, 3_000_001), tile_size=64, halo=32, align=64, origin=(-5, 11))
    count = len(plan)
    last = plan[-1]
    first = next(iter(plan))
    assert time.process_time() - begun < 0.1
    assert count == 46_876**2 > 10**6
    assert first.core == Window(0, 0, 53, 5)
    assert last.core.row_off + last.core.height == 3_000_000
    assert last.core.col_off + last.core.width == 3_000_001


@pytest.mark.parametrize(("tile_size", "align"), [(0, 1), (-4, 4), (10, 4)])
def test_a_tile_size_that_is_no_multiple_of_align_is_refused(tile_size, align):
    with pytest.raises(ValueError, match="no multiple"):
        TilePlan((10, 10), tile_size, align=align)


@given(st.integers(1, 500), st.integers(1, 60))
def test_aligned_rounds_up(size, align):
    assert aligned(size, align) % align == 0
    assert 0 <= aligned(size, align) - size < align


@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(1, 30), st.integers(-99, 99))
def test_whole_gives_one_tile_wherever_the_lattice_cuts(shape, align, at):
    assert len(TilePlan(shape, whole(shape, align), 3, align, (at, -at))) == 1
