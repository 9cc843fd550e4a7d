"""Send a raster through stdout as a GeoTIFF that the next program can read while it comes.

GDAL reads ``/vsistdin/`` when a GeoTIFF's directory is at its front and its rows follow in order;
it writes that order only uncompressed (the GTiff driver's ``STREAMABLE_OUTPUT=YES``). A
cloud-optimised GeoTIFF is not such a stream. So an output on stdout is a plain striped GeoTIFF.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from stcli.errors import OutputError, UsageError
from stcli.raster.output import STDOUT, OutputSpec

_STREAM = {"STREAMABLE_OUTPUT": "YES", "COMPRESS": "NONE", "TILED": "NO", "BLOCKYSIZE": "64"}
_CHUNK = 1 << 20


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
    """Copy a finished file to stdout.

    Raises
    ------
    BrokenPipeError
        The reader has left.
    """
    sys.stdout.flush()
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer, _CHUNK)
    sys.stdout.buffer.flush()
