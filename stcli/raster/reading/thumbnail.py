"""Read a raster small: a part of it, in no more pixels than a picture has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from stcli.errors import InputError, UsageError
from stcli.raster.reading.gdalsource import GdalSource, reason
from stcli.raster.reading.read import Raster


@dataclass(frozen=True)
class Thumbnail:
    """A raster, small.

    Attributes
    ----------
    block : ndarray, (band, row, col)
        Unpacked values; anything where not valid.
    valid : ndarray of bool, (row, col)
    geobox : GeoBox
        Grid of the part that is shown, with the pixels of the raster itself.
    """

    block: NDArray[Any]
    valid: NDArray[np.bool_]
    geobox: GeoBox


def part_of(geobox: GeoBox, bounds: tuple[float, float, float, float] | None) -> Window:
    """Find the whole pixels that bounds (min x, min y, max x, max y, in CRS units) touch.

    Raises
    ------
    UsageError
        They lie outside.
    """
    rows, cols = (int(n) for n in geobox.shape)
    if bounds is None:
        return Window(0, 0, cols, rows)
    corners = [~geobox.transform @ (x, y) for x in bounds[::2] for y in bounds[1::2]]
    left, right = (f(c for c, _ in corners) for f in (min, max))
    top, bottom = (f(r for _, r in corners) for f in (min, max))
    first_col, first_row = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
    last_col, last_row = min(cols, int(np.ceil(right))), min(rows, int(np.ceil(bottom)))
    if first_col >= last_col or first_row >= last_row:
        text = ",".join(f"{value:g}" for value in bounds)
        raise UsageError(f"--bounds: {text} found, bounds that meet the raster's wanted.")
    return Window(first_col, first_row, last_col - first_col, last_row - first_row)


def thumbnail(raster: Raster, window: Window, longest: int, average: bool) -> Thumbnail:
    """Read a window in at most `longest` pixels a side.

    Overviews are used where the file has them, so that a large one is read quickly.

    Parameters
    ----------
    raster : Raster
    window : Window
    longest : int
    average : bool
        Average continuous values; else take the nearest: classes and labels cannot be averaged.

    Raises
    ------
    InputError
    """
    step = max(1.0, max(window.height, window.width) / longest)
    shape = max(1, round(window.height / step)), max(1, round(window.width / step))
    box = raster.info.geobox
    geobox = GeoBox(
        (int(window.height), int(window.width)),
        box.transform @ box.transform.translation(window.col_off, window.row_off),
        box.crs,
    )
    part = raster.alone()
    if part is not None and isinstance(part[0], GdalSource):
        return Thumbnail(*_decimated(part[0], part[1], window, shape, average), geobox)
    return Thumbnail(*_rows(raster, window, shape), geobox)


def _decimated(
    source: GdalSource,
    indexes: tuple[int, ...],
    window: Window,
    shape: tuple[int, int],
    average: bool,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    how = Resampling.average if average else Resampling.nearest
    bands = [source.info.bands[i - 1] for i in indexes]
    try:
        with rasterio.open(source.path) as dataset:
            stored = dataset.read(
                list(indexes), window=window, out_shape=(len(bands), *shape), resampling=how,
                masked=True,
            )  # fmt: skip
    except RasterioError as error:
        raise InputError(
            f"{source.info.path}: cannot be read ({reason(error)}); the file is truncated or "
            "damaged, fetch it again"
        ) from error
    valid: NDArray[np.bool_] = ~np.any(np.ma.getmaskarray(stored), axis=0)
    block = stored.data
    if any(band.packed for band in bands):
        scales = np.array([(band.scale, band.offset) for band in bands])
        block = block * scales[:, 0, None, None] + scales[:, 1, None, None]
    if block.dtype.kind == "f":
        valid &= np.all(np.isfinite(block), axis=0)
    return block, valid


def _rows(
    raster: Raster, window: Window, shape: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Take the nearest pixels, a row at a time."""
    rows = ((np.arange(shape[0]) + 0.5) * window.height / shape[0]).astype(int)
    cols = ((np.arange(shape[1]) + 0.5) * window.width / shape[1]).astype(int)
    block = np.empty((raster.info.count, *shape), raster.info.dtype)
    valid = np.empty(shape, bool)
    for k, row in enumerate(rows.tolist()):
        line = Window(window.col_off, window.row_off + row, window.width, 1)
        values, known = raster.read(line)
        block[:, k], valid[k] = values[:, 0, cols], known[0, cols]
    return block, valid
