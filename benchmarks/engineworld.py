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


def mosaic(
    path: Path, side: int, rows: int | None = None, pixel: float = 10, names: Any = BANDS
) -> Path:
    """Lay the scene's four 10 m bands out again and again: a VRT of `rows` x `side` pixels.

    Parameters
    ----------
    rows : int, optional
        `side` by default.
    pixel : float
        Side of a pixel in metres, whatever it was.
    names : sequence of str
        Of the bands; the scene's come one after the other, as many as there are names.
    """
    with rasterio.open(SCENE / f"{BANDS[0]}.tif") as dataset:
        shape, crs = dataset.shape, dataset.crs
        left, _, _, top, _, _ = dataset.transform.to_gdal()
    rows = rows or side
    text = [
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{rows}">',
        f"<SRS>{crs.to_string()}</SRS>",
        f"<GeoTransform>{left}, {pixel}, 0, {top}, 0, {-pixel}</GeoTransform>",
    ]
    for number, name in enumerate(names, start=1):
        text.append(f'<VRTRasterBand dataType="UInt16" band="{number}">')
        text.append(f"<Description>{name}</Description>")
        text += _sources(BANDS[(number - 1) % len(BANDS)], shape, (rows, side))
        text.append("</VRTRasterBand>")
    path.write_text("\n".join([*text, "</VRTDataset>"]))
    return path


def _sources(band: str, shape: tuple[int, int], sides: tuple[int, int]) -> list[str]:
    """Place a band's file again and again."""
    text = []
    for top in range(0, sides[0], shape[0]):
        for left in range(0, sides[1], shape[1]):
            high, wide = min(shape[0], sides[0] - top), min(shape[1], sides[1] - left)
            text.append(
                f"<SimpleSource><SourceFilename>{SCENE / band}.tif</SourceFilename>"
                f'<SourceBand>1</SourceBand><SourceProperties RasterXSize="{shape[1]}" '
                f'RasterYSize="{shape[0]}" DataType="UInt16" BlockXSize="512" BlockYSize="512"/>'
                f'<SrcRect xOff="0" yOff="0" xSize="{wide}" ySize="{high}"/>'
                f'<DstRect xOff="{left}" yOff="{top}" xSize="{wide}" ySize="{high}"/>'
                "</SimpleSource>"
            )
    return text


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
