"""Parts of an output that is on its way: one small GeoTIFF a tile, in a hidden folder beside it.

A part is compressed in memory, written under a temporary name by the system's own calls, which
tell of a full disk, and renamed. It is not flushed to the disk: who reads it back later compares
its pixels with the checksum that `Parts.save` gave. Only the finished output is flushed.

When all tiles are there, a VRT lays the parts out (`Parts.mosaic`), and the output is copied from
it. The VRT of a raster refers to one VRT a row of tiles, so that a window finds its parts among
the square root of their number.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from stcli.raster.writing.checksum import checksum, part_sum
from stcli.raster.writing.finish import finish
from stcli.raster.writing.output import BLOCK, OutputSpec, part_profile, profile
from stcli.raster.writing.publish import label, reported
from stcli.raster.writing.tiffblocks import packed
from stcli.settings import MOST_THREADS

#: Parts in one directory.
_FOLDER = 1000


class Placed(Protocol):
    """A tile, as far as its part goes."""

    @property
    def index(self) -> int:
        """Number of the tile, row by row."""

    @property
    def core(self) -> Window:
        """Where its pixels lie in the raster."""


#: Gives stored tiles, each with the checksum of its pixels.
Stored = Callable[[], Iterator[tuple[Placed, int]]]


class Parts:
    """The parts of one output. Holds plain data: it can be pickled, and used from any thread.

    Parameters
    ----------
    folder : Path
        Where the parts go.
    spec : OutputSpec
    shape : (int, int)
        Rows and columns of the output.
    shards : tuple of Path
        Where parts are read from if not there: tile k from number k modulo their count.
    """

    #: Whether parts are for whoever shares the file system: workers of a cluster too.
    anywhere = False

    def __init__(
        self,
        folder: Path,
        spec: OutputSpec,
        shape: tuple[int, int],
        shards: tuple[Path, ...] = (),
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.shape = shape
        self.shards = shards or (folder,)

    def path(self, index: int) -> Path:
        """Where the part of a tile lies."""
        folder = self.shards[index % len(self.shards)]
        return folder / f"{index // _FOLDER:06d}" / f"{index:09d}.tif"

    def save(self, tile: Placed, block: NDArray[Any]) -> int:
        """Store a tile's block (band, row, col); return the checksum of its pixels.

        Raises
        ------
        OutputError
            The disk is full, or the part cannot be written.
        ValueError
            The block is not of the output's dtype, bands and the tile's size.
        """
        check_block(self.spec, tile.core, block)
        with self._draft(tile) as draft, packed(self.profile(block.shape), block) as data:
            draft.write_bytes(data)
        return checksum(block)

    def save_strips(self, tile: Placed, strips: Iterable[NDArray[Any]]) -> int:
        """Store a tile's block of one band that comes in strips of whole rows, from the top.

        See `save`; each strip (1, row, col) is packed before the next is asked for. It ends at the
        end of a piece of the checksum or of the tile.
        """
        shape = 1, int(tile.core.height), int(tile.core.width)
        known = row = 0
        with self._draft(tile) as draft, MemoryFile() as memory:
            with memory.open(**self.profile(shape)) as dataset:
                for strip in strips:
                    window = Window(0, row, shape[2], strip.shape[1])
                    check_block(self.spec, window, strip)
                    dataset.write(strip, window=window)
                    known += part_sum(strip, row, 0, shape[2])
                    row += strip.shape[1]
            draft.write_bytes(memory.getbuffer())
        return known % (1 << 32)

    def drop(self, tile: Placed) -> None:
        """Remove a tile's part."""
        self.path(tile.index).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _draft(self, tile: Placed) -> Iterator[Path]:
        """Give the name under which a part is written; it gets its own when that is done."""
        path = self.path(tile.index)
        draft = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.tmp")
        with reported(self.spec, self.shape):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield draft
                draft.replace(path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise

    def profile(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Creation profile of the part of a tile's pixels (band, row, col)."""
        return part_profile(self.spec, shape)

    def load(self, tile: Placed, known: int) -> NDArray[Any] | None:
        """Read a tile's block (band, row, col) back; None where its checksum is another."""
        try:
            with rasterio.open(self.path(tile.index)) as dataset:
                block: NDArray[Any] = dataset.read()
        except (RasterioError, OSError):
            return None
        return block if checksum(block) == known else None

    def prepare(self, geobox: GeoBox) -> None:
        """Make ready for the first part."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def assemble(self, final: Path, geobox: GeoBox, stored: Stored, threads: int) -> Path:
        """Copy the parts into the finished file, read that back, and flush it to the disk.

        Returns where the finished file is.

        Parameters
        ----------
        final : Path
            In a directory of its own; the VRTs go there too.
        stored : callable
            Gives tiles and the checksums of their pixels, by rising number, each time anew.
        threads : int
            Of decoding; the copy's are the specification's.

        Raises
        ------
        OSError
            What is read back differs from what was saved.
        """
        with rasterio.Env(VRT_NUM_THREADS=str(threads)):
            source = self.mosaic(final.parent, geobox, (tile for tile, _ in stored()))
            same = functools.partial(matches, tiles=stored, threads=threads)
            finish(self.spec, source, final, same, keep=True)
        return final

    def mosaic(self, folder: Path, geobox: GeoBox, tiles: Iterable[Placed]) -> Path:
        """Lay parts out as a VRT with the output's grid, labels and nodata.

        Parameters
        ----------
        folder : Path
            Where the VRT and what it refers to are written.
        tiles : iterable of Placed
            Those with a part, by rising number; elsewhere the output is nodata.
        """
        head, path = folder / "head.tif", folder / "mosaic.vrt"
        with rasterio.open(head, "w", **profile(self.spec, geobox)) as dataset:
            label(dataset, self.spec)
        rasterio.shutil.copy(head, path, driver="VRT")
        tree = ElementTree.parse(path)
        bands = tree.getroot().findall("VRTRasterBand")
        for band in bands:
            for source in band.findall("SimpleSource") + band.findall("ComplexSource"):
                band.remove(source)
        for top, row in itertools.groupby(tiles, key=lambda tile: int(tile.core.row_off)):
            strip, height = self._strip(folder, bands, list(row))
            for number, band in enumerate(bands, start=1):
                window = Window(0, top, self.shape[1], height)
                band.append(_source(strip, number, band, window))
        tree.write(path)
        head.unlink()
        return path

    def _strip(
        self, folder: Path, bands: list[ElementTree.Element], row: list[Placed]
    ) -> tuple[Path, int]:
        """Write the VRT of one row of tiles; return it and its height."""
        height = int(row[0].core.height)
        size = {"rasterXSize": str(self.shape[1]), "rasterYSize": str(height)}
        root = ElementTree.Element("VRTDataset", size)
        for number, band in enumerate(bands, start=1):
            line = ElementTree.SubElement(root, "VRTRasterBand", dict(band.attrib))
            line.extend(copy.copy(found) for found in band.findall("NoDataValue"))
            for tile in row:
                core = Window(tile.core.col_off, 0, tile.core.width, height)
                line.append(_source(self.path(tile.index), number, band, core))
        path = folder / "strips" / f"{int(row[0].core.row_off):09d}.vrt"
        path.parent.mkdir(exist_ok=True)
        ElementTree.ElementTree(root).write(path)
        return path, height


def check_block(spec: OutputSpec, window: Window, block: NDArray[Any]) -> None:
    """Raise ValueError for a block (band, row, col) not of the output's dtype, bands and window."""
    shape = (len(spec.bands), int(window.height), int(window.width))
    if block.shape != shape or block.dtype != np.dtype(spec.dtype):
        raise ValueError(
            f"{spec.path}: a block of {block.shape} {block.dtype} was handed in, "
            f"{shape} {spec.dtype} is wanted"
        )


def _source(
    path: Path, number: int, band: ElementTree.Element, window: Window
) -> ElementTree.Element:
    """One source of a VRT's band: all of a file's band, laid into a window."""
    source = ElementTree.Element("SimpleSource")
    name = ElementTree.SubElement(source, "SourceFilename", {"relativeToVRT": "0"})
    name.text = str(path.absolute())
    ElementTree.SubElement(source, "SourceBand").text = str(number)
    size = {"xSize": str(int(window.width)), "ySize": str(int(window.height))}
    ElementTree.SubElement(
        source,
        "SourceProperties",
        {
            "RasterXSize": size["xSize"],
            "RasterYSize": size["ySize"],
            "DataType": band.attrib["dataType"],
            "BlockXSize": str(BLOCK),
            "BlockYSize": str(BLOCK),
        },
    )
    ElementTree.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    place = {"xOff": str(int(window.col_off)), "yOff": str(int(window.row_off))}
    ElementTree.SubElement(source, "DstRect", {**place, **size})
    return source


def matches(path: Path, tiles: Stored, threads: int) -> bool:
    """Read every stored tile's window from a file, a few at once, and compare its checksum."""
    own = threading.local()

    def same(pair: tuple[Placed, int]) -> bool:
        if not hasattr(own, "dataset"):
            own.dataset = rasterio.open(path)
            opened.callback(own.dataset.close)
        return checksum(own.dataset.read(window=pair[0].core)) == pair[1]

    with contextlib.ExitStack() as opened, ThreadPoolExecutor(min(threads, MOST_THREADS)) as pool:
        stored = tiles()
        while batch := list(itertools.islice(stored, 16 * threads)):
            if not all(pool.map(same, batch)):
                return False
    return True
