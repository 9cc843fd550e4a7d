"""The checks: what is valid, what is not, and agreement with the validators of others."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from cliworld import CUBE, call, good, save
from cliworld import scene as crop
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.windows import Window

ARRAY, PROFILE = crop(Window(0, 0, 700, 680))
GDAL_CHECK = Path(
    "/usr/lib/python3/dist-packages/osgeo_utils/samples/validate_cloud_optimized_geotiff.py"
)


def wide(path, **how):
    """Write a raster of one band, 1100 pixels wide."""
    band = np.tile(ARRAY[:1], (1, 1, 2))[:, :, :1100]
    return save(path, np.ascontiguousarray(band), PROFILE, **how)


def cog(folder, source, **how):
    path = folder / "cog.tif"
    rasterio.shutil.copy(source, path, driver="COG", BLOCKSIZE=256, **how)
    return path


def plain(folder, source):
    return Path(source)


def tiled_without_overviews(folder, source):
    path = folder / "tiled.tif"
    rasterio.shutil.copy(source, path, driver="GTiff", TILED="YES", COMPRESS="LZW")
    return path


def overviews_last(folder, source):
    path = tiled_without_overviews(folder, source)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    return path


def overviews_beside(folder, source):
    path = tiled_without_overviews(folder, source)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    assert path.with_name("tiled.tif.ovr").exists()
    return path


def changed_in_place(folder, source):
    path = cog(folder, source, COMPRESS="NONE")
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(NOTE="changed" * 50)
    return path


def masked(folder, source):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = folder / "masked.tif"
        shutil.copy(source, path)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.arange(dataset.width) % 3 > 0 * np.ones(dataset.shape, bool))
        return cog(folder, path, COMPRESS="DEFLATE")


def big(folder, source):
    return cog(folder, source, BIGTIFF="YES", COMPRESS="ZSTD")


MAKERS = {
    cog: True,
    big: True,
    masked: True,
    plain: False,
    tiled_without_overviews: True,
    overviews_last: False,
    overviews_beside: False,
    changed_in_place: False,
}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_cog_agrees_with_both_validators(make, tmp_path):
    path = make(tmp_path, wide(tmp_path / "a.tif"))
    result = call("check", "cog", path, "--json")
    valid = MAKERS[make]
    assert result.code == (0 if valid else 7), result.err
    (found,) = result.json["files"]
    assert found["valid"] == valid
    assert bool(found["errors"]) != valid
    if importlib.util.find_spec("rio_cogeo"):
        from rio_cogeo import cog_validate

        assert cog_validate(path, quiet=True)[0] == valid
    if GDAL_CHECK.exists():
        done = subprocess.run(
            ["/usr/bin/python3", GDAL_CHECK, "-q", "--full-check=yes", path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == valid, done.stdout + done.stderr


def test_what_stcli_writes_is_a_valid_cog(scene, model, tmp_path):
    good("classify", scene, tmp_path / "c.tif", "--model", model, "--proba", tmp_path / "p.tif")
    assert good("check", "cog", tmp_path / "c.tif", tmp_path / "p.tif").out.count(": valid") == 2


def test_a_flipped_byte_in_a_leader_is_seen(tmp_path):
    path = cog(tmp_path, wide(tmp_path / "a.tif"), COMPRESS="DEFLATE")
    (found,) = good("check", "cog", path, "--json").json["files"]
    data = bytearray(path.read_bytes())
    data[found["levels"][0]["first_block"] - 4] ^= 1
    path.write_bytes(data)
    result = call("check", "cog", path)
    assert result.code == 7
    assert "1 blocks do not stand as its structural metadata say" in result.out
    path.write_bytes(data[: len(data) // 2])
    assert "blocks end at byte" in call("check", "cog", path).out


def test_exit_codes_tell_not_valid_from_unreadable(scene, tmp_path):
    (tmp_path / "text.tif").write_text("no raster")
    whole = tmp_path / "s.tif"
    good("segment", scene, whole, "-q")
    assert call("check", "cog", whole, "-q").code == 0
    unreadable = call("check", "cog", whole, tmp_path / "text.tif")
    assert unreadable.code == 3
    assert "text.tif: is no TIFF file" in unreadable.err
    bad = wide(tmp_path / "bad.tif")
    mixed = call("check", "cog", bad, whole, tmp_path / "text.tif", "--json")
    assert mixed.code == 7
    assert [f["valid"] for f in mixed.json["files"]] == [False, True, None]
    assert json.loads(mixed.err)["error"]["exit_code"] == 7


# --- CF -----------------------------------------------------------------------------------------


def cube(path, change):
    dataset = xr.open_dataset(CUBE, decode_cf=False).load()
    dataset = change(dataset) or dataset
    dataset.to_netcdf(path)
    return path


def no_conventions(dataset):
    del dataset.attrs["Conventions"]


def bad_time(dataset):
    dataset["time"].attrs["units"] = "days after 2020-01-01"


def no_mapping(dataset):
    return dataset.drop_vars("crs")


def bad_axis(dataset):
    dataset["x"].attrs["axis"] = "E"


def unordered(dataset):
    values = dataset["y"].values.copy()
    values[:2] = values[1::-1]
    return dataset.assign_coords(y=("y", values, dataset["y"].attrs))


def bad_calendar(dataset):
    dataset["time"].attrs["calendar"] = "lunar"


def bad_valid_range(dataset):
    dataset["B04"].attrs["valid_range"] = np.array([0.0, 1.0])


def bad_mapping_name(dataset):
    dataset["crs"].attrs["grid_mapping_name"] = "my_projection"


def bad_unit(dataset):
    dataset["y"].attrs |= {"standard_name": "latitude", "units": "deg"}


DIRTY = {
    bad_unit: "units are 'deg', degrees_north wanted (4)",
    no_conventions: "Conventions is ''",
    bad_time: "units are 'days after",
    no_mapping: "grid_mapping crs is absent",
    bad_axis: "axis is 'E'",
    unordered: "neither rise nor fall",
    bad_calendar: "calendar is 'lunar'",
    bad_valid_range: "valid_range is float64",
    bad_mapping_name: "no grid mapping 'my_projection'",
}


def compliance(path):
    """Ask the IOOS compliance checker: is it free of errors?"""
    tool = Path(sys.executable).parent / "compliance-checker"
    if not tool.exists():
        return None
    how = ["-t", "cf:1.8", "-f", "json_new", "-o", "-", str(path)]
    done = subprocess.run([tool, *how], capture_output=True, text=True, check=False)
    (report,) = json.loads(done.stdout).values()
    return not report["cf:1.8"]["high_priorities"] or all(
        not entry["msgs"] for entry in report["cf:1.8"]["high_priorities"]
    )


def test_the_sample_cube_is_valid_cf():
    assert good("check", "cf", CUBE).out == f"{CUBE}: valid\n"


@pytest.mark.parametrize("change", DIRTY, ids=lambda change: change.__name__)
def test_what_is_not_cf_is_named(change, tmp_path):
    result = call("check", "cf", cube(tmp_path / "a.nc", change))
    assert result.code == 7
    assert DIRTY[change] in result.out


@pytest.mark.slow
def test_cf_agrees_with_the_compliance_checker(tmp_path):
    if compliance(CUBE) is None:
        pytest.skip("compliance-checker is not installed")
    assert compliance(CUBE)
    for change in DIRTY:
        assert not compliance(cube(tmp_path / f"{change.__name__}.nc", change)), change.__name__


def test_cf_wants_netcdf(scene):
    result = call("check", "cf", scene)
    assert result.code == 3
    assert "cannot be read as NetCDF" in result.err


# --- georeferencing -----------------------------------------------------------------------------

SMALL = ARRAY[:1, :40, :50]
PLACES = [
    ({}, None),
    ({"crs": None}, "it has no CRS"),
    ({"transform": rasterio.Affine.identity()}, "it has no transform"),
    ({"crs": "EPSG:4326", "transform": from_origin(5, 95, 0.1, 0.1)}, "beyond a pole"),
    ({"crs": "EPSG:4326", "transform": from_origin(5e5, 50, 0.1, 0.1)}, "longitudes run from"),
    ({"crs": "EPSG:32618", "transform": from_origin(5e5, -3e6, 10, 10)}, "its CRS is made for"),
    ({"crs": "EPSG:32618", "transform": from_origin(4e6, 3e6, 10, 10)}, "its CRS is made for"),
]


@pytest.mark.parametrize(("how", "sentence"), PLACES)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_georeferencing(how, sentence, tmp_path):
    path = save(tmp_path / "a.tif", SMALL, PROFILE, **how)
    result = call("check", "georef", path)
    assert result.code == (0 if sentence is None else 7)
    assert sentence is None or sentence in result.out


def test_odd_grids_are_warned_of(tmp_path):
    t = PROFILE["transform"]
    for transform, sentence in (
        (t @ rasterio.Affine.rotation(20), "its grid is rotated"),
        (t @ rasterio.Affine.scale(1, 2), "its pixels are not square"),
        (t @ rasterio.Affine.scale(1, -1), "from south to north"),
    ):
        path = save(tmp_path / "a.tif", SMALL, PROFILE, transform=transform)
        assert sentence in good("check", "georef", path).out


def test_like_wants_one_grid(scene, tmp_path):
    good("segment", scene, tmp_path / "s.tif", "-q")
    good("check", "georef", tmp_path / "s.tif", "--like", scene)
    other = save(tmp_path / "o.tif", SMALL, PROFILE)
    result = call("check", "georef", other, "--like", scene)
    assert result.code == 7
    assert f"it is not on the grid of {scene}" in result.out


def test_a_grid_that_cannot_be_read_is_no_fault_of_the_files(scene, tmp_path):
    result = call("check", "georef", scene, "--like", tmp_path / "no.tif", "--json")
    assert (result.code, result.out) == (3, "")
    assert "no.tif: no such file" in result.err


# --- seams --------------------------------------------------------------------------------------


def test_planted_seams_are_found_with_their_period_and_offset(tmp_path):
    rows, cols = (np.arange(n) for n in ARRAY.shape[1:])
    tiles = np.random.default_rng(3).normal(0, 60, (9, 9))
    steps = tiles[(rows + 30)[:, None] // 100, (cols + 75) // 100]
    path = save(tmp_path / "a.tif", (ARRAY[:1] + steps).astype("float32"), PROFILE)
    clean = save(tmp_path / "clean.tif", ARRAY[:1], PROFILE)
    assert call("check", "seams", clean).code == 0
    result = call("check", "seams", path, "--json")
    assert result.code == 7
    (found,) = result.json["files"]
    assert (found["period"], found["offset"]) == (100, {"row": 70, "col": 25})
    assert found["score"] >= 3
    assert found["excess"] > 0
    for how in (("--tile-size", "128"), ("--tile-size", "0", "-j", "1"), ("-j", "2")):
        (other,) = call("check", "seams", path, "--json", *how).json["files"]
        assert other == found
    assert call("check", "seams", path, "--period", 100).code == 7
    assert call("check", "seams", path, "--threshold", 99).code == 0


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--period", 3, "--period: found 3, wanted >= 32 pixels."),
        ("--period", 10**6, "--period: found 1000000, at most "),
        ("--threshold", "nan", "--threshold: found nan, wanted > 0 and finite."),
        ("--threshold", "inf", "--threshold: found inf, wanted > 0 and finite."),
        ("--threshold", 0, "--threshold: found 0.0, wanted > 0 and finite."),
        ("--threshold", -1, "--threshold: found -1.0, wanted > 0 and finite."),
    ],
)
def test_seams_options_are_checked(option, value, words, tmp_path):
    result = call("check", "seams", save(tmp_path / "a.tif", ARRAY[:1], PROFILE), option, value)
    assert (result.code, result.out) == (2, "")
    assert words in result.err


def test_a_raster_without_a_value_cannot_be_looked_at_for_seams(tmp_path):
    path = save(tmp_path / "a.tif", np.zeros_like(ARRAY[:1]), PROFILE, nodata=0)
    result = call("check", "seams", path)
    assert (result.code, "no valid pixel found, at least one is wanted" in result.err) == (3, True)


def test_what_stcli_classifies_has_no_seams(scene, model, tmp_path):
    good("classify", scene, tmp_path / "c.tif", "--model", model, "--tile-size", 48, "-q")
    assert call("check", "seams", tmp_path / "c.tif").code == 0
