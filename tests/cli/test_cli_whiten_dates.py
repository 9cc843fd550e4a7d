"""Dates of all calendars through `whiten` into a GeoTIFF, whose names do not tell all, and back."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from stcli.cli.app import main
from stcli.raster.timeaxis import TimeAxis
from stcli.raster.writing.netcdf_write import CubeBand, CubeSpec, create_cube

BOX = GeoBox((5, 7), Affine(10, 0, 500030, 0, -10, 4000050), "EPSG:32618")
DATES = 30
MONTHS = np.arange("2000-01", "2002-08", dtype="datetime64[M]").astype("datetime64[D]")
FIRSTS = (MONTHS - MONTHS[0]).astype(float)
STEPS = np.arange(DATES, dtype=float)
AXES = {
    "hours": (STEPS * 6, "hours since 2001-01-01", "standard"),
    "seconds": (STEPS * 86400, "seconds since 2001-01-01", "standard"),
    "noleap": (STEPS + 45, "days since 2000-01-01", "noleap"),
    "360": (STEPS + 45, "days since 2000-01-01", "360_day"),
    "months": ((FIRSTS[:-1] + FIRSTS[1:]) / 2, "days since 2000-01-01", "standard"),
}


def run(*words):
    return main([str(word) for word in words])


def write(path, axis):
    rng = np.random.default_rng(0)
    x = 280 + np.cumsum(rng.normal(size=(DATES, 2, *BOX.shape)), axis=0) * 0.1
    x += rng.normal(size=x.shape)
    x[3, 0, 2, 2] = np.nan
    bands = (CubeBand("a", units="K"), CubeBand("b", units="m"))
    values, units, calendar = axis
    times = TimeAxis(tuple(values.tolist()), units, calendar)
    with create_cube(CubeSpec(str(path), bands, times), BOX) as writer:
        writer.write(Window(0, 0, BOX.shape[1], BOX.shape[0]), x.astype("float32"))
    return x


@pytest.mark.long
@pytest.mark.parametrize("kind", AXES)
@pytest.mark.parametrize("suffix", ["tif", "nc"])
def test_a_geotiff_of_any_calendar_comes_back(kind, suffix, tmp_path):
    x = write(tmp_path / "a.nc", AXES[kind])
    spectra, back = tmp_path / "s.nc", tmp_path / f"b.{suffix}"
    words = (tmp_path / "a.nc", tmp_path / "w.tif", "--psd-out", spectra, "-q")
    assert run("whiten", *words) == 0
    assert run("unwhiten", tmp_path / "w.tif", back, "--psd", spectra, "-q") == 0
    if suffix == "tif":
        with rasterio.open(back) as dataset, rasterio.open(tmp_path / "w.tif") as white:
            assert dataset.descriptions == white.descriptions
            assert dataset.units == ("K", "m") * DATES
            found = dataset.read().reshape(x.shape)
    else:
        with netCDF4.Dataset(back) as dataset:
            time = dataset["time"]
            assert (time.units, time.calendar) == AXES[kind][1:]
            assert np.array_equal(time[:], AXES[kind][0])
            assert dataset["b"].units == "m"
            found = np.stack([np.ma.filled(dataset[name][:], np.nan) for name in "ab"], axis=1)
    assert np.array_equal(np.isnan(found), np.isnan(x))
    assert np.nanmax(np.abs(found - x)) < 1e-3
