"""What a Zarr of ours says of itself beyond what GDAL hands on."""

from __future__ import annotations

import pytest
from odc.geo.geobox import GeoBox
from rasterio import Affine

from stcli.raster.reading.read import open_raster
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.raster.writing.zarrlayout import create


def described(folder, shape, *bands):
    """Describe a store of such bands on a grid of 30 x 60 m."""
    box = GeoBox(shape, Affine(30, 0, 500000, 0, -60, 4e6), "EPSG:32618")
    create(
        folder,
        OutputSpec(str(folder), "float32", tuple(bands), 0, "continuous", driver="Zarr"),
        box,
    )
    with open_raster(str(folder)) as raster:
        return raster.info, box


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1)])
def test_one_row_or_column_keeps_its_place_and_its_pixels_sides(shape, tmp_path):
    info, box = described(tmp_path / "a.zarr", shape, OutputBand("red"))
    assert info.geobox == box


@pytest.mark.parametrize("units", [("K", "m", None), ("K", "K", "K")])
def test_each_band_keeps_its_unit(units, tmp_path):
    bands = (OutputBand(f"b{i}", units=unit) for i, unit in enumerate(units))
    info, _ = described(tmp_path / "a.zarr", (4, 5), *bands)
    assert tuple(band.units for band in info.bands) == units
