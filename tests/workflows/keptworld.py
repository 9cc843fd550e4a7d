"""A small job with two outputs, run in this process or as a script that can be killed."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio import Affine

from stcli.engine.memory import Cost
from stcli.raster.reading.read import open_raster
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.settings import RunSettings
from stcli.workflows.job import Inputs, Output, silent
from stcli.workflows.produce import Step, resumable

SHAPE = (180, 260)
GRID = GeoBox(SHAPE, Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32618")
COLOURS = {0: (0, 0, 0, 0), 1: (0, 0, 255, 255), 2: (0, 128, 0, 255)}
#: Tiles of 48 pixels: 4 rows and 6 columns, one of them empty.
TILES, TILE, EMPTY = 24, 48, 7

#: Creation options under which tiles are stored as the output is: its blocks are of one tile each.
OPTIONS = {
    "COG": {},
    "GTiff": {"BLOCKXSIZE": "16", "BLOCKYSIZE": "16"},
    "Zarr": {"BLOCKSIZE": "48"},
}


def scene(path: Path, seed: int = 0) -> Path:
    """Write an input: one band with holes and an empty tile."""
    rng = np.random.default_rng(seed)
    array = rng.integers(1, 1000, SHAPE).astype("uint16")
    array[rng.random(SHAPE) < 0.1] = 0
    row, col = divmod(EMPTY, 6)
    array[row * TILE : (row + 1) * TILE, col * TILE : (col + 1) * TILE] = 0
    profile = {"height": SHAPE[0], "width": SHAPE[1], "count": 1, "dtype": "uint16", "nodata": 0}
    profile |= {"crs": "EPSG:32618", "transform": GRID.transform}
    with rasterio.open(path, "w", driver="GTiff", **profile) as dataset:
        dataset.write(array[None])
    return path


@dataclass
class Work:
    """The block function: a class, and two floats; it notes its tiles and fails when told."""

    fail_at: int | None = None
    error: type[BaseException] = RuntimeError
    pause: float = 0.0

    def __post_init__(self):
        self.seen = []

    def __call__(self, block, valid, where):
        if where.index == self.fail_at:
            raise self.error("the tile fails")
        self.seen.append(where.index)
        time.sleep(self.pause)
        cut = block[(slice(None), *where.trim)]
        classes = (cut % 3).astype("uint8")
        floats = np.concatenate([np.sqrt(cut), cut / 7]).astype("float32")
        floats[:, ~valid[where.trim]] = np.nan
        return [classes, floats]


def counts(blocks):
    """Count a tile's classes."""
    return np.bincount(blocks[0].ravel(), minlength=3)


def specs(output: Output, folder: Path) -> list[OutputSpec]:
    """Describe the two outputs."""
    suffix = ".zarr" if output.driver == "Zarr" else ".tif"
    common = {
        "creation_options": output.creation_options,
        "overwrite": output.overwrite,
        "driver": output.driver,
        "tags": {"TOOL": "stcli"},
        "threads": 2,
    }
    names = ("", "water", "forest")
    one = OutputBand("class", COLOURS, names)
    two = (OutputBand("root"), OutputBand("seventh"))
    path = str(folder / f"classes{suffix}")
    other = str(folder / f"floats{suffix}")
    return [
        OutputSpec(path, "uint8", (one,), 0, "classes", **common),
        OutputSpec(other, "float32", two, math.nan, "continuous", **common),
    ]


def produce(source, folder, work, output=None, facts=None, **run):
    """Run the job; return what its sink was told and the tally."""
    output = output or Output()
    inputs = Inputs((str(source),))
    told = {}
    raster = open_raster(str(source))
    with raster, resumable(specs(output, folder), raster.info.geobox, output) as product:
        product.identify(**output.identity(inputs, verb="test", **(facts or {})))
        settings = RunSettings(**{"tile_size": TILE, "jobs": 1, **run})
        plan = product.plan(raster, Cost(10, 10), settings)

        def sink(tile, found):
            assert tile.index not in told
            told[tile.index] = None if found is None else found.tolist()

        tally = product.run(plan, Step(work, counts, "test"), sink, silent)
    return told, tally


def content(folder: Path) -> dict[str, bytes]:
    """All files under a folder, by name."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


if __name__ == "__main__":
    place, target, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    options = OPTIONS[kind]
    import zarr  # noqa: F401  before the line that starts the clock

    print("ready", flush=True)
    sys.stdin.readline()
    produce(place, target, Work(pause=0.01), Output(driver=kind, creation_options=options))
