"""Overviews: halved as GDAL halves, at the raster's end too, and no matter who packs them."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.windows import Window

from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.raster.writing.overviews import halve
from stcli.raster.writing.write import create_raster

RULES = {
    "labels": Resampling.nearest,
    "classes": Resampling.mode,
    "continuous": Resampling.average,
}


def raster(kind, dtype, rows, cols, nodata):
    """Values with some of no data, (2, row, col)."""
    rng = np.random.default_rng(7)
    values = rng.integers(1, 5 if kind == "classes" else 200, (2, rows, cols)).astype(dtype)
    values[rng.random(values.shape) < 0.3] = nodata
    return values


@pytest.mark.parametrize(
    ("kind", "dtype", "nodata"),
    [
        ("labels", "uint32", 0),
        ("classes", "uint8", 0),
        ("continuous", "float32", np.nan),
        ("continuous", "float64", -9999.0),
        ("continuous", "uint16", 0),
    ],
)
def test_halving_is_gdal_s(tmp_path, kind, dtype, nodata):
    values = raster(kind, dtype, 64, 96, nodata)
    ours = halve(values, kind, nodata)
    profile = {"driver": "GTiff", "count": 2, "height": 64, "width": 96, "dtype": dtype}
    with rasterio.open(
        tmp_path / "a.tif", "w", **profile, nodata=nodata, transform=Affine.scale(2)
    ) as dataset:
        dataset.write(values)
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        dataset.build_overviews([2], RULES[kind])
    with rasterio.open(tmp_path / "a.tif", overview_level=0) as dataset:
        theirs = dataset.read()
    if kind == "classes":  # GDAL's choice among equals is its own
        where = frequent(values, nodata)
        assert where.mean() > 0.5
        ours, theirs = ours[where], theirs[where]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def frequent(values, nodata):
    """Where one class of the four pixels is more frequent than any other."""
    corners = np.stack([values[:, i::2, j::2] for i in range(2) for j in range(2)])
    votes = np.stack([(corners == c).sum(axis=0) for c in range(1, 5)])
    votes.sort(axis=0)
    return (votes[-1] > votes[-2]) & (votes[-1] > 0)


@pytest.mark.parametrize("kind", RULES)
def test_a_block_s_end_is_the_mean_of_what_is_there(kind):
    nodata = 0
    values = np.array([[[3, 3, 7], [3, 5, 0], [9, 0, 0]]], "int32")
    wanted = {"labels": [[3, 7], [9, 0]], "classes": [[3, 7], [9, 0]]}
    wanted["continuous"] = [[4, 7], [9, 0]]  # (3 + 3 + 3 + 5) / 4 = 3.5, rounded up
    assert halve(values, kind, nodata).tolist() == [wanted[kind]]


def test_equals_are_settled_by_the_first():
    assert halve(np.array([[[0, 2], [1, 0]]], "uint8"), "classes", 0).tolist() == [[[2]]]


@pytest.mark.parametrize("kind", RULES)
def test_overviews_of_a_file_are_halves_of_halves(tmp_path, kind):
    """Of odd sides, part of it never written, in blocks of 128 so that there are three levels."""
    dtype, nodata = ("float32", np.nan) if kind == "continuous" else ("uint16", 0)
    bands = (OutputBand("a"), OutputBand("b"))
    path, options = tmp_path / "a.tif", {"BLOCKSIZE": "128"}
    spec = OutputSpec(str(path), dtype, bands, nodata, kind, creation_options=options, threads=2)
    values = raster(kind, dtype, 701, 897, nodata)
    with create_raster(spec, GeoBox((1001, 897), Affine.scale(10), "EPSG:32618")) as writer:
        writer.write(Window(0, 0, 897, 701), values)
    level = np.full((2, 1001, 897), nodata, dtype)
    level[:, :701] = values
    for number in range(3):
        level = halve(level, kind, nodata)
        with rasterio.open(path, overview_level=number) as overview:
            assert overview.profile["nodata"] == pytest.approx(nodata, nan_ok=True)
            np.testing.assert_array_equal(overview.read(), level)
    assert max(level.shape) <= 128
