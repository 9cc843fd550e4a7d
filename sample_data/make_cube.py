"""Write cube.nc: a small CF-1.8 time series whose seasons are simulated from scene.tif."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import netCDF4
import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.windows import Window

HERE = Path(__file__).resolve().parent
WINDOW = Window(col_off=500, row_off=440, width=96, height=96)
DATES = (
    date(2021, 1, 14),
    date(2021, 3, 2),
    date(2021, 4, 27),
    date(2021, 6, 30),
    date(2021, 8, 19),
    date(2021, 11, 5),
)
CLOUDS = {2: (30, 62, 21), 4: (70, 25, 17)}  # date index: row, column, radius in pixels
FILL = -32768
SCALE = 1e-4

ATTRIBUTES = {
    "Conventions": "CF-1.8",
    "title": "Synthetic Sentinel-2-like reflectance time series, six dates",
    "institution": "stcli",
    "source": "Simulated from one Sentinel-2 Level-1C scene; only its spatial pattern is observed",
    "history": "2025-01-01T00:00:00Z: python make_cube.py",
    "references": "sample_data/README.md",
    "comment": (
        "The dates, the seasons and the cloud-like gaps are synthetic: one observed scene was "
        "rescaled per date by its greenness, with a little noise. Not for scientific use. "
        "Contains modified Copernicus Sentinel data."
    ),
    "license": "Apache-2.0; the scene it is made from is CC0 1.0",
}


def simulate(red: NDArray[np.float64], nir: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return red and near-infrared stacks (time, y, x), NaN under the simulated clouds."""
    rng = np.random.default_rng(0)
    green = np.clip(((nir - red) / (nir + red) - 0.1) / 0.6, 0.0, 1.0)
    rows, cols = np.indices(red.shape)
    stacks = []
    for base, gain in ((red, -0.3), (nir, 0.4)):
        stack = np.empty((len(DATES), *red.shape))
        for i, day in enumerate(DATES):
            season = np.sin(2 * np.pi * (day.timetuple().tm_yday - 105) / 365)
            stack[i] = base * (1 + gain * season * green) + rng.normal(0, 0.001, red.shape)
            if i in CLOUDS:
                row, col, radius = CLOUDS[i]
                stack[i][np.hypot(rows - row, (cols - col) / 1.4) < radius] = np.nan
        stacks.append(np.clip(stack, 0.0, 1.0))
    return stacks


def main(scene: Path = HERE / "scene.tif", out: Path = HERE / "cube.nc") -> None:
    """Crop the scene, simulate six dates and write them with CF-1.8 metadata."""
    with rasterio.open(scene) as src:
        red, nir = src.read((3, 4), window=WINDOW) / 10_000
        transform, crs = src.window_transform(WINDOW), src.crs
    rows, cols = red.shape
    with netCDF4.Dataset(out, "w", format="NETCDF4") as nc:
        nc.setncatts(ATTRIBUTES)
        for name, size in (("time", len(DATES)), ("y", rows), ("x", cols)):
            nc.createDimension(name, size)

        time = nc.createVariable("time", "i4", ("time",), fill_value=False)
        time.setncatts({"standard_name": "time", "long_name": "time of the simulated image"})
        time.setncatts({"units": "days since 2021-01-01", "calendar": "standard", "axis": "T"})
        time[:] = [(day - date(2021, 1, 1)).days for day in DATES]

        y = transform.f + transform.e * (np.arange(rows) + 0.5)
        x = transform.c + transform.a * (np.arange(cols) + 0.5)
        for name, values in (("y", y), ("x", x)):
            axis = nc.createVariable(name, "f8", (name,), fill_value=False)
            axis.standard_name = f"projection_{name}_coordinate"
            axis.long_name = f"{name} coordinate of the pixel centre, UTM zone 18N"
            axis.setncatts({"units": "m", "axis": name.upper()})
            axis[:] = values

        grid = nc.createVariable("crs", "i4", ())
        grid.setncatts(CRS.from_epsg(crs.to_epsg()).to_cf())
        grid.spatial_ref = crs.to_wkt()
        grid.GeoTransform = " ".join(f"{value:.10g}" for value in transform.to_gdal())

        for name, label, values in zip(
            ("B04", "B08"), ("red", "near-infrared"), simulate(red, nir), strict=True
        ):
            band = nc.createVariable(
                name,
                "i2",
                ("time", "y", "x"),
                fill_value=FILL,
                zlib=True,
                complevel=9,
                chunksizes=(1, rows, cols),
            )
            band.standard_name = "toa_bidirectional_reflectance"
            band.long_name = f"simulated top-of-atmosphere reflectance, {label}"
            band.setncatts({"units": "1", "scale_factor": SCALE, "add_offset": 0.0})
            band.grid_mapping = "crs"
            band.set_auto_maskandscale(False)
            packed = np.where(np.isnan(values), FILL, np.round(values / SCALE))
            band[:] = packed.astype(np.int16)


if __name__ == "__main__":
    main()
