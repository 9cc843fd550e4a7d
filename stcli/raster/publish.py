"""From blocks on the disk to the output under its name: copy, read back, flush, rename."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from stcli.errors import OutputError
from stcli.raster.copying import copy_windows
from stcli.raster.draft import refuse_file, sync
from stcli.raster.gdalsource import reason
from stcli.raster.legend import auxiliary_xml, class_tags
from stcli.raster.output import STDOUT, OutputSpec, exact, options
from stcli.raster.stream import refuse_terminal, send, streamable

_GRID = ("width", "height", "count", "dtype", "nodata", "crs", "transform")
# SystemError is what rasterio raises where GDAL failed and left no reason (a file size limit).
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)


#: What a Zarr's directory has.
ZARR = (".zgroup", "zarr.json")


def refuse_output(spec: OutputSpec, directory: tuple[str, ...] | None = None) -> None:
    """Refuse an output that cannot be written, before any work.

    Parameters
    ----------
    directory : tuple of str, optional
        One of these is in a directory that may be overwritten; by default none for a file, and
        what is in a Zarr for a Zarr.

    Raises
    ------
    OutputError
    """
    if directory is None:
        directory = ZARR if spec.driver == "Zarr" else ()
    if spec.path in STDOUT:
        streamable(spec)
        refuse_terminal()
        return
    path = Path(spec.path)
    refuse_file(spec.path, spec.overwrite, any((path / name).exists() for name in directory))


def finish(
    spec: OutputSpec, source: Path, final: Path, matches: Callable[[Path], bool], keep: bool = False
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
    if not keep:
        source.unlink()
    if same and not matches(final):
        raise OSError("the blocks read back differ from those written")
    if not same:
        _read_through(final)
    legend = auxiliary_xml([(b.categories or (), b.colors or {}) for b in spec.bands])
    if legend is not None:
        sidecar(final).write_bytes(legend)
    for file in (final, sidecar(final)):
        if file.exists():
            sync(file)


def _copy(spec: OutputSpec, source: Path, final: Path) -> None:
    """Copy by GDAL, or faster where the format takes windows one after the other."""
    if spec.driver != "GTiff" or spec.path in STDOUT:  # a stream's rows follow in order
        rasterio.shutil.copy(source, final, driver=spec.driver, **options(spec))
        return
    with rasterio.open(source) as dataset:
        grid = {name: dataset.profile[name] for name in _GRID}
    with rasterio.open(final, "w", driver=spec.driver, **grid, **options(spec)) as target:
        label(target, spec)
        copy_windows(source, target, spec.threads or os.cpu_count() or 1)


def publish(spec: OutputSpec, final: Path) -> None:
    """Put a finished file, and first its sidecar, under the output's name."""
    if spec.path in STDOUT:
        send(final)
        return
    target = Path(spec.path)
    if final.is_dir():
        _replace_directory(target, final)
        return
    existed = target.exists()
    for suffix in (".ovr", ".msk", ".aux.xml"):  # those of an overwritten file
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    try:
        if sidecar(final).exists():
            sidecar(final).replace(sidecar(target))
        final.replace(target)
    except BaseException:
        if not existed:
            sidecar(target).unlink(missing_ok=True)
        raise
    sync(target.parent)


def _replace_directory(target: Path, final: Path) -> None:
    """Rename a directory over what is there; that is moved aside first, and then removed."""
    old = final.with_name(final.name + ".old")
    if target.exists():
        target.rename(old)
    try:
        final.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise
    sync(target.parent)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


def checksum(block: NDArray[Any]) -> int:
    """CRC-32 of a block's values."""
    return zlib.crc32(np.ascontiguousarray(block).data)


def sidecar(path: Path) -> Path:
    """Where GDAL looks for what a raster's own file cannot say."""
    return path.with_name(path.name + ".aux.xml")


def label(dataset: Any, spec: OutputSpec) -> None:
    """Write tags, names, colours and categories into a dataset that is open for writing."""
    dataset.update_tags(**spec.tags)
    for number, band in enumerate(spec.bands, start=1):
        dataset.set_band_description(number, band.name)
        if band.colors:
            dataset.write_colormap(number, band.colors)
        if band.categories:
            dataset.update_tags(number, **class_tags(band.categories))


@contextlib.contextmanager
def reported(spec: OutputSpec, shape: tuple[int, int]) -> Iterator[None]:
    """Turn what GDAL and the system raise while writing into an OutputError.

    A reader of stdout that has left is no error of the output.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except GDAL_ERRORS as error:
        raise unwritable(spec, shape, error) from error


def unwritable(spec: OutputSpec, shape: tuple[int, int], error: BaseException) -> OutputError:
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


def _read_through(path: Path) -> None:
    with rasterio.open(path) as dataset:
        for _, window in dataset.block_windows(1):
            dataset.read(window=window)
