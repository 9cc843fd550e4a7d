"""What a Zarr of ours says of itself beyond what GDAL hands on."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
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


def test_what_is_not_read_of_a_store_that_xarray_wrote_is_told(tmp_path, caplog):
    values = np.ones((2, 3, 4), "float32")
    cube = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values)},
        {"time": ("time", [0, 1], {"units": "days since 2020-01-01"}), "lat": [3.0, 2, 1]},
    )
    cube.assign_coords(lon=[0.0, 1, 2, 3]).to_zarr(tmp_path / "a.zarr", zarr_format=2)
    open_raster(str(tmp_path / "a.zarr")).close()
    assert "a.zarr: a Zarr in which GDAL finds no CRS; names of variables and times" in caplog.text
    caplog.clear()
    box = GeoBox((4, 5), Affine(1, 0, 0, 0, -1, 0), None)
    tags = {"STCLI_VERSION": "0"}
    spec = OutputSpec("b", "float32", (OutputBand("a"),), 0, "continuous", tags=tags, driver="Zarr")
    create(tmp_path / "b.zarr", spec, box)
    open_raster(str(tmp_path / "b.zarr")).close()
    assert not caplog.text
