"""Send a raster through stdout as a GeoTIFF that the next program can read while it comes.

GDAL reads ``/vsistdin/`` when a GeoTIFF's directory is at its front and its blocks follow in order,
which no cloud-optimised GeoTIFF does. So an output on stdout is a plain uncompressed GeoTIFF in
strips. GDAL puts the directory of such a file first, but strips without data last; they are sent
in order, with the table of their positions set right. (GDAL's own ``STREAMABLE_OUTPUT`` is not
used: written to a file by GDAL 3.10 its table of positions was wrong now and then.)
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from stcli.errors import OutputError, UsageError
from stcli.raster.writing.draft import pour
from stcli.raster.writing.output import STDOUT, OutputSpec
from stcli.raster.writing.tiff import read_tiff

_STREAM = {"COMPRESS": "NONE", "TILED": "NO", "BLOCKYSIZE": "64"}


def streamable(spec: OutputSpec) -> OutputSpec:
    """Turn the specification of an output on stdout into that of a stream; others stay.

    Raises
    ------
    UsageError
        A creation option asks for what a stream cannot be.
    OutputError
        A Zarr is wanted on stdout.
    """
    if spec.path not in STDOUT:
        return spec
    if spec.driver == "Zarr":
        raise OutputError(f"{spec.path}: a Zarr is a directory, which no pipe takes; name one")
    asked = {key.upper(): value for key, value in spec.creation_options.items()}
    for key in ("COMPRESS", "TILED", "COPY_SRC_OVERVIEWS"):
        if asked.get(key, "NONE").upper() not in ("NONE", "NO"):
            raise UsageError(
                f"--co {key}={asked[key]}: a GeoTIFF on stdout is uncompressed and in rows, so "
                "that it can be read while it comes; drop the option, or name a file"
            )
    return replace(spec, driver="GTiff", creation_options={**asked, **_STREAM})


def refuse_terminal() -> None:
    """Refuse to pour a raster into a terminal.

    Raises
    ------
    OutputError
    """
    if os.isatty(1):
        raise OutputError("-: stdout is a terminal; pipe the raster on, or name a file")


def send(path: Path) -> None:
    """Send a finished file to stdout, its blocks in order.

    Raises
    ------
    OutputError
        Its directory is not at its front.
    BrokenPipeError
        The reader has left.
    """
    directory = read_tiff(str(path)).directories[0]
    first = int(directory.offsets.min())
    if directory.position > 16 or directory.table[0] >= first:
        raise OutputError("-: no stream can be made of this raster; name a file instead")
    place, dtype = directory.table
    ends = first + np.cumsum(directory.sizes)
    table = np.concatenate([[first], ends[:-1]]).astype(dtype).tobytes()
    with path.open("rb") as file:
        front = bytearray(file.read(first))
        front[place : place + len(table)] = table
        pour(bytes(front))
        pairs = zip(directory.offsets.tolist(), directory.sizes.tolist(), strict=True)
        for offset, size in pairs:
            file.seek(offset)
            pour(file.read(size))
