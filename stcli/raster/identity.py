"""What an input is, in a few plain facts, so that a changed one is noticed."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import rasterio
from rasterio.errors import RasterioError

from stcli.errors import InputError

#: Bytes at a file's beginning that count as its header.
HEADER = 1 << 16
#: Names of files inside an archive: what follows is the archive's own name and the place in it.
_PACKED = re.compile(r"(?:/vsi(?:zip|tar|gzip|7z|rar)/)+\{?([^}]+)")
Fingerprint = Literal["stat", "full"]


def identify(paths: Sequence[str], how: Fingerprint = "stat") -> list[dict[str, Any]]:
    """Describe the files that some rasters are made of.

    Parameters
    ----------
    paths : sequence of str
        Rasters as a user names them; the files that `files_of` lists count as theirs.
    how : {'stat', 'full'}
        ``'stat'``: size, time of change and checksum of the header. ``'full'``: checksum
        of the whole content; the same for a copy, and for a file that was only touched.

    Raises
    ------
    InputError
        A file cannot be read, or ``'full'`` is asked of what is no local file.
    """
    return [_facts(file, how) for path in paths for file in files_of(path)]


def files_of(path: str) -> list[str]:
    """List a raster's own file and all that it is read from: sidecars, a VRT's sources and theirs.

    GDAL lists the sources of a VRT, but not those of a VRT among them.
    """
    found, waiting = [path], [path]
    while waiting:
        raster = waiting.pop()
        more = [file for file in _listed(raster) if file not in found and not _within(file, path)]
        found += sorted(more)
        waiting += [file for file in more if file.lower().endswith(".vrt")]
    return found


def _listed(path: str) -> set[str]:
    try:
        with rasterio.open(path) as dataset:
            return {str(file) for file in dataset.files}
    except (RasterioError, OSError):
        return set()  # not GDAL's: NetCDF with several variables, or a name of xarray's


def _within(file: str, folder: str) -> bool:
    return Path(folder).is_dir() and Path(file).is_relative_to(folder)


def _facts(path: str, how: Fingerprint) -> dict[str, Any]:
    if Path(path).is_dir():  # a Zarr
        files = sorted(file for file in Path(path).rglob("*") if file.is_file())
        return {str(file.relative_to(path)): _facts(str(file), how) for file in files}
    archive = _archive(path)
    if archive is not None:
        return _facts(archive, how)
    if not Path(path).is_file():
        if how == "full":
            raise InputError(
                f"{path}: is no local file, whose content --fingerprint full could read; "
                "copy it here, or leave the option out"
            )
        return {"remote": path, **_remote(path)}
    try:
        with Path(path).open("rb") as file:
            if how == "full":
                return {"content": hashlib.file_digest(file, "sha256").hexdigest()}
            facts = os.fstat(file.fileno())
            header = hashlib.sha256(file.read(HEADER)).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns, "header": header}


def _archive(path: str) -> str | None:
    """Name the local archive that a file is in; None where it is in none."""
    packed = _PACKED.match(path)
    if packed is None:
        return None
    place = Path(packed[1])
    return next((str(name) for name in (place, *place.parents) if name.is_file()), None)


def _remote(path: str) -> dict[str, Any]:
    """Ask GDAL about a raster that is no local file: its profile and tags."""
    try:
        with rasterio.open(path) as dataset:
            return {"profile": repr(sorted(dataset.profile.items())), "tags": dataset.tags()}
    except (RasterioError, OSError):
        return {}
