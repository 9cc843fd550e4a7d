"""Write rasters so that nothing half-written is ever visible.

While a run lasts its blocks go to a spool, an ordinary tiled GeoTIFF in a hidden directory
``.NAME.stcli-XXXXXXXX`` beside the output. On a clean exit the spool becomes the final file in
that directory; every block is read back and compared with what was handed in (GDAL may report a
full disk only in its log, when it flushes); the file is flushed to the disk and renamed over the
output. On any error the directory is removed and the output's name stays as it was.

Outputs created together (``create_rasters``) are all finished before the first is renamed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.raster.writing.checksum import checksum
from stcli.raster.writing.draft import NO_DRAFTS, Drafts
from stcli.raster.writing.finish import finish
from stcli.raster.writing.hidden import hidden_folder
from stcli.raster.writing.output import STDOUT, OutputBand, OutputSpec, profile
from stcli.raster.writing.parts import check_block
from stcli.raster.writing.publish import (
    GDAL_ERRORS,
    label,
    publish,
    refuse_output,
    reported,
    unwritable,
)
from stcli.raster.writing.stream import streamable

__all__ = [
    "OutputBand",
    "OutputSpec",
    "RasterWriter",
    "create_raster",
    "create_rasters",
    "refuse_output",
]


class RasterWriter:
    """Takes blocks of one output, from any thread, in any order.

    Windows must not overlap, except that the same window may be written again.
    """

    def __init__(self, spec: OutputSpec, dataset: Any) -> None:
        self._spec = spec
        self._dataset = dataset
        self._lock = threading.Lock()
        self._written: dict[tuple[int, int, int, int], int] = {}

    def write(self, window: Window, block: NDArray[Any]) -> None:
        """Write one block.

        Parameters
        ----------
        window : Window
            Whole pixels inside the raster.
        block : ndarray, (band, row, col), the output's dtype

        Raises
        ------
        OutputError
            The disk is full, or the file cannot be written.
        ValueError
            The block is not of the output's dtype, bands and the window's size.
        """
        check_block(self._spec, window, block)
        where = int(window.col_off), int(window.row_off), int(window.width), int(window.height)
        with self._lock:
            try:
                self._dataset.write(block, window=Window(*where))
            except GDAL_ERRORS as error:
                raise unwritable(self._spec, self._dataset.shape, error) from error
            self._written[where] = checksum(block)

    def note(self, name: str, text: str) -> None:
        """Set a dataset tag that is known only now."""
        with self._lock:
            self._dataset.update_tags(**{name: text})

    def matches(self, path: Path) -> bool:
        """Read every written window back from a file and compare it."""
        with rasterio.open(path) as dataset:
            return all(
                checksum(dataset.read(window=Window(*where))) == known
                for where, known in self._written.items()
            )


@contextlib.contextmanager
def create_raster(
    spec: OutputSpec, geobox: GeoBox, beside: Drafts = NO_DRAFTS
) -> Iterator[RasterWriter]:
    """Create one output; it appears under its name when the block ends without an error.

    Parameters
    ----------
    spec : OutputSpec
    geobox : GeoBox
        Grid of the output; CRS and transform are kept to the bit.
    beside : Drafts
        Files that appear just before it, whose block lies around this one.

    Yields
    ------
    RasterWriter

    Raises
    ------
    OutputError
        At entry: the output exists and may not be overwritten, or its directory is missing or
        not writable. Later: the disk is full, or what was written cannot be read back.
    """
    with create_rasters([spec], geobox, beside) as (writer,):
        yield writer


@contextlib.contextmanager
def create_rasters(
    specs: Sequence[OutputSpec], geobox: GeoBox, beside: Drafts = NO_DRAFTS
) -> Iterator[tuple[RasterWriter, ...]]:
    """Create several outputs on one grid; none is renamed before all are finished.

    See ``create_raster``.
    """
    for spec in specs:
        refuse_output(spec)
    with contextlib.ExitStack() as stack:
        drafts = []
        for spec in specs:
            target = None if spec.path in STDOUT else Path(spec.path)
            folder = stack.enter_context(hidden_folder(target))
            drafts.append(_Draft(spec, geobox, folder))
            stack.callback(drafts[-1].close)
        yield tuple(draft.writer for draft in drafts)
        for draft in drafts:
            draft.finish()
        beside.ready()
        for draft in drafts:
            draft.publish(beside)


class _Draft:
    """One output on its way: the spool and the final file in its hidden directory."""

    def __init__(self, spec: OutputSpec, geobox: GeoBox, folder: Path) -> None:
        self.spec = spec = streamable(spec)
        self.shape = int(geobox.shape[0]), int(geobox.shape[1])
        self.spool = folder / "spool.tif"
        self.final = folder / ("final.tif" if spec.path in STDOUT else Path(spec.path).name)
        self.dataset: Any = None
        try:
            with reported(spec, self.shape):
                self.dataset = rasterio.open(self.spool, "w", **profile(spec, geobox))
                label(self.dataset, spec)
        except BaseException:
            self.close()
            raise
        self.writer = RasterWriter(spec, self.dataset)

    def finish(self) -> None:
        """Turn the spool into the final file, read it back, and flush it to the disk."""
        with reported(self.spec, self.shape):
            self.dataset.close()
            finish(self.spec, self.spool, self.final, self.writer.matches)

    def publish(self, beside: Drafts) -> None:
        """Put the finished file under the output's name, and first what is beside it."""
        refuse_output(self.spec)  # another process may have been quicker
        with reported(self.spec, self.shape):
            beside.appear(self.final)
            publish(self.spec, self.final)

    def close(self) -> None:
        """Let go of the spool."""
        with contextlib.suppress(*GDAL_ERRORS):
            if self.dataset is not None:
                self.dataset.close()
