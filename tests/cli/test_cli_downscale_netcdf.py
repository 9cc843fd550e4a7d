"""`downscale` of NetCDF: variables, times, coordinates and attributes of the input, finer."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import xarray as xr
from cliworld import CUBE, REAL, call, good, read, save
from rasterio import Affine

from stcli.downscaling.coarsen import block_mean
from stcli.raster.reading.read import open_raster

HRRR = REAL / "hrrr-fields" / "tmp2m.nc"


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    path = tmp_path_factory.mktemp("fine") / "fine.nc"
    good("downscale", CUBE, path, "--factor", 2)
    return path


def test_variables_times_and_attributes_are_kept(fine):
    with xr.open_dataset(CUBE) as before, xr.open_dataset(fine) as after:
        assert set(after.data_vars) - {"crs"} == {"B04", "B08"}
        assert after.B04.dims == ("time", "y", "x")
        assert np.array_equal(after.time.values, before.time.values)
        for key in ("standard_name", "long_name", "units"):
            assert after.B04.attrs[key] == before.B04.attrs[key]
        for key in ("title", "license", "institution"):
            assert after.attrs[key] == before.attrs[key]
        assert after.attrs["history"].endswith(before.attrs["history"])
        assert "downscale" in after.attrs["history"].splitlines()[0]
        assert after.attrs["stcli_method"] == "ibp"


def test_coordinates_are_refined_and_every_step_is_conserved(fine):
    with xr.open_dataset(CUBE) as before, xr.open_dataset(fine) as after:
        assert np.allclose(block_mean(after.x.values.repeat(2).reshape(-1, 2).T, 2), before.x)
        for name in ("B04", "B08"):
            means = block_mean(after[name].values, 2)
            assert np.allclose(means, before[name].values, rtol=1e-6, equal_nan=True)
    with open_raster(str(CUBE)) as coarse, open_raster(str(fine)) as found:
        wanted = coarse.info.geobox.transform @ Affine.scale(0.5)
        assert found.info.geobox.transform == wanted
        assert found.info.geobox.crs == coarse.info.geobox.crs
    assert call("check", "agreement", fine, CUBE).code == 0


def test_stored_times_keep_their_numbers_units_and_calendar(fine):
    with netCDF4.Dataset(CUBE) as before, netCDF4.Dataset(fine) as after:
        assert np.array_equal(before["time"][:], after["time"][:])
        assert after["time"].units == before["time"].units


def test_geotiff_and_netcdf_hold_the_same_values(fine, tmp_path):
    good("downscale", CUBE, tmp_path / "fine.tif", "--factor", 2)
    found = read(tmp_path / "fine.tif")
    with xr.open_dataset(fine) as cube:
        both = np.concatenate([cube[name].values for name in ("B04", "B08")])
    assert np.array_equal(found, both, equal_nan=True)


def test_chosen_bands_of_unlike_times_become_variables(tmp_path):
    bands = ("-b", "B04@2021-01-14,B08@2021-03-02")
    told = good("downscale", CUBE, tmp_path / "o.nc", *bands)
    assert "without a time axis" in told.err
    with xr.open_dataset(tmp_path / "o.nc") as found:
        assert set(found.data_vars) - {"crs"} == {"B04_2021_01_14", "B08_2021_03_02"}
    good("downscale", CUBE, tmp_path / "p.nc", "-b", "B04@2021-03-02,B08@2021-03-02")
    with xr.open_dataset(tmp_path / "p.nc") as found:
        assert found.B08.shape == (1, 192, 192)
        assert str(found.time.values[0]).startswith("2021-03-02")


def test_a_variable_without_time_takes_the_time_of_no_other(tmp_path):
    with xr.open_dataset(CUBE, decode_cf=False) as cube:
        height = cube.B04[0].drop_vars("time").assign_attrs(long_name="height", units="m")
        cube.assign(height=height).to_netcdf(tmp_path / "in.nc", unlimited_dims=["time"])
    good("downscale", tmp_path / "in.nc", tmp_path / "o.nc")
    with xr.open_dataset(tmp_path / "in.nc") as before, xr.open_dataset(tmp_path / "o.nc") as after:
        assert set(after.data_vars) - {"crs"} == {"B04", "B08", "height"}
        assert after.B04.dims == after.B08.dims == ("time", "y", "x")
        assert after.height.dims == ("y", "x")
        assert (after.height.long_name, after.height.units) == ("height", "m")
        assert np.allclose(block_mean(after.height.values, 2), before.height, rtol=1e-6)
        assert np.array_equal(after.time.values, before.time.values)
        assert after.encoding["unlimited_dims"] == {"time"}


def test_bounds_are_made_finer_and_those_of_times_are_kept(tmp_path):
    south_up = np.linspace(40, 40.5, 3)
    around = np.stack([south_up - 0.125, south_up + 0.125], axis=1)
    lon, west = np.arange(200.0, 204.0), np.arange(199.5, 203.5)
    days = np.array([[0.0, 31.0], [31.0, 59.0]])
    given = xr.Dataset(
        {
            "t2m": (("time", "lat", "lon"), np.random.default_rng(0).normal(size=(2, 3, 4))),
            "lat_bnds": (("lat", "nv"), around),
            "lon_bnds": (("lon", "nv"), np.stack([west, west + 1], axis=1)),
            "time_bounds": (("time", "nv"), days),
        },
        {
            "time": ("time", [15.0, 45.0], {"units": "days since 2001-01-01"}),
            "lat": ("lat", south_up, {"units": "degrees_north", "bounds": "lat_bnds"}),
            "lon": ("lon", lon, {"units": "degrees_east", "bounds": "lon_bnds"}),
        },
    )
    given.time.attrs["bounds"] = "time_bounds"
    given.to_netcdf(tmp_path / "in.nc")
    good("downscale", tmp_path / "in.nc", tmp_path / "o.nc", "--factor", 4)
    with xr.open_dataset(tmp_path / "o.nc", decode_times=False) as found:
        assert np.array_equal(found[found.time.bounds], days)
        assert np.allclose(found.lat_bnds[:, 0], 40.625 - 0.0625 * np.arange(12))
        assert np.allclose(found.lat_bnds[:, 1], found.lat_bnds[:, 0] - 0.0625)
        assert np.allclose(found.lon_bnds, -160.5 + 0.25 * (np.arange(16)[:, None] + [0, 1]))
    good("downscale", tmp_path / "in.nc", tmp_path / "one.nc", "-b", "t2m@2001-02-15")
    with xr.open_dataset(tmp_path / "one.nc", decode_times=False) as found:
        assert np.array_equal(found.time_bnds, days[1:])


def levels(path, order=("time", "level", "lat", "lon")):
    """Save a variable over times and levels, at a height of its own."""
    rng = np.random.default_rng(0)
    shape = {"time": 2, "level": 2, "lat": 5, "lon": 6}
    values = rng.normal(280, 5, tuple(shape.values()))
    cube = xr.Dataset(
        {"tas": (tuple(shape), values, {"units": "K", "standard_name": "air_temperature"})},
        {
            "time": ("time", [0.0, 31.0], {"units": "days since 2001-01-01"}),
            "level": ("level", [1000.0, 850.0], {"units": "hPa"}),
            "lat": ("lat", 50 - 0.25 * np.arange(5), {"units": "degrees_north"}),
            "lon": ("lon", 10 + 0.25 * np.arange(6), {"units": "degrees_east"}),
            "height": ((), 2.0, {"units": "m", "positive": "up"}),
        },
    )
    cube.transpose(*order).to_netcdf(path)
    return path


def test_levels_agree_with_what_they_came_from(tmp_path):
    coarse, fine = levels(tmp_path / "in.nc"), tmp_path / "o.nc"
    good("downscale", coarse, fine, "--factor", 2)
    assert good("check", "agreement", fine, coarse).code == 0
    with xr.open_dataset(fine, decode_times=False) as found:
        assert set(found.data_vars) - {"crs"} == {"tas_level_1000_0", "tas_level_850_0"}
        assert (float(found.height), found.height.positive) == (2.0, "up")
        assert "height" in found.tas_level_850_0.coords
    told = good("conserve", fine, coarse, tmp_path / "same.nc", "--json").json
    assert told["residual"] < 1e-6
    with xr.open_dataset(fine) as a, xr.open_dataset(tmp_path / "same.nc") as b:
        assert np.array_equal(a.time, b.time)
        assert np.allclose(a.tas_level_850_0, b.tas_level_850_0, rtol=1e-7)


def test_other_times_are_refused_by_conserve_and_its_kin(tmp_path):
    coarse, fine = levels(tmp_path / "in.nc"), tmp_path / "fine.nc"
    good("downscale", coarse, fine, "--factor", 2)
    with xr.open_dataset(coarse, decode_times=False) as cube:
        cube.assign_coords(time=("time", [0.0, 30.0], cube.time.attrs)).to_netcdf(
            tmp_path / "other.nc"
        )
        cube.isel(time=[1, 0]).to_netcdf(tmp_path / "turned.nc")
    assert good("check", "agreement", fine, tmp_path / "turned.nc").code == 0
    for verb in (("conserve",), ("check", "agreement")):
        out = (tmp_path / "o.nc",) if verb == ("conserve",) else ()
        found = call(*verb, fine, tmp_path / "other.nc", *out)
        assert (found.code, "no 2001-02-01 found" in found.err) == (3, True), found.err
    assert not (tmp_path / "o.nc").exists()


def test_values_that_float32_does_not_hold_stay(tmp_path):
    coarse = np.random.default_rng(0).normal(1e9, 100, (1, 8, 9))
    profile = {"driver": "GTiff", "crs": "EPSG:32618", "transform": Affine(10, 0, 0, 0, -10, 0)}
    save(tmp_path / "in.tif", coarse, profile)
    good("downscale", tmp_path / "in.tif", tmp_path / "o.tif", "--factor", 2)
    found = read(tmp_path / "o.tif")
    assert found.dtype == np.float64
    assert np.allclose(block_mean(found, 2), coarse, rtol=1e-14)


def test_dated_files_become_a_time_axis(tmp_path):
    values = np.random.default_rng(0).normal(300, 20, (2, 2, 8, 9)).astype("f4")
    profile = {"driver": "GTiff", "crs": "EPSG:32618", "transform": Affine(10, 0, 0, 0, -10, 0)}
    for day, block in zip(("2021-01-14", "2021-03-02"), values, strict=True):
        save(tmp_path / f"{day}.tif", block, profile, ("B04", "B08"))
    inputs = [tmp_path / "2021-01-14.tif", tmp_path / "2021-03-02.tif"]
    good("downscale", *inputs, tmp_path / "o.nc", "--factor", 2)
    with xr.open_dataset(tmp_path / "o.nc") as found:
        assert found.B04.dims == ("time", "y", "x")
        assert [str(t)[:10] for t in found.time.values] == ["2021-01-14", "2021-03-02"]
        assert np.allclose(block_mean(found.B08.values, 2), values[:, 1], rtol=1e-6)


@pytest.mark.parametrize(("more", "said"), [(("--co", "COMPRESS=LZW"), "none is wanted")])
def test_gdals_options_are_refused(more, said, tmp_path):
    found = call("downscale", CUBE, tmp_path / "o.nc", *more)
    assert found.code == 2
    assert said in found.err
    assert not list(tmp_path.iterdir())


@pytest.mark.real
@pytest.mark.skipif(not HRRR.exists(), reason=f"no {HRRR}")
def test_a_projected_grid_with_a_spelled_unit_is_read_back(tmp_path):
    good("downscale", HRRR, tmp_path / "o.nc", "-q")
    assert call("check", "agreement", tmp_path / "o.nc", HRRR).code == 0


def test_floats_made_of_flags_are_no_flags(tmp_path):
    axes = {
        "lat": ("lat", 50 - 0.5 * np.arange(8), {"units": "degrees_north"}),
        "lon": ("lon", 0.5 * np.arange(8), {"units": "degrees_east"}),
    }
    flags = {"flag_values": np.array([0, 1], "int8"), "flag_meanings": "good bad"}
    value = (("lat", "lon"), np.eye(8, dtype="int8"), {"long_name": "quality", **flags})
    xr.Dataset({"qc": value}, axes).to_netcdf(tmp_path / "a.nc")
    good("downscale", tmp_path / "a.nc", tmp_path / "o.nc", "-q")
    good("check", "cf", tmp_path / "o.nc", "-q")
    with xr.open_dataset(tmp_path / "o.nc") as found:
        assert found.qc.attrs["long_name"] == "quality"
        assert not {"flag_values", "flag_meanings"} & set(found.qc.attrs)
