"""Grids, rasters on them, and the folder of real data."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio import Affine

REAL = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def real():
    """Give the folder of real data, or skip by name."""

    def folder(name: str) -> Path:
        path = REAL / name
        if not path.exists():
            pytest.skip(f"real data {name} is absent")
        return path

    return folder


@pytest.fixture
def grid():
    """Make a UTM grid."""

    def make(rows=50, cols=70, step=10.0, x=500000.0, y=4000000.0, crs="EPSG:32618"):
        return GeoBox((rows, cols), Affine(step, 0, x, 0, -step, y), crs)

    return make


@pytest.fixture
def tif(tmp_path):
    """Write an array (band, row, col) to a GeoTIFF on a grid."""

    def write(name, array, geobox, **profile):
        path = tmp_path / name
        crs = None if geobox.crs is None else rasterio.crs.CRS.from_wkt(geobox.crs.to_wkt())
        options = {
            "driver": "GTiff",
            "count": len(array),
            "height": array.shape[1],
            "width": array.shape[2],
            "dtype": array.dtype,
            "crs": crs,
            "transform": geobox.transform,
            **profile,
        }
        with rasterio.open(path, "w", **options) as dataset:
            dataset.write(array)
        return str(path)

    return write
