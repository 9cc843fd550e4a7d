"""Outputs made tile by tile: kept through failures and kills, shared out, and joined."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keptworld
import numpy as np
import pytest
import rasterio
import xarray
from keptworld import EMPTY, OPTIONS, TILES, Work, content, produce
from rasterio import Affine
from rasterio.windows import Window
from rio_cogeo import cog_validate

from stcli.errors import BudgetError, InputError, OutputError, UsageError
from stcli.raster.reading.read import open_raster
from stcli.raster.writing.parts import Parts
from stcli.raster.writing.publish import refuse_output
from stcli.settings import RunSettings
from stcli.workflows import produce as produce_module
from stcli.workflows.deposit import Deposit
from stcli.workflows.files.merge import merge
from stcli.workflows.job import Output

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cliworld import good

ROOT = Path(__file__).parents[2]
HIDDEN = (".classes.tif.stcli", ".floats.tif.stcli")
KEPT = {kind: Output(driver=kind, creation_options=keptworld.OPTIONS[kind]) for kind in OPTIONS}
ZARR, PACKED = KEPT["Zarr"], KEPT["GTiff"]


@pytest.fixture
def source(tmp_path):
    """Write the input."""
    return keptworld.scene(tmp_path / "scene.tif")


@pytest.fixture
def out(tmp_path):
    """Give an empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def whole(source, tmp_path):
    """Run without interruption; give what came out and what the sink was told."""

    def run(output=None, **settings):
        folder = tmp_path / "whole"
        folder.mkdir()
        told, tally = produce(source, folder, Work(), output, **settings)
        return content(folder), told, tally

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


OUTPUTS = [
    Output(),
    Output(driver="GTiff"),
    ZARR,
    PACKED,
    Output(driver="Zarr", creation_options={"BLOCKSIZE": "64"}),
    Output(driver="Zarr", creation_options={"ZARR_FORMAT": "3", "COMPRESS": "none"}),
]
IDS = ["COG", "GTiff", "Zarr", "GTiff packed", "Zarr of parts", "Zarr 3"]


@pytest.mark.long
@pytest.mark.parametrize("output", OUTPUTS, ids=IDS)
def test_a_job_that_failed_continues_and_ends_as_if_it_had_not(source, out, whole, output, caplog):
    expected, told, tally = whole(output)
    assert (tally.tiles, tally.empty) == (TILES, 1)
    assert told[EMPTY] is None
    first, second = Work(fail_at=10), Work()
    with pytest.raises(RuntimeError):
        produce(source, out, first, output)
    assert all(name.startswith(".") and name.endswith(".stcli") for name in names(out))
    assert "10 tiles are kept; the same command continues" in caplog.text
    again, tally = produce(source, out, second, output)
    assert first.seen == [i for i in range(10) if i != EMPTY]
    assert second.seen == list(range(10, TILES))
    assert "10 of 24 tiles were finished already" in caplog.text
    assert (again, tally.tiles, tally.empty) == (told, TILES, 1)
    assert content(out) == expected


@pytest.mark.long
@pytest.mark.parametrize("output", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("how", ["cut", "empty", "gone", "changed"])
def test_damaged_tiles_are_done_again(source, out, whole, output, how, caplog):
    expected, told, _ = whole(output)
    with pytest.raises(RuntimeError):
        produce(source, out, Work(fail_at=10), output)
    files = [file for file in out.rglob("*") if file.is_file() and "parts" in file.parts]
    stored = [f for f in files if f.suffix == ".tif" or f.parent.name in ("class", "data")]
    victim = next(f for f in sorted(stored) if f.stat().st_size > 300 and f.name[0] == "0")
    data = victim.read_bytes()
    other = bytes(255 - byte for byte in data[-100:])
    changes = {"cut": data[: len(data) // 2], "empty": b"", "changed": data[:-100] + other}
    if how == "gone":
        victim.unlink()
    else:
        victim.write_bytes(changes[how])
    second = Work()
    assert produce(source, out, second, output)[0] == told
    assert len(second.seen) == TILES - 10 + 1
    assert "1 finished tiles are damaged" in caplog.text
    assert content(out) == expected


@pytest.mark.parametrize("tile_size", [16, 40, 0])
def test_a_geotiff_does_not_tell_its_tiles(source, out, whole, tile_size):
    """Not whether their blocks were taken as they are, nor which tiles had no valid pixel."""
    expected, _, _ = whole(PACKED)
    produce(source, out, Work(), PACKED, tile_size=tile_size, jobs=2)
    assert content(out) == expected


def test_a_packed_geotiff_is_what_gdal_would_write(source, out, whole):
    produce(source, out, Work(), PACKED)
    with rasterio.open(out / "floats.tif") as ours:
        profile, pixels = ours.profile, ours.read()
        assert ours.tags()["TOOL"] == "stcli"
        assert ours.descriptions == ("root", "seventh")
        assert list(ours.block_shapes) == [(16, 16)] * 2
    produce(source, out, Work(), replace(PACKED, driver="COG", creation_options={}, overwrite=True))
    with rasterio.open(out / "floats.tif") as peer:
        np.testing.assert_array_equal(pixels, peer.read())
        same = ("crs", "transform", "dtype", "count", "width", "height", "compress", "interleave")
        assert [profile[key] for key in same] == [peer.profile[key] for key in same]
        assert np.isnan(profile["nodata"])


def test_shards_are_packed_again_where_other_options_are_asked_for(source, out):
    output = replace(PACKED, creation_options={**PACKED.creation_options, "COMPRESS": "DEFLATE"})
    produce(source, out, Work(), output)
    expected = content(out)
    shards(source, out, 2, replace(PACKED, overwrite=True))
    for spec in keptworld.specs(PACKED, out):
        paths = [f"{spec.path}.shard-{n}-of-2" for n in (1, 2)]
        merge(paths, spec.path, RunSettings(), output=replace(output, overwrite=True))
    found = content(out)
    assert {name: found[name] for name in expected} == expected


def test_tiles_of_another_job_are_never_used(source, out, caplog):
    for change in ("facts", "input", "tile_size"):
        with pytest.raises(RuntimeError):
            produce(source, out, Work(fail_at=20))
        if change == "input":
            keptworld.scene(source, seed=1)
        facts = {"size": 2} if change == "facts" else None
        run = {"tile_size": 50} if change == "tile_size" else {}
        work = Work()
        caplog.clear()
        told, _ = produce(source, out, work, Output(overwrite=True), facts, **run)
        assert len(work.seen) == sum(found is not None for found in told.values())
        assert "tiles of another job" in caplog.text
        assert not any(name.startswith(".") for name in names(out))
        for path in out.iterdir():
            path.unlink()


def test_a_touched_input_counts_as_changed_unless_its_content_is_asked_for(source, out):
    for how, again in (("stat", TILES - 1), ("full", TILES - 20)):
        output = Output(overwrite=True, fingerprint=how)
        with pytest.raises(RuntimeError):
            produce(source, out, Work(fail_at=20), output)
        os.utime(source)
        work = Work()
        produce(source, out, work, output)
        assert len(work.seen) == again


def test_no_resume_starts_afresh(source, out):
    with pytest.raises(RuntimeError):
        produce(source, out, Work(fail_at=20))
    work = Work()
    produce(source, out, work, Output(resume=False))
    assert len(work.seen) == TILES - 1


def test_a_kept_job_keeps_its_tiles_when_none_are_asked_for(source, out, whole):
    expected, told, _ = whole(tile_size=64)
    with pytest.raises(RuntimeError):
        produce(source, out, Work(fail_at=5), tile_size=64)
    work = Work()
    again, _ = produce(source, out, work, tile_size=None)
    assert again == told
    assert len(work.seen) == len(told) - 5
    assert content(out) == expected


def test_a_process_that_grows_between_two_plans_is_not_refused(source, out, monkeypatch):
    whole, first = produce_module.plan_pass, []

    def planned(raster, cost, settings, *where):
        if first:
            raise BudgetError("the second plan does not fit")
        first.append(whole(raster, cost, settings, *where))
        return first[0]

    monkeypatch.setattr(produce_module, "plan_pass", planned)
    options = Output(driver="GTiff", creation_options=OPTIONS["GTiff"])
    told, _ = produce(source, out, Work(), options, tile_size=None)
    assert len(told) == len(first[0].budget.plan)


@pytest.mark.parametrize("error", [InputError, UsageError])
def test_bad_input_leaves_nothing_at_all(source, out, error):
    with pytest.raises(error):
        produce(source, out, Work(fail_at=20, error=error))
    assert names(out) == []


def test_a_failure_before_any_tile_leaves_nothing(source, out):
    with pytest.raises(RuntimeError):
        produce(source, out, Work(fail_at=0))
    assert names(out) == []


def test_bad_input_before_the_work_leaves_kept_tiles_as_they_were(source, out):
    with pytest.raises(RuntimeError):
        produce(source, out, Work(fail_at=20))
    output = Output()
    with (
        pytest.raises(InputError),
        keptworld.resumable(keptworld.specs(output, out), keptworld.GRID, output),
    ):
        raise InputError("the file server is away")
    work = Work()
    produce(source, out, work)
    assert len(work.seen) == TILES - 20


def test_an_existing_output_is_refused_and_a_folder_of_nobody_does_not_stay(source, out):
    (out / "floats.tif").write_text("old")
    with pytest.raises(OutputError, match=r"floats\.tif: exists already; give --overwrite"):
        produce(source, out, Work())
    assert names(out) == ["floats.tif"]
    produce(source, out, Work(), Output(overwrite=True))
    assert names(out) == ["classes.tif", "classes.tif.aux.xml", "floats.tif"]


def test_two_runs_at_once_are_refused_by_name(source, out):
    held = Deposit(keptworld.specs(Output(), out)[1], keptworld.GRID)
    with pytest.raises(OutputError, match=rf"floats\.tif: process {os.getpid()} on .* is writing"):
        produce(source, out, Work())
    assert names(out) == [".floats.tif.stcli"]
    held.close(keep=False)
    assert names(out) == []


def test_a_run_killed_between_two_renames_ends_well(source, out, whole, monkeypatch):
    expected, _, _ = whole()
    publish, done = Deposit.publish, []

    def once(self, beside):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        publish(self, beside)

    monkeypatch.setattr(Deposit, "publish", once)
    with pytest.raises(KeyboardInterrupt):
        produce(source, out, Work())
    assert "classes.tif" in names(out)
    assert "floats.tif" not in names(out)
    monkeypatch.undo()
    work = Work()
    produce(source, out, work)
    assert work.seen == []
    assert content(out) == expected


def test_an_interrupt_once_all_outputs_are_there_only_tidies_up(source, out, whole, monkeypatch):
    expected, _, _ = whole()
    close, done = Deposit.close, []

    def once(self, keep):
        done.append(1)
        if len(done) == 2:
            raise KeyboardInterrupt
        close(self, keep)

    monkeypatch.setattr(Deposit, "close", once)
    produce(source, out, Work())
    assert content(out) == expected
    assert names(out) == ["classes.tif", "classes.tif.aux.xml", "floats.tif"]


def test_a_run_killed_between_legend_and_raster_ends_well(source, out, whole, monkeypatch):
    """Its own legend lies beside a name that is not there yet: it is not another's."""
    expected, _, _ = whole()
    rename = Path.replace

    def killed(file, target):
        if Path(target).name == "classes.tif":
            raise KeyboardInterrupt
        return rename(file, target)

    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda *args, **how: None)  # a kill tidies nothing
    with pytest.raises(KeyboardInterrupt):
        produce(source, out, Work())
    monkeypatch.undo()
    assert [file.name for file in out.glob("[!.]*")] == ["classes.tif.aux.xml"]
    work = Work()
    produce(source, out, work)
    assert work.seen == []
    assert content(out) == expected


def test_outputs_are_valid_and_labelled(source, out):
    produce(source, out, Work())
    for name in ("classes.tif", "floats.tif"):
        assert cog_validate(str(out / name), strict=True, quiet=True)[0]
    with rasterio.open(out / "classes.tif") as classes, rasterio.open(source) as given:
        assert (classes.read() == given.read() % 3).all()
        assert classes.colormap(1)[2] == keptworld.COLOURS[2]
        assert (classes.descriptions, classes.nodata) == (("class",), 0)
        assert (classes.tags()["TOOL"], classes.tags(1)["class_1"]) == ("stcli", "water")
        assert (classes.crs, classes.transform) == (given.crs, given.transform)
    with rasterio.open(out / "floats.tif") as floats:
        assert floats.descriptions == ("root", "seventh")
        assert np.isnan(floats.nodata)


@pytest.mark.parametrize("form", ["2", "3"])
def test_a_zarr_is_read_by_xarray_and_in_format_2_by_gdal(source, out, form):
    import xarray

    options = {"BLOCKSIZE": "40", "ZARR_FORMAT": form}
    produce(source, out, Work(), Output(driver="Zarr", creation_options=options))
    with rasterio.open(source) as dataset:
        given, profile = dataset.read(1), dataset.profile
    root = np.where(given > 0, np.sqrt(given).astype("float32"), np.nan)
    with xarray.open_zarr(out / "floats.zarr") as found:
        np.testing.assert_array_equal(found.data[0], root)
        assert (found.x[0], found.x[1]) == (500005, 500015)
        assert (found.y[0], found.y[1]) == (3999995, 3999985)
        assert found.data.attrs["long_name"] == ["root", "seventh"]
        assert "32618" in found.spatial_ref.attrs["crs_wkt"]
    with xarray.open_zarr(out / "classes.zarr", mask_and_scale=False) as found:
        np.testing.assert_array_equal(found["class"], given % 3)
        assert found["class"].attrs["flag_meanings"] == "water forest"
    if form == "2":
        with rasterio.open(out / "floats.zarr") as found:
            np.testing.assert_array_equal(found.read(1), root)
            assert (found.crs, found.transform) == (profile["crs"], profile["transform"])
            assert np.isnan(found.nodata)
            assert found.tags(2)["DIM_band_VALUE"] == "seventh"
        with rasterio.open(out / "classes.zarr") as found:
            np.testing.assert_array_equal(found.read(1), given % 3)
            assert (found.crs, found.nodata) == (profile["crs"], 0)


def test_zarr_options_and_places_that_cannot_be_are_refused(source, out):
    timed = {"COMPRESS": "ZLIB", "ZARR_FORMAT": "3"}
    for pair in ({"ZARR_FORMAT": "4"}, {"COMPRESS": "LZW"}, {"BLOCKSIZE": "x"}, {"L": "9"}, timed):
        with pytest.raises(UsageError, match=f"--co {next(iter(pair))}"):
            produce(source, out, Work(), Output(driver="Zarr", creation_options=pair))
    (out / "classes.zarr").mkdir()
    (out / "classes.zarr" / "precious").touch()
    with pytest.raises(OutputError, match="is a directory"):
        produce(source, out, Work(), replace(ZARR, overwrite=True))
    spec = keptworld.specs(ZARR, out)[0]
    with pytest.raises(OutputError, match="a Zarr is a directory"):
        refuse_output(replace(spec, path="-"))
    assert names(out) == ["classes.zarr"]


def test_a_zarr_of_other_options_is_begun_anew(source, out, whole):
    with pytest.raises(RuntimeError):
        produce(source, out, Work(fail_at=10), Output(driver="Zarr"))
    work = Work()
    produce(source, out, work, ZARR)
    assert len(work.seen) == TILES - 1
    assert content(out) == whole(ZARR)[0]


def test_a_zarr_is_overwritten_whole(source, out, whole):
    produce(source, out, Work(), Output(driver="Zarr", creation_options={"BLOCKSIZE": "200"}))
    produce(source, out, Work(), replace(ZARR, overwrite=True))
    assert content(out) == whole(ZARR)[0]


@pytest.mark.long
@pytest.mark.parametrize("output", OUTPUTS[::2], ids=IDS[::2])
def test_processes_make_the_same(source, out, whole, output):
    expected, told, tally = whole(output)
    with pytest.raises(RuntimeError):
        produce(source, out, Work(fail_at=20), output)
    found = produce(source, out, Work(), output, scheduler="processes", jobs=2)
    assert found == (told, tally)
    assert content(out) == expected


# --- shards -------------------------------------------------------------------------------------


def shards(source, out, count, output=None):
    """Run all shards; return what their sinks were told."""
    told = {}
    for number in range(1, count + 1):
        part = replace(output or Output(), shard=(number, count))
        told |= produce(source, out, Work(), part)[0]
    return told


@pytest.mark.parametrize(
    ("output", "count"),
    [(OUTPUTS[0], 1), (OUTPUTS[0], 30), (OUTPUTS[1], 2), (ZARR, 5), (PACKED, 3)],
    ids=["COG-1", "COG-30", "GTiff-2", "Zarr-5", "GTiff packed-3"],
)
def test_shards_joined_are_the_unsharded_run(source, out, whole, output, count):
    expected, told, _ = whole(output)
    assert shards(source, out, count, output) == told
    for spec in keptworld.specs(output, out):
        paths = [f"{spec.path}.shard-{n}-of-{count}" for n in range(count, 0, -1)]
        merge(paths, spec.path, RunSettings(jobs=2), output=output)
    found = content(out)
    assert {n: data for n, data in found.items() if ".shard-" not in n} == expected


def test_missing_shards_are_refused_by_name(source, out):
    shards(source, out, 4)
    base = str(out / "classes.tif")
    paths = [f"{base}.shard-{n}-of-4" for n in (1, 2, 3, 4)]
    with pytest.raises(InputError, match=r"classes\.tif\.shard-2-of-4, .*shard-3-of-4: 2 of 4 "):
        merge([paths[0], paths[3]], base, RunSettings())
    with pytest.raises(InputError, match=r"is shard 1, as .* is; name it once"):
        merge([paths[0], *paths], base, RunSettings())
    with pytest.raises(InputError, match="is no directory that --shard left"):
        merge([*paths[:3], str(source)], base, RunSettings())
    with pytest.raises(InputError, match="is of another job than"):
        merge([*paths[:3], str(out / "floats.tif.shard-4-of-4")], base, RunSettings())
    assert not Path(base).exists()
    assert not [name for name in names(out) if name.startswith(".")]


def test_a_damaged_shard_is_refused_by_name(source, out):
    shards(source, out, 2)
    base = str(out / "classes.tif")
    part = sorted(Path(f"{base}.shard-2-of-2").rglob("*.tif"))[3]
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(InputError, match=r"classes\.tif\.shard-2-of-2: tile \d+ is damaged"):
        merge([f"{base}.shard-{n}-of-2" for n in (1, 2)], base, RunSettings())
    assert not Path(base).exists()


def test_a_shard_resumes_and_is_not_overwritten_unasked(source, out):
    part = Output(shard=(2, 3))
    first, second = Work(fail_at=13), Work()
    with pytest.raises(RuntimeError):
        produce(source, out, first, part)
    produce(source, out, second, part)
    assert sorted(first.seen + second.seen) == [i for i in range(1, TILES, 3) if i != EMPTY]
    assert names(out) == ["classes.tif.shard-2-of-3", "floats.tif.shard-2-of-3"]
    with pytest.raises(OutputError, match=r"shard-2-of-3: exists already"):
        produce(source, out, Work(), part)
    produce(source, out, Work(), replace(part, overwrite=True))


def test_a_file_is_no_place_for_a_shard_on_stdout(source, out):
    output = Output(shard=(1, 2))
    spec = replace(keptworld.specs(output, out)[0], path="-")
    with pytest.raises(UsageError, match="cannot go to stdout"):
        keptworld.resumable([spec], keptworld.GRID, output).__enter__()


# --- rasters side by side -----------------------------------------------------------------------


def test_a_zarr_becomes_one_cog(source, out, whole):
    produce(source, out, Work(), ZARR)
    for name in ("classes", "floats"):
        merged = merge([str(out / f"{name}.zarr")], str(out / f"{name}.tif"), RunSettings())
        assert merged.parts == 1
        assert cog_validate(str(out / f"{name}.tif"), strict=True, quiet=True)[0]
        with rasterio.open(out / f"{name}.zarr") as zarr, rasterio.open(out / f"{name}.tif") as cog:
            np.testing.assert_array_equal(cog.read(), zarr.read())
            assert (cog.crs, cog.transform) == (zarr.crs, zarr.transform)
            names = {"classes": ("class",), "floats": ("root", "seventh")}[name]
            assert cog.descriptions == names
            np.testing.assert_equal(cog.nodata, zarr.nodata)


def cut(source, path, window):
    """Write a window of the input to a file of its own."""
    with rasterio.open(source) as dataset:
        profile = {**dataset.profile, "height": window.height, "width": window.width}
        profile["transform"] = dataset.window_transform(window)
        with rasterio.open(path, "w", **profile) as piece:
            piece.write(dataset.read(window=window))
    return str(path)


def test_pieces_of_a_raster_become_the_raster_again(source, out):
    windows = [Window(100, 0, 160, 180), Window(0, 0, 130, 80), Window(0, 60, 120, 120)]
    pieces = [cut(source, out / f"{n}.tif", w) for n, w in enumerate(windows)]
    for order in (pieces, pieces[::-1]):
        for tile_size in (None, 37):
            target = out / "joined.tif"
            settings = RunSettings(tile_size=tile_size, jobs=2)
            assert merge(order, str(target), settings, output=Output(True)).parts == 3
            with rasterio.open(target) as joined, rasterio.open(source) as given:
                np.testing.assert_array_equal(joined.read(), given.read())
                assert (joined.crs, joined.nodata) == (given.crs, given.nodata)
                assert joined.transform.almost_equals(given.transform, 1e-6)


def test_where_rasters_overlap_the_first_valid_is_on_top_and_gaps_are_nodata(out):
    def write(name, value, left, holes):
        array = np.full((1, 4, 6), value, "int16")
        array[0][holes] = -1
        transform = Affine(10, 0, left, 0, -10, 0)
        with rasterio.open(
            out / name, "w", "GTiff", 6, 4, 1, "EPSG:32618", transform, "int16", -1
        ) as dataset:
            dataset.write(array)
        return str(out / name)

    one = write("one.tif", 1, 0, np.s_[0, :])
    two = write("two.tif", 2, 40, np.s_[0, 0])
    three = write("three.tif", 3, 120, np.s_[3, :])
    merge([one, two, three], str(out / "o.tif"), RunSettings())
    with rasterio.open(out / "o.tif") as found:
        rows = found.read(1)
    assert rows[0].tolist() == [-1] * 5 + [2] * 5 + [-1, -1] + [3] * 6
    assert rows[1].tolist() == [1] * 6 + [2] * 4 + [-1, -1] + [3] * 6
    assert rows[3].tolist() == [1] * 6 + [2] * 4 + [-1] * 8


def test_rasters_that_do_not_fit_are_refused_by_name(source, out):
    def other(name, **changes):
        with rasterio.open(source) as dataset:
            profile = {**dataset.profile, **changes}
            array = np.ones((profile["count"], *dataset.shape), profile["dtype"])
        with rasterio.open(out / name, "w", **profile) as dataset:
            dataset.write(array)
        return str(out / name)

    half = keptworld.GRID.transform @ Affine.translation(0.5, 0)
    coarse = keptworld.GRID.transform @ Affine.scale(2)
    upward = keptworld.GRID.transform @ Affine.translation(0, 180) @ Affine.scale(1, -1)
    turned = keptworld.GRID.transform @ Affine.rotation(90)
    another = "its rows and columns run another way than those of .* \\(south up or turned\\); warp"
    for name, changes, words in (
        ("crs.tif", {"crs": "EPSG:32617"}, "CRS EPSG:32617 found, EPSG:32618 wanted"),
        ("bands.tif", {"count": 2}, "bands 2 found, 1 wanted"),
        ("dtype.tif", {"dtype": "int16"}, "dtype int16 found, uint16 wanted"),
        ("half.tif", {"transform": half}, "pixels off those of"),
        ("coarse.tif", {"transform": coarse}, "pixels of 20 x 20 found, 10 x 10 wanted, as"),
        ("upward.tif", {"transform": upward}, another),
        ("turned.tif", {"transform": turned}, another),
    ):
        path = other(name, **changes)
        with pytest.raises(InputError, match=words) as caught:
            merge([str(source), path], str(out / "o.tif"), RunSettings())
        assert str(caught.value).startswith(path)
    assert not (out / "o.tif").exists()


# --- kills --------------------------------------------------------------------------------------


def start(source, out, kind):
    """Start the job in a process of its own, ready to go."""
    argv = [sys.executable, keptworld.__file__, str(source), str(out), kind]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, **pipes)
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.long
@pytest.mark.parametrize("kind", KEPT)
def test_killed_and_resumed_is_uninterrupted(source, out, whole, kind):
    output = KEPT[kind]
    expected, _, _ = whole(output)
    chance = random.Random(kind)
    kills = 0
    for _ in range(3):
        process = start(source, out, kind)
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(chance.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        visible = [name for name in names(out) if not name.startswith(".")]
        if visible:  # killed while it renamed or tidied up
            assert set(content(out)) >= set(expected) or "floats" not in "".join(visible)
            break
    if set(visible) >= set(expected):  # complete, and only not tidied up: the name is taken
        output = replace(output, overwrite=True)
    produce(source, out, Work(), output)
    assert kills
    assert content(out) == expected


def test_a_full_disk_keeps_what_is_done(source, out, whole, monkeypatch):
    expected, _, _ = whole()
    write, count = Path.write_bytes, [0]

    def full(self, data):
        if self.suffix == ".tmp":
            count[0] += 1
            if count[0] > 20:
                write(self, data[:50])
                raise OSError(28, "No space left on device", str(self))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"\.tif: .*No space left on device.*bytes are free"):
        produce(source, out, Work())
    monkeypatch.undo()
    assert sorted(names(out)) == sorted(HIDDEN)
    assert not list(out.rglob("*.tmp"))
    produce(source, out, Work())
    assert content(out) == expected


def test_a_block_of_another_kind_is_a_programming_error(out):
    spec = keptworld.specs(Output(), out)[0]
    parts = Parts(out, spec, keptworld.SHAPE)
    with rasterio.Env():
        from stcli.engine.tiling import TilePlan

        tile = TilePlan(keptworld.SHAPE, 40)[0]
        with pytest.raises(ValueError, match="a block of"):
            parts.save(tile, np.zeros((1, 40, 39), "uint8"))
    assert names(out) == []


@pytest.mark.parametrize("kind", ["COG", "GTiff"])
def test_shards_become_a_netcdf(source, out, kind):
    output = KEPT[kind]
    produce(source, out, Work(), output)
    shards(source, out, 3, replace(output, overwrite=True))
    for spec in keptworld.specs(output, out):
        paths = [f"{spec.path}.shard-{n}-of-3" for n in (1, 2, 3)]
        target = spec.path.replace(".tif", ".nc")
        merge(paths, target, RunSettings(), output=Output())
        with rasterio.open(spec.path) as wanted, xarray.open_dataset(target) as found:
            names = [name for name in found.data_vars if name != "crs"]
            assert names == list(wanted.descriptions)
            cube = np.stack([found[name].values for name in names])
            pixels = wanted.read().astype(float)
            if spec.kind == "classes":
                pixels[pixels == 0] = np.nan
            np.testing.assert_array_equal(cube, pixels.astype(cube.dtype))
            if spec.kind == "classes":
                assert found["class"].attrs["flag_meanings"] == "water forest"
    paths = [f"{spec.path}.shard-{n}-of-3" for n in (1, 2)]
    with pytest.raises(InputError, match="1 of 3 shards are missing"):
        merge(paths, str(out / "none.nc"), RunSettings(), output=Output())
    with pytest.raises(UsageError, match="--co found"):
        merge(
            paths, str(out / "none.nc"), RunSettings(), output=Output(creation_options={"A": "1"})
        )
    assert not (out / "none.nc").exists()


def test_a_zarr_and_pieces_become_a_netcdf_that_is_read_as_they_are(source, out):
    produce(source, out, Work(), ZARR)
    merge([str(out / "floats.zarr")], str(out / "f.nc"), RunSettings(64), output=Output())
    with open_raster(str(out / "f.nc")) as cube, open_raster(str(out / "floats.zarr")) as store:
        window = Window(0, 0, 260, 180)
        assert cube.info.geobox == store.info.geobox
        for found, wanted in zip(cube.read(window), store.read(window), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_a_merged_netcdf_follows_the_conventions(source, out):
    merge([str(source)], str(out / "scene.nc"), RunSettings(), output=Output())
    good("check", "cf", out / "scene.nc", "-q")
