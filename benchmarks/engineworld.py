"""What the engine's benchmarks share: a raster of any size from the real scene, steps, bars."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from stcli.engine.tiling import Tile

SCENE = Path(__file__).parents[2] / "shared" / "data" / "s2-eastern-shore-l1c"
BANDS = ("B02", "B03", "B04", "B08")
results: list[bool] = []


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target}[op]
    results.append(holds)
    print(f"BAR engine.{name} {value:.4g} {op} {target:g} {'ok' if holds else 'short'}", flush=True)


def mosaic(path: Path, side: int) -> Path:
    """Lay the scene's four 10 m bands out again and again: a VRT of `side` x `side` pixels."""
    with rasterio.open(SCENE / f"{BANDS[0]}.tif") as dataset:
        rows, cols = dataset.shape
        transform, crs = dataset.transform, dataset.crs
    text = [
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}">',
        f"<SRS>{crs.to_string()}</SRS>",
        f"<GeoTransform>{', '.join(map(repr, transform.to_gdal()))}</GeoTransform>",
    ]
    for number, band in enumerate(BANDS, start=1):
        text.append(f'<VRTRasterBand dataType="UInt16" band="{number}">')
        text.append(f"<Description>{band}</Description>")
        for top in range(0, side, rows):
            for left in range(0, side, cols):
                high, wide = min(rows, side - top), min(cols, side - left)
                text.append(
                    f"<SimpleSource><SourceFilename>{SCENE / band}.tif</SourceFilename>"
                    f'<SourceBand>1</SourceBand><SourceProperties RasterXSize="{cols}" '
                    f'RasterYSize="{rows}" DataType="UInt16" BlockXSize="512" BlockYSize="512"/>'
                    f'<SrcRect xOff="0" yOff="0" xSize="{wide}" ySize="{high}"/>'
                    f'<DstRect xOff="{left}" yOff="{top}" xSize="{wide}" ySize="{high}"/>'
                    "</SimpleSource>"
                )
        text.append("</VRTRasterBand>")
    path.write_text("\n".join([*text, "</VRTDataset>"]))
    return path


@dataclass(frozen=True)
class Identity:
    """A block function that gives back what it gets."""

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> list[Any]:
        """Cut the core out."""
        return [block[(slice(None), *where.trim)]]


@dataclass(frozen=True)
class Nothing:
    """A block function that does nothing."""

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> int:
        """Give the tile's number."""
        return where.index


@dataclass(frozen=True)
class Blank:
    """A source of one valid pixel."""

    def read(self, window: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read nothing."""
        return np.zeros((1, 1, 1), np.uint8), np.ones((1, 1), bool)


def timed(command: list[str]) -> float:
    """Wall time of a command in seconds."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun
