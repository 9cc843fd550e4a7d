"""What is no data is what GDAL's own masks say."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from stcli.raster.nodata import clear, comparable
from stcli.raster.reading.gdalsource import GdalSource

WHOLE = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = (-9999.0, 0.0, 0.1, 3.1, 1e20, 1e-40, -3.4028234663852886e38, np.inf, -np.inf, np.nan)


def near(value: float, dtype: str) -> np.ndarray:
    """List values at and around one, near and far."""
    steps = [0.0, *(sign * 10.0**-k for k in range(18) for sign in (1, -1))]
    with np.errstate(all="ignore"):
        found = np.array([value * (1 + step) for step in steps] + [value + s for s in steps])
        found = np.concatenate([found, [0.0, 1.0, np.nan, np.inf, -np.inf]]).astype(dtype)
        above = below = found[0]
        for _ in range(12):
            above = np.nextafter(above, np.array(np.inf, dtype))
            below = np.nextafter(below, np.array(-np.inf, dtype))
            found = np.concatenate([found, [above, below]])
    return found


def assert_as_gdal(path, values, nodata):
    bands = np.stack([values, np.roll(values, 3), values[::-1]])[:, None]
    profile = {"driver": "GTiff", "dtype": values.dtype, "count": 3, "nodata": nodata}
    grid = {"height": 1, "width": values.size, "crs": "EPSG:32618"}
    with rasterio.open(path, "w", **profile, **grid) as dataset:
        dataset.write(bands)
    with rasterio.open(path) as dataset:
        wanted = (dataset.read_masks() > 0).all(axis=0)
        if values.dtype.kind == "f":
            wanted &= np.isfinite(dataset.read()).all(axis=0)
    _, valid = GdalSource(str(path)).read(Window(0, 0, values.size, 1), (1, 2, 3))
    np.testing.assert_array_equal(valid, wanted)
    assert values.dtype.itemsize > 4 or not wanted.all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nodata", FLOATS)
def test_floats_as_near_as_gdal_takes_them(tmp_path, dtype, nodata):
    assert_as_gdal(tmp_path / "a.tif", near(nodata, dtype), nodata)


def test_the_lowest_double(tmp_path):
    lowest = float(np.finfo(np.float64).min)
    assert_as_gdal(tmp_path / "a.tif", near(lowest, "float64"), lowest)


ENDS = [(dtype, end) for dtype in WHOLE for end in ("min", "max", "one")]


# a file's nodata value is a double, which the largest numbers of 64 bits are not
@pytest.mark.parametrize(("dtype", "end"), [e for e in ENDS if e[1] != "max" or "64" not in e[0]])
def test_whole_numbers(tmp_path, dtype, end):
    limits = np.iinfo(dtype)
    nodata = {"min": limits.min, "max": limits.max, "one": 1}[end]
    values = np.array([limits.min, limits.min + 1, 0, 1, 2, limits.max - 1, limits.max], dtype)
    assert_as_gdal(tmp_path / "a.tif", values, nodata)


def test_no_file_is_asked_twice_where_the_rule_is_known():
    assert all(comparable(-1.0, np.dtype(dtype)) for dtype in WHOLE[:6])
    assert comparable(0.5, np.dtype("float32"))
    assert not comparable(0.5, np.dtype("int16"))  # GDAL rounds as it likes
    assert not comparable(0.0, np.dtype("int64"))


def test_a_value_beyond_the_type_excludes_nothing(tmp_path):
    path = tmp_path / "a.vrt"
    plain = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": 1, "width": 4}
    with rasterio.open(plain, "w", crs="EPSG:32618", **profile) as dataset:
        dataset.write(np.array([[[0, 1, 254, 255]]], np.uint8))
    path.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="1"><SRS>EPSG:32618</SRS>'
        "<GeoTransform>0,1,0,0,0,-1</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><NoDataValue>-9999</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="0">{plain}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    _, valid = GdalSource(str(path)).read(Window(0, 0, 4, 1), (1,))
    assert valid.all()


def test_values_that_are_no_data_together(tmp_path):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 2, "height": 1, "width": 3}
    with rasterio.open(path, "w", crs="EPSG:32618", **profile) as dataset:
        dataset.write(np.array([[[7, 7, 1]], [[9, 1, 9]]], np.uint8))
        dataset.update_tags(NODATA_VALUES="7 9")
    with rasterio.open(path) as dataset:
        wanted = dataset.read_masks(1) > 0
    _, valid = GdalSource(str(path)).read(Window(0, 0, 3, 1), (1, 2))
    np.testing.assert_array_equal(valid, wanted)
    assert valid.tolist() == [[False, True, True]]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", ">i2", "u4", "i8", "f4", "f8", ">f4"])
@pytest.mark.parametrize("each", [False, True])
def test_what_is_not_valid_is_cleared(dtype, each):
    rng = np.random.default_rng(0)
    block = rng.integers(0, 256, (3, 150, 70)).astype(dtype)
    if block.dtype.kind == "f":
        block[:, ::3] = np.nan
        block[:, 1::7] = -np.inf
    block = block[:, :, 3:]  # no contiguous block
    valid = rng.random(block.shape if each else block.shape[1:]) < 0.4
    wanted = np.where(valid, block, 0)
    clear(block, valid)
    assert block.dtype == np.dtype(dtype)
    assert np.array_equal(block, wanted, equal_nan=block.dtype.kind == "f")
    assert not np.signbit(block[~np.broadcast_to(valid, block.shape)]).any()
