"""Memory is promised before the run: terms, refusals, and the choice of tiles and workers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stcli.engine import memory
from stcli.engine.machine import MB
from stcli.engine.memory import Cost, Grid, budget
from stcli.errors import BudgetError
from stcli.settings import MOST_THREADS, RunSettings

PROGRAM = 100 * MB
CACHE = 10 << 20


@pytest.fixture(autouse=True)
def fixed_process(monkeypatch):
    """A process of 100 MB with a GDAL cache of 10 MiB on four processors."""
    monkeypatch.setattr(memory, "resident", lambda: PROGRAM)
    monkeypatch.setenv("GDAL_CACHEMAX", "10")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")


def needed(grid: Grid, cost: Cost, tile_size: int, jobs: int) -> int:
    """Peak of a tiling, from its largest tiles: an oracle that looks at every tile."""
    plan = grid.plan(tile_size)
    read = max(t.read.width for t in plan) * max(t.read.height for t in plan)
    core = max(t.core.width for t in plan) * max(t.core.height for t in plan)
    tile = read * cost.read_pixel + core * cost.core_pixel + cost.worker
    return PROGRAM + CACHE + min(jobs, len(plan)) * tile + cost.once


# --- the sum ------------------------------------------------------------------------------------


def test_predicted_is_the_sum_of_named_terms():
    cost = Cost(7, 3, worker=1000, once=50_000, window=600, writer=70_000, kernels=80_000)
    found = budget(Grid((1000, 1000), halo=10), cost, RunSettings(200, 10**9, 3))
    assert found.terms == {
        "program": PROGRAM,
        "gdal_cache": CACHE,
        "read": 3 * 220 * 220 * 7,
        "core": 3 * 200 * 200 * 3,
        "workers": 3 * 1000,
        "window": 3 * 600,
        "writer": 70_000,
        "once": 50_000,
        "kernels": 80_000,
    }
    assert found.predicted == sum(found.terms.values()) - 70_000
    assert found.allowed == 10**9


def test_tiles_at_work_and_files_being_finished_are_not_there_at_once():
    """The greater of the two counts; what lasts (program, cache, kernels, once) counts in both."""
    lasting = PROGRAM + CACHE + 30 * MB + 5 * MB
    for writer, greater in ((100 * MB, 100 * MB), (10 * MB, 64**2 * 10_000)):
        cost = Cost(10_000, writer=writer, kernels=30 * MB, once=5 * MB)
        found = budget(Grid((64, 64)), cost, RunSettings(64, 10**9, 1))
        assert found.predicted == lasting + greater


@pytest.mark.parametrize("tile_size", [None, 64])
def test_a_file_that_cannot_be_finished_is_refused_before_work(tile_size):
    cost = Cost(1, writer=100 * MB)
    allowed = PROGRAM + CACHE + 99 * MB
    assert refusal(Grid((64, 64)), cost, RunSettings(tile_size, allowed, 1))[2] is None


def test_each_process_of_its_own_has_its_kernels():
    cost = Cost(1, kernels=30 * MB)
    found = budget(Grid((640, 640)), cost, RunSettings(64, 10**10, 3, scheduler="processes"))
    assert found.terms["worker_programs"] == 3 * (PROGRAM + 30 * MB)


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.integers(0, 40),
    st.sampled_from([1, 3, 32, 50]),
    st.integers(-100, 100),
    st.integers(1, 5),
    st.integers(0, 500),
)
@settings(max_examples=60, deadline=None)
def test_predicted_is_never_below_what_the_largest_tiles_need(shape, halo, align, at, jobs, tile):
    cost = Cost(read_pixel=11, core_pixel=5, worker=777)
    grid = Grid(shape, halo, align, (at, -at))
    found = budget(grid, cost, RunSettings(tile, 10**10, jobs))
    assert found.predicted >= needed(grid, cost, found.plan.tile_size, found.jobs)


def test_overcompute_is_pixels_read_over_pixels_answered_for():
    found = budget(Grid((100, 90), halo=7), Cost(1), RunSettings(32, 10**9, 1))
    read = sum(t.read.width * t.read.height for t in found.plan)
    assert found.overcompute == read / 9000
    assert budget(Grid((100, 90)), Cost(1), RunSettings(32, 10**9, 1)).overcompute == 1


def test_files_that_tiles_share_are_counted_by_how_many_are_open():
    """With one tile, two, and more; each process opens its own."""
    cost, grid = Cost(1, opened=(100 * MB, 160 * MB, 180 * MB)), Grid((640, 640))
    for jobs, shared in ((1, 100), (2, 160), (3, 180), (4, 180)):
        found = budget(grid, cost, RunSettings(64, 10**10, jobs))
        assert found.terms["workers"] == shared * MB
    found = budget(grid, cost, RunSettings(64, 10**10, 4, scheduler="processes"))
    assert found.terms["workers"] == 400 * MB


@pytest.mark.parametrize(("room", "jobs"), [(110, 1), (170, 2), (190, 4)])
def test_as_many_tiles_are_at_work_as_the_files_they_open_leave_room_for(room, jobs):
    cost = Cost(1, opened=(100 * MB, 160 * MB, 180 * MB))
    allowed = PROGRAM + CACHE + room * MB
    found = budget(Grid((640, 640)), cost, RunSettings(None, allowed, 4))
    assert found.jobs == jobs
    assert found.predicted <= allowed


# --- refusals -----------------------------------------------------------------------------------


def refusal(grid: Grid, cost: Cost, wanted: RunSettings) -> tuple[float, float, int | None]:
    with pytest.raises(BudgetError) as caught:
        budget(grid, cost, wanted)
    assert caught.value.exit_code == 5
    text = str(caught.value)
    megabytes = [int(n) for n in re.findall(r"(\d+) MB", text)]
    hint = re.search(r"--tile-size (\d+) would fit", text)
    assert hint or "no tile size fits" in text
    return megabytes[0], megabytes[1], int(hint[1]) if hint else None


@pytest.mark.parametrize("tile_size", [0, 900, 1200])
def test_a_refusal_names_needed_allowed_and_a_size_that_fits(tile_size):
    grid, cost = Grid((3000, 3000), halo=20), Cost(read_pixel=50, core_pixel=10)
    allowed = PROGRAM + CACHE + 100 * MB
    wanted = RunSettings(tile_size, allowed, 4)
    found_needed, found_allowed, hint = refusal(grid, cost, wanted)
    exact = needed(grid, cost, tile_size or 3000, 4)  # three tiles a side: one is not clipped
    assert found_needed == round(exact / MB)
    assert found_allowed == round(allowed / MB)
    assert hint is not None
    fitting = budget(grid, cost, RunSettings(hint, allowed, 4))
    assert fitting.predicted <= allowed
    assert fitting.plan.tile_size == hint


@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.integers(0, 60),
    st.sampled_from([1, 48, 64, 100]),
    st.integers(1, 6),
    st.integers(0, 800),
    st.integers(1, 40),
)
@settings(max_examples=100, deadline=None)
def test_whatever_size_a_refusal_proposes_then_fits(shape, halo, align, jobs, tile, spare):
    grid, cost = Grid(shape, halo, align), Cost(read_pixel=60, core_pixel=20, worker=MB)
    allowed = PROGRAM + CACHE + spare * MB
    try:
        budget(grid, cost, RunSettings(tile, allowed, jobs))
    except BudgetError as error:
        hint = re.search(r"--tile-size (\d+) would fit", str(error))
        if hint:
            assert budget(grid, cost, RunSettings(int(hint[1]), allowed, jobs)).jobs <= jobs
    else:
        assume(False)


@pytest.mark.parametrize(
    "cost", [Cost(60), Cost(20, 90, once=700 * MB), Cost(900, writer=250 * MB)]
)
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
@pytest.mark.parametrize("tile_size", [None, 0, 700])
def test_the_budget_that_a_refusal_proposes_is_enough(monkeypatch, tile_size, scheduler, cost):
    """GDAL's cache is larger where more is allowed, and the program may start a little larger."""
    monkeypatch.delenv("GDAL_CACHEMAX")
    grid = Grid((2000, 2000), halo=20)
    with pytest.raises(BudgetError, match=r"--memory (\d+)MB would do") as caught:
        budget(grid, cost, RunSettings(tile_size, 100 * MB, 3, scheduler=scheduler))
    proposed = int(re.findall(r"--memory (\d+)MB", str(caught.value))[0]) * MB
    programs = 4 if scheduler == "processes" else 1
    monkeypatch.setattr(memory, "resident", lambda: PROGRAM + 5 * MB // programs)
    fitting = budget(grid, cost, RunSettings(tile_size, proposed, 3, scheduler=scheduler))
    assert fitting.predicted <= proposed


def test_a_budget_below_the_program_itself_fits_no_size():
    for tile_size in (None, 64):
        wanted = RunSettings(tile_size, PROGRAM, 2)
        assert refusal(Grid((500, 500)), Cost(1), wanted)[2] is None


# --- choices ------------------------------------------------------------------------------------


@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.integers(0, 60),
    st.sampled_from([1, 48, 64, 100]),
    st.integers(1, 6),
    st.integers(2, 300),
)
@settings(max_examples=100, deadline=None)
def test_the_planned_tile_fits_and_is_aligned(shape, halo, align, jobs, spare):
    grid, cost = Grid(shape, halo, align, (7, -7)), Cost(read_pixel=60, core_pixel=20, worker=MB)
    allowed = PROGRAM + CACHE + spare * MB
    try:
        found = budget(grid, cost, RunSettings(None, allowed, jobs))
    except BudgetError:
        core = max(align, 64 // align * align)  # of the smallest tile that is looked at
        assert MB + 60 * (core + 2 * halo) ** 2 + 20 * core**2 > spare * MB
        return
    assert found.predicted <= allowed
    assert found.plan.tile_size % align == 0
    assert (found.plan.halo, found.plan.align, found.plan.origin) == (halo, align, (7, -7))
    assert 1 <= found.jobs <= min(jobs, len(found.plan))


def test_more_memory_gives_larger_tiles_and_less_overcompute():
    grid, cost = Grid((4000, 4000), halo=100), Cost(read_pixel=100)
    budgets = [budget(grid, cost, RunSettings(None, PROGRAM + CACHE + n * MB, 1)) for n in (9, 90)]
    assert budgets[0].plan.tile_size < budgets[1].plan.tile_size
    assert budgets[0].overcompute > budgets[1].overcompute


def test_toil_in_the_core_is_shared_out():
    """A halo as wide as this one alone makes one tile best, which leaves a worker idle."""
    grid = Grid((1900, 1900), halo=700, align=192)
    read, toil = (
        budget(grid, Cost(60, toil=toil), RunSettings(None, 10**10, 2)).plan for toil in (0.0, 30.0)
    )
    assert len(read) == 1 < len(toil)
    assert max(t.core.width * t.core.height for t in toil) < 0.55 * 1900**2


def test_an_explicit_tile_size_is_rounded_up_to_align():
    grid = Grid((1000, 1000), align=48)
    assert budget(grid, Cost(1), RunSettings(100, 10**9, 1)).plan.tile_size == 144
    assert budget(grid, Cost(1), RunSettings(96, 10**9, 1)).plan.tile_size == 96


def test_tile_size_zero_is_the_whole_raster_in_one_tile():
    found = budget(Grid((300, 200), align=64, origin=(13, -5)), Cost(1), RunSettings(0, 10**9, 4))
    assert (len(found.plan), found.jobs) == (1, 1)


def test_jobs_are_reduced_when_the_budget_requires():
    cost = Cost(read_pixel=1, worker=30 * MB)
    allowed = PROGRAM + CACHE + 100 * MB
    found = budget(Grid((2000, 2000)), cost, RunSettings(None, allowed, 8))
    assert found.jobs == 3
    assert found.predicted <= allowed


def test_the_planner_takes_what_finishes_first_over_tiles_and_workers():
    """Pixels that the busiest worker reads are fewest, among all tiles and workers that fit."""
    grid, cost = Grid((700, 500), halo=20), Cost(read_pixel=40, worker=8 * MB)
    for spare in (12, 30, 60, 200):
        allowed = PROGRAM + CACHE + spare * MB

        def length(tile: int, jobs: int) -> int:
            busy = [0] * jobs
            for each in grid.plan(tile):
                busy[busy.index(min(busy))] += int(each.read.height * each.read.width)
            return max(busy)

        best = min(
            length(tile, jobs)
            for tile in (*range(64, 700, 64), 700)
            for jobs in range(1, 7)
            if needed(grid, cost, tile, jobs) <= allowed
        )
        found = budget(grid, cost, RunSettings(None, allowed, 6))
        # it counts a tile's own cost too, and looks at fewer sizes
        assert length(found.plan.tile_size, found.jobs) <= 1.2 * best


def test_default_jobs_are_the_processors():
    assert budget(Grid((2000, 2000)), Cost(1), RunSettings(64, 10**9)).jobs == 4


def test_no_more_threads_than_are_of_use():
    grid = Grid((4000, 4000))
    asked = RunSettings(100, 10**9, 1000)
    assert budget(grid, Cost(1), asked).jobs == MOST_THREADS
    assert budget(grid, Cost(1), replace(asked, jobs=2)).jobs == 2


def test_what_is_completed_beyond_the_ends_counts_as_large_there_as_elsewhere():
    clipped, completed = Cost(1000), Cost(1000, completed=True)
    settings = RunSettings(64, 1 << 40, 1)
    wide, low = Grid((5000, 5000), 100), Grid((80, 5000), 100)
    for grid, cost, rows in (
        (wide, clipped, 264),
        (wide, completed, 264),
        (low, clipped, 80),
        (low, completed, 264),
    ):
        assert budget(grid, cost, settings).terms["read"] == rows * 264 * 1000


def test_work_beyond_the_ends_counts_when_tiles_are_chosen():
    """One tile reads nothing beyond the raster, but works on as wide a rim as four do."""
    grid, settings = Grid((970, 970), 300), RunSettings(None, 1 << 40, 2)
    assert budget(grid, Cost(100), settings).jobs == 1
    assert budget(grid, Cost(100, completed=True), settings).jobs == 2


def test_what_is_held_of_some_rows_counts_for_those_alone():
    cost = Cost(2, strips=((300, 7), (1000, 5)))
    settings = RunSettings(64, 1 << 40, 3)
    for side, tall in ((64, 264), (400, 600), (2000, 2200)):
        found = budget(Grid((9000, 9000), 100), cost, replace(settings, tile_size=side))
        rows = min(tall, 300) * 7 + min(tall, 1000) * 5
        assert found.terms["read"] == 3 * tall * (2 * tall + rows)


def test_tiles_are_larger_where_only_some_rows_are_held():
    whole = budget(Grid((9000, 9000), 100), Cost(20), RunSettings(None, 500 * MB, 2))
    strips = Cost(2, strips=((300, 18),))
    some = budget(Grid((9000, 9000), 100), strips, RunSettings(None, 500 * MB, 2))
    assert some.predicted <= 500 * MB
    assert some.overcompute < whole.overcompute
