"""Rasters laid side by side: each band by itself, and every valid value kept."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from cliworld import good
from rasterio import Affine
from rasterio.windows import Window

from stcli.raster.mosaic import Mosaic
from stcli.raster.read import open_raster

#: Rows and columns of each raster.
SHAPE = (30, 50)


def write(path, array, left=0, nodata=None, top=0, **more):
    """Write (band, row, col) or one band; the first pixel lies so many from the corner."""
    array = array.reshape(-1, *array.shape[-2:])
    profile = {
        "driver": "GTiff",
        "count": len(array),
        "height": array.shape[1],
        "width": array.shape[2],
        "dtype": array.dtype,
        "crs": "EPSG:32618",
        "transform": Affine(10, 0, 440000 + 10 * left, 0, -10, 4180000 - 10 * top),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **{**profile, **more}) as dataset:
        dataset.write(array)
    return str(path)


def bands(path):
    """Read bands (band, row, col) of any format as floats, NaN where a band is not valid."""
    with open_raster(str(path)) as raster:
        rows, cols = raster.info.shape
        block, valid = raster.read_each(Window(0, 0, cols, rows))
    return np.where(valid, block, np.nan)


def declared(path):
    """Give the nodata value that a GeoTIFF declares."""
    with rasterio.open(path) as dataset:
        return dataset.nodata


# --- bands by themselves ------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """Two rasters of two bands, float32 with holes of each band's own; they overlap by 20."""
    rng = np.random.default_rng(3)
    paths, arrays = [], []
    for n in range(2):
        array = rng.normal(100 * (n + 1), 1, (2, *SHAPE)).astype("float32")
        array[rng.random(array.shape) < 0.3] = -9999
        paths.append(write(tmp_path / f"{n}.tif", array, 30 * n, -9999))
        arrays.append(np.where(array == -9999, np.nan, array))
    return paths, arrays


def laid(arrays, order):
    """Lay the arrays of `pair` out pixel by pixel: the slow reference."""
    found = np.full((2, SHAPE[0], SHAPE[1] + 30), np.nan)
    for n in order:
        here = found[..., 30 * n : 30 * n + SHAPE[1]]
        for at in np.ndindex(here.shape):
            here[at] = arrays[n][at] if np.isnan(here[at]) else here[at]
    return found


@pytest.mark.parametrize("name", ["o.tif", "o.nc", "o.zarr"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_band_is_that_of_the_first_raster_in_which_it_is_valid(pair, tmp_path, name, order):
    paths, arrays = pair
    how = ("--of", "Zarr") if name.endswith("zarr") else ()
    for tiles in (("-j", 1), ("--tile-size", 17, "-j", 2), ("--tile-size", 0)):
        out = tmp_path / name
        good("merge", *(paths[n] for n in order), out, *how, *tiles, "--overwrite", "-q")
        np.testing.assert_array_equal(bands(out), laid(arrays, order))


def test_a_zarr_with_gaps_in_one_band_becomes_a_raster_with_the_same(pair, tmp_path):
    paths, arrays = pair
    good("merge", paths[0], tmp_path / "z.zarr", "--of", "Zarr", "-q")
    good("merge", tmp_path / "z.zarr", tmp_path / "o.tif", "-q")
    np.testing.assert_array_equal(bands(tmp_path / "o.tif"), arrays[0])


def test_a_band_alone_in_a_tile_is_not_lost(tmp_path):
    array = np.full((2, 8, 8), -1, "int16")
    array[1] = 5
    path = write(tmp_path / "one.tif", array, nodata=-1)
    good("merge", path, tmp_path / "o.tif", "-q")
    with rasterio.open(tmp_path / "o.tif") as found:
        np.testing.assert_array_equal(found.read(), array)


def test_a_mosaic_is_read_with_one_mask_for_all_bands_too(pair):
    paths, arrays = pair
    with Mosaic([open_raster(path) for path in paths]) as mosaic:
        block, valid = mosaic.read(Window(0, 0, 80, 30))
    wanted = laid(arrays, (0, 1))
    np.testing.assert_array_equal(valid, ~np.isnan(wanted).any(axis=0))
    np.testing.assert_array_equal(block, np.where(valid, wanted, 0))
