"""What a Zarr of ours says of itself beyond what GDAL hands on."""

from __future__ import annotations

import pytest
from odc.geo.geobox import GeoBox
from rasterio import Affine

from stcli.raster.output import OutputBand, OutputSpec
from stcli.raster.read import open_raster
from stcli.raster.zarrlayout import create


def described(folder, shape, *bands):
    """Describe a store of such bands on a grid of 30 x 60 m."""
    box = GeoBox(shape, Affine(30, 0, 500000, 0, -60, 4e6), "EPSG:32618")
    create(folder, OutputSpec(str(folder), "float32", bands, 0, "continuous", driver="Zarr"), box)
    with open_raster(str(folder)) as raster:
        return raster.info, box


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_one_row_or_column_keeps_its_place_and_its_pixels_sides(shape, tmp_path):
    info, box = described(tmp_path / "a.zarr", shape, OutputBand("red"))
    assert info.geobox == box
