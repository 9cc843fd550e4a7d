"""Verbs of spatial noise: kept through a kill, run by processes, shared out, in other formats."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from cliworld import call, good, read, save
from test_cli_noise_space import NAMES, PROFILE, plain

from stcli.raster.parts import Parts

HOW = ("--tile-size", 64, "--json", "--no-progress", "--overwrite")
MAP = ("--window", 9)
VERBS = {
    "noise": ("noise", *MAP),
    "mnf": ("mnf", *MAP),
    "destripe": ("destripe",),
    "whiten": ("whiten", "--along", "space"),
}


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    """Write a scene of nine tiles with a hole of nodata that fills the last of them."""
    array = plain()
    array[:, 128:, 128:] = np.nan
    array[:, 60:75, 40:80] = np.nan
    path = tmp_path_factory.mktemp("kept") / "holed.tif"
    return save(path, array, PROFILE, NAMES, nodata=np.nan)


@pytest.fixture(scope="module")
def whole(holed, tmp_path_factory):
    """Run each verb once, without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    done = {}
    for name, words in VERBS.items():
        path = folder / f"{name}.tif"
        told = good(words[0], holed, path, *words[1:], *HOW, "-j", 1).json
        done[name] = facts(told), read(path)
    return done


def facts(told):
    """What a verb says of its result, without where it is and how long it took."""
    return {key: value for key, value in told.items() if key not in ("output", "run", "noise")}


def same(path, told, expected):
    assert facts(told) == expected[0]
    np.testing.assert_array_equal(read(path), expected[1])


@pytest.mark.parametrize("name", VERBS)
def test_interrupted_and_resumed_is_uninterrupted(name, holed, whole, tmp_path, monkeypatch):
    path, words = tmp_path / "out.tif", VERBS[name]
    argv = (words[0], holed, path, *words[1:], *HOW, "-j", 1)
    save_part, calls = Parts.save, []

    def some(self, tile, block):
        calls.append(tile.index)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return save_part(self, tile, block)

    monkeypatch.setattr(Parts, "save", some)
    stopped = call(*argv)
    assert stopped.code == 130
    assert "3 tiles are kept; the same command continues" in stopped.err
    assert [file.name for file in tmp_path.iterdir()] == [".out.tif.stcli"]
    told = good(*argv)
    assert "3 of 9 tiles were finished already" in told.err
    assert len(calls) == 4 + 5
    same(path, told.json, whole[name])
    assert [file.name for file in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.parametrize("name", VERBS)
def test_shards_joined_are_the_whole(name, holed, whole, tmp_path):
    path, words = tmp_path / "out.tif", VERBS[name]
    for shard in ("1/2", "2/2"):
        good(words[0], holed, path, *words[1:], *HOW, "--shard", shard)
    good("merge", f"{path}.shard-1-of-2", f"{path}.shard-2-of-2", path, "-q")
    np.testing.assert_array_equal(read(path), whole[name][1])


@pytest.mark.parametrize("name", ["mnf", "whiten"])
def test_processes_make_what_threads_make(name, holed, whole, tmp_path):
    path, words = tmp_path / "out.tif", VERBS[name]
    told = good(words[0], holed, path, *words[1:], *HOW, "-j", 2, "--scheduler", "processes")
    same(path, told.json, whole[name])


@pytest.mark.parametrize("form", ["GTiff", "Zarr"])
def test_each_format_holds_the_same(form, holed, whole, tmp_path):
    good("destripe", holed, tmp_path / "out", *HOW, "--of", form)
    with rasterio.open(tmp_path / "out") as found:
        assert found.driver == form
        np.testing.assert_array_equal(found.read(), whole["destripe"][1])


@pytest.mark.parametrize(
    "words", [("--of", "GTiff"), ("--shard", "1/2", "--tile-size", 64), ("--scheduler", "serial")]
)
@pytest.mark.parametrize("verb", ["whiten", "unwhiten"])
def test_along_time_is_not_kept_and_says_so(verb, words, holed, tmp_path):
    refused = call(verb, holed, tmp_path / "out.tif", "--psd", "none.nc", *words)
    assert refused.code == 2
    assert "go with --along space, --along time found" in refused.err
    assert not list(tmp_path.iterdir())
