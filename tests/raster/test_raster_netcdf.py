from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from odc.geo.crs import CRS
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.raster.reading.assumed import Assumed
from stcli.raster.reading.read import open_raster


def whole(raster):
    return raster.read(Window(0, 0, *raster.info.shape[::-1]))


def field(lat, lon, dtype="float64"):
    """Make a variable whose value is 1000 · latitude + longitude (in -180..180)."""
    east = (np.asarray(lon, float) + 180) % 360 - 180
    return (1000 * np.asarray(lat, float)[:, None] + east[None, :]).astype(dtype)


@pytest.fixture
def nc(tmp_path):
    """Write a dataset on latitudes and longitudes, raw attributes and all."""

    def write(lat, lon, variables=None, *, units=True, coords=None, name="a.nc", **attrs):
        north = {"units": "degrees_north"} if units else {}
        east = {"units": "degrees_east"} if units else {}
        if variables is None:
            variables = {"t": (("lat", "lon"), field(lat, lon), {})}
        dataset = xr.Dataset(
            variables,
            {"lat": ("lat", lat, north), "lon": ("lon", lon, east), **(coords or {})},
            attrs,
        )
        # xarray would add fill values of its own
        plain = {key: {"_FillValue": None} for key, v in dataset.variables.items()}
        for key in dataset.variables:
            if "_FillValue" in dataset[key].attrs:
                plain[key] = {}
        path = str(tmp_path / name)
        dataset.to_netcdf(path, engine="netcdf4", encoding=plain)
        return path

    return write


def check_georeference(raster):
    """Compare every pixel with the coordinates that the geobox gives its centre."""
    block, valid = whole(raster)
    rows, cols = raster.info.shape
    c, r = np.meshgrid(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
    lon, lat = raster.info.geobox.transform @ (c, r)
    assert valid.all()
    np.testing.assert_allclose(block[0], 1000 * lat + lon, atol=1e-6)
    assert raster.info.geobox.transform.e < 0


@pytest.mark.parametrize("lat", [[50, 49.5, 49, 48.5], [48.5, 49, 49.5, 50]])
@pytest.mark.parametrize(
    ("lon", "left"),
    [
        (np.arange(8) * 0.5 + 10, 9.75),
        (np.arange(8) * 0.5 + 200, -160.25),  # all beyond 180: shifted
        (np.arange(36) * 10.0, -185.0),  # a whole circle: rotated
        (np.arange(36) * 10.0 + 5, -180.0),
        (np.arange(-180.0, 180, 10), -185.0),
    ],
)
def test_pixels_stand_where_their_coordinates_say(nc, lat, lon, left):
    raster = open_raster(nc(lat, lon))
    assert raster.info.geobox.boundingbox.left == left
    assert raster.info.geobox.crs == "EPSG:4326"
    assert "without a grid_mapping" in raster.info.tags["stcli_crs"]
    check_georeference(raster)


def test_a_part_that_crosses_180_stays_in_one_piece(nc):
    raster = open_raster(nc([50, 49], np.arange(170.0, 191, 2)))
    bounds = raster.info.geobox.boundingbox
    assert (bounds.left, bounds.right) == (169, 191)


def test_any_window_of_a_flipped_and_rotated_file(nc):
    raster = open_raster(nc(np.arange(-5.0, 5), np.arange(36) * 10.0))
    block, _ = whole(raster)
    for window in (Window(10, 2, 20, 5), Window(17, 0, 2, 1), Window(18, 9, 18, 1)):
        part, _ = raster.read(window)
        np.testing.assert_array_equal(part, block[(slice(None), *window.toslices())])


def test_threads_and_pickles(nc):
    raster = pickle.loads(pickle.dumps(open_raster(nc(np.arange(50.0), np.arange(60.0)))))
    block, _ = whole(raster)
    windows = [Window(c, r, 6, 5) for r in range(0, 50, 5) for c in range(0, 60, 6)]
    with ThreadPoolExecutor(4) as pool:
        for window, (part, _) in zip(windows, pool.map(raster.read, windows), strict=True):
            np.testing.assert_array_equal(part, block[(slice(None), *window.toslices())])
    raster.close()
    np.testing.assert_array_equal(whole(raster)[0], block)


def test_a_relative_name_is_read_by_a_process_that_stands_elsewhere(nc, monkeypatch):
    path = Path(nc(np.arange(5.0), np.arange(6.0)))
    monkeypatch.chdir(path.parent)
    raster = open_raster(path.name)
    sent, block = pickle.dumps(raster), whole(raster)[0]
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(whole(pickle.loads(sent))[0], block)


LAT, LON = np.array([3.0, 2.0, 1.0]), np.array([10.0, 11.0, 12.0, 13.0])


def test_packed_integers_are_unpacked_once(nc):
    stored = np.arange(12, dtype="int16").reshape(3, 4)
    attrs = {"scale_factor": 0.5, "add_offset": 100.0, "_FillValue": np.int16(3), "units": "K"}
    raster = open_raster(nc(LAT, LON, {"t": (("lat", "lon"), stored, attrs)}))
    block, valid = whole(raster)
    assert raster.info.valid_from == "nodata"
    assert raster.info.bands[0].units == "K"
    assert block.dtype == raster.info.dtype == np.float32
    np.testing.assert_array_equal(valid, stored != 3)
    np.testing.assert_array_equal(block[0], np.where(valid, stored * 0.5 + 100, 0))


@pytest.mark.parametrize(
    ("attrs", "invalid"),
    [
        ({"missing_value": np.array([2, 5], "int16")}, [2, 5]),
        ({"valid_range": np.array([2, 9], "int16")}, [0, 1, 10, 11]),
        ({"valid_min": np.int16(1)}, [0]),
        ({"valid_max": np.float32(4.0), "scale_factor": 0.5}, [9, 10, 11]),  # unpacked units
        ({"missing_value": np.float64(np.nan)}, []),
        ({"missing_value": "none"}, []),
        ({"missing_value": np.float64(1e30)}, []),
    ],
)
def test_declared_invalid_values(nc, attrs, invalid):
    stored = np.arange(12, dtype="int16").reshape(3, 4)
    raster = open_raster(nc(LAT, LON, {"t": (("lat", "lon"), stored, attrs)}))
    np.testing.assert_array_equal(whole(raster)[1], ~np.isin(stored, invalid))
    assert raster.info.valid_from == ("nodata" if invalid else "all")


def test_an_assumed_nodata_value_is_read_as_a_declared_one(nc):
    stored = np.arange(12, dtype="int16").reshape(3, 4)
    plain = {"t": (("lat", "lon"), stored, {"scale_factor": 0.5, "add_offset": 100.0})}
    plain["u"] = (("lat", "lon"), stored, {"_FillValue": np.int16(4)})
    raster = open_raster(nc(LAT, LON, plain), assumed=Assumed(nodata=3))
    assert [band.nodata for band in raster.info.bands] == [3, 4]
    block, valid = raster.read_each(Window(0, 0, 4, 3))
    np.testing.assert_array_equal(valid, np.stack([stored != 3, stored != 4]))
    np.testing.assert_array_equal(block[0], np.where(valid[0], stored * 0.5 + 100, 0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_that_were_never_written_are_no_data(nc, dtype):
    stored = np.ones((3, 4), dtype)
    stored[1, 2] = netCDF4.default_fillvals["f4"]
    raster = open_raster(nc(LAT, LON, {"t": (("lat", "lon"), stored, {})}))
    np.testing.assert_array_equal(whole(raster)[1], stored == 1)


def test_groups_that_are_not_read_are_told(nc, caplog):
    path = nc(LAT, LON)
    with netCDF4.Dataset(path, "a") as file:
        file.createGroup("science")
    assert open_raster(path).info.band_names == ("t",)
    assert "its groups are not read (science), only variables at the root" in caplog.text


def test_groups_are_told_also_where_the_root_holds_no_raster(tmp_path, caplog):
    path = str(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "w") as file:
        file.createGroup("science")
    with pytest.raises(InputError, match="has no horizontal coordinates"):
        open_raster(path)
    assert "its groups are not read (science)" in caplog.text
    assert "move a group there, for example with ncks -G : -g science" in caplog.text


def test_unsigned_bytes_in_signed_storage(nc):
    stored = np.array([[-1, -2, 3, 4]] * 3, "int8")
    attrs = {"_Unsigned": "true", "_FillValue": np.int8(-1)}
    block, valid = whole(open_raster(nc(LAT, LON, {"t": (("lat", "lon"), stored, attrs)})))
    assert block.dtype == np.uint8
    assert block[0, 0].tolist() == [0, 254, 3, 4]
    assert valid[0].tolist() == [False, True, True, True]


def cube(nc, times, **attrs):
    data = np.arange(len(times))[:, None, None] * 100 + np.arange(12).reshape(3, 4)
    variables = {name: (("time", "lat", "lon"), data + k, {}) for k, name in enumerate("ab")}
    return nc(LAT, LON, variables, coords={"time": ("time", times, attrs)})


def test_times_become_bands(nc):
    raster = open_raster(cube(nc, [0, 5], units="days since 2020-01-05"))
    names = ("a@2020-01-05", "a@2020-01-10", "b@2020-01-05", "b@2020-01-10")
    assert raster.info.band_names == names
    assert raster.info.times == ("2020-01-05", "2020-01-10")
    block, _ = whole(raster)
    assert block[:, 0, 1].tolist() == [1, 101, 2, 102]
    chosen = open_raster(raster.info.path, bands=("b@2020-01-10",))
    assert chosen.info.times == ("2020-01-10",)
    assert whole(chosen)[0][0, 0, 1] == 102


def test_a_variable_by_its_name_alone_means_all_of_its_times(nc):
    path = cube(nc, [0, 5], units="days since 2020-01-05")
    chosen = open_raster(path, bands=("b", "a@2020-01-10"))
    assert chosen.info.band_names == ("b@2020-01-05", "b@2020-01-10", "a@2020-01-10")
    with pytest.raises(InputError, match="has no band c; choose among 1 to 4 or a@2020-01-05"):
        open_raster(path, bands=("c",))
    path = nc(LAT, LON, {"t": (("level", "lat", "lon"), np.ones((2, 3, 4)), {})}, name="levels.nc")
    assert open_raster(path, bands=("t",)).info.band_names == ("t[level=1]", "t[level=2]")


@pytest.mark.parametrize("told", ["by variable", "by file", "by standard name"])
def test_places_of_pixels_are_coordinates_and_no_bands(told, tmp_path, caplog):
    """Models on a turned pole write the latitude and longitude of each pixel, and its corners."""
    flat, corners = np.ones((4, 5)), np.ones((4, 5, 4))
    turned = {"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 39.25}
    sides = {"rlat": ("grid_latitude", 4), "rlon": ("grid_longitude", 5)}
    dataset = xr.Dataset(
        {
            "tas": (("rlat", "rlon"), flat, {"grid_mapping": "pole"}),
            "lat": (("rlat", "rlon"), 50 * flat, {"bounds": "lat_vertices"}),
            "lon": (("rlat", "rlon"), 10 * flat),
            "lat_vertices": (("rlat", "rlon", "vertices"), corners),
            "orog": (("rlat", "rlon"), flat, {"grid_mapping": "pole"}),
            "pole": ((), 0, {**turned, "grid_north_pole_longitude": -162.0}),
        },
        {
            dim: (dim, np.arange(n) / 8, {"standard_name": word, "units": "degrees"})
            for dim, (word, n) in sides.items()
        },
    )
    if told == "by variable":
        dataset["tas"].attrs["coordinates"] = "lon lat"
    elif told == "by file":
        dataset.attrs["coordinates"] = "lat lon"
    else:
        dataset["lat"].attrs["standard_name"] = "latitude"
        dataset["lon"].attrs["standard_name"] = "longitude"
    dataset.to_netcdf(tmp_path / "turned.nc")
    with caplog.at_level("INFO", "stcli"):
        assert open_raster(str(tmp_path / "turned.nc")).info.band_names == ("tas", "orog")
    assert "turned.nc: lat, lon, lat_vertices: coordinates and no bands" in caplog.text


def test_a_single_time_stays_out_of_the_name(nc):
    raster = open_raster(cube(nc, [5], units="days since 2020-01-05"))
    assert raster.info.band_names == ("a", "b")
    assert raster.info.times == ("2020-01-10",)


@pytest.mark.parametrize(
    ("calendar", "last"), [("360_day", "2020-02-30"), ("noleap", "2020-03-01")]
)
def test_other_calendars(nc, calendar, last):
    path = cube(nc, [0, 59], units="days since 2020-01-01", calendar=calendar)
    assert open_raster(path).info.times == ("2020-01-01", last)


def test_several_times_a_day_keep_the_clock(nc):
    raster = open_raster(cube(nc, [0, 6], units="hours since 2020-01-05"))
    assert raster.info.band_names[1] == "a@2020-01-05T06:00:00"


def test_another_dimension_is_named_by_its_value(nc):
    data = np.arange(24.0).reshape(2, 3, 4)
    path = nc(LAT, LON, {"t": (("level", "lat", "lon"), data, {})}, coords={"level": [500, 850]})
    assert open_raster(path).info.band_names == ("t[level=500]", "t[level=850]")


def projected(tmp_path, attrs, units="m", scale=1.0):
    x = {"standard_name": "projection_x_coordinate", "units": units}
    y = {"standard_name": "projection_y_coordinate", "units": units}
    dataset = xr.Dataset(
        {"t": (("v", "u"), np.ones((3, 4)), {"grid_mapping": "m"}), "m": ((), 0, attrs)},
        {
            "u": ("u", (500005 + 10.0 * np.arange(4)) * scale, x),
            "v": ("v", (3999995 - 10.0 * np.arange(3)) * scale, y),
        },
    )
    path = str(tmp_path / f"p{len(list(tmp_path.iterdir()))}.nc")
    dataset.to_netcdf(path)
    return path


UTM = {
    "grid_mapping_name": "transverse_mercator",
    "latitude_of_projection_origin": 0.0,
    "longitude_of_central_meridian": -75.0,
    "scale_factor_at_central_meridian": 0.9996,
    "false_easting": 500000.0,
    "false_northing": 0.0,
    "semi_major_axis": 6378137.0,
    "inverse_flattening": 298.257223563,
}


def test_crs_from_cf_parameters_and_from_wkt(tmp_path, grid):
    info = open_raster(projected(tmp_path, UTM)).info
    assert tuple(info.geobox.transform)[:6] == (10, 0, 500000, 0, -10, 4000000)
    transformer = info.geobox.crs.transformer_to_crs("EPSG:32618")
    assert transformer(500123.0, 4000321.0) == pytest.approx((500123.0, 4000321.0))
    wkt = grid().crs.to_wkt()
    assert open_raster(projected(tmp_path, {"crs_wkt": wkt})).info.geobox.crs == "EPSG:32618"
    assert open_raster(projected(tmp_path, {"spatial_ref": wkt})).info.geobox.crs == "EPSG:32618"
    with pytest.raises(InputError, match="grid_mapping cannot be understood"):
        open_raster(projected(tmp_path, {"grid_mapping_name": "moonwalk"}))


def test_lengths_become_those_of_the_crs_and_other_units_are_refused(tmp_path):
    info = open_raster(projected(tmp_path, UTM, "km", 1e-3)).info
    assert tuple(info.geobox.transform)[:6] == pytest.approx((10, 0, 500000, 0, -10, 4000000))
    feet = open_raster(projected(tmp_path, {"crs_wkt": CRS("EPSG:2229").to_wkt()}, "m", 1)).info
    assert feet.geobox.transform.a == pytest.approx(10 * 3937 / 1200)
    with pytest.raises(InputError, match="'rad'"):
        open_raster(projected(tmp_path, UTM, "rad"))


def test_latitudes_and_longitudes_by_name_alone_are_degrees_if_they_can_be(nc):
    info = open_raster(nc(LAT, [178.5, 179.5, 180.5, 181.5], units=False)).info
    assert info.geobox.crs == "EPSG:4326"
    assert info.geobox.transform.c == pytest.approx(178)
    info = open_raster(nc(LAT, [356.5, 357.5, 358.5], units=False, name="c.nc")).info
    assert info.geobox.transform.c == pytest.approx(-4)
    far = open_raster(nc(1000.0 * LAT, LON, units=False, name="d.nc"))
    assert far.info.geobox.crs is None


def test_coordinates_that_name_no_crs_give_none(nc, tmp_path):
    plain = xr.Dataset({"t": (("y", "x"), np.ones((3, 4)))}, {"y": [2, 1, 0], "x": np.arange(4)})
    plain.to_netcdf(tmp_path / "plain.nc")
    assert open_raster(str(tmp_path / "plain.nc")).info.geobox.crs is None
    path = nc(LAT, LON, name="b.nc")
    assert open_raster(path, assumed=Assumed("EPSG:4269")).info.geobox.crs == "EPSG:4269"


def test_float32_coordinates_are_as_even_as_float32_can_be(nc):
    info = open_raster(nc(LAT.astype("f4"), (100 + 0.01 * np.arange(500)).astype("f4"))).info
    assert info.geobox.transform.a == pytest.approx(0.01, abs=1e-8)


def test_one_pixel_is_as_large_as_its_bounds_say(tmp_path):
    path = str(tmp_path / "point.nc")
    axes = {
        "y": (
            "y",
            [6.0],
            {"units": "km", "standard_name": "projection_y_coordinate", "bounds": "yb"},
        ),
        "x": (
            "x",
            [3.0],
            {"units": "km", "standard_name": "projection_x_coordinate", "bounds": "xb"},
        ),
    }
    sides = {"yb": (("y", "two"), [[5.0, 7.0]]), "xb": (("x", "two"), [[2.5, 3.5]])}
    xr.Dataset({"t": (("y", "x"), [[1.0]]), **sides}, axes).to_netcdf(path)
    with open_raster(path) as raster:
        assert tuple(raster.info.geobox.transform)[:6] == (1000, 0, 2500, 0, -2000, 7000)


def test_irregular_and_two_dimensional_grids_are_refused(nc, tmp_path):
    with pytest.raises(InputError, match=r"coordinate lat is irregular, up to 0\.\d+ steps"):
        open_raster(nc([3, 2, 0.9, 0], LON))
    curved = xr.Dataset(
        {"t": (("j", "i"), np.ones((3, 4)))},
        {
            "lat": (("j", "i"), np.ones((3, 4)), {"units": "degrees_north"}),
            "lon": (("j", "i"), np.ones((3, 4)), {"units": "degrees_east"}),
        },
    )
    curved.to_netcdf(tmp_path / "c.nc")
    with pytest.raises(InputError, match=r"c\.nc: its grid is given by 2-D latitudes"):
        open_raster(str(tmp_path / "c.nc"))
    xr.Dataset({"t": (("j", "i"), np.ones((3, 4)))}).to_netcdf(tmp_path / "d.nc")
    with pytest.raises(InputError, match=r"among its dimensions \(j, i\)"):
        open_raster(str(tmp_path / "d.nc"))
    xr.Dataset(coords={"lat": LAT, "lon": LON}).to_netcdf(tmp_path / "e.nc")
    with pytest.raises(InputError, match="no numeric variable"):
        open_raster(str(tmp_path / "e.nc"))


@pytest.mark.parametrize(
    ("variable", "attrs", "sentence"),
    [
        ("t", {"scale_factor": "ten"}, "t has scale_factor 'ten', a number is wanted; mend it"),
        (
            "t",
            {"add_offset": np.array([1.0, 2])},
            r"t has add_offset array\(\[1., 2.\]\), a number",
        ),
        ("t", {"valid_min": "low"}, "t has a valid range with 'low', a number is wanted"),
        ("lat", {"scale_factor": "x"}, "lat has scale_factor 'x', a number is wanted"),
        (
            "t",
            {"add_offset": np.nan},
            "t has the scale_factor 1 and the add_offset nan, finite num",
        ),
    ],
)
def test_attributes_that_are_no_numbers_are_refused(variable, attrs, sentence, nc):
    path = nc([3.0, 2, 1], [1.0, 2, 3])
    with netCDF4.Dataset(path, "a") as dataset:
        dataset[variable].setncatts(attrs)
    with pytest.raises(InputError, match=f"a.nc: {sentence}"):
        open_raster(path)


def test_a_geotransform_that_is_none_is_passed_over(nc):
    path = nc([3.0, 2, 1], [1.0, 2, 3])
    with netCDF4.Dataset(path, "a") as dataset:
        dataset["t"].GeoTransform = "0.5 1 0 3.5 0 north"
    assert open_raster(path).info.geobox.transform[:6] == (1, 0, 0.5, 0, -1, 3.5)


def test_names_of_gdal_for_netcdf_are_refused(nc):
    path = nc(LAT, LON)
    with pytest.raises(InputError, match="a NetCDF found under a GDAL name, which loses times"):
        open_raster(f'NETCDF:"{path}":t')


def test_missing_and_damaged_files(tmp_path, nc):
    with pytest.raises(InputError, match="no such file"):
        open_raster(str(tmp_path / "gone.nc"))
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as NetCDF"):
        open_raster(str(tmp_path / "text.nc"))
    path = nc(np.arange(300.0) / 4, np.arange(300.0) / 4)
    with open(path, "rb+") as file:  # noqa: PTH123
        file.truncate(100_000)
    with pytest.raises(InputError, match=r"a\.nc: .*(truncated|whole NetCDF)"):
        whole(open_raster(path))


def test_netcdf_and_geotiff_stack(nc, tif):
    raster = open_raster(nc([3, 2, 1], [10.0, 11, 12, 13]))
    path = tif("b.tif", np.full((1, 6, 8), 7, "uint8"), raster.info.geobox.zoom_out(0.5))
    stacked = open_raster([raster.info.path, path])
    assert stacked.info.shape == (6, 8)
    assert stacked.info.band_names == ("t", "b")
    block, _ = whole(stacked)
    np.testing.assert_array_equal(block[0], whole(raster)[0][0].repeat(2, 0).repeat(2, 1))


@pytest.mark.real
def test_real_packed_temperature(real):
    raster = open_raster(str(next(real("gridmet-tmmx").glob("*.nc"))))
    block, valid = whole(raster)
    assert raster.info.geobox.crs == "EPSG:4326"
    assert raster.info.times == ("2019-01-21",)
    assert 0.39 < 1 - valid.mean() < 0.41
    assert 240 < block[0][valid].min() < block[0][valid].max() < 310


@pytest.mark.real
def test_real_lambert_grid_uses_the_exact_declared_transform(real):
    info = open_raster(str(real("hrrr-fields") / "tmp2m.nc")).info
    assert tuple(info.geobox.transform)[:6] == (
        3000, 0, -2699020.142521929, 0, -3000, 1588193.847443335,
    )  # fmt: skip
    assert "Lambert" in info.geobox.crs.to_wkt()


@pytest.mark.real
def test_real_dirty_cubes(real):
    folder = real("worldcereal-s1s2-cubes") / "0000280849BAC91C"
    ten, twenty = (str(next(folder.glob(f"S2_L2A_{r}m*.nc"))) for r in (10, 20))
    name = "B04@2018-08-04"
    raster = open_raster([ten, twenty], bands=(name, "B11@2018-08-04", "SCL@2018-08-04"))
    block, valid = whole(raster)
    assert raster.info.shape == (64, 64)
    assert valid.mean() > 0.9
    assert 0 < block[:2][:, valid].mean() < 1  # reflectance, unpacked once
    assert set(np.unique(block[2])) <= set(range(12))
