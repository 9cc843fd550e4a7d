"""Refusals that no command line reaches by itself: of functions, closed streams, full disks."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from stcli import lock
from stcli.cli import app
from stcli.engine.run import Job, Workers, run
from stcli.engine.tiling import TilePlan
from stcli.errors import (
    BudgetError,
    CheckError,
    InputError,
    ModelError,
    OutputError,
    StcliError,
    UsageError,
)
from stcli.landcover import prediction
from stcli.landcover.accuracy.accuracy import ConfusionMatrix, stratified_accuracy
from stcli.landcover.accuracy.calibration import cross_fit
from stcli.landcover.accuracy.tempering import temperature
from stcli.landcover.network import training
from stcli.nn import backend, weights
from stcli.nn.device import resolve
from stcli.noise.space.wavelets import bank
from stcli.raster.ground import ground
from stcli.raster.identity import identify
from stcli.raster.reading import gdalsource, stdin
from stcli.raster.reading.read import open_raster
from stcli.raster.tables import features, spectra
from stcli.raster.tables.features import FORMATS, FeatureSpec
from stcli.raster.timeaxis import TimeAxis
from stcli.raster.writing import draft, hidden, stream
from stcli.raster.writing.netcdf_write import CubeSpec, refuse_cube
from stcli.settings import NoiseMapSettings, RunSettings
from stcli.workflows.doctor import Finding
from stcli.workflows.job import Inputs
from stcli.workflows.noise import unwhiten, whiten_groups
from stcli.workflows.noise.whiten_space import whiten_space
from stcli.workflows.segmentation import percentiles

TWO = ConfusionMatrix(np.eye(2, dtype=int) * 5, ("a", "b"))
BOX = GeoBox((4, 5), Affine(10, 0, 0, 0, -10, 0), "EPSG:32618")
FULL = OSError(errno.ENOSPC, "No space left on device")


def full(*words, **more):
    """Stand in for whatever writes, on a disk that is full."""
    raise FULL


def call(function, *arguments, **more):
    """Make a call for later."""
    return lambda: function(*arguments, **more)


CASES = [
    (call(ConfusionMatrix, np.eye(2, dtype=int), ("a", "a")), InputError, "each with its own name"),
    (
        call(ConfusionMatrix, np.eye(3, dtype=int), ("a", "b")),
        InputError,
        "2 integers, zero or more",
    ),
    (
        lambda: TWO + replace(TWO, classes=("a", "c")),
        InputError,
        "cannot merge counts of ('a', 'b') with those of ('a', 'c')",
    ),
    (call(stratified_accuracy, TWO, (9, 9), 1, 2), UsageError, "pixel area 1: want (0, 1) and > 0"),
    (call(stratified_accuracy, TWO, (0, 0), 1), InputError, ": want one count ≥ 0 per class, not"),
    (call(stratified_accuracy, TWO, (9, 3), 1), InputError, "want at least 2 points and no more"),
    (
        call(temperature, np.ones((2, 3)), np.array([0, 1])),
        InputError,
        "and truth (2,) found, wanted (class, sample) and (sample,) with at least one sample.",
    ),
    (
        call(temperature, np.ones((2, 3)), np.array([0, 1, 2])),
        InputError,
        "calibration: classes 0 to 2 found, wanted 0 to 1.",
    ),
    (
        call(cross_fit, np.full((2, 3), 0.5), np.array([0, 1, 0]), np.zeros(3, int)),
        InputError,
        "calibration: samples of one group found, at least two are wanted.",
    ),
    (call(resolve, "tpu"), UsageError, "--device: 'tpu' found, auto, cpu, cuda wanted."),
    (
        call(backend.choose, "fpga"),
        UsageError,
        "--scan: 'fpga' found, cpu, cuda, reference wanted.",
    ),
    (call(bank, "bior2.2"), UsageError, "--wavelet: 'bior2.2' found, an orthogonal wavelet of at"),
    (call(open_raster, []), InputError, "no input was named; give at least one raster"),
    (
        call(ground, GeoBox((4, 5), Affine.rotation(20), "EPSG:4326"), "a.tif"),
        InputError,
        "a.tif: is a rotated grid of longitudes and latitudes, of which areas are not measured",
    ),
    (
        call(
            refuse_cube,
            CubeSpec("a.nc", (), TimeAxis((0.0,), "days since 2019-01-01")),
            GeoBox((4, 5), Affine.rotation(20), "EPSG:32618"),
        ),
        OutputError,
        "a.nc: NetCDF axes cannot hold a rotated grid; write GeoTIFF",
    ),
    (
        call(identify, ["/vsicurl/http://localhost:1/a.tif"], "full"),
        InputError,
        "is no local file, whose content --fingerprint full could read; copy it here, or",
    ),
]


@pytest.mark.parametrize(("provoke", "kind", "sentence"), CASES)
def test_a_function_refuses_in_a_sentence(provoke, kind, sentence):
    with pytest.raises(kind) as refused:
        provoke()
    assert sentence in str(refused.value)


def refusal(provoke) -> str:
    with pytest.raises(StcliError) as refused:
        provoke()
    return str(refused.value)


# --- streams and disks --------------------------------------------------------------------------


def test_a_terminal_is_no_raster(monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    assert "-: stdin is a terminal; pipe a raster into it" in refusal(stdin._open)
    assert "-: stdout is a terminal; pipe the raster on" in refusal(stream.refuse_terminal)
    with monkeypatch.context() as closed:
        closed.setattr(os, "fstat", full)
        said = refusal(stdin._open)
    assert said == "-: stdin is closed; pipe a raster into it or name a file"


def test_a_file_with_its_directory_at_the_end_is_no_stream(tmp_path):
    path = tmp_path / "a.tif"
    how = {"driver": "GTiff", "width": 300, "height": 300, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", compress="deflate", **how) as dataset:
        dataset.write(np.ones((1, 300, 300), "uint8"))
    with rasterio.open(path, "r+") as dataset:  # its directory grows, and moves to the end
        dataset.update_tags(note="x" * 3000)
    assert "-: no stream can be made of this raster; name a file" in refusal(
        call(stream.send, path)
    )


def test_a_disk_that_takes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "open", full)
    said = refusal(call(draft.write_whole, str(tmp_path / "a.json"), b"x", False))
    assert said == f"{tmp_path / 'a.json'}: cannot be written (No space left on device)"
    with (
        pytest.raises(OutputError, match="make room or write elsewhere"),
        spectra._reported("s.nc"),
    ):
        raise FULL
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    said = refusal(call(hidden.make_folder, tmp_path / "a.tif"))
    assert "a.tif: nothing can be written beside it (No space left on device); choose anoth" in said
    said = refusal(call(hidden.make_folder, None))
    assert "-: no temporary directory can be made in " in said
    assert " (No space left on device); let CPL_TMPDIR name another directory" in said
    monkeypatch.setattr(os, "open", full)
    said = refusal(call(lock._taken, tmp_path / "lock", "a.tif", False))
    assert "a.tif: nothing can be written beside it (No space left on device); choose anoth" in said


def test_a_geopackage_tells_what_is_wrong_without_its_sql(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("sqlite3_exec(CREATE TABLE a (b);\nCREATE ...) failed: disk is full")

    monkeypatch.setattr(features, "_gdal", refused)
    spec = FeatureSpec(BOX)
    parts = iter([({"label": np.array([1])}, None)])
    said = refusal(call(features.write_features, tmp_path / "a.gpkg", spec, parts))
    words = "cannot be written (disk is full); make room or write elsewhere"
    assert said == f"{tmp_path / 'a.gpkg'}: {words}"


def test_a_model_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_replace", full)
    monkeypatch.setattr(weights, "item_of", lambda *words: {})
    card = SimpleNamespace(
        model_copy=lambda update: SimpleNamespace(model_dump=lambda by_alias: {})
    )
    said = refusal(call(weights.save_weights, tmp_path / "m", {}, card))
    assert said == f"{tmp_path / 'm'}: the model cannot be written (No space left on device)."
    assert list(tmp_path.iterdir()) == []


# --- models -------------------------------------------------------------------------------------


def test_weights_that_are_none(tmp_path):
    import hashlib

    (tmp_path / "weights.safetensors").write_bytes(b"no tensors")
    card = SimpleNamespace(sha256=hashlib.sha256(b"no tensors").hexdigest())
    said = refusal(call(weights.load_weights, tmp_path, card))
    assert "weights.safetensors: no safetensors file (" in said


def test_a_model_that_changes_while_it_is_used(monkeypatch):
    model = SimpleNamespace(card=SimpleNamespace(sha256="new", digest="changed"))
    monkeypatch.setattr(prediction, "load_model", lambda *arguments: model)
    with pytest.raises(ModelError, match="m: the model has changed since the run began; run it ag"):
        prediction._loaded(Path("m"), "old", "cpu", "cpu")


def test_kernels_that_are_not_there(monkeypatch):
    monkeypatch.setattr(backend, "cuda_missing", lambda: "no CUDA device is found")
    with pytest.raises(BudgetError, match="--scan cuda: no CUDA device is found; pip install"):
        backend.choose("cuda", "cuda")


# --- rasters ------------------------------------------------------------------------------------


def test_a_file_of_files_is_no_raster():
    holder = SimpleNamespace(driver="HDF5", count=0, subdatasets=["a.h5:x", "a.h5:y"])
    said = refusal(call(gdalsource._refuse, holder, "a.h5"))
    assert said == "a.h5: holds no bands of its own but a.h5:x, a.h5:y; name one of them"


def test_a_zarr_of_format_3_is_none_of_its_arrays(tmp_path):
    (tmp_path / "zarr.json").touch()
    holder = SimpleNamespace(driver="Zarr", count=0, subdatasets=[f"ZARR:{tmp_path}:/x"])
    said = refusal(call(gdalsource._refuse, holder, str(tmp_path)))
    assert f"{tmp_path}: is a Zarr of format 3, which GDAL " in said
    assert "does not read as a raster; one of format 2, a GeoTIFF or a NetCDF is wanted" in said


def test_a_vrt_whose_sources_went_is_not_called_damaged(tmp_path):
    source = tmp_path / "a.tif"
    how = {"driver": "GTiff", "width": 5, "height": 4, "count": 1, "dtype": "uint8"}
    with rasterio.open(source, "w", crs="EPSG:32618", transform=BOX.transform, **how) as dataset:
        dataset.write(np.ones((1, 4, 5), "uint8"))
    rasterio.shutil.copy(source, tmp_path / "a.vrt", driver="VRT")
    source.unlink()
    raster = open_raster(str(tmp_path / "a.vrt"))
    said = refusal(call(raster.read, Window(0, 0, 5, 4)))
    assert "a.vrt: rows 0 to 4 cannot be read (" in said
    assert "No such file or directory); a file that it is made of is not there, put it back" in said


def test_ground_control_points_are_no_transform():
    found = SimpleNamespace(
        driver="GTiff",
        count=1,
        dtypes=["uint8"],
        transform=Affine.identity(),
        gcps=([1, 2, 3], None),
        rpcs=None,
    )
    said = refusal(call(gdalsource._refuse, found, "a.tif"))
    assert (
        "a.tif: has 3 ground control points and no affine transform, a georeferenced grid" in said
    )


def test_a_crs_that_nobody_knows():
    odd = SimpleNamespace(
        driver="GTiff",
        count=1,
        dtypes=["uint8"],
        colorinterp=[None],
        shape=(2, 2),
        transform=Affine.identity(),
        crs="LOCAL[what",
        gcps=([], None),
        rpcs=None,
    )
    said = refusal(call(gdalsource.describe, odd, "a.tif"))
    assert "a.tif: its CRS cannot be understood (" in said
    assert "assign a standard one, for example with gdal_edit.py -a_srs" in said


# --- workflows ----------------------------------------------------------------------------------


def test_an_object_larger_than_memory():
    said = refusal(call(percentiles._shares, np.array([10**9]), 100, RunSettings(memory=10**6)))
    assert "memory: percentiles of an object of 1000000000 pixels need 100000 MB, 0 MB are" in said


def test_labels_that_leave_a_side_empty():
    nothing = [SimpleNamespace(truth=np.zeros((2, 2)))]
    said = refusal(call(training._check, SimpleNamespace(train=nothing, validation=nothing)))
    assert "the labels leave no pixel for training; label more places, or choose smaller bl" in said


def test_noise_that_whiten_does_not_know(tmp_path):
    path = tmp_path / "a.tif"
    how = {"driver": "GTiff", "width": 9, "height": 9, "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", transform=BOX.transform, crs="EPSG:32618", **how) as dataset:
        dataset.write(np.ones((1, 9, 9), "float32"))
    speckle = NoiseMapSettings(model="multiplicative")
    said = refusal(
        call(whiten_space, Inputs((str(path),)), str(tmp_path / "o.tif"), speckle, RunSettings())
    )
    assert said == "--model: multiplicative found, whiten wants additive noise."


def test_spectra_of_other_dates_or_bands():
    layout = SimpleNamespace(
        samples=40, step=6.0, time_unit="d", share=8, bands=("a",), shape=(4, 5), first=(0, 0)
    )
    said = refusal(call(whiten_groups.places_of, np.arange(9.0), layout, "s.nc"))
    assert said.startswith("s.nc: was made for series of 40 places 6 d apart, other dates found;")
    said = refusal(
        call(
            unwhiten._refuse_others,
            layout,
            ("b",),
            SimpleNamespace(geobox=BOX, shape=(4, 5)),
            "s.nc",
        )
    )
    assert "these are ('b',); unwhiten what was whitened with it" in said


# --- schedulers ---------------------------------------------------------------------------------


class Whole:
    """A source of ones."""

    def read(self, window):
        shape = (int(window.height), int(window.width))
        return np.ones((1, *shape)), np.ones(shape, bool)


def test_a_step_that_cannot_travel():
    job = Job(
        TilePlan((8, 8), 4), Whole(), lambda block, valid, where: 1, lambda tile, result: None
    )
    said = refusal(call(run, job, Workers("processes", 2)))
    assert "--scheduler processes: this step cannot leave its process (" in said


def test_workers_that_are_others():
    from stcli.engine import cluster

    def unknown(*_):
        raise ModuleNotFoundError("No module named 'stcli'")

    client = SimpleNamespace(run=unknown, register_plugin=unknown)
    said = refusal(call(cluster._refuse_others, client))
    assert "--scheduler: stcli does not run on the workers (No module named 'stcli'); insta" in said
    client.run = lambda function: {"tcp://a:1": "0.0.1"}
    said = refusal(call(cluster._refuse_others, client))
    assert "--scheduler: the worker tcp://a:1 has stcli 0.0.1, " in said
    client.run = lambda function: {}
    said = refusal(lambda: cluster._sent(client, None, False).__enter__())
    assert "--scheduler: this step cannot be sent to the workers (" in said


# --- the last word of the command line ----------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "code", "sentence"),
    [
        (RuntimeError("odd"), 1, "a bug, RuntimeError: odd (-v shows where)."),
        (MemoryError(), 5, "memory ran out; give a smaller --memory or --tile-size."),
        (KeyboardInterrupt(), 130, "interrupted; no output was written."),
        (
            OSError(errno.ENOSPC, "full", "o.tif"),
            4,
            "o.tif: no space is left to write it; free some",
        ),
        (
            OSError(errno.ENAMETOOLONG, "long", f"out/{'x' * 250}.tif"),
            2,
            f"{'x' * 80}…: this name is too long for a file, a shorter one is wanted; files that "
            "belong to an output have its name and some letters more.",
        ),
    ],
)
def test_what_nobody_expected_has_a_sentence(raised, code, sentence, monkeypatch, capsys):
    def broken(*words, **more):
        raise raised

    monkeypatch.setattr("stcli.workflows.files.info.info", broken, raising=False)
    monkeypatch.setattr("stcli.workflows.doctor.doctor", broken)
    assert app.main(["doctor"]) == code
    assert sentence in capsys.readouterr().err


def test_a_machine_that_cannot_run_the_main_job(monkeypatch, capsys):
    ill = (Finding("GDAL", "missing", True, "install it"),)
    monkeypatch.setattr("stcli.workflows.doctor.doctor", lambda: ill)
    assert app.main(["doctor"]) == CheckError.exit_code
    assert "doctor: the main job cannot run here; see the fixes above." in capsys.readouterr().err


def test_a_kind_of_model_that_is_not_known(monkeypatch):
    monkeypatch.setattr(prediction, "load_card", lambda path: SimpleNamespace(architecture="tree"))
    said = refusal(call(prediction.load_model, Path("m")))
    assert said.startswith("m: a model of kind 'tree' found, ")
    assert ".txt" not in FORMATS
