"""Zarr outputs: a directory of chunks that many writers fill at once.

Where all tiles are cut at multiples of a chunk each chunk belongs to one tile, and whoever has a
tile writes its chunks in place (`ZarrStore`). Elsewhere tiles go to GeoTIFF parts first, and the
chunks are made of them at the end (`ZarrFromParts`). The result is the same.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.raster.writing.checksum import checksum
from stcli.raster.writing.draft import sync
from stcli.raster.writing.output import OutputSpec
from stcli.raster.writing.parts import Parts, Placed, Stored, check_block
from stcli.raster.writing.publish import reported
from stcli.raster.writing.zarrlayout import array_name, create, zarr_options


class ZarrStore(Parts):
    """A Zarr whose chunks belong to one tile each: tiles are stored where they stay."""

    anywhere = True

    @property
    def store(self) -> Path:
        """The directory that becomes the output."""
        return self.folder / "store"

    def prepare(self, geobox: GeoBox) -> None:
        """Create the empty store; in that of an earlier run all but the chunks is made anew."""
        draft = self.folder / "store.tmp"
        draft.mkdir(parents=True)
        create(draft, self.spec, geobox)
        _sync_all(draft)  # no checksum would tell that a coordinate was lost
        if not self.store.exists():
            draft.rename(self.store)
            return
        for file in [path for path in draft.rglob("*") if path.is_file()]:
            file.replace(self.store / file.relative_to(draft))
        shutil.rmtree(draft)

    def save(self, tile: Placed, block: NDArray[Any]) -> int:
        """Write a tile's chunks; see `Parts.save`."""
        check_block(self.spec, tile.core, block)
        with reported(self.spec, self.shape):
            _put(_array(self.store, self.spec), tile.core, block)
        return checksum(block)

    def save_strips(self, tile: Placed, strips: Iterable[NDArray[Any]]) -> int:
        """Join strips, for a chunk is written whole; see `Parts.save_strips`."""
        return self.save(tile, np.concatenate([strip.copy() for strip in strips], axis=1))

    def load(self, tile: Placed, known: int) -> NDArray[Any] | None:
        """Read a tile's block (band, row, col) back; None where its checksum is another."""
        try:
            block = _get(_array(self.store, self.spec), tile.core)
        except (OSError, RuntimeError, ValueError):  # a chunk that is cut short
            return None
        return block if checksum(block) == known else None

    def assemble(self, final: Path, geobox: GeoBox, stored: Stored, threads: int) -> Path:
        """Read the store back and flush it to the disk; it stays where it is."""
        _check(self, stored(), threads)
        _sync_all(self.store)
        return self.store


class ZarrFromParts(Parts):
    """A Zarr of tiles that share chunks: they are parts first."""

    def assemble(self, final: Path, geobox: GeoBox, stored: Stored, threads: int) -> Path:
        """Fill a store from the parts, a row of chunks at a time; read it back; flush it."""
        draft = ZarrStore(final.parent, self.spec, self.shape)
        draft.prepare(geobox)
        source = self.mosaic(final.parent, geobox, (tile for tile, _ in stored()))
        side = zarr_options(self.spec)["side"]
        rows, cols = self.shape
        array = _array(draft.store, self.spec)
        with rasterio.Env(VRT_NUM_THREADS=str(threads)), rasterio.open(source) as dataset:
            for row, col in itertools.product(range(0, rows, side), range(0, cols, side)):
                window = Window(col, row, min(side, cols - col), min(side, rows - row))
                _put(array, window, dataset.read(window=window))
        return draft.assemble(final, geobox, stored, threads)


def _array(store: Path, spec: OutputSpec) -> Any:
    import zarr

    return zarr.open_array(str(store / array_name(spec)), mode="r+")


def _put(array: Any, window: Window, block: NDArray[Any]) -> None:
    rows, cols = window.toslices()
    if array.ndim == 2:
        array[rows, cols] = block[0]
    else:
        array[:, rows, cols] = block


def _get(array: Any, window: Window) -> NDArray[Any]:
    rows, cols = window.toslices()
    if array.ndim == 2:
        return np.asarray(array[rows, cols])[None]
    return np.asarray(array[:, rows, cols])


def _check(parts: Parts, stored: Iterator[tuple[Placed, int]], threads: int) -> None:
    """Read every stored tile back, a few at once."""
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(itertools.islice(stored, threads)):
            if any(block is None for block in pool.map(lambda pair: parts.load(*pair), batch)):
                raise OSError("the blocks read back differ from those written")


def _sync_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)
