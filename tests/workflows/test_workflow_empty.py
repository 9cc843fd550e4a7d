"""Rasters without a valid pixel: which bands are the cause is told."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from stcli.errors import InputError
from stcli.settings import RunSettings
from stcli.workflows import empty
from stcli.workflows.empty import empty_bands, no_valid_pixel
from stcli.workflows.job import Inputs, silent
from stcli.workflows.scaling import band_scaling


def written(path, values):
    how = {"driver": "GTiff", "nodata": 0, "transform": from_origin(0, 0, 1, 1)}
    count, height, width = values.shape
    how |= {"count": count, "height": height, "width": width, "dtype": "uint8"}
    with rasterio.open(path, "w", **how) as dataset:
        dataset.write(values)
    return Inputs((str(path),))


@pytest.mark.parametrize("size", [1, 1 << 25])
def test_a_band_with_one_valid_pixel_is_not_empty(size, tmp_path, monkeypatch):
    monkeypatch.setattr(empty, "_READ", size)
    values = np.zeros((3, 40, 30), np.uint8)
    values[0, 0, 0] = values[2, -1, -1] = 1
    with written(tmp_path / "a.tif", values).open() as raster:
        assert empty_bands(raster) == ("band 2",)


@pytest.mark.parametrize(
    ("filled", "said"),
    [
        ([], "a.tif: no valid pixel found, at least one is wanted."),
        ([0, 1], "found in band 3, band 4, band 5, band 6 and 1 more, and a pixel is valid where"),
        (range(7), "a.tif: no pixel found that is valid in all 7 bands, at least one is wanted"),
    ],
)
def test_the_cause_is_told(filled, said, tmp_path):
    values = np.zeros((7, 20, 30), np.uint8)
    for band in filled:
        values[band, band] = 1  # each band on a row of its own
    with written(tmp_path / "a.tif", values).open() as raster:
        assert said in str(no_valid_pixel(raster))
        with pytest.raises(InputError) as refused:
            band_scaling(raster, RunSettings(), silent)
        assert said in str(refused.value)
