"""Cubes as NetCDF: what is written is read back, on every grid, and failures leave nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio import Affine
from rasterio.windows import Window

from stcli.errors import OutputError
from stcli.raster.info import KEPT
from stcli.raster.reading.read import open_raster
from stcli.raster.timeaxis import TimeAxis
from stcli.raster.writing.netcdf_write import CubeBand, CubeSpec, create_cube

MONTHS = ((0.0, 30.0), (30.0, 60.0), (60.0, 90.0))
TIMES = TimeAxis((0.0, 30.0, 60.0), "days since 2001-01-01", "360_day", bounds=MONTHS)
GRIDS = {
    "utm": ("EPSG:32618", Affine(10, 0, 500000, 0, -10, 4e6)),
    "geographic": ("EPSG:4326", Affine(1 / 24, 0, -100, 0, -1 / 24, 40)),
    "lambert": (
        "+proj=lcc +lat_1=38.5 +lat_2=38.5 +lon_0=262.5 +R=6371229",
        Affine(3000, 0, 0, 0, -3000, 0),
    ),
    "kilometres": (
        "+proj=lcc +lat_1=30 +lat_2=60 +lat_0=45 +lon_0=10 +units=km",
        Affine(3, 0, 300, 0, -3, 600),
    ),
    "feet": ("EPSG:2229", Affine(10, 0, 6e6, 0, -10, 2e6)),
    "turned": (
        CRS.from_cf(
            {
                "grid_mapping_name": "rotated_latitude_longitude",
                "grid_north_pole_latitude": 39.25,
                "grid_north_pole_longitude": -162.0,
            }
        ).to_wkt(),
        Affine(0.11, 0, -8, 0, -0.11, 5),
    ),
    "none": (None, Affine(1, 0, 0, 0, -1, 0)),
}
BANDS = (CubeBand("red", units="K"), CubeBand("blue", "int16", -1))
CORES = [Window(0, 0, 31, 9), Window(0, 9, 11, 8), Window(11, 9, 20, 8)]


def cube(path, **more):
    return CubeSpec(str(path), BANDS, TIMES, attrs={"history": "before"}, command="now", **more)


def values():
    array = np.random.default_rng(0).integers(0, 99, (3, 2, 17, 31)).astype("float32")
    array[1, 0, 2:5] = np.nan
    array[1, 1, 2:5] = -1
    return array


def write(spec, box, array):
    with create_cube(spec, box) as writer:
        for core in CORES:
            rows, cols = core.toslices()
            writer.write(core, array[:, :, rows, cols])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("geographic", {"lat": "latitude degrees_north", "lon": "longitude degrees_east"}),
        ("turned", {"rlat": "grid_latitude degrees", "rlon": "grid_longitude degrees"}),
        ("kilometres", {"y": "projection_y_coordinate km", "x": "projection_x_coordinate km"}),
    ],
)
def test_coordinates_say_what_they_are(name, told, tmp_path):
    crs, transform = GRIDS[name]
    write(cube(tmp_path / "a.nc"), GeoBox((17, 31), transform, crs), values())
    with xr.open_dataset(tmp_path / "a.nc") as dataset:
        axes = {key: dataset[key].attrs for key in told}
    assert {key: f"{a['standard_name']} {a['units']}" for key, a in axes.items()} == told


def test_values_of_a_south_up_grid_stay_at_their_coordinates(tmp_path):
    box = GeoBox((4, 3), Affine(30, 0, 500000, 0, 30, 4e6), "EPSG:32618")
    north = box.transform.f + 30 * (np.arange(4) + 0.5)
    array = np.repeat(north[:, None], 3, axis=1).astype("float32")[None]
    with create_cube(CubeSpec(str(tmp_path / "a.nc"), BANDS[:1]), box) as writer:
        writer.write(Window(0, 0, 3, 4), array)
    with xr.open_dataset(tmp_path / "a.nc") as dataset:
        assert np.array_equal(dataset.red.sel(x=500045), dataset.y)
    with open_raster(str(tmp_path / "a.nc")) as raster:
        block, _ = raster.read(Window(0, 0, 3, 4))
        assert raster.info.geobox.transform == Affine(30, 0, 500000, 0, -30, 4e6 + 120)
    assert np.array_equal(block, array[:, ::-1])


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_one_row_or_column_keeps_the_sides_of_its_pixels(shape, tmp_path):
    box = GeoBox(shape, Affine(30, 0, 500000, 0, -60, 4e6), "EPSG:32618")
    with create_cube(CubeSpec(str(tmp_path / "a.nc"), BANDS[:1]), box) as writer:
        writer.write(Window(0, 0, shape[1], shape[0]), np.ones((1, *shape), "float32"))
    with open_raster(str(tmp_path / "a.nc")) as raster:
        assert raster.info.geobox == box


@pytest.mark.parametrize("name", GRIDS)
def test_a_cube_is_read_back(name, tmp_path):
    crs, transform = GRIDS[name]
    box, array = GeoBox((17, 31), transform, crs), values()
    write(cube(tmp_path / "a.nc"), box, array)
    with open_raster(str(tmp_path / "a.nc")) as raster:
        assert raster.info.geobox.transform == transform
        assert raster.info.geobox.crs == box.crs
        assert raster.info.times == ("2001-01-01", "2001-02-01", "2001-03-01")
        block, valid = raster.read(Window(0, 0, 31, 17))
    expected = np.isfinite(array[:, 0]).all(axis=0)
    assert np.array_equal(valid, expected)
    wanted = np.moveaxis(array, 1, 0).reshape(6, 17, 31)
    assert np.array_equal(block[:, valid], wanted[:, valid])
    with netCDF4.Dataset(tmp_path / "a.nc") as dataset:
        assert dataset.history == "now\nbefore"
        assert dataset["time"].calendar == "360_day"
        assert dataset["blue"].dtype == np.int16
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


@pytest.mark.parametrize("name", ["utm", "geographic", "lambert"])
def test_the_conventions_are_kept(name, tmp_path):
    crs, transform = GRIDS[name]
    write(cube(tmp_path / "a.nc", edges=True), GeoBox((17, 31), transform, crs), values())
    tool = Path(sys.executable).with_name("compliance-checker")
    if not tool.exists():
        pytest.skip("compliance-checker is absent")
    ran = subprocess.run(
        [tool, "-t", "cf:1.8", str(tmp_path / "a.nc")], capture_output=True, text=True
    )
    assert "All tests passed" in ran.stdout, ran.stdout


def test_bounds_are_those_of_the_grid_and_of_the_times(tmp_path):
    box = GeoBox((17, 31), GRIDS["geographic"][1], "EPSG:4326")
    write(cube(tmp_path / "a.nc", edges=True), box, values())
    write(cube(tmp_path / "b.nc"), box, values())
    with xr.open_dataset(tmp_path / "a.nc", decode_times=False) as found:
        assert [found[name].attrs["bounds"] for name in ("time", "lat", "lon")] == [
            *("time_bnds", "lat_bnds", "lon_bnds"),
        ]
        assert np.array_equal(found.time_bnds, MONTHS)
        for name in ("lat", "lon"):
            edges = found[f"{name}_bnds"].values
            assert np.array_equal(edges[1:, 0], edges[:-1, 1])
            assert np.allclose(edges.mean(axis=1), found[name], rtol=0, atol=1e-12)
        assert found.lon_bnds[0, 0] == -100
        assert found.lat_bnds[0, 0] == 40
    with netCDF4.Dataset(tmp_path / "b.nc") as plain:
        assert "lat_bnds" not in plain.variables
        assert "bounds" not in plain["lat"].ncattrs()


def test_without_a_time_axis(tmp_path):
    box = GeoBox((17, 31), Affine(1, 0, 0, 0, -1, 0), "EPSG:32618")
    spec = CubeSpec(str(tmp_path / "a.nc"), (CubeBand("v", "float64"),))
    array = np.arange(17 * 31.0).reshape(1, 17, 31)
    with create_cube(spec, box) as writer:
        writer.write(Window(0, 0, 31, 17), array)
    with open_raster(spec.path) as raster:
        assert np.array_equal(raster.read(Window(0, 0, 31, 17))[0], array)


def test_some_times_at_a_time_and_pixels_never_written(tmp_path):
    box = GeoBox((17, 31), Affine(1, 0, 0, 0, -1, 0), "EPSG:32618")
    array = values()
    with create_cube(cube(tmp_path / "a.nc"), box) as writer:
        for t in range(2):
            writer.write(CORES[0], array[t : t + 1, :, :9], slice(t, t + 1))
    with netCDF4.Dataset(tmp_path / "a.nc") as dataset:
        dataset.set_auto_mask(False)
        assert np.array_equal(dataset["red"][:2, :9], array[:2, 0, :9], equal_nan=True)
        assert np.isnan(dataset["red"][2]).all()
        assert (dataset["blue"][:, 9:] == -1).all()


def test_what_is_kept_of_chunks_does_not_grow_with_the_bands(tmp_path):
    bands = tuple(CubeBand(f"b{k}") for k in range(12))
    box = GeoBox((17, 31), Affine(1, 0, 0, 0, -1, 0), "EPSG:32618")
    with create_cube(CubeSpec(str(tmp_path / "a.nc"), bands), box) as writer:
        kept = [writer._dataset[band.name].get_var_chunk_cache()[0] for band in bands]
        assert kept == [KEPT // 12] * 12


def test_an_error_leaves_nothing(tmp_path):
    box = GeoBox((17, 31), Affine(1, 0, 0, 0, -1, 0), "EPSG:32618")
    with pytest.raises(KeyError), create_cube(cube(tmp_path / "a.nc"), box):
        raise KeyError
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.nc").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        write(cube(tmp_path / "a.nc"), box, values())
    assert (tmp_path / "a.nc").read_bytes() == b"mine"
    write(cube(tmp_path / "a.nc", overwrite=True), box, values())
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_a_rotated_grid_and_a_wrong_block_are_refused(tmp_path):
    turned = GeoBox((17, 31), Affine(1, 1, 0, 1, -1, 0), "EPSG:32618")
    with pytest.raises(OutputError, match="rotated"), create_cube(cube(tmp_path / "a.nc"), turned):
        pass
    box = GeoBox((17, 31), Affine(1, 0, 0, 0, -1, 0), "EPSG:32618")
    with (
        pytest.raises(ValueError, match="wanted"),
        create_cube(cube(tmp_path / "a.nc"), box) as writer,
    ):
        writer.write(CORES[0], np.zeros((3, 1, 9, 31), "float32"))
    assert not list(tmp_path.iterdir())
