"""Schedulers: processes and a cluster give what serial gives; workers that die; interrupts."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from engineworld import (
    KINDS,
    Bad,
    Caused,
    Deadly,
    Kept,
    Made,
    Reach,
    ReachByStrips,
    Slow,
    Stuck,
    painted,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.engine import run as engine
from stcli.engine.machine import MB
from stcli.engine.memory import Cost, Grid, Place, budget
from stcli.engine.run import Job, Tally, Workers, run
from stcli.engine.tiling import TilePlan
from stcli.errors import InputError, TilesError, UsageError
from stcli.settings import RunSettings


@pytest.fixture(scope="module")
def address():
    """A cluster of two workers on this machine, told of by its address alone."""
    from distributed import LocalCluster

    paths = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parents[2])))
    old = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join((paths, old))
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address
    os.environ["PYTHONPATH"] = old


# --- tiling does not show -----------------------------------------------------------------------

shapes = st.one_of(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.sampled_from([(1, 1), (1, 77), (61, 1), (2, 3), (64, 64)]),
)


@pytest.mark.parametrize("kind", ["serial", "threads"])
@given(
    shape=shapes,
    tile=st.integers(1, 8),
    align=st.sampled_from([1, 3, 8]),
    halo=st.integers(0, 9),
    origin=st.tuples(st.integers(-50, 50), st.integers(-50, 50)),
)
@settings(max_examples=60, deadline=None)
def test_tiling_does_not_show(kind, shape, tile, align, halo, origin):
    plan = TilePlan(shape, tile * align, halo, align, origin)
    result, seen, tally = painted(kind, plan, halo)
    assert (seen == 1).all()
    whole, _, _ = painted("serial", TilePlan(shape, 100), halo)
    done = result != -5
    assert np.array_equal(result[done], whole[done])
    _, valid = Made(shape).read(plan_window(shape))
    assert (done | ~valid).all()  # only tiles without a valid pixel are left out
    assert tally.tiles == len(plan)


def plan_window(shape):
    (tile,) = TilePlan(shape, 100)
    return tile.core


@pytest.mark.long
@pytest.mark.parametrize("kind", ["processes", "cluster"])
@pytest.mark.parametrize(
    ("shape", "tile", "align", "origin"),
    [((61, 47), 16, 1, (0, 0)), ((1, 90), 24, 8, (-13, 5)), ((1, 1), 4, 4, (3, -1))],
)
def test_tiling_does_not_show_elsewhere(kind, shape, tile, align, origin, address):
    plan = TilePlan(shape, tile, 7, align, origin)
    wanted = painted("serial", plan, 7)
    found = painted(kind, plan, 7, address)
    assert np.array_equal(found[0], wanted[0])
    assert (found[1] == 1).all()
    assert found[2] == wanted[2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_runs_for_tiles_with_pixels_and_the_sink_gets_its_answer(kind, address, tmp_path):
    plan = TilePlan((50, 40), 8, 3)
    answers = {}
    job = Job(
        plan,
        Made(plan.shape),
        Reach(3),
        lambda t, a: answers.update({t.index: a}),
        store=Kept(tmp_path),
    )
    tally = run(job, Workers(kind, 2, address))
    assert tally.empty == sum(answer is None for answer in answers.values()) > 0
    for tile in plan:
        path = tmp_path / str(tile.index)
        assert path.exists() == (answers[tile.index] is not None)
        if path.exists():
            assert np.frombuffer(path.read_bytes(), "int64").sum() == answers[tile.index]
    assert len(list(tmp_path.iterdir())) == tally.tiles - tally.empty


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
@pytest.mark.parametrize("rows", [3, 100])
def test_strips_are_what_the_whole_tile_is(kind, stored, rows, address, tmp_path):
    plan, found = TilePlan((50, 40), 8, 3), []
    for function in (Reach(3), ReachByStrips(3, rows)):
        folder = tmp_path / type(function).__name__
        folder.mkdir()
        answers = {}
        job = Job(
            plan,
            Made(plan.shape),
            function,
            lambda t, a, answers=answers: answers.update({t.index: a}),
            store=Kept(folder) if stored else None,
        )
        tally = run(job, Workers(kind, 2, address))
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        if not stored:
            arrays = {k: a[0][0] if isinstance(a, list) else a for k, a in answers.items()}
            answers = {k: None if a is None else a.tolist() for k, a in arrays.items()}
        found.append((answers, files, tally))
    assert found[0] == found[1]
    assert 0 < found[0][2].empty < len(plan)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_tiles_asked_for_are_run_and_progress_counts_on(kind, address):
    plan = TilePlan((30, 30), 10)
    told, counts = [], []
    tiles = (tile for tile in plan if tile.index % 2)
    job = Job(
        plan,
        Made(plan.shape, holes=False),
        Slow(0),
        lambda t, a: told.append(a),
        lambda done, total: counts.append((done, total)),
        tiles=tiles,
        done=5,
    )
    assert run(job, Workers(kind, 2, address)) == Tally(4, 0)
    assert sorted(told) == [1, 3, 5, 7]
    assert counts == [(n, 9) for n in (6, 7, 8, 9)]


# --- bounded ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["threads", "processes", "cluster"])
def test_tiles_are_drawn_as_they_are_needed(kind, address):
    drawn, done, ahead = [], [], []

    def tiles():
        for tile in TilePlan((1, 1500), 1):
            drawn.append(tile.index)
            ahead.append(len(drawn) - len(done))
            yield tile

    plan = TilePlan((1, 1500), 1)
    source = Made(plan.shape, holes=False)
    job = Job(plan, source, Slow(0), lambda t, a: done.append(a), tiles=tiles())
    run(job, Workers(kind, 2, address))
    assert sorted(done) == list(range(1500))
    # three tasks for each of two workers: of one tile, or of many where tiles take no time
    assert max(ahead) <= (7 if kind != "cluster" else 6 * 32)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_block_function_surfaces(kind, address):
    plan = TilePlan((1, 40), 2)
    job = Job(plan, Made(plan.shape, holes=False), Bad(), lambda t, a: None)
    with pytest.raises(ValueError, match="tile 5"):
        run(job, Workers(kind, 2, address))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_kind_whatever_caused_it(kind, address):
    plan = TilePlan((1, 4), 2)
    job = Job(plan, Made(plan.shape, holes=False), Caused(), lambda t, a: None)
    with pytest.raises(InputError, match="cannot be read"):
        run(job, Workers(kind, 2, address))


def test_what_cannot_leave_the_process_is_refused_by_name(address):
    lock = threading.Lock()

    def closure(block, valid, where):
        with lock:
            return 0

    plan = TilePlan((4, 4), 2)
    job = Job(plan, Made(plan.shape, holes=False), closure, lambda t, a: None)
    for kind in ("processes", "cluster"):
        with pytest.raises(UsageError, match="--scheduler"):
            run(job, Workers(kind, 1, address))
    assert run(job, Workers("threads", 2)).tiles == 4


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch):
    from stcli.engine import cluster

    monkeypatch.setattr(cluster, "_ANSWER", 1)
    job = Job(TilePlan((4, 4), 2), Made((4, 4)), Slow(0), lambda t, a: None)
    gone = "tcp://127.0.0.1:9"
    with pytest.raises(TilesError, match=rf"{gone}: no scheduler"):  # it was there for the plan
        run(job, Workers("cluster", 1, gone))
    with pytest.raises(UsageError, match=rf"{gone}: no scheduler"):
        cluster.place(RunSettings(scheduler=gone))


def test_a_scheduler_that_goes_away_is_not_called_a_bug(monkeypatch):
    from distributed import LocalCluster
    from distributed.client import Client
    from distributed.comm import CommClosedError

    from stcli.engine import cluster

    monkeypatch.setattr(cluster, "_ANSWER", 1)
    job = Job(TilePlan((40, 4), 2), Made((40, 4)), Slow(0), lambda t, a: closed.close())
    words = "it went away while tiles were at work .*the same command continues"
    here = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    with LocalCluster(**here) as closed, pytest.raises(TilesError, match=words):
        run(job, Workers("cluster", 1, closed.scheduler_address))

    def broken(*_, **__):
        raise CommClosedError("Stream is closed")

    monkeypatch.setattr(Client, "register_plugin", broken)
    with LocalCluster(**here) as standing, pytest.raises(TilesError, match=words):
        run(job, Workers("cluster", 1, standing.scheduler_address))


def test_a_worker_s_own_error_stays_one():
    from stcli.engine import cluster

    standing = SimpleNamespace(status="running")
    with (
        pytest.raises(RuntimeError, match="ours"),
        cluster._mourned(standing, Workers("cluster", 1, "tcp://a:1")),
    ):
        raise RuntimeError("ours")


# --- death --------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("kind", ["processes", "cluster"])
def test_a_worker_that_dies_costs_its_tiles_another_try(kind, address, tmp_path):
    plan, found = TilePlan((1, 24), 2), []
    deadly = Deadly(tmp_path, (2, 9))
    job = Job(plan, Made(plan.shape, holes=False), deadly, lambda t, a: found.append(a))
    run(job, Workers(kind, 2, address))
    assert sorted(found) == list(range(12))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_tile_that_kills_every_worker_is_listed_after_all_others_are_done(tmp_path):
    plan, found = TilePlan((1, 24), 2), []
    deadly = Deadly(tmp_path, (3,), always=True)
    job = Job(plan, Made(plan.shape, holes=False), deadly, lambda t, a: found.append(a))
    with pytest.raises(
        TilesError, match=r"1 of the tiles failed: 3 \(column 6, row 0\); .*SIGKILL"
    ):
        run(job, Workers("processes", 2))
    assert sorted(found) == [n for n in range(12) if n != 3]


@pytest.mark.long
def test_workers_that_all_die_do_not_go_on_for_ever(tmp_path):
    plan = TilePlan((1, 4000), 2)
    deadly = Deadly(tmp_path, tuple(range(2000)), always=True)
    job = Job(plan, Made(plan.shape, holes=False), deadly, lambda t, a: None)
    begun = time.monotonic()
    with pytest.raises(TilesError, match="failed"):
        run(job, Workers("processes", 1))
    assert time.monotonic() - begun < 60


@pytest.mark.slow
def test_a_cluster_lists_a_tile_that_kills_every_worker(tmp_path):
    plan, found = TilePlan((1, 24), 2), []
    deadly = Deadly(tmp_path, (3,), always=True)
    job = Job(plan, Made(plan.shape, holes=False), deadly, lambda t, a: found.append(a))
    with pytest.raises(TilesError, match=r"1 of the tiles failed: 3 \(column 6, row 0\)"):
        run(job, Workers("cluster", 2, "local"))
    assert sorted(found) == [n for n in range(12) if n != 3]


# --- interrupts ---------------------------------------------------------------------------------


def test_an_interrupt_of_threads_waits_a_little_and_closes_the_sink(monkeypatch):
    monkeypatch.setattr(engine, "GRACE", 0.2)
    plan, taken, go = TilePlan((1, 40), 2), [], threading.Event()
    others, first = threading.enumerate(), iter([True])

    def stuck(block, valid, where):
        if next(first, False):
            os.kill(os.getpid(), signal.SIGINT)
        go.wait()
        return 0

    job = Job(plan, Made(plan.shape, holes=False), stuck, lambda t, a: taken.append(a))
    # a shell that starts the tests in the background has them ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(job, Workers("threads", 2))  # which ends, though its tiles do not
    finally:
        signal.signal(signal.SIGINT, before)
        go.set()
    for thread in set(threading.enumerate()) - set(others):
        thread.join()
    assert taken == []


def test_an_interrupt_while_threads_start_lets_them_draw_no_more(monkeypatch):
    monkeypatch.setattr(engine, "GRACE", 0.0)
    plan, drawn, go = TilePlan((1, 40), 2), [], threading.Event()
    others, start = threading.enumerate(), threading.Thread.start

    def interrupted(thread):
        if set(threading.enumerate()) > set(others):  # the second one
            raise KeyboardInterrupt
        start(thread)

    def draw(block, valid, where):
        go.wait()
        drawn.append(where.index)

    job = Job(plan, Made(plan.shape, holes=False), draw, lambda t, a: None)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(job, Workers("threads", 2))
    go.set()
    for thread in set(threading.enumerate()) - set(others):
        thread.join()
    assert drawn in ([], [0])


@pytest.mark.long
def test_an_interrupt_ends_the_workers_of_a_cluster_here_at_once(monkeypatch):
    here = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    monkeypatch.setenv("PYTHONPATH", here)
    sent: list[float] = []
    others = set(multiprocessing.active_children())  # of the cluster beside this one
    at_last = threading.Timer(90, os.kill, (os.getpid(), signal.SIGINT))

    def interrupt(tile, answer):
        sent.append(time.monotonic() + 3)
        threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT)).start()

    job = Job(TilePlan((1, 8), 2), Made((1, 8), holes=False), Stuck(), interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    at_last.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(job, Workers("cluster", 2, "local"))
    finally:
        at_last.cancel()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - sent[0] < 5
    assert set(multiprocessing.active_children()) <= others


ORPHANS = """
import os, sys
sys.path.insert(0, {here!r})
from engineworld import Made, Slow
from stcli.engine.run import Job, Workers, run
from stcli.engine.tiling import TilePlan

if __name__ == "__main__":
    plan = TilePlan((1, 400), 2)
    told = lambda tile, answer: print(answer, flush=True)
    run(Job(plan, Made(plan.shape, holes=False), Slow(0.2), told), Workers("processes", 2))
"""


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS.format(here=str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    )
    process.stdout.readline()
    workers = [int(n) for n in children(process.pid)]
    assert len(workers) >= 2
    process.kill()
    process.wait()
    until = time.monotonic() + 10
    while any(alive(worker) for worker in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [worker for worker in workers if alive(worker)]


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


# --- memory -------------------------------------------------------------------------------------


def test_processes_count_a_program_and_a_cache_each():
    place = Place(jobs=3, allowed=10**9, program=50 * MB, cache=8 * MB, each=True)
    found = budget(Grid((900, 900)), Cost(5), RunSettings(100), place)
    assert found.terms["worker_programs"] == 150 * MB
    assert found.terms["worker_caches"] == 24 * MB
    assert found.predicted == sum(found.terms.values()) == 232 * MB + 3 * 5 * 100 * 100


def test_processes_are_fewer_where_memory_is_short():
    place = Place(jobs=8, allowed=240 * MB, program=50 * MB, cache=8 * MB, each=True)
    found = budget(Grid((900, 900)), Cost(5), RunSettings(), place)
    assert found.jobs == 3
    assert found.predicted <= found.allowed


def test_results_that_wait_for_a_writer_elsewhere_are_counted():
    place = Place(jobs=2, allowed=10**9, program=50 * MB, cache=8 * MB, waiting=3)
    found = budget(Grid((900, 900)), Cost(5, core_pixel=4), RunSettings(100), place)
    assert found.terms["waiting"] == 3 * 2 * 100 * 100 * 4


def test_a_cluster_says_what_its_workers_may_use(address):
    place = engine.there(RunSettings(scheduler=address))
    assert place.jobs == 1
    assert place.waiting == 3
    assert place.allowed > 10 * MB


@pytest.mark.parametrize("name", ["thread", "", "tcp:/x"])
def test_an_unknown_scheduler_is_refused(name):
    with pytest.raises(UsageError, match="--scheduler"):
        RunSettings(scheduler=name)
