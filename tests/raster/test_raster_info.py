from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import Affine

from stcli.raster.info import BandInfo, RasterInfo, grid_difference, lattice_origin

offsets = st.integers(-200_000, 200_000)


def crop(geobox: GeoBox, row: int, col: int) -> GeoBox:
    t = geobox.transform
    return GeoBox((5, 5), t @ Affine.translation(col, row), geobox.crs)


@given(offsets, offsets)
def test_a_crop_moves_the_lattice_origin_by_whole_pixels_on_sentinel_2(row, col):
    scene = GeoBox((5, 5), Affine(10, 0, 435730, 0, -10, 4179460), "EPSG:32618")
    assert lattice_origin(scene) == (-417946, 43573)
    assert lattice_origin(crop(scene, row, col)) == (-417946 + row, 43573 + col)


@given(
    offsets,
    offsets,
    st.sampled_from([0.0001, 1 / 3600, 0.25, 0.008333333333, 231.65635826374995]),
    st.sampled_from([0, 0.5, 1 / 3, 2 / 3, 0.25, 0.1, 0.7, 0.9]),
    st.sampled_from([0, 0.5, 0.75]),
    st.booleans(),
)
def test_a_crop_moves_the_lattice_origin_by_whole_pixels_at_any_phase(
    row, col, step, phase_x, phase_y, south_up
):
    down = step if south_up else -step
    x, y = -180 + phase_x * step, 90 + phase_y * step
    whole = GeoBox((5, 5), Affine(step, 0, x, 0, down, y), "EPSG:4326")
    r, c = lattice_origin(whole)
    assert lattice_origin(crop(whole, row, col)) == (r + row, c + col)


@pytest.mark.parametrize("step", [0.0001, 1 / 3600])
def test_crops_of_centre_registered_degrees_agree(step):
    """Phase one half in floating point: plain rounding fails four crops in five at 0.0001°."""
    corner = Affine(step, 0, -180 + step / 2, 0, -step, 90 + step / 2)
    whole = GeoBox((5, 5), corner, "EPSG:4326")
    r, c = lattice_origin(whole)
    for row, col in np.random.default_rng(0).integers(-200_000, 200_000, (500, 2)).tolist():
        assert lattice_origin(crop(whole, row, col)) == (r + row, c + col)


@given(st.integers(-9999, 9999), st.integers(-9999, 9999), st.floats(1, 89))
def test_lattice_origin_of_a_rotated_grid(row, col, angle):
    turned = Affine.translation(512345.25, 4012345.125) @ Affine.rotation(angle)
    whole = GeoBox((5, 5), turned @ Affine.scale(10, -10), "EPSG:32618")
    r, c = lattice_origin(whole)
    assert lattice_origin(crop(whole, row, col)) == (r + row, c + col)


def test_lattice_origin_is_the_crs_origin_s_pixel_negated():
    geobox = GeoBox((4, 4), Affine(10, 0, 100, 0, -10, 50), "EPSG:32618")
    col, row = ~geobox.transform @ (0, 0)
    assert lattice_origin(geobox) == (-round(row), -round(col))


def test_grid_difference_names_what_differs(grid):
    a = grid()
    assert grid_difference(a, grid()) is None
    assert grid_difference(a, grid(x=500000 + 1e-6)) is None
    assert grid_difference(a, grid(crs="EPSG:32617")) == "CRS EPSG:32618 and EPSG:32617"
    assert grid_difference(a, grid(step=20)) == "pixels of 10 x 10 and 20 x 20"
    assert grid_difference(a, grid(x=500005)) == "origins 0 rows and 0.5 columns apart"
    assert grid_difference(a, grid(cols=71)).startswith("sizes of 50 x 70 and 50 x 71")
    south_up = GeoBox(a.shape, a.transform @ Affine.scale(1, -1), a.crs)
    assert grid_difference(a, south_up) == "different orientations"
    assert grid_difference(grid(step=20), south_up) == "different orientations"
    assert grid_difference(a, grid(crs=None)) == "CRS EPSG:32618 and none"


def test_grid_difference_sees_a_drift_over_the_whole_grid(grid):
    assert "apart" in grid_difference(grid(cols=1000), grid(cols=1000, step=10 + 5e-6))


def test_json_is_json(grid):
    bands = (BandInfo("a", "float32", math.nan), BandInfo("b", "uint8", 0, 0.1, 2.0, "K"))
    info = RasterInfo("x.tif", "GTiff", grid(), bands, "nodata", ("2020-01-01",), {"A": "b"})
    back = json.loads(json.dumps(info.to_json(), allow_nan=False))
    assert back["crs"] == "EPSG:32618"
    assert back["bands"][0]["nodata"] == "nan"
    assert back["size"] == {"rows": 50, "cols": 70}
    assert back["bounds"] == [500000, 3999500, 500700, 4000000]
    assert back["resolution"] == [10, 10]
    assert info.shape == (50, 70)
    assert info.count == 2
    assert info.band_names == ("a", "b")


@pytest.mark.parametrize(
    ("bands", "dtype"),
    [
        ((BandInfo("a", "uint8"), BandInfo("b", "int16")), np.int16),
        ((BandInfo("a", "uint16", scale=0.1),), np.float32),
        ((BandInfo("a", "uint16", scale=0.1), BandInfo("b", "uint16")), np.float32),
    ],
)
def test_block_dtype_holds_every_band(grid, bands, dtype):
    assert RasterInfo("x", "GTiff", grid(), bands, "all").dtype == dtype
