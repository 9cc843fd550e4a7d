from __future__ import annotations

import numpy as np
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from rasterworld import coordinates

from stcli.errors import InputError
from stcli.raster.reading.read import open_raster
from stcli.raster.reading.timecube import count_dates, cube_of

FINE = (41, 37)


@pytest.fixture(params=["nearest", "bilinear"])
def nested(request, tif, grid):
    """Stack a fine grid and one of 3 × 3 pixels that starts outside and ends inside it."""
    fine = tif("fine.tif", coordinates(*FINE), grid(*FINE))
    coarse = coordinates(12, 13, "uint16") * 100
    coarse[:, 4, 5] = 0
    path = tif("coarse.tif", coarse, grid(12, 13, 30.0, 500000 - 20, 4000000 + 10), nodata=0)
    return open_raster([path, fine], resampling=request.param), coarse, request.param


def oracle(coarse, resampling):
    """Resample pixel by pixel, from the definition: offset (-1, -2), factor 3."""
    out = np.zeros((2, *FINE))
    valid = np.zeros(FINE, bool)
    rows, cols = coarse.shape[1:]
    for r, c in np.ndindex(*FINE):
        y, x = (r + 1) // 3, (c + 2) // 3
        if y >= rows or x >= cols or coarse[0, y, x] == 0:
            continue
        valid[r, c] = True
        if resampling == "nearest":
            out[:, r, c] = coarse[:, y, x]
            continue
        v, u = (r + 1.5) / 3 - 0.5, (c + 2.5) / 3 - 0.5
        total, weights = np.zeros(2), 0.0
        for j in (int(np.floor(v)), int(np.floor(v)) + 1):
            for i in (int(np.floor(u)), int(np.floor(u)) + 1):
                w = (1 - abs(v - j)) * (1 - abs(u - i))
                values = coarse[:, min(max(j, 0), rows - 1), min(max(i, 0), cols - 1)]
                w *= values[0] != 0
                total, weights = total + w * values, weights + w
        out[:, r, c] = np.rint(total / weights)
    return out, valid


def test_a_coarser_grid_is_resampled_as_defined(nested):
    raster, coarse, resampling = nested
    block, valid = raster.read(Window(0, 0, *FINE[::-1]))
    expected, expected_valid = oracle(coarse, resampling)
    assert raster.info.shape == FINE
    np.testing.assert_array_equal(valid, expected_valid)
    assert not valid.all()
    difference = np.abs(block[:2] - expected)[:, valid]
    assert difference.max() <= (resampling == "bilinear")  # a rounded half may go either way
    assert (difference > 0).mean() < 0.05
    np.testing.assert_array_equal(block[2:, valid], coordinates(*FINE)[:, valid])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_the_window_does_not_show(nested, data):
    raster, _, _ = nested
    block, valid = raster.read(Window(0, 0, *FINE[::-1]))
    top, left = (data.draw(st.integers(0, n - 1)) for n in FINE)
    window = Window(
        left,
        top,
        data.draw(st.integers(1, FINE[1] - left)),
        data.draw(st.integers(1, FINE[0] - top)),
    )
    part, part_valid = raster.read(window)
    np.testing.assert_array_equal(part, block[(slice(None), *window.toslices())])
    np.testing.assert_array_equal(part_valid, valid[window.toslices()])


@pytest.mark.parametrize(
    ("coarse", "words"),
    [
        ({"step": 20.0, "x": 500005.0}, "offset 0 rows and 0.5 columns"),
        ({"step": 15.0}, "pixels of 10 x 10 and 15 x 15"),
        ({"step": 20.0, "crs": "EPSG:32617"}, "CRS EPSG:32618 and EPSG:32617"),
        ({"x": 500010.0}, "origins 0 rows and 1 columns apart"),
    ],
)
def test_a_grid_that_does_not_nest_is_refused_with_both_names(tif, grid, coarse, words):
    a = tif("a.tif", coordinates(*FINE), grid(*FINE))
    b = tif("b.tif", coordinates(10, 10), grid(10, 10, **coarse))
    with pytest.raises(InputError) as caught:
        open_raster([a, b])
    assert "b.tif" in str(caught.value)
    assert "a.tif" in str(caught.value)
    assert words in str(caught.value)


def test_a_coarse_raster_of_elsewhere_is_refused(tif, grid):
    a = tif("a.tif", coordinates(*FINE), grid(*FINE))
    b = tif("b.tif", coordinates(10, 10), grid(10, 10, 20.0, x=600000.0))
    with pytest.raises(InputError, match="wholly outside"):
        open_raster([a, b])


@pytest.mark.real
def test_real_sentinel_2_bands_nest_with_their_offset(real):
    folder = real("s2-eastern-shore-l1c")
    raster = open_raster([str(folder / f"{name}.tif") for name in ("B05", "B04")])
    assert raster.info.shape == (1947, 1933)
    assert raster.info.band_names == ("B05", "B04")
    b20 = open_raster(str(folder / "B05.tif")).read(Window(0, 0, 967, 973))[0][0]
    block, valid = raster.read(Window(1, 0, 1932, 1946))
    assert valid.all()
    np.testing.assert_array_equal(block[0], b20[:, 1:].repeat(2, 0).repeat(2, 1))


def test_files_with_a_time_of_their_own_say_their_date(tmp_path):
    """A NetCDF a date: its time counts, whatever its name holds; and no date of 'months since'."""
    places = np.arange(4.0)
    for name, days in (("a", 18687), ("run-20200101", 18690)):
        series = xarray.Dataset(
            {"B04": (("time", "y", "x"), np.full((1, 4, 4), days, "float32"))},
            coords={"time": [days], "y": places[::-1], "x": places},
        )
        for axis in "yx":
            series[axis].attrs = {"standard_name": f"projection_{axis}_coordinate", "units": "m"}
        series["time"].attrs = {"units": "days since 1970-01-01"}
        series.to_netcdf(tmp_path / f"{name}.nc")
    paths = [str(tmp_path / f"{name}.nc") for name in ("run-20200101", "a")]
    raster = open_raster(paths)
    assert count_dates(raster) == 2
    cube = cube_of(raster)
    assert (cube.variables, cube.times.values) == (("B04",), (18687.0, 18690.0))
    assert cube.read(Window(0, 0, 1, 1))[0].ravel().tolist() == [18687, 18690]
    series["time"].attrs = {"units": "months since 1970-01-01"}
    series.to_netcdf(tmp_path / "b-20200101.nc")
    unknown = open_raster([str(tmp_path / "b-20200101.nc"), paths[1]])
    assert cube_of(unknown).times.values == (18262.0, 18687.0)  # as the name says


def test_the_finest_of_tiny_pixels_in_degrees_gives_the_grid(tif, grid):
    """As of a drone: their areas are below what a fixed number of digits tells apart."""
    how = {"x": 10.0, "y": 50.0, "crs": "EPSG:4326"}
    coarse = tif("coarse.tif", coordinates(4, 4), grid(4, 4, 5e-7, **how))
    fine = tif("fine.tif", coordinates(8, 8), grid(8, 8, 2.5e-7, **how))
    assert open_raster([coarse, fine]).info.shape == (8, 8)
