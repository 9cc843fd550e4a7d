"""Many files through one verb, as cron runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import typer
from cliworld import ROOT, call, command, read, save, spawn
from cliworld import scene as crop
from rasterio.windows import Window

from stcli.cli.app import application
from stcli.cli.everywhere import written
from stcli.cli.usage import _param
from stcli.errors import InputError, OutputError
from stcli.workflows.files.batch import LOCK, Answer, Orders, batch, find, locked, share

ARRAY, PROFILE = crop(Window(260, 0, 40, 30))


def records(result):
    return [json.loads(line) for line in result.out.splitlines()]


def statuses(result):
    return [record["status"] for record in records(result)]


@pytest.fixture
def box(tmp_path):
    """Six files, two of them damaged."""
    (tmp_path / "in").mkdir()
    for number in range(6):
        path = tmp_path / "in" / f"{number:02}.tif"
        save(path, ARRAY, PROFILE)
        if number in (1, 4):
            path.write_bytes(path.read_bytes()[:500])
        os.utime(path, (1e9, 1e9))
    return tmp_path


def run(box, *more, verb="segment", options=("--size", 25)):
    pattern = box / "in" / "*.tif"
    argv = ("batch", verb, pattern, "--out-dir", box / "out", *more)
    return call(*argv, *(("--", *options) if options else ()))


def outputs(box):
    return {path.name: path.read_bytes() for path in (box / "out").iterdir()}


@pytest.mark.long
def test_damaged_files_are_named_the_rest_is_done_and_nothing_is_done_twice(box):
    first = run(box, "--skip-existing")
    assert first.code == 8
    failed = [r for r in records(first) if r["status"] == "failed"]
    assert [Path(r["input"]).name for r in failed] == ["01.tif", "04.tif"]
    assert {r["exit_code"] for r in failed} == {3}
    assert all("cannot be read as a raster" in r["note"] for r in failed)
    assert "2 of 6 files failed (4 done, 0 skipped, 0 left)" in first.err
    assert [Path(r["input"]).name for r in records(first)] == [f"{n:02}.tif" for n in range(6)]
    made = outputs(box)
    assert sorted(made) == [f"{n:02}.tif" for n in range(6) if n not in (1, 4)]

    second = run(box, "--skip-existing")
    assert second.code == 8
    assert statuses(second).count("skipped") == 4
    assert outputs(box) == made

    for name in ("01.tif", "04.tif"):
        (box / "in" / name).unlink()
        save(box / "in" / name, ARRAY, PROFILE)
        os.utime(box / "in" / name, (1e9, 1e9))
    third = run(box, "--skip-existing")
    assert third.code == 0, third.err
    assert statuses(third).count("done") == 2
    assert {**outputs(box), **made} == outputs(box)
    assert len(outputs(box)) == 6


def test_a_file_is_what_the_verb_alone_makes_of_it(box):
    path = box / "in" / "00.tif"
    assert call("segment", path, box / "alone.tif", "--size", 25).code == 0
    result = call("batch", "segment", path, "--out-dir", box / "out", "--", "--size", 25)
    assert result.code == 0, result.err
    assert (read(box / "out" / "00.tif") == read(box / "alone.tif")).all()
    (record,) = records(result)
    assert record["result"]["segments"] > 1
    assert record["output"] == str(box / "out" / "00.tif")


@pytest.mark.long
def test_options_may_name_files_by_the_stem(box):
    pattern, table = box / "in" / "0[025].tif", box / "out" / "{stem}.parquet"
    words = ("--size", 25, f"--objects={table}", "--no-geometry")
    result = call("batch", "segment", pattern, "--out-dir", box / "out", "--", *words)
    assert result.code == 0, result.err
    assert statuses(result) == ["done"] * 3
    stems = ("00", "02", "05")
    names = [f"{stem}.{suffix}" for stem in stems for suffix in ("parquet", "tif")]
    assert sorted(outputs(box)) == names
    for stem in stems:
        ids = pandas.read_parquet(box / "out" / f"{stem}.parquet")["label"]
        assert set(ids) == set(np.unique(read(box / "out" / f"{stem}.tif"))) - {0}


def test_a_name_without_the_stem_will_do_for_one_file(box):
    words = ("--out-dir", box / "out", "--", "--plot", box / "out" / "n.png")
    result = call("batch", "noise", box / "in" / "00.tif", *words)
    assert result.code == 0, result.err
    assert sorted(outputs(box)) == ["00.tif", "n.png"]


#: Texts that name no output: words, numbers, and files that are read.
NO_OUTPUTS = {
    *("--compactness", "--scaling", "--scale", "--percentiles", "--index", "--index-bands"),
    *("--bidx", "--assume-crs", "--co", "--shard", "--scheduler", "--model", "--dates"),
    *("--season", "--mask-band", "--clear", "--factor", "--guide", "--limits", "--noise"),
    *("--wavelet", "--psd"),
}


def test_every_option_that_names_an_output_says_so():
    root = typer.main.get_command(application())
    reading = {node: [p.metavar for p in node.params] for node in root.commands.values()}
    fitting = [node for node, found in reading.items() if "INPUT OUTPUT" in found]
    assert len(fitting) == 9
    texts, marked = set(), set()
    for node in fitting:
        options = {p.name: p for p in node.params if p.param_type_name == "option"}
        texts |= {p.opts[-1] for p in options.values() if _param(p)["type"] in ("text", "path")}
        marked |= {options[name].opts[-1] for name in written(node.callback)}
    assert marked == {
        *("--objects", "--borders", "--proba", "--uncertainty", "--sets", "--best-date"),
        *("--plot", "--psd-out"),
    }
    assert texts == marked | NO_OUTPUTS


def test_outputs_are_named_by_the_template(box):
    result = call(
        "batch", "segment", box / "in/00.tif", "--out-dir", box / "out", "--name", "s_{stem}.tiff"
    )
    assert result.code == 0, result.err
    assert [path.name for path in (box / "out").iterdir()] == ["s_00.tiff"]


USAGE = [
    (("batch", "info", "a.tif", "--out-dir", "o"), 2, "'info' found, one of "),
    (("batch", "segment", "--out-dir", "o"), 2, "no INPUT found"),
    (("batch", "segment", "a.tif", "--out-dir", "o", "--", "--wrong"), 2, "No such option"),
    (("batch", "segment", "a.tif", "--out-dir", "o", "--name", "x.tif"), 2, "--name: 'x.tif'"),
    (("batch", "segment", "a.tif", "--out-dir", "o", "--files", "0"), 2, "--files: found 0"),
    (("batch", "segment", "a.tif", "--out-dir", "o", "--settle", "-1"), 2, "--settle: found -1"),
    (("batch", "segment", "a.tif", "--out-dir", "o", "--settle", "nan"), 2, "--settle: found nan"),
    (("batch", "segment", "a.tif", "--out-dir", "o", "--settle", "inf"), 2, ">= 0 and finite"),
    (("batch", "segment", "a.tif", "x/a.tif", "--out-dir", "o"), 2, "and so would a.tif"),
    (
        ("batch", "segment", "a.tif", "b.tif", "--out-dir", "o", "--", "--objects", "o.gpkg"),
        2,
        "--objects: 'o.gpkg' found, but 2 files want one each; write {stem} in the name.",
    ),
    (
        ("batch", "segment", "a.tif", "a_t.tif", "--out-dir=o", "--", "--objects=o/{stem}_t.tif"),
        2,
        "o/a_t.tif: two outputs go there, one for each is wanted",
    ),
    (("batch", "segment", "nowhere/*.tif", "--out-dir", "o"), 3, "no directory nowhere"),
    (("batch", "segment", "a.tif", "--out-dir", "o/deep/er"), 4, "o/deep/er: cannot be made"),
    (
        ("batch", "segment", "a.tif", "--out-dir", "o", "--overwrite", "--skip-existing"),
        2,
        "--skip-existing and --overwrite: one of them",
    ),
]


@pytest.mark.parametrize(("argv", "code", "sentence"), USAGE)
def test_wrong_orders_are_refused_before_any_work(argv, code, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*argv)
    assert (result.code, result.out) == (code, ""), result.err
    assert sentence in result.err
    assert not list(tmp_path.rglob("*.tif"))


def test_options_that_the_verb_refuses_end_the_batch(box):
    result = run(box, options=("--size", 1))
    assert (result.code, result.out) == (2, "")
    assert "--size: found 1, wanted >= 4 pixels" in result.err


@pytest.mark.parametrize("more", [("--of", "GTiff"), ()])
def test_a_creation_option_that_no_file_could_have_ends_the_batch_before_any_work(box, more):
    result = run(box, options=(*more, "--co", "FOO=1"))
    assert (result.code, result.out) == (2, "")
    assert "--co FOO: unknown to " in result.err
    assert not (box / "out").exists()


@pytest.mark.parametrize("verb", ["classify", "downscale"])
def test_a_model_that_is_not_there_ends_the_batch(verb, box):
    result = run(box, verb=verb, options=("--model", box / "none"))
    assert (result.code, result.out) == (6, "")
    assert "none: no card.json found" in result.err


def test_models_of_their_own_fail_file_by_file(box):
    result = run(box, verb="classify", options=("--model", box / "{stem}"))
    assert result.code == 8
    assert [record["exit_code"] for record in records(result)] == [6] * 6


def test_a_file_that_the_options_do_not_fit_costs_that_file_alone(box):
    for name in ("01.tif", "04.tif"):
        (box / "in" / name).unlink()
    save(box / "in" / "03.tif", ARRAY[:, :4, :4], PROFILE)
    result = run(box, "--settle", 0, options=("--size", 25))
    assert result.code == 8, result.err
    assert statuses(result) == ["done", "done", "failed", "done"]
    (failed,) = [r for r in records(result) if r["status"] == "failed"]
    assert failed["exit_code"] == 2
    assert "--size: 25 pixels found, at most 16 wanted" in failed["note"]
    assert sorted(outputs(box)) == ["00.tif", "02.tif", "05.tif"]


def test_an_empty_drop_folder_is_no_error(tmp_path):
    (tmp_path / "in").mkdir()
    result = run(tmp_path, options=())
    assert (result.code, result.out) == (0, "")
    assert "of 0 files" in result.err


@pytest.mark.parametrize("pattern", ["in/nomatch*.tif", "in/**/x*.tif", "i*/nomatch*.tif"])
def test_a_pattern_that_fits_none_of_the_files_there_is_refused(pattern, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tif").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"matches no file, but others such as a.tif exist; check"):
        find([pattern])
    (tmp_path / "in" / "a.tif").unlink()
    (tmp_path / "in" / "done").mkdir()
    (tmp_path / "in" / ".hidden").write_bytes(b"x")
    assert find([pattern]) == ()


@pytest.mark.parametrize("name", ["s[1].tif", "s*.tif", "s?.tif", "[a]/s.tif"])
def test_a_file_whose_name_could_be_a_pattern_is_that_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (Path(name), Path("s1.tif"), Path("a/s.tif")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert find([name, "s1.tif"]) == tuple(sorted((name, "s1.tif")))


# --- the workflow, with verbs that cost nothing -------------------------------------------------


class Runner:
    """Write the input's size to the output; what a test wants to happen happens meanwhile."""

    def __init__(self, meanwhile=lambda source: None):
        self.meanwhile, self.stopped, self.ran = meanwhile, False, []

    def __call__(self, source, target):
        self.ran.append(source)
        Path(target).write_text(str(Path(source).stat().st_size))
        self.meanwhile(source)
        return Answer(0)

    def stop(self):
        self.stopped = True


def plain(tmp_path, count, size=10):
    (tmp_path / "in").mkdir(exist_ok=True)
    for number in range(count):
        (tmp_path / "in" / f"{number:03}.tif").write_bytes(bytes(size))
        os.utime(tmp_path / "in" / f"{number:03}.tif", (1e9, 1e9))
    return Orders((str(tmp_path / "in" / "*"),), tmp_path / "out", skip_existing=True, settle=0.3)


def test_a_hundred_files_five_damaged(tmp_path):
    orders = plain(tmp_path, 100)

    class Picky(Runner):
        def __call__(self, source, target):
            if Path(source).read_bytes().startswith(b"bad"):
                return Answer(3, error=f"{source}: damaged")
            return super().__call__(source, target)

    bad = [tmp_path / "in" / f"{n:03}.tif" for n in (0, 13, 50, 51, 99)]
    for path in bad:
        path.write_bytes(b"bad")
        os.utime(path, (1e9, 1e9))
    told = []
    first = Picky()
    assert batch(orders, first, told.append) == {"done": 95, "failed": 5}
    assert [r.input for r in told if r.status == "failed"] == [str(p) for p in bad]
    again = Picky()
    assert batch(orders, again, told.append) == {"skipped": 95, "failed": 5}
    assert again.ran == []
    for path in bad:
        path.write_bytes(b"repaired")
        os.utime(path, (1e9, 1e9))
    assert batch(orders, Picky(), told.append) == {"skipped": 95, "done": 5}


def test_a_growing_input_is_left_for_the_next_run(tmp_path):
    orders = plain(tmp_path, 3)
    growing = tmp_path / "in" / "001.tif"
    halt = threading.Event()

    def copy():
        while not halt.wait(0.02):
            with growing.open("ab") as file:
                file.write(b"x")

    growing.write_bytes(b"x")
    copier = threading.Thread(target=copy)
    copier.start()
    told, runner = [], Runner()
    try:
        tally = batch(orders, runner, told.append)
    finally:
        halt.set()
        copier.join()
    assert tally == {"done": 2, "left": 1}
    assert "still changing" in told[1].note
    assert str(growing) not in runner.ran
    assert not (tmp_path / "out" / "001.tif").exists()
    assert batch(orders, Runner(), told.append) == {"skipped": 2, "done": 1}


def test_an_input_that_changes_while_it_is_read_leaves_no_output(tmp_path):
    beside = (("--objects", str(tmp_path / "out" / "{stem}.gpkg")),)
    orders = replace(plain(tmp_path, 2), beside=beside)

    def change(source):
        Path(orders.outputs(source)[1]).write_bytes(b"x")
        if source.endswith("000.tif"):
            Path(source).write_bytes(bytes(20))

    told = []
    assert batch(orders, Runner(change), told.append) == {"left": 1, "done": 1}
    assert "changed while it was read" in told[0].note
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["001.gpkg", "001.tif"]


def test_a_store_whose_input_changes_while_it_is_read_is_removed_too(tmp_path):
    orders = replace(plain(tmp_path, 2), name="{stem}.zarr")

    class Storing(Runner):
        def __call__(self, source, target):
            (Path(target) / "band").mkdir(parents=True)
            (Path(target) / "band" / "0.0").write_bytes(b"x")
            if source.endswith("000.tif"):
                Path(source).write_bytes(bytes(20))
            return Answer(0)

    killed = orders.folder / ".000.zarr.stcli-withdraw"  # as of a run that is gone
    (killed / "half").mkdir(parents=True)
    told = []
    assert batch(orders, Storing(), told.append) == {"left": 1, "done": 1}
    assert "its output is removed" in told[0].note
    assert [path.name for path in orders.folder.iterdir()] == ["001.zarr"]


def test_an_output_older_than_its_input_is_told(tmp_path):
    orders = plain(tmp_path, 1)
    batch(orders, Runner(), lambda record: None)
    later = time.time() + 5
    os.utime(tmp_path / "in" / "000.tif", (later, later))
    told = []
    batch(orders, Runner(), told.append)
    assert told[0].status == "skipped"
    assert "newer than its output" in told[0].note


def test_a_file_is_skipped_when_all_its_outputs_are_there(tmp_path):
    orders = plain(tmp_path, 3)
    assert batch(orders, Runner(), lambda record: None) == {"done": 3}
    tables = [tmp_path / "out" / f"{number:03}.gpkg" for number in range(3)]
    tables[0].touch()
    (tmp_path / "out" / "002.tif").unlink()
    beside = (("--objects", str(tmp_path / "out" / "{stem}.gpkg")),)
    told, runner = [], Runner()
    assert batch(replace(orders, beside=beside), runner, told.append) == {
        "skipped": 1,
        "failed": 1,
        "done": 1,
    }
    assert [record.status for record in told] == ["skipped", "failed", "done"]
    assert told[1].exit_code == 4
    assert f"001.tif: exists already, but {tables[1]}, which is wanted with" in told[1].note
    assert runner.ran == [str(tmp_path / "in" / "002.tif")]


def test_two_batches_do_not_collide(tmp_path):
    orders = plain(tmp_path, 1)
    orders.folder.mkdir()
    runner = Runner()
    with locked(orders.folder), pytest.raises(OutputError) as told:
        batch(orders, runner, lambda record: None)
    assert f"process {os.getpid()} on " in str(told.value)
    assert "is writing it now" in str(told.value)
    assert told.value.exit_code == 4
    assert runner.ran == []
    assert batch(orders, Runner(), lambda record: None) == {"done": 1}
    assert not (orders.folder / LOCK).exists()


def test_a_lock_of_a_dead_process_does_not_hold(tmp_path):
    (tmp_path / LOCK).write_text("999999")
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_at_once_share_tiles_and_memory():
    assert share(2, 8, 1000) == (4, 500)
    assert share(8, 2, None)[0] == 1


@pytest.mark.parametrize("files", [1, 3])
def test_records_come_in_order_of_names(tmp_path, files):
    base = plain(tmp_path, 9)
    orders = Orders(base.inputs, base.folder, files=files)
    told = []
    batch(orders, Runner(lambda source: time.sleep(hash(source) % 5 / 100)), told.append)
    assert [record.input for record in told] == sorted(record.input for record in told)


# --- its processes --------------------------------------------------------------------------------

#: The verb dies on files that are named so, as a crash in a library would make it.
CRASH = """
import os
import stcli.cli.batch_pool as pool
pool._WORDS = ("-c", '''
import os, sys
import stcli.cli.batch_worker as worker
main = worker.main
def dies(argv):
    if os.path.basename(argv[-2]) == "03.tif":
        os.kill(os.getpid(), 9)
    return main(argv)
worker.main = dies
worker.serve()
''')
"""


@pytest.mark.long
def test_a_crash_costs_one_file(box):
    argv = ("batch", "segment", box / "in/*.tif", "--out-dir", box / "out", "--files", 2)
    done = spawn(*argv, prelude=CRASH)
    assert done.returncode == 8, done.stderr
    found = {Path(r["input"]).name: r for r in map(json.loads, done.stdout.splitlines())}
    assert len(found) == 6
    assert "ended early (SIGKILL: out of memory?)" in found["03.tif"]["note"]
    assert [n for n, r in found.items() if r["status"] == "failed"] == [
        "01.tif",
        "03.tif",
        "04.tif",
    ]


#: The verb waits at every file but the first: a batch of small files could end by itself.
SLOW = """
import stcli.cli.batch_pool as pool
pool._WORDS = ("-c", '''
import contextlib, time
import stcli.cli.app as app
import stcli.cli.batch_worker as worker
waits = iter([0])
app._stand_somewhere = lambda: time.sleep(next(waits, 60))
with contextlib.suppress(KeyboardInterrupt):
    worker.serve()
''')
"""


def test_an_interrupt_ends_soon_and_leaves_whole_files_only(box):
    argv = ("batch", "segment", box / "in/*.tif", "--out-dir", box / "out")
    process = subprocess.Popen(
        command(*argv, prelude=SLOW),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()  # the first file is done
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert re.search(
        r"interrupted.*; \S*out/00\.tif (was|and \d more were) written before\.$", told
    )
    for path in (box / "out").iterdir():
        assert read(path).shape == (1, 30, 40)


@pytest.mark.long
def test_a_batch_that_is_killed_takes_its_workers_along_and_the_next_goes_on(tmp_path):
    out, path = tmp_path / "out", tmp_path / "a.tif"
    save(path, *crop(Window(0, 0, 400, 400)))
    os.utime(path, (1e9, 1e9))
    argv = ("batch", "segment", path, "--out-dir", out, "-j", 1, "--", "--tile-size", 50)
    process = subprocess.Popen(command(*argv), cwd=ROOT, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(out.glob(".a.tif.stcli/job/parts/*/*.tif")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    (worker,) = (child for task in tasks for child in (task / "children").read_text().split())
    process.kill()
    process.wait()
    until = time.monotonic() + 5
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()
    assert [made.name for made in out.iterdir() if made.suffix == ".tif"] == []
    assert statuses(call(*argv)) == ["done"]
    assert [made.name for made in out.iterdir()] == ["a.tif"]
