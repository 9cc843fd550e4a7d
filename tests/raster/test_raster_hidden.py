"""Hidden folders of runs that are gone: removed by the next run, and no others are."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import stcli
from stcli.lock import Lock
from stcli.raster.writing.draft import drafts, put
from stcli.raster.writing.folder import Folder
from stcli.raster.writing.hidden import STAGED, hidden_home, is_own, mark, sweep, sweep_job
from stcli.raster.writing.output import OutputBand, OutputSpec

DRAFTING = """
    import sys, time
    from stcli.raster.writing.draft import drafts
    with drafts((sys.argv[1],), False) as (file,):
        file.write_text("half")
        print("at work", flush=True)
        time.sleep(60)
"""


def start(words, *argv):
    """Start a program of Python that says that it is at work."""
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(words), *map(str, argv)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(stcli.__file__).parents[1])},
    )
    assert program.stdout.readline() == b"at work\n"
    return program


def kill(program):
    program.send_signal(signal.SIGKILL)
    program.wait(10)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(target):
    with drafts((str(target),), True) as (file,):
        file.write_text("whole")


def spec_of(path):
    band = OutputBand("b")
    return OutputSpec(str(path), "uint8", (band,), 0, "labels")


def test_drafts_of_a_killed_run_go_with_the_next_one_and_those_of_a_living_do_not(tmp_path):
    target = tmp_path / "o.nc"
    program = start(DRAFTING, target)
    try:
        (left,) = tmp_path.iterdir()
        write(target)
        assert names(tmp_path) == [left.name, "o.nc"]
        assert "o.nc" in names(left)
    finally:
        kill(program)
    write(tmp_path / "another.nc")
    assert names(tmp_path) == [left.name, "another.nc", "o.nc"]
    write(target)
    assert names(tmp_path) == ["another.nc", "o.nc"]


def test_a_killed_run_of_another_verb_leaves_nothing_to_a_job_either(tmp_path):
    target = tmp_path / "o.tif"
    kill(start(DRAFTING, target))
    assert len(names(tmp_path)) == 1
    Folder(spec_of(target))
    assert names(tmp_path) == []


def test_only_folders_of_drafts_are_taken(tmp_path):
    target = tmp_path / "o.nc"
    others = [".o.nc.stcli-12345678.stcli", ".o.nc.stcli-1234567", ".o.nc.stcli-ABCDEFGH"]
    for name in (*others, ".o.nc.stcli-abcdefg0", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / ".o.nc.stcli-afile000").touch()
    (tmp_path / ".o.nc.stcli-alink000").symlink_to(tmp_path / "elsewhere")
    sweep(target)
    kept = [*others, ".o.nc.stcli-afile000", ".o.nc.stcli-alink000", "elsewhere"]
    assert names(tmp_path) == sorted(kept)


def test_where_there_are_no_locks_nothing_is_taken_for_left_behind(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    (tmp_path / ".o.nc.stcli-abcdefg0").mkdir()
    write(tmp_path / "o.nc")
    assert names(tmp_path) == [".o.nc.stcli-abcdefg0", "o.nc"]


def test_a_maker_whose_folder_was_taken_for_left_behind_makes_another(tmp_path, monkeypatch):
    from stcli.raster.writing import hidden

    make, made = hidden.make_folder, []

    def quick(target):
        made.append(make(target))
        if len(made) == 1:
            sweep(target)
        return made[-1]

    monkeypatch.setattr(hidden, "make_folder", quick)
    write(tmp_path / "o.nc")
    assert names(tmp_path) == ["o.nc"]
    assert len(made) == 2


@pytest.mark.parametrize("left", [(), ("lock",), ("lock", "job/journal", "final/o.tif", "gone/s")])
def test_what_a_run_left_as_it_tidied_up_goes(left, tmp_path):
    target = tmp_path / "o.tif"
    home = hidden_home(target)
    home.mkdir()
    for name in left:
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).touch()
    with_holder = Lock(home / "lock", "o.tif")
    sweep(target)
    assert home.is_dir()
    with_holder.release()
    sweep(target)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kept", ["job/job.json", "published", f"{STAGED}/segments.tif"])
def test_what_a_run_may_continue_stays(kept, tmp_path):
    target = tmp_path / "o.tif"
    (hidden_home(target) / kept).parent.mkdir(parents=True)
    (hidden_home(target) / kept).touch()
    sweep(target)
    sweep_job(target, done=True)
    assert (hidden_home(target) / kept).exists()


@pytest.mark.parametrize("where", [".", STAGED])
def test_a_job_whose_output_is_complete_is_of_no_more_use(where, tmp_path):
    target = tmp_path / "o.tif"
    folder = hidden_home(target) / where
    (folder / "job").mkdir(parents=True)
    (folder / "job" / "job.json").touch()
    target.touch()
    mark(folder, [target])
    sweep(target)
    assert folder.is_dir()
    assert is_own(str(target)) == (where == ".")
    sweep_job(target, done=True)
    assert names(tmp_path) == ["o.tif"]


def test_what_a_killed_run_to_stdout_left_goes_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setenv("CPL_TMPDIR", str(tmp_path))
    (tmp_path / ".stcli-abcdefg0" / "job").mkdir(parents=True)
    first = Folder(spec_of("-"))
    lock = Lock(first.lock, "-")
    second = Folder(spec_of("-"))
    assert names(tmp_path) == sorted([first.path.name, second.path.name])
    lock.release()
    for folder in (first, second):
        folder.remove()
    assert names(tmp_path) == []


def test_a_file_that_comes_where_another_was_does_not_take_over_what_lay_beside_it(tmp_path):
    target = tmp_path / "o.nc"
    for suffix in ("", ".aux.xml", ".ovr", ".msk"):
        (tmp_path / f"o.nc{suffix}").write_text("of before")
    write(target)
    assert names(tmp_path) == ["o.nc"]
    for name in ("new.tif", "new.tif.aux.xml"):
        (tmp_path / name).write_text(name)
    put(tmp_path / "new.tif", target)
    assert names(tmp_path) == ["o.nc", "o.nc.aux.xml"]
    assert (tmp_path / "o.nc.aux.xml").read_text() == "new.tif.aux.xml"
