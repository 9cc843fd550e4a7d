"""What an output needs to appear under its name: refusals, labels, errors named, the rename."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from stcli.errors import OutputError, UsageError
from stcli.raster.draft import refuse_file, sync
from stcli.raster.gdalsource import reason
from stcli.raster.legend import class_tags
from stcli.raster.output import STDOUT, OutputSpec
from stcli.raster.stream import refuse_terminal, send, streamable

# SystemError is what rasterio raises where GDAL failed and left no reason (a file size limit).
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)


#: What a Zarr's directory has.
ZARR = (".zgroup", "zarr.json")


#: How files of formats end that no raster output has.
_FOREIGN = (".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".png", ".jpg", ".jpeg", ".csv")


def refuse_name(spec: OutputSpec) -> None:
    """Refuse the name of another format: whoever opens the file would take its word.

    Raises
    ------
    UsageError
    """
    suffix = Path(spec.path).suffix.lower()
    if suffix in _FOREIGN:
        wanted = ".zarr" if spec.driver == "Zarr" else ".tif"
        raise UsageError(
            f"{spec.path}: the name ends in {suffix}, but this output is a {spec.driver}; "
            f"name it {wanted}"
        )


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
    """CRC-32 of the values of a block (band, row, col)."""
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
