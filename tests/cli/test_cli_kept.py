"""Verbs that make rasters: kept through a kill, run by processes, shared out, planned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from cliworld import call, good, interrupt_at, read, save
from rasterio import Affine
from test_cli_noise_space import NAMES, PROFILE, plain
from test_cli_whiten import values as dated_values
from test_cli_whiten import write as write_cube

from stcli.workflows.segmentation.staged import staged

HOW = ("--tile-size", 64, "--json", "--no-progress", "--overwrite")
MAP = ("--window", 9)
VERBS = {
    "noise": ("noise", *MAP),
    "denoise": ("denoise", *MAP, "--depth", 2),
    "downscale": ("downscale", "--factor", 3),
    "conserve": ("conserve",),
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
    coarse = array[:, : 2 * 75, : 2 * 85].reshape(2, 75, 2, 85, 2).mean((2, 4)) + 1
    double = PROFILE["transform"] @ Affine.scale(2)
    save(path.with_name("coarse.tif"), coarse, PROFILE, NAMES, nodata=np.nan, transform=double)
    return save(path, array, PROFILE, NAMES, nodata=np.nan)


def argv(name, holed, path):
    """Words of a verb: what it reads, where it writes, how."""
    coarse = (Path(holed).with_name("coarse.tif"),) if name == "conserve" else ()
    return VERBS[name][0], holed, *coarse, path, *VERBS[name][1:], *HOW


@pytest.fixture(scope="module")
def whole(holed, tmp_path_factory):
    """Run each verb once, without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    done = {}
    for name in VERBS:
        path = folder / f"{name}.tif"
        told = good(*argv(name, holed, path), "-j", 1).json
        done[name] = facts(told) | {"ran": told["run"]}, read(path)
    return done


def facts(told):
    """What a verb says of its result, without where it is and how long it took."""
    return {key: value for key, value in told.items() if key not in ("output", "run", "noise")}


def same(path, told, expected):
    assert facts(told) == {key: value for key, value in expected[0].items() if key != "ran"}
    np.testing.assert_array_equal(read(path), expected[1])


@pytest.mark.long
@pytest.mark.parametrize("name", VERBS)
def test_interrupted_and_resumed_is_uninterrupted(name, holed, whole, tmp_path, monkeypatch):
    path = tmp_path / "out.tif"
    words = (*argv(name, holed, path), "-j", 1)
    calls = interrupt_at(monkeypatch, 4)
    stopped = call(*words)
    assert stopped.code == 130
    assert "3 tiles are kept; the same command continues" in stopped.err
    assert [file.name for file in tmp_path.iterdir()] == [".out.tif.stcli"]
    told = good(*words)
    assert "3 of 9 tiles were finished already" in told.err
    assert len(calls) == 4 + 5
    same(path, told.json, whole[name])
    assert [file.name for file in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.long
@pytest.mark.parametrize("name", VERBS)
def test_shards_joined_are_the_whole(name, holed, whole, tmp_path):
    path = tmp_path / "out.tif"
    for shard in ("1/2", "2/2"):
        good(*argv(name, holed, path), "--shard", shard)
    good("merge", f"{path}.shard-1-of-2", f"{path}.shard-2-of-2", path, "-q")
    np.testing.assert_array_equal(read(path), whole[name][1])


@pytest.mark.long
@pytest.mark.parametrize("name", ["mnf", "whiten", "denoise", "downscale", "conserve"])
def test_processes_make_what_threads_make(name, holed, whole, tmp_path):
    path = tmp_path / "out.tif"
    told = good(*argv(name, holed, path), "-j", 2, "--scheduler", "processes")
    same(path, told.json, whole[name])


@pytest.mark.long
def test_a_noise_map_read_beside_is_kept_and_shared_out(holed, tmp_path):
    good("noise", holed, tmp_path / "noise.tif", *MAP, "-q")
    words = ("denoise", holed, tmp_path / "out.tif", "--noise", tmp_path / "noise.tif", *MAP, *HOW)
    good(*words, "-j", 1)
    wanted = read(tmp_path / "out.tif")
    good(*words, "-j", 2, "--scheduler", "processes")
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), wanted)


@pytest.mark.parametrize("name", VERBS)
def test_a_plan_says_tiles_terms_and_outputs_and_does_nothing(name, holed, whole, tmp_path):
    path = tmp_path / "out.tif"
    plan = good(*argv(name, holed, path), "-j", 1, "--dry-run").json
    assert not list(tmp_path.iterdir())
    last, ran = plan["passes"][-1], whole[name][0]["ran"]
    assert plan["dry_run"]
    assert plan["tasks"] == sum(work["tiles"] for work in plan["passes"])
    for key in ("tiles", "tile_size", "halo", "jobs", "overcompute"):
        assert last[key] == ran[key]
    terms = {name: size for name, size in last["memory"].items() if name != "allowed"}
    finishing = terms.keys() - {"read", "core", "workers", "window"}
    phases = (terms.keys() - {"predicted", "writer"}, finishing - {"predicted"})
    assert terms["predicted"] == max(sum(terms[k] for k in phase) for phase in phases)
    del terms["predicted"]
    for term in terms.keys() - {"program"}:  # it grows with what was loaded
        assert terms[term] == ran["memory"][term], term
    (made,) = plan["outputs"]
    shape = whole[name][1].shape
    assert made["shape"] == list(shape)
    assert made["bytes"] == np.prod(shape) * np.dtype(made["dtype"]).itemsize


@pytest.mark.parametrize("name", VERBS)
def test_a_plan_of_a_shard_is_that_shards(name, holed, tmp_path):
    words = (*argv(name, holed, tmp_path / "out.tif"), "-j", 1, "--dry-run")
    whole = good(*words).json
    parts = [good(*words, "--shard", f"{i}/3").json for i in (1, 2, 3)]
    assert not list(tmp_path.iterdir())
    tiles = [part["passes"][-1]["tiles"] for part in parts]
    assert sum(tiles) == whole["passes"][-1]["tiles"]
    before = whole["tasks"] - sum(tiles)  # of the passes before, which each shard does
    assert max(tiles) < sum(tiles)
    for number, part in enumerate(parts, 1):
        assert part["tasks"] == before + tiles[number - 1]
        assert part["outputs"][0]["path"] == str(tmp_path / f"out.tif.shard-{number}-of-3")
    sizes = [part["outputs"][0]["bytes"] for part in parts]
    assert sum(sizes) == whole["outputs"][0]["bytes"]


@pytest.mark.parametrize("form", ["GTiff", "Zarr"])
@pytest.mark.parametrize("name", ["destripe", "downscale"])
def test_each_format_holds_the_same(name, form, holed, whole, tmp_path):
    good(*argv(name, holed, tmp_path / "out"), "--of", form)
    with rasterio.open(tmp_path / "out") as found:
        assert found.driver == form
        np.testing.assert_array_equal(found.read(), whole[name][1])


@pytest.mark.parametrize(
    "words", [("--of", "GTiff"), ("--shard", "1/2", "--tile-size", 64), ("--scheduler", "serial")]
)
def test_whitening_along_time_is_not_kept_and_says_so(words, holed, tmp_path):
    refused = call("whiten", holed, tmp_path / "out.tif", "--psd", "none.nc", *words)
    assert refused.code == 2
    assert "go with --along space, --along time found" in refused.err
    assert not list(tmp_path.iterdir())


def test_a_series_has_no_tiles_to_plan(tmp_path):
    (tmp_path / "series.csv").write_text("time,a\n" + "\n".join(f"{k},{k % 7}" for k in range(200)))
    for verb in ("whiten", "unwhiten"):
        words = (verb, tmp_path / "series.csv", tmp_path / "o.csv", "--dry-run")
        refused = call(*words)
        assert refused.code == 2
        assert "series.csv holds series, which are done at once; a raster, whose" in refused.err


LEVELS = ("--size", 80, "--iterations", 2, "--scale", "5,20")


@pytest.mark.long
@pytest.mark.parametrize("step", ["segment", "merge"])
def test_segments_are_kept_for_their_levels(step, holed, tmp_path, monkeypatch):
    how = (*LEVELS, "--tile-size", 64, "-j", 1, "--no-progress", "--json")
    whole = good("segment", holed, tmp_path / "whole.tif", *how).json
    words = ("segment", holed, tmp_path / "o.tif", *how, "--objects", tmp_path / "o.gpkg")

    def never(*args):
        raise KeyboardInterrupt

    calls = interrupt_at(monkeypatch, 4 if step == "segment" else None, "save_strips")
    with monkeypatch.context() as patched:
        if step == "merge":
            patched.setattr("stcli.workflows.segmentation.levels.merge_levels", never)
        assert call(*words).code == 130
    assert sorted(file.name for file in tmp_path.iterdir()) == [".o.tif.stcli", "whole.tif"]
    told = good(*words)
    done = 3 if step == "segment" else 9
    assert f"{done} of 9 tiles were finished already" in told.err
    assert len(calls) == (4 + 6 if step == "segment" else 9)
    assert told.json["objects"] == whole["objects"]
    np.testing.assert_array_equal(read(tmp_path / "o.tif"), read(tmp_path / "whole.tif"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["o.gpkg", "o.tif", "whole.tif"]


def test_a_second_run_is_refused_while_levels_are_made(holed, tmp_path):
    with staged(str(tmp_path / "o.tif")):
        refused = call("segment", holed, tmp_path / "o.tif", *LEVELS)
    assert refused.code == 4
    assert "is writing it now" in refused.err
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def dated(tmp_path_factory):
    """Write a cube of dates and whiten it; give words that make each verb's NetCDF of it."""
    folder = tmp_path_factory.mktemp("dated")
    cube = write_cube(folder / "cube.nc", dated_values())
    white, spectra = folder / "white.nc", folder / "spectra.nc"
    good("whiten", cube, white, "--psd-out", spectra, "--share", 16, "-q")
    return {
        "downscale": ("downscale", cube, "--factor", 2),
        "unwhiten": ("unwhiten", white, "--psd", spectra),
    }


def cube_of(path):
    with xr.open_dataset(path) as found:
        return found.drop_attrs(deep=False).load()


@pytest.mark.long
@pytest.mark.parametrize(("name", "tiles"), [("downscale", 12), ("unwhiten", 16)])
def test_netcdf_is_kept_through_an_interrupt(name, tiles, dated, tmp_path, monkeypatch):
    verb, source, *words = dated[name]
    more = ("--tile-size", 16, "-j", 1, "--no-progress")
    good(verb, source, tmp_path / "whole.nc", *words, *more)
    calls = interrupt_at(monkeypatch, 4)
    assert call(verb, source, tmp_path / "o.nc", *words, *more).code == 130
    assert sorted(file.name for file in tmp_path.iterdir()) == [".o.nc.stcli", "whole.nc"]
    told = good(verb, source, tmp_path / "o.nc", *words, *more)
    assert f"3 of {tiles} tiles were finished already" in told.err
    assert len(calls) == 4 + tiles - 3
    xr.testing.assert_identical(cube_of(tmp_path / "o.nc"), cube_of(tmp_path / "whole.nc"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["o.nc", "whole.nc"]


@pytest.mark.parametrize("name", ["downscale", "unwhiten"])
def test_a_shard_of_a_netcdf_is_refused(name, dated, tmp_path):
    verb, source, *words = dated[name]
    more = ("--tile-size", 16, "--shard", "1/2")
    refused = call(verb, source, tmp_path / "o.nc", *words, *more)
    assert refused.code == 2
    assert "--shard found, none is wanted for NetCDF" in refused.err
    assert not list(tmp_path.iterdir())


def test_shards_of_unwhitening_in_time_are_the_whole(dated, tmp_path):
    verb, source, *words = dated["unwhiten"]
    how = (*words, "--tile-size", 16, "-q")
    good(verb, source, tmp_path / "whole.tif", *how)
    for shard in ("1/2", "2/2"):
        good(verb, source, tmp_path / "o.tif", *how, "--shard", shard)
    good("merge", *(tmp_path / f"o.tif.shard-{k}-of-2" for k in (1, 2)), tmp_path / "o.tif", "-q")
    np.testing.assert_array_equal(read(tmp_path / "o.tif"), read(tmp_path / "whole.tif"))


def test_unwhitening_in_time_stays_in_its_process_and_says_so(dated, tmp_path):
    verb, source, *words = dated["unwhiten"]
    refused = call(verb, source, tmp_path / "o.nc", *words, "--scheduler", "processes")
    assert refused.code == 2
    assert "this step cannot leave its process" in refused.err


def test_another_guide_drops_what_another_one_made(holed, tmp_path, monkeypatch):
    guide = save(
        tmp_path / "guide.tif",
        np.random.default_rng(0).normal(size=(1, 300, 340)).astype("float32"),
        PROFILE,
        ("g",),
        transform=PROFILE["transform"] @ Affine.scale(0.5),
    )
    words = ("downscale", holed, tmp_path / "o.tif", "--guide", guide, *HOW, "-j", 1)
    interrupt_at(monkeypatch, 4)
    assert call(*words).code == 130
    with rasterio.open(guide, "r+") as dataset:
        dataset.write(np.ones((1, 300, 340), "float32"))
    told = good(*words)
    assert "finished tiles of another job" in told.err
