"""Refusals of every verb that no other test provokes: one sentence, its exit code, nothing left."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import geopandas
import netCDF4
import numpy as np
import pytest
import rasterio
from cliworld import LABELS, call, good, random_model, save
from cliworld import scene as crop
from rasterio import Affine
from rasterio.transform import from_origin
from rasterio.windows import Window
from test_cli_bad_input import content

from stcli.cli import console

ROWS, COLS = 40, 48
UTM = {"driver": "GTiff", "crs": "EPSG:32618", "transform": from_origin(500000, 4000000, 10, 10)}
DAYS = ",".join(f"2019-01-{day:02d}" for day in range(1, 5))


def cubes(folder: Path) -> None:
    """Write NetCDF files of four dates, right and wrong."""
    dates = np.arange(4.0)
    for name, times, x, unit in (
        ("cube.nc", dates, np.arange(6.0), "degrees_east"),
        ("back.nc", dates[::-1], np.arange(6.0), "degrees_east"),
        ("inches.nc", dates, np.arange(6.0), "inch"),
        ("still.nc", dates, np.full(6, np.nan), "degrees_east"),
        ("none.nc", dates, np.arange(0.0), "degrees_east"),
        ("point.nc", dates, np.arange(1.0), "degrees_east"),
    ):
        rows = 1 if name == "point.nc" else 5
        with netCDF4.Dataset(folder / name, "w") as dataset:
            for dimension, size in (("time", 4), ("lat", rows), ("lon", len(x))):
                dataset.createDimension(dimension, size)
            axis = dataset.createVariable("time", "f8", ("time",))
            axis.units = "days since 2019-01-01"
            axis[:] = times
            lat = dataset.createVariable("lat", "f8", ("lat",))
            lat.units = "degrees_north"
            lat[:] = np.arange(rows, 0.0, -1)
            lon = dataset.createVariable("lon", "f8", ("lon",))
            lon.units = unit
            lon[:] = x
            t = dataset.createVariable("t", "f4", ("time", "lat", "lon"))
            if len(x):
                t[:] = 1.5
    for name, values in (("bare.h5", np.arange(9.0)), ("one.h5", np.arange(1.0))):
        with netCDF4.Dataset(folder / name, "w") as dataset:
            dataset.createDimension("n", len(values))
            series = dataset.createVariable("strain", "f8", ("n",))
            series[:] = values
            if name == "one.h5":
                series.Xspacing = 1.0


def tables(folder: Path) -> None:
    """Write series as CSV, right and wrong."""
    lines = {
        "series.csv": ["time,a", *(f"{k},{k % 3}" for k in range(64))],
        "once.csv": ["time,a", "0,1"],
        "falling.csv": ["time,a", "1,1", "0,2", "2,1"],
        "words.csv": ["time,a", "first,1", "second,2"],
        "narrow.csv": ["time", "0", "1"],
    }
    for name, rows in lines.items():
        (folder / name).write_text("\n".join(rows) + "\n")


def rasters(folder: Path) -> None:
    """Write rasters, right and wrong."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, ROWS, COLS)).astype("float32") + 100
    save(folder / "noisy.tif", noise, UTM, ("a", "b", "c", "d"))
    save(folder / "plain.tif", np.full_like(noise, 7), UTM, ("a", "b", "c", "d"))
    save(folder / "degrees.tif", noise, UTM, crs="EPSG:4326", transform=from_origin(3, 50, 1, 1))
    turned = Affine.translation(500000, 4000000) @ Affine.rotation(20) @ Affine.scale(10, -10)
    save(folder / "turned.tif", noise, UTM, transform=turned)
    save(
        folder / "coarse.tif", noise[:, :20, :24], UTM, transform=UTM["transform"] @ Affine.scale(2)
    )
    lower = noise[:, :20, :24] - 200
    save(folder / "lower.tif", lower, UTM, transform=UTM["transform"] @ Affine.scale(2))
    save(folder / "tiny.tif", noise[:, :4, :4], UTM, ("a", "b", "c", "d"))
    labels = np.repeat(np.arange(12, dtype="int32"), 160).reshape(1, ROWS, COLS) + 1
    save(folder / "labels.tif", labels, UTM, ())
    save(folder / "below.tif", labels - 5, UTM, ())
    array, profile = crop(Window(260, 0, 96, 80))
    save(folder / "scene.tif", array, profile)
    far = np.zeros((1, 80, 96), "uint8")
    far[0, :4, :4], far[0, 60:64, 60:64] = 1, 2
    save(folder / "one.tif", far * (far == 1), profile, ())
    holed = array.copy()
    holed[:, :40, :40] = 0
    save(folder / "holed.tif", holed, profile, nodata=0)
    save(folder / "two.tif", far, profile, (), nodata=0)


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A folder of inputs; every case runs in it and must leave it as it was."""
    box = tmp_path_factory.mktemp("messages")
    cubes(box)
    tables(box)
    rasters(box)
    frame = geopandas.read_file(LABELS)
    geopandas.GeoDataFrame(frame[["class"]], geometry=list(frame.geometry)).to_file(
        box / "bare.gpkg"
    )
    good("mnf", box / "noisy.tif", box / "mnf.tif", "-q")
    with rasterio.open(box / "mnf.tif") as dataset:
        components, tags = dataset.read(), dataset.tags()
    for name, words in (("broken", dict.fromkeys(tags, "{}")), ("others", tags)):
        path = save(box / f"{name}.tif", components, UTM, ("MNF 2", "MNF 1", "x", "y"))
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(**words)
    good("noise", box / "coarse.tif", box / "coarsenoise.tif", "-q")
    random_model(box / "model")
    shutil.copytree(box / "model", box / "other")
    card = json.loads((box / "other" / "card.json").read_text())
    (box / "other" / "card.json").write_text(json.dumps({**card, "architecture": "forest"}))
    (box / "in").mkdir()
    (box / "in" / "x").mkdir()
    for path in (box / "in" / "a.tif", box / "in" / "x" / "a.tif"):
        shutil.copy(box / "tiny.tif", path)
    good("check", "cog", box / "mnf.tif", "-q")
    return box


CASES = [
    ("segment scene.tif o.tif --borders b.parquet", 2, "none is written; name one with --objects."),
    ("segment scene.tif o.zarr --of Zarr --co X=1", 2, "--co X: unknown to Zarr; ZARR_FORMAT"),
    ("segment scene.tif o.zarr --of Zarr --co BLOCKSIZE=x", 2, "=X: a number of pixels is wanted."),
    (
        "segment turned.tif o.zarr --of Zarr",
        2,
        "has no x and y for each column and row, which",
    ),
    ("segment scene.tif - --scale 5", 2, "and --objects: the labels are wanted in a file, not on"),
    (
        "segment scene.tif o.tif --scale 5 --shard 1/2 --tile-size 64",
        2,
        "--shard: not with --scale or --objects, which look at all tiles at once.",
    ),
    (
        "segment scene.tif o.zarr --scale 5 --of Zarr",
        2,
        "--of Zarr: not with --scale or --objects,",
    ),
    ("segment scene.tif o.tif --scale 5,x", 2, "--scale: 'x' found, a number wanted."),
    ("segment scene.tif o.tif --scale 5 --objects o.txt", 2, ".txt found, one of"),
    (
        "segment degrees.tif o.tif --size 99 --size-unit m2",
        3,
        "found, a projected CRS is wanted for",
    ),
    ("objects labels.tif o.gpkg --no-geometry", 2, "a table without geometry is written as .parqu"),
    (
        "objects labels.tif noisy.tif o.gpkg --index XYZZY",
        2,
        "Awesome Spectral Indices wanted; near",
    ),
    (
        "objects labels.tif noisy.tif o.gpkg --index NDVI",
        2,
        "which no band is known to be; say which",
    ),
    ("objects below.tif o.gpkg", 3, "found, labels from 1 wanted (0 for none); renumber them."),
    (
        "assess-segments labels.tif --reference labels.tif --radius -1",
        2,
        "--radius: found -1, wanted >=",
    ),
    ("mnf noisy.tif o.tif --components 9", 2, "--components: found 9, wanted 1 to 4."),
    (
        "mnf plain.tif o.tif",
        3,
        "bands a, b, c, d: no noise found (constant, or rounded), some is",
    ),
    ("mnf noisy.tif o.tif --inverse", 3, "a raster that stcli mnf wrote is wanted."),
    ("mnf broken.tif o.tif --inverse", 6, "broken.tif: its rotation is damaged ("),
    ("mnf others.tif o.tif --inverse", 6, "found, MNF 1 to at most MNF 4 in order wanted."),
    ("denoise noisy.tif o.tif --noise coarsenoise.tif", 3, "run stcli noise on it."),
    (
        "denoise plain.tif o.tif --model poisson",
        3,
        "--model poisson wants one that does; take --model",
    ),
    (
        "whiten noisy.tif o.nc",
        3,
        "noisy.tif: band a has no date; give --dates, one for each band, or leave it out by --bidx",
    ),
    (f"whiten noisy.tif o.nc --dates {DAYS[:-3]}x", 2, "found, a date such as 2019-03-01 wanted."),
    (
        "whiten noisy.tif o.nc --dates 2019-01-01",
        2,
        "--dates: 1 found, 4 wanted, one for each band.",
    ),
    ("whiten noisy.tif labels.tif o.nc --dates " + DAYS + ",2019-01-01", 3, "one for each date is"),
    ("whiten back.nc o.nc", 3, "back.nc: times do not rise; sort them first"),
    (
        "whiten noisy.tif o.tif --along space --strict",
        2,
        "go with --along time, --along space found.",
    ),
    ("whiten series.csv noisy.tif o.nc", 2, "series.csv: holds series, one such input only."),
    ("whiten once.csv o.csv", 3, "once.csv: 1 dates found, a series of several is wanted"),
    (
        "whiten falling.csv o.csv",
        3,
        "times do not rise throughout; sort them and drop doubles first",
    ),
    ("whiten words.csv o.csv", 3, "words.csv: times are neither numbers nor ISO dates ("),
    (
        "whiten narrow.csv o.csv",
        3,
        "one column only, a time and at least one series in each line is wanted; where there are "
        "no times, give --step",
    ),
    ("whiten series.csv o.csv --step 0", 2, "--step: found 0.0, wanted > 0 and finite."),
    ("whiten noisy.tif o.tif --step 1", 2, "noisy.tif is a raster, series without times are"),
    ("whiten one.h5 o.h5 --step 1", 3, "one.h5: strain has times of its own; leave --step out"),
    ("whiten series.csv -", 4, "-: series cannot go through a pipe; name a file to write"),
    ("unwhiten series.csv - --psd x.nc", 4, "-: series cannot go through a pipe; name a file"),
    ("unwhiten noisy.tif o.tif --psd plain.tif", 3, "plain.tif: is no NetCDF, or a damaged one;"),
    ("unwhiten noisy.tif o.tif --psd back.nc", 3, "back.nc: is a NetCDF without spectra; a file"),
    ("whiten series.csv o.csv -b zz", 3, "series.csv: has no series zz; choose among a"),
    ("whiten bare.h5 o.h5", 3, "strain has no times; a variable named n, or the attributes Xstart"),
    ("unwhiten series.csv o.csv", 2, "--psd: none found, the file that whiten --psd-out wrote is"),
    ("unwhiten noisy.tif o.tif --along space", 3, "as stcli whiten --along space writes them."),
    ("info inches.nc", 3, "inches.nc: coordinate lon is in 'inch'; degrees, m, km or feet are"),
    ("info still.nc", 3, "coordinate lon is not finite or does not move; evenly spaced numbers"),
    ("info none.nc", 3, "none.nc: coordinate lon is empty, pixels are wanted"),
    ("info point.nc", 3, "point.nc: is one pixel of unknown size; two along an axis, or bounds"),
    ("check seams noisy.tif --period 1", 2, "--period: found 1, wanted >= "),
    ("check georef labels.tif missing.tif", 3, "missing.tif: no such file"),
    ("check cog /vsizip/a.zip/b.tif", 3, "b.tif: a GDAL name found, a file on this machine"),
    ("check cf /vsizip/a.zip/b.nc", 3, "b.nc: a GDAL name found, a file on this machine is"),
    ("check cog noisy.tif", 7, "noisy.tif: not valid (cog): "),
    ("check agreement noisy.tif lower.tif", 7, "is allowed; stcli conserve brings them together."),
    (
        "conserve noisy.tif noisy.tif o.tif",
        3,
        "has the very grid of noisy.tif, a coarser one is wanted.",
    ),
    ("conserve noisy.tif lower.tif o.tif --conserve mult", 3, "; choose another --conserve."),
    (
        "downscale noisy.tif o.tif --method latent",
        2,
        "latent and --model go together, both or none.",
    ),
    (
        "downscale coarse.tif o.tif --factor 4 --guide noisy.tif",
        3,
        "wanted; choose another --factor.",
    ),
    ("train downscaler noisy.tif -o new --factor x", 2, "--factor: 'x' found, 2, 4 or 2,4 wanted."),
    ("assess-downscaling noisy.tif noisy.tif --factor 1", 2, "--factor: found 1, wanted 2 or more"),
    ("downscale noisy.tif o.tif --factor 2,4", 2, "2 found, one is wanted; several are for train"),
    (
        "downscale noisy.tif o.tif --method wavelet",
        2,
        "--method: found wavelet, wanted nearest, bilinear, cubic, ibp, latent.",
    ),
    (
        "denoise noisy.tif o.tif --method cubic",
        2,
        "--method: found cubic, wanted wavelet or similar to denoise.",
    ),
    (
        "noise noisy.tif o.tif --model salt",
        2,
        "--model: found salt, wanted additive, multiplicative or poisson.",
    ),
    (
        "train landcover scene.tif --labels two.tif -o new --algorithm discriminant",
        2,
        "--algorithm: found discriminant, wanted network or forest or svm or ensemble.",
    ),
    (
        "train patches scene.tif --patch 8 --labels two.tif --labels one.tif -o new",
        2,
        "--labels: 2 found, one is wanted for patches.",
    ),
    (
        "train series series.csv -o new --block 1km",
        2,
        "--block: 1000 m found; samples and patches stand in plain coordinates, a number in",
    ),
    (
        "train downscaler noisy.tif -o new --factor 2,4 --guide noisy.tif",
        2,
        "--factor (2, 4): one factor is wanted with a guide.",
    ),
    ("train downscaler tiny.tif -o new", 3, "; a larger raster or a smaller factor is wanted."),
    (
        "train landcover scene.tif --labels bare.gpkg --class-column class -o new --epochs 1",
        3,
        "bare.gpkg: has no CRS, features with a CRS are wanted; add it first, with ogr2ogr -a_srs",
    ),
    (
        "train landcover scene.tif --labels series.csv --class-column class -o new --epochs 1",
        3,
        "become points with ogr2ogr points.gpkg series.csv -oo X_POSSIBLE_NAMES=lon*",
    ),
    (
        "train landcover scene.tif --labels two.tif --class-names 1=a,1=b -o new --epochs 1",
        2,
        "--class-names: 1=a,1=b found, each value once wanted.",
    ),
    (
        "train landcover holed.tif --labels two.tif -o new --epochs 1",
        3,
        "(2), at least two are wanted; a polygon labels the pixels whose centres lie in it, and",
    ),
    ("classify scene.tif o.tif --model other", 6, "other: a model of kind 'forest' found, 'glocal"),
    ("classify scene.tif o.tif --model nothing", 6, "wanted a folder made by stcli train."),
    (
        "batch segment in/*.tif --out-dir out --name a.tif",
        2,
        "found, a name with {stem} in it wanted.",
    ),
    (
        "batch segment in/**/*.tif --out-dir out --settle 0",
        2,
        "and so would in/a.tif; run them into",
    ),
]


@pytest.mark.parametrize(("words", "code", "sentence"), CASES)
def test_a_refusal_is_one_sentence_and_leaves_nothing(words, code, sentence, box, monkeypatch):
    monkeypatch.chdir(box)
    monkeypatch.setattr(console, "_QUIET_STEP", math.inf)  # kernels may take minutes to compile
    before = content(box)
    result = call(*words.split())
    told = [line for line in result.err.splitlines() if line.startswith("stcli: ")]
    assert (result.code, len(told)) == (code, 1), result.err
    assert sentence in told[0]
    assert "a bug" not in result.err
    assert content(box) == before


def test_a_directory_that_takes_nothing(box, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode, **more: False)
    refused = call("segment", box / "scene.tif", tmp_path / "o.tif")
    assert refused.code == 4
    assert f"o.tif: the directory {tmp_path} is not writable" in refused.err
    words = ("--labels", box / "two.tif", "-o", tmp_path / "new")
    refused = call("train", "landcover", box / "scene.tif", *words)
    assert refused.code == 4
    assert f"new: the directory {tmp_path} is not writable." in refused.err
