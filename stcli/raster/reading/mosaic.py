"""Rasters on one grid, side by side, read as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.raster.info import Held, RasterInfo, crs_text, named, pixel_size, same_pixels
from stcli.raster.nodata import TOGETHER, clear, representable
from stcli.raster.reading.read import Raster
from stcli.raster.reading.source import RULES, SourceInfo

#: How far, in pixels, corners may lie from corners of the first raster's pixels.
_TOLERANCE = 1e-3


class Mosaic(Raster):
    """Rasters of one CRS and pixel size, whose pixels meet; the first named is on top.

    A pixel of a band comes from the first raster in which that band is valid there.

    Parameters
    ----------
    rasters : sequence of Raster
        One or more, of the same bands and dtype.

    Attributes
    ----------
    rasters : tuple of Raster

    Raises
    ------
    InputError
        They do not lie on one grid, or differ in bands or dtype; the one is named.
    """

    def __init__(self, rasters: Sequence[Raster]) -> None:
        first = rasters[0].info
        for raster in rasters[1:]:
            _refuse_other(first, raster.info)
        self.rasters = tuple(rasters)
        offsets = [_offset(first, raster.info) for raster in rasters]
        top, left = (min(offset[axis] for offset in offsets) for axis in (0, 1))
        self._offsets = tuple((row - top, col - left) for row, col in offsets)
        infos = [raster.info for raster in rasters]
        whole = replace(
            first,
            path=named([path for info in infos for path in info.sources]),
            geobox=self._geobox(first.geobox, (top, left)),
            valid_from=min((info.valid_from for info in infos), key=RULES.index),
            sources=tuple(path for info in infos for path in info.sources),
            held=sum((info.held for info in infos), Held()),
        )
        super().__init__(whole, ())

    def close(self) -> None:
        """Close every file."""
        for raster in self.rasters:
            raster.close()

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window; see `Raster.read`."""
        block, each = self.read_each(window)
        valid: NDArray[np.bool_] = np.all(each, axis=0)
        clear(block, valid)
        return block, valid

    def read_each(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window with a valid mask for each band; see `Raster.read_each`."""
        window = self._checked(window)
        block = np.zeros((self.info.count, window.height, window.width), self.info.dtype)
        valid = np.zeros(block.shape, bool)
        for raster, offset in zip(self.rasters, self._offsets, strict=True):
            inside = _common(window, offset, raster.info.shape)
            if inside is None:
                continue
            part, part_valid = raster.read_each(inside)
            top = inside.row_off + offset[0] - window.row_off
            left = inside.col_off + offset[1] - window.col_off
            here = np.s_[:, top : top + inside.height, left : left + inside.width]
            new = part_valid & ~valid[here]
            np.copyto(block[here], part, where=new)
            valid[here] |= new
        return block, valid

    def agreed_nodata(self) -> float | None:
        """Give the value that all bands declare and have in every pixel that is not valid.

        None where they do not agree, where a mask or something else tells which pixels are valid,
        or where the mosaic's data type does not have the value.
        """
        files = [file for raster in self.rasters for file in raster.files]
        told = [_telling(source.info, i) for source, indexes, _ in files for i in indexes]
        known = [value for value in told if value is not None]
        if len(known) < len(told) or not representable(known[0], self.info.dtype):
            return None
        alike = np.array_equal(known, known[:1] * len(known), equal_nan=True)
        return known[0] if alike else None

    def complete(self) -> bool:
        """Tell whether every pixel is valid by what the files declare: no nodata, mask or gap."""
        return {raster.info.valid_from for raster in self.rasters} == {"all"} and self._covered()

    def _covered(self) -> bool:
        """Tell whether a raster lies everywhere."""
        shapes = [raster.info.shape for raster in self.rasters]
        starts, ends = np.array(self._offsets), np.array(self._offsets) + np.array(shapes)
        edges = [np.unique((starts[:, k], ends[:, k])) for k in (0, 1)]
        held = np.zeros([len(lines) - 1 for lines in edges], bool)
        for start, end in zip(starts, ends, strict=True):
            rows, cols = (
                slice(*np.searchsorted(lines, (start[k], end[k]))) for k, lines in enumerate(edges)
            )
            held[rows, cols] = True
        return bool(held.all())

    def _geobox(self, first: GeoBox, corner: tuple[int, int]) -> GeoBox:
        shapes = [raster.info.shape for raster in self.rasters]
        pairs = list(zip(self._offsets, shapes, strict=True))
        rows, cols = (max(offset[k] + shape[k] for offset, shape in pairs) for k in (0, 1))
        transform = first.transform
        if corner != (0, 0):
            transform = transform @ Affine.translation(corner[1], corner[0])
        return GeoBox((rows, cols), transform, first.crs)


def _telling(info: SourceInfo, index: int) -> float | None:
    """Nodata value that alone tells which pixels of a file's band are valid, as they are read."""
    band = info.bands[index - 1]
    alone = info.rules[index - 1] == "nodata" and TOGETHER not in info.tags
    return band.nodata if alone and not band.packed else None


def _refuse_other(first: RasterInfo, other: RasterInfo) -> None:
    """Refuse a raster whose pixels cannot lie beside those of the first."""
    for what, found, wanted in (
        ("CRS", crs_text(other.geobox), crs_text(first.geobox)),
        ("bands", other.count, first.count),
        ("dtype", other.dtype.name, first.dtype.name),
    ):
        if found != wanted:
            raise InputError(
                f"{other.path}: {what} {found} found, {wanted} wanted, as {first.path} has"
            )
    _refuse_order(first, other)
    relative = ~first.geobox.transform @ other.geobox.transform
    rows, cols = other.shape
    corners = [((0, 0), relative @ (0, 0)), ((cols, rows), relative @ (cols, rows))]
    col, row = (round(value) for value in corners[0][1])
    far = max(max(abs(x - col - ideal[0]), abs(y - row - ideal[1])) for ideal, (x, y) in corners)
    if far > _TOLERANCE:
        raise _misfit(first, other, far)


def _refuse_order(first: RasterInfo, other: RasterInfo) -> None:
    """Refuse a raster that has a band of the first under another number: they would be mixed."""
    names = first.band_names
    for number, (name, wanted) in enumerate(zip(other.band_names, names, strict=True), start=1):
        if name != wanted and name in names:
            raise InputError(
                f"{other.path}: band {number} is {name}, which is band {names.index(name) + 1} of "
                f"{first.path}; put its bands into that order first, as gdal_translate -b does"
            )


def _misfit(first: RasterInfo, other: RasterInfo, far: float) -> InputError:
    """Say why pixels do not meet that lie so many pixels off: size, orientation or place."""
    if not same_pixels(pixel_size(first.geobox), pixel_size(other.geobox)):
        return InputError(
            f"{other.path}: pixels of {_size(other)} found, {_size(first)} wanted, as {first.path} "
            "has; warp both onto one grid first"
        )
    if _turned(~first.geobox.transform @ other.geobox.transform):
        return InputError(
            f"{other.path}: its rows and columns run another way than those of {first.path} "
            "(south up or turned); warp both onto one grid first"
        )
    return InputError(
        f"{other.path}: its pixels lie {far:.3g} pixels off those of {first.path}; "
        "warp both onto one grid first"
    )


def _size(info: RasterInfo) -> str:
    return "{:g} x {:g}".format(*pixel_size(info.geobox))


def _turned(relative: Affine) -> bool:
    """Tell whether steps along rows and columns, of one length, differ in direction."""
    steps = (relative.a - 1, relative.b, relative.d, relative.e - 1)
    return any(abs(step) > _TOLERANCE for step in steps)


def _offset(first: RasterInfo, other: RasterInfo) -> tuple[int, int]:
    """Row and column of a raster's first pixel, counted from that of the first raster."""
    relative = ~first.geobox.transform @ other.geobox.transform
    return round(relative.f), round(relative.c)


def _common(window: Window, offset: tuple[int, int], shape: tuple[int, int]) -> Window | None:
    """Part of a window of the mosaic that a raster covers, counted from that raster's corner."""
    row, col = int(window.row_off) - offset[0], int(window.col_off) - offset[1]
    top, left = max(row, 0), max(col, 0)
    bottom = min(row + int(window.height), shape[0])
    right = min(col + int(window.width), shape[1])
    if bottom <= top or right <= left:
        return None
    return Window(left, top, right - left, bottom - top)
