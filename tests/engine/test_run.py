"""Running: dask's threads against the serial reference, order, errors, batches, counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, uniform_filter

from stcli.engine import run as engine
from stcli.engine.run import Job, Tally, run
from stcli.engine.tiling import Tile, TilePlan

HALO = 9


class Memory:
    """A source over arrays."""

    def __init__(self, values: np.ndarray, valid: np.ndarray) -> None:
        self.values, self.valid = values, valid

    def read(self, window):
        at = window.toslices()
        return self.values[:, *at].copy(), self.valid[at].copy()


@pytest.fixture
def source() -> Memory:
    rng = np.random.default_rng(4)
    valid = rng.random((97, 83)) < 0.9
    valid[20:70, 10:60] = False
    return Memory(rng.integers(0, 1000, (2, 97, 83)).astype(float), valid)


def neighbourhood(block, valid, where: Tile):
    """Largest valid value and mean of the positions within HALO: reads the whole halo."""
    masked = np.where(valid, block.max(axis=0), -1)
    largest = maximum_filter(masked, 2 * HALO + 1, mode="nearest")
    share = uniform_filter(valid.astype(np.float64), 3, mode="nearest")
    return np.stack([largest, np.round(share, 9)])[(slice(None), *where.trim)]


def painted(source: Memory, plan: TilePlan, jobs: int, function=neighbourhood):
    result = np.full((2, *plan.shape), np.nan)

    def sink(tile, part):
        if part is not None:
            result[(slice(None), *tile.core.toslices())] = part

    tally = run(Job(plan, source, function, sink), jobs)
    return result, tally


@pytest.mark.parametrize(("tile", "align", "origin"), [(16, 1, (0, 0)), (24, 8, (-13, 5))])
def test_threads_give_what_serial_gives_and_what_one_tile_gives(source, tile, align, origin):
    shape = source.valid.shape
    plan = TilePlan(shape, tile, HALO, align, origin)
    reference, tally = painted(source, plan, 1)
    for jobs in (2, 4):
        result, same = painted(source, plan, jobs)
        assert np.array_equal(result, reference, equal_nan=True)
        assert same == tally
    whole, _ = painted(source, TilePlan(shape, 200), 1)
    done = ~np.isnan(reference)
    assert np.array_equal(whole[done], reference[done])
    assert (done[0] | ~source.valid).all()


@pytest.mark.parametrize("jobs", [1, 3])
def test_empty_tiles_are_skipped_counted_and_told_to_the_sink(source, jobs):
    plan = TilePlan(source.valid.shape, 10, HALO)
    empty = {t.index for t in plan if not source.valid[t.core.toslices()].any()}
    assert empty
    called, told = set(), {}

    def function(block, valid, where):
        called.add(where.index)
        return where.index

    tally = run(Job(plan, source, function, lambda t, r: told.update({t.index: r})), jobs)
    assert tally == Tally(len(plan), len(empty))
    assert called == set(range(len(plan))) - empty
    assert told == {t.index: None if t.index in empty else t.index for t in plan}


@pytest.mark.parametrize("jobs", [1, 4])
def test_sink_and_progress_never_overlap_and_progress_counts_to_the_total(source, jobs):
    plan = TilePlan(source.valid.shape, 12)
    busy, overlaps, counts = threading.Lock(), [], []

    def alone():
        if not busy.acquire(blocking=False):
            overlaps.append(1)
            return
        time.sleep(0.0005)
        busy.release()

    def sink(tile, result):
        alone()

    def progress(done, total):
        alone()
        counts.append((done, total))

    run(Job(plan, source, lambda b, v, w: 0, sink, progress), jobs)
    assert not overlaps
    assert counts == [(n + 1, len(plan)) for n in range(len(plan))]


def test_threads_really_run_side_by_side(source):
    together = threading.Barrier(2, timeout=20)
    plan = TilePlan((10, 83), 42)
    assert len(plan) == 2
    run(Job(plan, source, lambda b, v, w: together.wait(), lambda t, r: None), 2)


def test_results_may_come_in_any_order(source):
    plan = TilePlan(source.valid.shape, 20, HALO)

    def uneven(block, valid, where):
        time.sleep(0.02 * ((where.index * 7) % 3))
        return neighbourhood(block, valid, where)

    order = []
    run(Job(plan, source, uneven, lambda t, r: order.append(t.index)), 4)
    assert order != sorted(order)
    result, _ = painted(source, plan, 4, uneven)
    assert np.array_equal(result, painted(source, plan, 1)[0], equal_nan=True)


class BurstError(Exception):
    """An error of a block function."""


@pytest.mark.parametrize("jobs", [1, 2, 4])
@pytest.mark.parametrize("error", [BurstError, MemoryError])
def test_an_error_of_a_block_function_surfaces(source, jobs, error):
    plan = TilePlan(source.valid.shape, 20)
    finished = []

    def function(block, valid, where):
        if where.index == 9:
            raise error("tile 9")
        return 0

    with pytest.raises(error, match="tile 9"):
        run(Job(plan, source, function, lambda t, r: finished.append(t.index)), jobs)
    assert 9 not in finished


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_the_source_and_of_the_sink_surfaces(source, jobs):
    def fail(*of):
        raise BurstError

    plan = TilePlan(source.valid.shape, 50)
    with pytest.raises(BurstError):
        run(Job(plan, source, lambda b, v, w: 0, fail), jobs)
    broken = Memory(source.values, source.valid)
    broken.read = fail
    with pytest.raises(BurstError):
        run(Job(plan, broken, lambda b, v, w: 0, lambda t, r: None), jobs)


def test_nothing_reaches_the_sink_after_run_has_raised(source):
    """A workflow closes its writer when `run` raises; a late tile must not write into it."""
    plan = TilePlan(source.valid.shape, 20)
    late, raised, failing = [], threading.Event(), threading.Lock()

    def function(block, valid, where):
        if failing.acquire(blocking=False):  # the first tile to come, whichever it is
            time.sleep(0.05)
            raise BurstError
        time.sleep(0.15)
        return 0

    def sink(tile, result):
        if raised.is_set():
            late.append(tile.index)

    with pytest.raises(BurstError):
        run(Job(plan, source, function, sink), 4)
    raised.set()
    time.sleep(0.4)
    assert not late


@pytest.mark.parametrize("jobs", [2, 3])
def test_never_more_than_a_batch_of_tiles_is_drawn_ahead(jobs):
    drawn, done, ahead = 0, 0, []
    lock = threading.Lock()

    def tiles() -> Iterator[Tile]:
        nonlocal drawn
        for tile in TilePlan((1, 500), 1):
            drawn += 1
            ahead.append(drawn - done)
            yield tile

    def work(tile: Tile) -> None:
        nonlocal done
        with lock:
            done += 1

    engine.threads(tiles(), work, jobs)
    assert done == drawn == 500
    assert max(ahead) <= jobs * 32


def test_serial_holds_one_tile_at_a_time():
    alive, most = 0, 0

    def tiles() -> Iterator[int]:
        nonlocal alive, most
        for number in range(10):
            alive += 1
            most = max(most, alive)
            yield number

    def work(tile) -> None:
        nonlocal alive
        alive -= 1

    engine.serial(tiles(), work)
    assert most == 1
