"""What each verb writes is valid to others: COG, NetCDF, and the same raster through a pipe.

The verbs are found in the command line itself (those with ``--co``): a new one fails here until
it has its line in `ORDERS`.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio
import typer
from cliworld import BANDS, call, command, good, save
from rasterio import Affine
from rasterio.transform import from_origin
from rio_cogeo import cog_validate

from stcli.cli.app import application
from stcli.cli.usage import walk

ROWS, COLS, DATES = 64, 72, 10
UTM = {"driver": "GTiff", "crs": "EPSG:32618", "transform": from_origin(500000, 4000000, 10, 10)}
#: What each verb is asked, before its output.
ORDERS = {
    "segment": "bands.tif",
    "classify": "--model model bands.tif",
    "downscale": "bands.tif",
    "conserve": "bands.tif coarse.tif",
    "noise": "--window 17 bands.tif",
    "denoise": "--window 17 --depth 2 bands.tif",
    "destripe": "bands.tif",
    "mnf": "--window 17 bands.tif",
    "whiten": "--psd-out {name}.psd.nc series.tif",
    "unwhiten": "--psd psd.nc white.tif",
    "merge": "left.tif right.tif",
}
#: Verbs whose raster is optional and needs a model that is trained for minutes: not asked here.
APART = {"classify-patches"}
#: Verbs that write NetCDF, and what from.
CUBES = {
    "conserve": ORDERS["conserve"],
    "downscale": "cube.nc",
    "whiten": "--psd-out {name}.psd.nc cube.nc",
    "unwhiten": "--psd psd.nc white.nc",
    "merge": "left.tif right.tif",
}
GDAL_CHECK = Path(
    "/usr/lib/python3/dist-packages/osgeo_utils/samples/validate_cloud_optimized_geotiff.py"
)
CHECKER = Path(sys.executable).with_name("compliance-checker")


def verbs():
    """List the commands that write rasters."""
    found = walk(typer.main.get_command(application()))
    return [" ".join(path) for path, node in found if any(p.name == "co" for p in node.params)]


@pytest.fixture(scope="module")
def box(model, tmp_path_factory):
    """A folder of inputs for every verb."""
    box = tmp_path_factory.mktemp("products")
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:ROWS, :COLS]
    plane = 1500 + 400 * np.sin(rows / 9) + 300 * np.cos(cols / 7)
    bands = (plane + rng.normal(size=(4, ROWS, COLS)) * 20).astype("float32")
    save(box / "bands.tif", bands, UTM, BANDS)
    save(box / "left.tif", bands[:, :, :40], UTM, BANDS)
    east = UTM["transform"] @ Affine.translation(40, 0)
    save(box / "right.tif", bands[:, :, 40:], UTM, BANDS, transform=east)
    means = bands.reshape(4, ROWS // 2, 2, COLS // 2, 2).mean((2, 4)) * 1.01
    half = UTM["transform"] @ Affine.scale(2)
    save(box / "coarse.tif", means, UTM, BANDS, transform=half)
    series = (plane + rng.normal(size=(DATES, ROWS, COLS)) * 20).astype("float32")
    names = [f"v 2019-01-{day:02d}" for day in range(1, DATES + 1)]
    save(box / "series.tif", series, UTM, names)
    good("whiten", box / "series.tif", box / "cube.nc", "-q")  # any CF cube will do
    for suffix in ("tif", "nc"):
        source = box / ("series.tif" if suffix == "tif" else "cube.nc")
        good("whiten", source, box / f"white.{suffix}", "--psd-out", box / f"{suffix}.psd.nc", "-q")
    shutil.copytree(model, box / "model")
    return box


def order(verb, text, out):
    """Words of a command that writes `out`."""
    psd = f"{out.suffix[1:]}.psd.nc"
    return [
        *verb.split(),
        *text.format(name=out.name).replace("psd.nc white", f"{psd} white").split(),
        out.name,
        "-q",
    ]


def test_every_verb_that_writes_rasters_is_here():
    assert set(verbs()) == set(ORDERS) | APART
    assert set(CUBES) <= set(ORDERS)


@pytest.mark.long
@pytest.mark.parametrize("verb", ORDERS)
def test_a_raster_is_a_valid_cog_to_each_validator(verb, box, monkeypatch):
    monkeypatch.chdir(box)
    out = box / f"{verb}.tif"
    good(*order(verb, ORDERS[verb], out))
    valid, errors, warnings = cog_validate(str(out), strict=True, quiet=True)
    assert valid, (errors, warnings)
    assert good("check", "cog", out, "--json").json["valid"]
    if GDAL_CHECK.exists():
        words = ["/usr/bin/python3", GDAL_CHECK, "--full-check=yes", out]
        ran = subprocess.run(words, capture_output=True, text=True)
        assert "is a valid cloud optimized GeoTIFF" in ran.stdout, ran.stdout + ran.stderr
    with rasterio.open(out) as dataset:
        assert dataset.tags()["STCLI_COMMAND"].startswith(f"stcli {verb} ")
        assert "sha256" in dataset.tags()["STCLI_INPUTS"]
        floats = all(kind.startswith("float") for kind in dataset.dtypes)
        assert dataset.nodata is not None
        assert not floats or np.isnan(dataset.nodata)


@pytest.mark.long
@pytest.mark.parametrize("verb", ORDERS)
def test_netcdf_is_clean_to_the_compliance_checker_or_refused(verb, box, monkeypatch):
    monkeypatch.chdir(box)
    out = box / f"{verb}.nc"
    result = call(*order(verb, CUBES.get(verb, ORDERS[verb]), out))
    if verb not in CUBES:
        wrote = out.exists() and out.read_bytes()[:4] in (b"\x89HDF", b"CDF\x01", b"CDF\x02")
        assert not wrote, "writes NetCDF: it belongs to CUBES"
        return
    assert result.code == 0, result.err
    with netCDF4.Dataset(out) as dataset:
        assert "stcli" in dataset.history
    if not CHECKER.exists():
        pytest.skip("compliance-checker is absent")
    ran = subprocess.run([CHECKER, "-t", "cf:1.8", str(out)], capture_output=True, text=True)
    assert "All tests passed" in ran.stdout, ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("verb", [verb for verb in ORDERS if verb not in ("conserve", "merge")])
def test_a_pipe_carries_the_same_raster(verb, box, monkeypatch):
    monkeypatch.chdir(box)
    file, piped = box / "file.tif", box / "piped.tif"
    words = order(verb, ORDERS[verb], file)
    good(*words, "--overwrite")
    source = words[-3]
    there = ["-" if word in (source, file.name) else word for word in words]
    line = f"cat {source} | {shlex.join(command(*there))} --overwrite | cat > piped.tif"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    with rasterio.open(file) as one, rasterio.open(piped) as other:
        assert other.driver == "GTiff"
        assert one.transform == other.transform
        assert np.array_equal(one.read(), other.read(), equal_nan=True)
