"""What an output needs to appear under its name: refusals, labels, errors named, the rename."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from stcli.errors import OutputError, UsageError
from stcli.raster.reading.gdalsource import reason
from stcli.raster.writing import appeared
from stcli.raster.writing.creation import refuse_options
from stcli.raster.writing.draft import discard, put, refuse_file, sidecar, sync
from stcli.raster.writing.hidden import hidden_folder
from stcli.raster.writing.legend import class_tags
from stcli.raster.writing.output import STDOUT, OutputSpec
from stcli.raster.writing.stream import refuse_terminal, send, streamable

# SystemError is what rasterio raises where GDAL failed and left no reason (a file size limit).
GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)


#: What a Zarr's directory has.
ZARR = (".zgroup", "zarr.json")


#: How files of a format end, the name to give them first.
_ENDINGS = {
    "COG": (".tif", ".tiff"),
    "GTiff": (".tif", ".tiff"),
    "Zarr": (".zarr",),
    "PNG": (".png",),
}
#: How files of formats end, of which an output is one or none.
_FORMATS = (
    *(".tif", ".tiff", ".zarr", ".png", ".jpg", ".jpeg"),
    *(".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".csv"),
    *(".vrt", ".img", ".jp2", ".j2k", ".webp", ".gif", ".bmp", ".bil", ".ers", ".hdr", ".asc"),
    *(".grd", ".rst", ".pix", ".mrf", ".grb", ".grb2", ".xyz", ".pdf", ".mbtiles", ".zip"),
    *(".gpkg", ".shp", ".fgb", ".geojson", ".json", ".parquet", ".xml", ".html", ".txt"),
)


def refuse_name(path: str, made: str) -> None:
    """Refuse the name of another format: whoever opens the file would take its word.

    Parameters
    ----------
    path : str
    made : str
        The driver of what is made, or ``"PNG"``.

    Raises
    ------
    UsageError
    """
    suffix, own = Path(path).suffix.lower(), _ENDINGS[made]
    if suffix in _FORMATS and suffix not in own:
        raise UsageError(
            f"{path}: the name ends in {suffix}, but this output is a {made}; name it {own[0]}"
        )


def refuse_output(spec: OutputSpec) -> None:
    """Refuse an output that cannot be written, or has a wrong name, before any work.

    Raises
    ------
    UsageError
        The name is that of another format, or a creation option is unknown.
    OutputError
    """
    refuse_name(spec.path, spec.driver)
    refuse_place(spec)


def refuse_place(spec: OutputSpec, directory: tuple[str, ...] | None = None) -> None:
    """Refuse an output that cannot be written, by whatever name.

    Parameters
    ----------
    directory : tuple of str, optional
        One of these is in a directory that may be overwritten; by default none for a file, and
        what is in a Zarr for a Zarr.

    Raises
    ------
    UsageError
        A creation option is unknown.
    OutputError
    """
    if directory is None:
        directory = ZARR if spec.driver == "Zarr" else ()
    refuse_options(streamable(spec))
    if spec.path in STDOUT:
        refuse_terminal()
        return
    path = Path(spec.path)
    refuse_file(spec.path, spec.overwrite, any((path / name).exists() for name in directory))


def publish(spec: OutputSpec, final: Path) -> None:
    """Put a finished file, and first its sidecar, under the output's name."""
    if spec.path in STDOUT:
        send(final)
        appeared.note(spec.path)
    elif final.is_dir():
        _replace_directory(Path(spec.path), final)
    else:
        _replace_file(Path(spec.path), final)


def _replace_file(target: Path, final: Path) -> None:
    """Rename a file over what is there, and first its sidecar."""
    existed = target.exists()
    try:
        put(final, target)
    except BaseException:
        if not existed:
            sidecar(target).unlink(missing_ok=True)
        raise
    appeared.note(str(target))
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
    appeared.note(str(target))
    sync(target.parent)
    discard(old)


def withdraw(path: str) -> None:
    """Remove an output, if it is there, and its sidecar; no half of a directory is ever there."""
    target = Path(path)
    if target.is_dir() and not target.is_symlink():
        with hidden_folder(target) as aside:  # it is removed there
            target.rename(aside / target.name)
    discard(target)
    sidecar(target).unlink(missing_ok=True)


def label(dataset: Any, spec: OutputSpec) -> None:
    """Write tags, names, colours and categories into a dataset that is open for writing."""
    dataset.update_tags(**spec.tags)
    for number, band in enumerate(spec.bands, start=1):
        dataset.set_band_description(number, band.name)
        if band.colors:
            dataset.write_colormap(number, band.colors)
        if band.units:
            dataset.set_band_unit(number, band.units)
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
    if spec.path in STDOUT:
        folder = os.environ.get("CPL_TMPDIR") or tempfile.gettempdir()
    else:
        folder = str(Path(spec.path).parent)
    free = shutil.disk_usage(folder).free
    wanted = shape[0] * shape[1] * len(spec.bands) * np.dtype(spec.dtype).itemsize
    cause = "no reason was given" if isinstance(error, SystemError) else reason(error)
    if spec.creation_options and free >= wanted:
        return OutputError(
            f"{spec.path}: it cannot be written ({cause}); check what --co asks for, or write "
            "elsewhere"
        )
    why = "the disk is full" if free < wanted else "it cannot be written"
    return OutputError(
        f"{spec.path}: {why} ({cause}): {free:,} bytes are free in {folder} and up to "
        f"{wanted:,} are needed before compression; make room or write elsewhere"
    )
