"""What the workflows share: places that clash, samples that no tiling moves, truth on the grid."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.windows import Window

from stcli.engine.memory import Cost
from stcli.engine.tiling import TilePlan
from stcli.errors import BudgetError, InputError, OutputError, UsageError
from stcli.settings import BandScaling, NetworkSettings, RunSettings, SlicSettings
from stcli.workflows.job import Inputs, Output, refuse_clash, silent
from stcli.workflows.landcover.assess import assess
from stcli.workflows.landcover.scenes import LabelledScene, opened
from stcli.workflows.landcover.survey import block_side
from stcli.workflows.landcover.truth import LabelSource, open_truth
from stcli.workflows.model_folder import refuse_folder
from stcli.workflows.passes import plan_first, plan_pass
from stcli.workflows.scaling import band_scaling, sample_block, sample_step, scaling_of
from stcli.workflows.segmentation.segment import segment

ROOT = Path(__file__).parents[2]
SCENE = str(ROOT / "sample_data" / "scene.tif")
LABELS = str(ROOT / "sample_data" / "labels.gpkg")


def test_a_command_is_told_without_how_its_run_took_part():
    words = ("stcli", "segment", "a b.tif", "o.tif", "--shard", "1/2", "--no-resume", "-j", "2")
    assert Output(argv=words).command == "stcli segment 'a b.tif' o.tif -j 2"
    assert Output().command == "stcli"


def test_places_clash_whatever_they_are_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.tif").write_bytes(b"")
    Path("link.tif").symlink_to("a.tif")
    Path("hard.tif").hardlink_to("a.tif")
    for name in ("a.tif", "./a.tif", "link.tif", "hard.tif", str(tmp_path / "a.tif")):
        with pytest.raises(UsageError, match="is an input and an output too"):
            refuse_clash(["b.tif", "a.tif"], [name])
    for one, other in (("o.tif", "./o.tif"), ("-", "/vsistdout/"), ("link.tif", "hard.tif")):
        with pytest.raises(UsageError, match="two outputs go there"):
            refuse_clash([], [one, other])
    Path("self.tif").symlink_to("self.tif")
    with pytest.raises(UsageError, match="-: two inputs come through stdin, one is wanted"):
        refuse_clash(["-", "a.tif", "/vsistdin/"], ["o.tif"])
    refuse_clash(["a.tif", "a.tif"], ["o.tif", "p.tif", "self.tif", "-"])


def test_what_a_vrt_is_read_from_clashes_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.tif").write_bytes(Path(SCENE).read_bytes())
    for vrt, source in (("one.vrt", "a.tif"), ("two.vrt", "one.vrt")):
        rasterio.shutil.copy(source, vrt, driver="VRT")
        with pytest.raises(UsageError, match=r"^a\.tif: is an input and"):
            refuse_clash([vrt], ["a.tif"])
    with pytest.raises(UsageError, match="is an input and an output too"):
        refuse_clash(["GTIFF_DIR:1:a.tif"], ["a.tif"])
    refuse_clash(["two.vrt"], ["o.tif"])


def test_a_clash_is_refused_before_the_input_is_touched(tmp_path):
    scene = tmp_path / "a.tif"
    scene.write_bytes(Path(SCENE).read_bytes())
    with pytest.raises(UsageError):
        segment(
            Inputs((str(scene),)), str(scene), SlicSettings(), RunSettings(), output=Output(True)
        )
    assert scene.read_bytes() == Path(SCENE).read_bytes()


def test_a_first_pass_takes_smaller_tiles_where_those_asked_for_do_not_fit(monkeypatch, caplog):
    monkeypatch.setattr("stcli.engine.memory.resident", lambda: 0)
    monkeypatch.setenv("GDAL_CACHEMAX", "0")
    asked, cost = RunSettings(256, 256 * 256 * 1000 - 1, 1), Cost(1000)
    with Inputs((SCENE,)).open() as raster:
        with pytest.raises(BudgetError):
            plan_pass(raster, cost, asked)
        assert plan_first(raster, cost, asked).budget.plan.tile_size == 192
        with pytest.raises(BudgetError):
            plan_first(raster, Cost(1000, once=asked.memory), asked)
    assert "a first pass with tiles of 256 px does not fit, it takes tiles of 192 px" in caplog.text


def test_a_budget_that_makes_a_run_long_is_told(monkeypatch, caplog):
    monkeypatch.setattr("stcli.engine.memory.resident", lambda: 0)
    monkeypatch.setenv("GDAL_CACHEMAX", "0")
    small, cost = RunSettings(None, 10_000_000, 1), Cost(1, 1000)
    with Inputs((SCENE,)).open() as raster:
        plan_pass(raster, cost, RunSettings(None, 1_000_000_000, 1), halo=200)
        plan_pass(raster, cost, RunSettings(64, 10_000_000, 1), halo=200)  # as it was asked for
        assert "is read" not in caplog.text
        found = plan_pass(raster, cost, small, halo=200).budget
    assert found.overcompute > 10
    assert f"each pixel is read {found.overcompute:.0f} times" in caplog.text


@pytest.mark.parametrize("step", [1, 3, 7])
@pytest.mark.parametrize("tile_size", [5, 16, 64])
def test_a_sample_is_the_same_for_every_tiling(step, tile_size):
    rng = np.random.default_rng(0)
    block = rng.integers(0, 1000, (2, 45, 61))
    valid = rng.random((45, 61)) > 0.3
    found = []
    for tile in TilePlan((45, 61), tile_size, halo=4):
        rows, cols = tile.read.toslices()
        found.append(sample_block(block[:, rows, cols], valid[rows, cols], tile, step))
    wanted = block[:, ::step, ::step][:, valid[::step, ::step]]
    together = np.concatenate(found, axis=1)
    assert np.array_equal(together[:, np.lexsort(together)], wanted[:, np.lexsort(wanted)])


def test_the_sample_stays_below_its_limit():
    assert sample_step((1024, 1024)) == 1
    assert sample_step((1025, 1024)) == 2
    assert (100_000 / sample_step((100_000, 100_000))) ** 2 <= 1 << 20


def test_band_scaling_is_percentiles_and_no_tiling_moves_it():
    with Inputs((SCENE,)).open() as raster:
        found = [
            band_scaling(raster, RunSettings(tile_size=size, jobs=jobs), silent)
            for size, jobs in ((0, 1), (100, 1), (100, 4))
        ]
        block, _ = raster.read(Window(0, 0, 701, 683))
    assert found[0] == found[1] == found[2]
    low, high = np.percentile(block.reshape(4, -1), (2, 98), axis=1)
    assert found[0] == BandScaling(tuple(low), tuple(high))


def test_a_flat_band_weighs_nothing_and_no_pixel_has_no_scaling():
    assert scaling_of([np.full((1, 50), 7.0)]) == BandScaling((7.0,), (8.0,))
    assert scaling_of([]) is None


def test_truth_of_a_window_is_cut_from_truth_of_the_whole():
    labels = LabelSource(LABELS, "class")
    with (
        Inputs((SCENE,)).open() as raster,
        open_truth(labels, raster, RunSettings(), silent) as truth,
    ):
        whole = truth.read(Window(0, 0, 701, 683))
        part = truth.read(Window(211, 97, 150, 201))
    assert truth.classes == ("bare soil", "built-up", "cropland", "forest", "water", "wetland")
    assert np.bincount(whole.ravel()).tolist()[1:] == [7842, 1668, 8079, 7818, 3954, 4239]
    assert np.array_equal(part, whole[97:298, 211:361])


def test_a_class_raster_is_let_go_of_with_its_scene(tmp_path):
    path = tmp_path / "classes.tif"
    with rasterio.open(SCENE) as scene:
        how = {**scene.profile, "count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", **how) as dataset:
        dataset.write(np.indices((683, 701)).sum(axis=0, keepdims=True).astype("uint8") % 3)
    scenes = [LabelledScene(Inputs((SCENE,)), (LabelSource(str(path)),))]
    with opened(scenes, RunSettings(), silent) as (scene,):
        assert scene.truth.read(Window(0, 0, 3, 1)).tolist() == [[0, 1, 2]]
        assert held(path)
    assert not held(path)


def held(path):
    """Tell whether this process holds a file open."""
    files = Path("/proc/self/fd").iterdir()
    return str(path) in {os.path.realpath(file) for file in files}


def test_a_block_of_validation_is_given_in_units_of_the_crs():
    with Inputs((SCENE,)).open() as raster:
        assert block_side(raster, 500.0) == 50
        assert block_side(raster, None) == 701 // 8
        assert block_side(raster, 0.1) == 1


def test_a_model_folder_is_refused_before_any_work(tmp_path):
    refuse_folder(tmp_path / "new", False)
    refuse_folder(tmp_path, False)
    (tmp_path / "card.json").write_text("{}")
    refuse_folder(tmp_path, True)
    with pytest.raises(OutputError, match="a model exists"):
        refuse_folder(tmp_path, False)
    with pytest.raises(OutputError, match="is a file"):
        refuse_folder(tmp_path / "card.json", True)
    with pytest.raises(OutputError, match="there is no directory"):
        refuse_folder(tmp_path / "a" / "b", True)


def test_a_scene_is_no_class_raster_to_assess():
    with pytest.raises(InputError, match="classes from 1 to 255 wanted"):
        assess(SCENE, LabelSource(SCENE), RunSettings(jobs=1))


@pytest.mark.parametrize(("window", "margin"), [(0, 0), (30, 4), (16, 8), (64, -1)])
def test_windows_that_answer_for_no_pixel_are_refused(window, margin):
    with pytest.raises(UsageError, match="wanted"):
        NetworkSettings(window=window, margin=margin)
