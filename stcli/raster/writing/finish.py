"""From pixels on the disk to the finished file: copy, read back, flush."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio.crs import CRS

from stcli.raster.info import POOL
from stcli.raster.writing.copying import copy_windows
from stcli.raster.writing.draft import sidecar, sync
from stcli.raster.writing.legend import auxiliary_xml
from stcli.raster.writing.output import STDOUT, OutputSpec, block_bytes, exact, options, packing
from stcli.raster.writing.overviews import fill_overviews
from stcli.raster.writing.tiffblocks import PackedTiff
from stcli.settings import MOST_THREADS

logger = logging.getLogger("stcli")

#: Bytes of a finished file's drivers whatever its bands: lists of tiles, memory in pieces.
_DRIVERS = 48_000_000
#: Blocks of all bands that drivers hold at once: read, packed, one a level of overviews; for each
#: thread; and for each part that is kept open (1.6 measured).
_HELD, _HELD_A_THREAD, _HELD_A_PART = 4, 3, 2
#: Tells whether the pixels of a file are those that were handed in.
Matches = Callable[[Path], bool]
_GRID = ("width", "height", "count", "dtype", "nodata", "crs", "transform")


def finish(
    spec: OutputSpec, source: Path, final: Path, matches: Matches, keep: bool = False
) -> None:
    """Copy a finished source into the final file, read that back, and flush it to the disk.

    Parameters
    ----------
    source, final : Path
        The final file lies in a directory that holds only it and its sidecar.
    matches : callable
        Tells whether the pixels of a file are those that were handed in. The final file must
        match, or, where the options change values (lossy compression), the source.
    keep : bool
        Leave the source; by default it makes room as soon as it is copied.
    """
    same = exact(spec)
    if not same and not matches(source):
        raise OSError("the blocks read back differ from those written")
    _copy(spec, source, final)
    with rasterio.open(source) as dataset:
        crs = dataset.crs
    if not keep:
        source.unlink()
    complete(spec, final, matches if same else _readable, crs)


def writer_bytes(spec: OutputSpec) -> int:
    """Bytes that finishing an output takes beside GDAL's block cache, at its peak."""
    block = block_bytes(spec)
    threads = min(spec.threads or os.cpu_count() or 1, MOST_THREADS)
    return _DRIVERS + block * (_HELD + _HELD_A_THREAD * threads + _HELD_A_PART * POOL)


def complete(spec: OutputSpec, final: Path, matches: Matches, crs: CRS | None) -> None:
    """Read a final file back, give it its sidecar, and flush both to the disk.

    Parameters
    ----------
    spec : OutputSpec
    final : Path
    matches : callable
    crs : CRS or None
        Of the raster; one that no GeoTIFF can hold goes into the sidecar.

    Raises
    ------
    OSError
        The file does not match.
    """
    with ThreadPoolExecutor(1) as thread:  # the disk is busy while pixels are compared
        flushed = thread.submit(sync, final)
        if not matches(final):
            raise OSError("the blocks read back differ from those written")
        flushed.result()
    beside = sidecar(final)
    told = beside.read_bytes() if beside.exists() else _crs_beside(final, crs)
    if spec.path in STDOUT and b"<SRS" in (told or b""):
        logger.warning(
            "%s: no GeoTIFF can hold the CRS, and the sidecar that can does not fit through a "
            "pipe; name a file to keep the CRS",
            spec.path,
        )
    text = auxiliary_xml([(b.categories or (), b.colors or {}) for b in spec.bands], told)
    if text is not None:
        beside.write_bytes(text)
        sync(beside)


def _crs_beside(final: Path, crs: CRS | None) -> bytes | None:
    """Let GDAL say in a sidecar what CRS a GeoTIFF cannot hold; None where it can."""
    if crs is None:
        return None
    with tempfile.TemporaryDirectory(dir=final.parent) as folder:
        pixel = Path(folder) / "pixel.tif"
        shape = {"width": 1, "height": 1, "count": 1, "dtype": "uint8"}
        with rasterio.open(pixel, "w", driver="GTiff", crs=crs, **shape):
            pass
        return sidecar(pixel).read_bytes() if sidecar(pixel).exists() else None


def _copy(spec: OutputSpec, source: Path, final: Path) -> None:
    """Copy by GDAL, or faster where blocks can be packed one by one."""
    if packing(spec) is None:
        rasterio.shutil.copy(source, final, driver=spec.driver, **options(spec))
        return
    with rasterio.open(source) as dataset:
        grid = {name: dataset.profile[name] for name in _GRID}
        spec = replace(spec, tags=spec.tags | dataset.tags())  # with those noted meanwhile
    threads = spec.threads or os.cpu_count() or 1
    with PackedTiff(final, spec, grid) as target:
        fill_overviews(source, target, threads)
        copy_windows(source, target, threads)


def _readable(path: Path) -> bool:
    """Read a file through; raises what GDAL raises where it cannot."""
    with rasterio.open(path) as dataset:
        for _, window in dataset.block_windows(1):
            dataset.read(window=window)
    return True
