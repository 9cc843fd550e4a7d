"""Write rasters so that nothing half-written is ever visible.

While a run lasts its blocks go to a spool, an ordinary tiled GeoTIFF in a hidden directory
``.NAME.stcli-XXXXXX`` beside the output. On a clean exit the spool becomes the final file in
that directory; every block is read back and compared with what was handed in (GDAL may report a
full disk only in its log, when it flushes); the file is flushed to the disk and renamed over the
output. On any error the directory is removed and the output's name stays as it was.

Outputs created together (``create_rasters``) are all finished before the first is renamed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window

from stcli.errors import OutputError
from stcli.raster.gdalsource import reason
from stcli.raster.legend import auxiliary_xml, class_tags
from stcli.raster.output import STDOUT, OutputBand, OutputSpec, exact, options, profile

__all__ = [
    "OutputBand",
    "OutputSpec",
    "RasterWriter",
    "create_raster",
    "create_rasters",
    "refuse_output",
]

# SystemError is what rasterio raises where GDAL failed and left no reason (a file size limit).
_GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)


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
        where = int(window.col_off), int(window.row_off), int(window.width), int(window.height)
        shape = (len(self._spec.bands), where[3], where[2])
        if block.shape != shape or block.dtype != np.dtype(self._spec.dtype):
            raise ValueError(
                f"{self._spec.path}: a block of {block.shape} {block.dtype} was handed in, "
                f"{shape} {self._spec.dtype} is wanted"
            )
        with self._lock:
            try:
                self._dataset.write(block, window=Window(*where))
            except _GDAL_ERRORS as error:
                raise _unwritable(self._spec, self._dataset.shape, error) from error
            self._written[where] = _checksum(block)

    def note(self, name: str, text: str) -> None:
        """Set a dataset tag that is known only now."""
        with self._lock:
            self._dataset.update_tags(**{name: text})

    def matches(self, path: Path) -> bool:
        """Read every written window back from a file and compare it."""
        with rasterio.open(path) as dataset:
            return all(
                _checksum(dataset.read(window=Window(*where))) == checksum
                for where, checksum in self._written.items()
            )


@contextlib.contextmanager
def create_raster(spec: OutputSpec, geobox: GeoBox) -> Iterator[RasterWriter]:
    """Create one output; it appears under its name when the block ends without an error.

    Parameters
    ----------
    spec : OutputSpec
    geobox : GeoBox
        Grid of the output; CRS and transform are kept to the bit.

    Yields
    ------
    RasterWriter

    Raises
    ------
    OutputError
        At entry: the output exists and may not be overwritten, or its directory is missing or
        not writable. Later: the disk is full, or what was written cannot be read back.
    """
    with create_rasters([spec], geobox) as (writer,):
        yield writer


@contextlib.contextmanager
def create_rasters(
    specs: Sequence[OutputSpec], geobox: GeoBox
) -> Iterator[tuple[RasterWriter, ...]]:
    """Create several outputs on one grid; none is renamed before all are finished.

    See ``create_raster``.
    """
    for spec in specs:
        refuse_output(spec)
    with contextlib.ExitStack() as stack:
        drafts = []
        for spec in specs:
            drafts.append(_Draft(spec, geobox))
            stack.callback(drafts[-1].discard)
        yield tuple(draft.writer for draft in drafts)
        for draft in drafts:
            draft.finish()
        for draft in drafts:
            draft.publish()


def refuse_output(spec: OutputSpec) -> None:
    """Refuse an output that cannot be written, before any work.

    Raises
    ------
    OutputError
    """
    if spec.path in STDOUT:
        return
    path = Path(spec.path)
    if spec.path.startswith("/vsi"):
        raise OutputError(f"{spec.path}: cannot be written in place; name a local file or -")
    if path.is_dir():
        raise OutputError(f"{spec.path}: is a directory, a file name is wanted")
    if path.exists() and not spec.overwrite:
        raise OutputError(f"{spec.path}: exists already; give --overwrite or another name")
    if not path.parent.is_dir():
        raise OutputError(f"{spec.path}: there is no directory {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{spec.path}: the directory {path.parent} is not writable")


class _Draft:
    """One output on its way: the hidden directory, the spool, the final file."""

    def __init__(self, spec: OutputSpec, geobox: GeoBox) -> None:
        self.spec = spec
        self.shape = int(geobox.shape[0]), int(geobox.shape[1])
        self.folder = _folder(spec)
        self.spool = self.folder / "spool.tif"
        self.final = self.folder / ("final.tif" if spec.path in STDOUT else Path(spec.path).name)
        self.dataset: Any = None
        try:
            with _reported(spec, self.shape):
                self.dataset = rasterio.open(self.spool, "w", **profile(spec, geobox))
                _label(self.dataset, spec)
        except BaseException:
            self.discard()
            raise
        self.writer = RasterWriter(spec, self.dataset)

    def finish(self) -> None:
        """Turn the spool into the final file, read it back, and flush it to the disk."""
        with _reported(self.spec, self.shape):
            self.dataset.close()
            same = exact(self.spec)
            if not same and not self.writer.matches(self.spool):
                raise OSError("the blocks read back differ from those written")
            how = options(self.spec)
            rasterio.shutil.copy(self.spool, self.final, driver=self.spec.driver, **how)
            self.spool.unlink()
            if same and not self.writer.matches(self.final):
                raise OSError("the blocks read back differ from those written")
            if not same:
                _read_through(self.final)
            legend = auxiliary_xml([(b.categories or (), b.colors or {}) for b in self.spec.bands])
            if legend is not None:
                _sidecar(self.final).write_bytes(legend)
            for file in self.folder.iterdir():
                _sync(file)

    def publish(self) -> None:
        """Put the finished file, and first its sidecar, under the output's name."""
        if self.spec.path in STDOUT:
            with self.final.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        target = Path(self.spec.path)
        refuse_output(self.spec)  # another process may have been quicker
        existed = target.exists()
        with _reported(self.spec, self.shape):
            for suffix in (".ovr", ".msk", ".aux.xml"):  # those of an overwritten file
                target.with_name(target.name + suffix).unlink(missing_ok=True)
            try:
                if _sidecar(self.final).exists():
                    _sidecar(self.final).replace(_sidecar(target))
                self.final.replace(target)
            except BaseException:
                if not existed:
                    _sidecar(target).unlink(missing_ok=True)
                raise
            _sync(target.parent)

    def discard(self) -> None:
        """Remove the hidden directory with all that is in it."""
        with contextlib.suppress(*_GDAL_ERRORS):
            if self.dataset is not None:
                self.dataset.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _folder(spec: OutputSpec) -> Path:
    target = Path(spec.path)
    try:
        if spec.path in STDOUT:
            return Path(tempfile.mkdtemp(prefix=".stcli-", dir=os.environ.get("CPL_TMPDIR")))
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.stcli-", dir=target.parent))
    except OSError as error:
        raise OutputError(
            f"{spec.path}: nothing can be written beside it ({error.strerror}); "
            "choose another directory"
        ) from error


def _checksum(block: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(block).data)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".aux.xml")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_through(path: Path) -> None:
    with rasterio.open(path) as dataset:
        for _, window in dataset.block_windows(1):
            dataset.read(window=window)


def _label(dataset: Any, spec: OutputSpec) -> None:
    dataset.update_tags(**spec.tags)
    for number, band in enumerate(spec.bands, start=1):
        dataset.set_band_description(number, band.name)
        if band.colors:
            dataset.write_colormap(number, band.colors)
        if band.categories:
            dataset.update_tags(number, **class_tags(band.categories))


@contextlib.contextmanager
def _reported(spec: OutputSpec, shape: tuple[int, int]) -> Iterator[None]:
    try:
        yield
    except _GDAL_ERRORS as error:
        raise _unwritable(spec, shape, error) from error


def _unwritable(spec: OutputSpec, shape: tuple[int, int], error: BaseException) -> OutputError:
    """Name the file, GDAL's reason, and how much room there is and might be needed."""
    folder = os.environ.get("CPL_TMPDIR", tempfile.gettempdir())
    if spec.path not in STDOUT:
        folder = str(Path(spec.path).parent)
    free = shutil.disk_usage(folder).free
    wanted = shape[0] * shape[1] * len(spec.bands) * np.dtype(spec.dtype).itemsize
    why = "the disk is full" if free < wanted else "it cannot be written"
    cause = "no reason was given" if isinstance(error, SystemError) else reason(error)
    return OutputError(
        f"{spec.path}: {why} ({cause}): {free:,} bytes are free in {folder} and up to "
        f"{wanted:,} are needed before compression; make room or write elsewhere"
    )
