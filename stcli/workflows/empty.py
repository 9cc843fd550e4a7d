"""Bands without a valid pixel leave a raster none, for a pixel is valid where all bands are."""

from __future__ import annotations

import numpy as np
from rasterio.windows import Window

from stcli.engine.machine import MB
from stcli.errors import InputError, few
from stcli.raster.reading.read import Raster

#: Bytes of the rows that are read at once, about.
_READ = 32 * MB


def empty_bands(raster: Raster) -> tuple[str, ...]:
    """Name the bands without a valid pixel; rows are read until every band has shown one."""
    info = raster.info
    (rows, cols), seen = info.shape, np.zeros(info.count, dtype=np.bool_)
    side = int(max(1, _READ // (cols * info.count * (info.dtype.itemsize + 1))))
    for row in range(0, rows, side):
        seen |= raster.read_each(Window(0, row, cols, min(side, rows - row)))[1].any(axis=(1, 2))
        if seen.all():
            break
    return tuple(name for name, known in zip(info.band_names, seen, strict=True) if not known)


def none_valid(path: str) -> InputError:
    """Make the refusal of an input without any valid pixel."""
    return InputError(f"{path}: no valid pixel found, at least one is wanted.")


def no_valid_pixel(raster: Raster) -> InputError:
    """Make the refusal of a raster without a valid pixel, which says which bands are the cause."""
    path, count = raster.info.path, raster.info.count
    empty = empty_bands(raster)
    if len(empty) == count:
        return none_valid(path)
    if empty:
        return InputError(
            f"{path}: no valid pixel found in {few(empty)}, and a pixel is valid "
            "where all bands are; leave them out: choose the others with -b."
        )
    return InputError(
        f"{path}: no pixel found that is valid in all {count} bands, at least one is wanted; "
        "choose bands with -b."
    )
