"""Progress: a bar on a terminal, a line a minute elsewhere, nothing when quiet."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess

import pytest
import rasterio
from cliworld import ROOT, call, command, good, spawn

from stcli.cli.console import Console
from stcli.workflows.pace import Pace

SEGMENT = ("--tile-size", "64", "-j", "1")


def on_terminal(argv, **environment):
    """Run a command whose stderr is a terminal; return what it wrote there."""
    mine, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **environment}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": theirs}
    process = subprocess.Popen(command(*argv), cwd=ROOT, env=env, **streams)
    os.close(theirs)
    told = b""
    while select.select([mine], [], [], 60)[0]:
        try:
            part = os.read(mine, 65_536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        told += part
    os.close(mine)
    assert process.wait(60) == 0, told
    return told.decode()


def colours(text):
    return re.findall(r"\x1b\[[0-9;]*m", text)


@pytest.mark.long
@pytest.mark.parametrize(
    ("environment", "moves", "coloured"),
    [({}, True, True), ({"NO_COLOR": "1"}, True, False), ({"TERM": "dumb"}, False, False)],
    ids=["terminal", "no colour", "dumb"],
)
def test_a_terminal_gets_a_bar(environment, moves, coloured, scene, tmp_path):
    told = on_terminal(("segment", scene, tmp_path / "o.tif", *SEGMENT), **environment)
    assert ("Mpx/s" in told) == moves
    assert ("\x1b[" in told) == moves
    if not moves:
        quiet = ("segment", scene, tmp_path / "q.tif", "-q", *SEGMENT)
        assert on_terminal(quiet, **environment) == ""
    else:
        assert re.search(r"segment .*\d+/\d+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told))
        assert re.search(r"\d\.\d\d GB", told)
        shades = [code for code in colours(told) if re.search(r"[349][0-7]", code)]
        assert bool(shades) == coloured
    assert "segments in" in told


def test_a_log_gets_a_line_a_minute(scene, tmp_path):
    soon = "import stcli.cli.console as c; c._QUIET_STEP = 0.0"
    done = spawn("segment", scene, tmp_path / "o.tif", *SEGMENT, prelude=soon)
    lines = re.findall(r"^stcli: segment (\d+)/(\d+) [\d.]+ Mpx/s  [\d.]+ GB$", done.stderr, re.M)
    assert [int(at) for at, _ in lines] == list(range(1, int(lines[0][1]) + 1))
    assert "\x1b" not in done.stderr
    usual = call("segment", scene, tmp_path / "p.tif", *SEGMENT)
    assert "Mpx/s" not in usual.err
    assert Console().shows
    assert not Console(quiet=True).shows


def test_pace_counts_pixels_and_leaves_out_what_was_done_before(monkeypatch):
    clock = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr("stcli.workflows.pace.time.perf_counter", lambda: next(clock))
    told = []
    pace = Pace(lambda *words: told.append(words), "s", 40_000_000)
    pace(11, 20)  # ten of the twenty tiles were there before
    pace(13, 20)
    assert [words[:3] for words in told] == [("s", 11, 20), ("s", 13, 20)]
    assert [words[3].split("  ")[0] for words in told] == ["1.00 Mpx/s", "1.50 Mpx/s"]


def test_a_warning_is_told_once_a_command(scene, tmp_path):
    """The raster is opened for segments and again for objects; its alpha band is told once."""
    path = str(tmp_path / "alpha.tif")
    with rasterio.open(scene) as dataset:
        profile, array = dataset.profile, dataset.read()
    array[3] = 255
    profile.update(dtype="uint8", photometric="RGB", alpha="YES")
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write((array // 20).clip(0, 255).astype("uint8"))
    told = good(
        "segment", path, tmp_path / "o.tif", "--scale", 20, "--objects", tmp_path / "o.gpkg"
    )
    assert told.err.count("is declared alpha") == 1
    assert "is declared alpha" in good("info", path).err
    assert not good("info", path, "-q").err
