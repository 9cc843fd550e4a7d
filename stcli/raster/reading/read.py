"""Open one or several files as one raster and read it window by window.

What is a valid pixel
---------------------
A pixel is valid when every selected band is valid there (`Raster.read`), or each band has valid
pixels of its own (`Raster.read_each`). For each band the first of these that its file declares
decides, and the ones after it are not looked at (GDAL's own order):

1. a mask band inside the file or in a ``.msk`` sidecar;
2. the nodata value (in NetCDF: ``_FillValue``, ``missing_value`` and ``valid_range`` together);
3. an alpha band (0 = invalid).

On top of that NaN and infinity are never valid. Values of invalid pixels are set to 0: no
sentinel and no NaN ever leaves ``Raster.read``.

An alpha band is a mask, not data. Asked for by number or name it is data, and then masks nothing
(some four-band aerial photographs call their near-infrared band alpha).

Packed bands (scale and offset) are unpacked to float32, exactly once; the others keep their type.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.heap import empty
from stcli.raster.bandnames import among_files, once_each
from stcli.raster.info import BandInfo, Held, RasterInfo, named
from stcli.raster.nodata import clear
from stcli.raster.reading.assumed import NOTHING, Assumed
from stcli.raster.reading.gdalsource import GdalSource
from stcli.raster.reading.source import RULES, Source, SourceInfo, share_out, stem
from stcli.raster.reading.stack import (
    Nesting,
    Resampling,
    finest,
    nest,
    read_nested,
)
from stcli.raster.reading.stdin import readable

logger = logging.getLogger("stcli")

NETCDF_SUFFIXES = {".nc", ".nc4", ".cdf", ".netcdf"}
NETCDF_MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
HDF5_MAGIC, HDF5_SUFFIXES = b"\x89HDF\r\n\x1a\n", {".h5", ".hdf5"}


class Raster:
    """Several bands on one grid, read by windows.

    Holds paths and plain data: it can be pickled, and read from several threads at once (each
    has its own GDAL handles; NetCDF is read under a lock). Usable as a context manager; after
    ``close()`` a read opens the files anew.

    Attributes
    ----------
    info : RasterInfo
        Grid, bands, times and tags.
    """

    def __init__(
        self, info: RasterInfo, parts: Sequence[_Part], resampling: Resampling = "nearest"
    ) -> None:
        self.info = info
        self._parts = tuple(parts)
        self._resampling: Resampling = resampling

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def files(self) -> tuple[tuple[Source, tuple[int, ...], tuple[int, ...]], ...]:
        """Each file with its 1-based band numbers and their places among the raster's bands."""
        return tuple((source, indexes, places) for source, _, indexes, places in self._parts)

    def close(self) -> None:
        """Close every file handle of every thread."""
        for source, *_ in self._parts:
            source.close()

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window.

        Parameters
        ----------
        window : Window
            Whole pixels inside the raster.

        Returns
        -------
        block : ndarray, (band, row, col), ``info.dtype``
            Unpacked values in the order of ``info.bands``; 0 where invalid.
        valid : ndarray of bool, (row, col)
            True where every band is valid.

        Raises
        ------
        InputError
            A file cannot be read there.
        """
        window = self._checked(window)
        shape = self.info.count, int(window.height), int(window.width)
        valid = np.ones(shape[1:], bool)
        block: NDArray[Any] | None = None
        for source, nesting, indexes, places in self._parts:
            part, part_valid = read_nested(source, nesting, window, indexes, self._resampling)
            valid &= part_valid
            if places == tuple(range(self.info.count)) and part.dtype == self.info.dtype:
                block = part  # the usual single file: no copy
                continue
            block = empty(shape, self.info.dtype) if block is None else block
            block[list(places)] = part
        assert block is not None  # a raster has a file
        if not valid.all():
            clear(block, valid)
        return block, valid

    def read_each(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window with a valid mask for each band on its own.

        Parameters
        ----------
        window : Window
            Whole pixels inside the raster.

        Returns
        -------
        block : ndarray, (band, row, col), ``info.dtype``
            Unpacked values in the order of ``info.bands``; 0 where invalid.
        valid : ndarray of bool, (band, row, col)

        Raises
        ------
        InputError
            A file cannot be read there.
        """
        window = self._checked(window)
        shape = self.info.count, int(window.height), int(window.width)
        everything = tuple(range(self.info.count))
        valid = np.empty(shape, bool)
        block: NDArray[Any] | None = None
        for source, nesting, indexes, places in self._parts:
            part, mask = read_nested(source, nesting, window, indexes, self._resampling, True)
            if places == everything and part.dtype == self.info.dtype:
                block, valid = part, mask  # the usual single file: no copy
                continue
            block = empty(shape, self.info.dtype) if block is None else block
            block[list(places)], valid[list(places)] = part, mask
        assert block is not None  # a raster has a file
        if not valid.all():
            clear(block, valid)
        return block, valid

    def read_own(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window as `read_each`, with one valid mask where those of all bands are alike.

        Parameters
        ----------
        window : Window
            Whole pixels inside the raster.

        Returns
        -------
        block : ndarray, (band, row, col), ``info.dtype``
        valid : ndarray of bool, (row, col); (band, row, col) where bands differ

        Raises
        ------
        InputError
            A file cannot be read there.
        """
        block, valid = self.read_each(window)
        alike = all(np.array_equal(valid[0], mask) for mask in valid[1:])
        return block, valid[0] if alike else valid

    @property
    def tiles(self) -> int:
        """Side of the square tiles that all files are made of; 0 where they are not alike."""
        return self._alike(lambda info: info.tiles)

    @property
    def block_rows(self) -> int:
        """Rows of the blocks that all files are made of; 0 where they are not alike, or unknown."""
        return self._alike(lambda info: info.rows)

    def _alike(self, of: Callable[[SourceInfo], int]) -> int:
        """Tell what is the same of all files, read as they lie; 0 where it is not."""
        found = {of(source.info) if nesting is None else 0 for source, nesting, *_ in self._parts}
        return found.pop() if len(found) == 1 else 0

    def alone(self) -> tuple[Source, tuple[int, ...]] | None:
        """Return the one file and its band numbers where there is but one; else None."""
        source, nesting, indexes, _ = self._parts[0]
        return (source, indexes) if len(self._parts) == 1 and nesting is None else None

    def _checked(self, window: Window) -> Window:
        rows, cols = self.info.shape
        whole = window.round_offsets().round_lengths()
        inside = (
            min(whole.row_off, whole.col_off) >= 0
            and whole.row_off + whole.height <= rows
            and whole.col_off + whole.width <= cols
        )
        if not inside or min(whole.height, whole.width) < 1:
            raise ValueError(f"{window} is not inside a raster of {rows} rows and {cols} columns")
        return Window(int(whole.col_off), int(whole.row_off), int(whole.width), int(whole.height))


#: A file, how its grid nests, its band numbers, and their places in the block.
_Part = tuple[Source, Nesting | None, tuple[int, ...], tuple[int, ...]]


def open_raster(
    sources: str | Sequence[str],
    *,
    bands: Sequence[int | str] = (),
    resampling: Resampling = "nearest",
    assumed: Assumed = NOTHING,
) -> Raster:
    """Open files as one raster on the grid of the finest.

    Parameters
    ----------
    sources : str or sequence of str
        Anything GDAL reads (``/vsi…`` names too), or NetCDF. The bands of several files stack in
        this order. Files on a coarser grid that nests in the finest are resampled on read.
    bands : sequence of int or str, optional
        1-based numbers over all bands of all files, or names; that of a variable of several times
        or levels means all of its bands. By default all but alpha.
    resampling : {'nearest', 'bilinear'}
        For files on a coarser grid.
    assumed : Assumed, optional
        CRS and nodata value of the files that have none.

    Returns
    -------
    Raster

    Raises
    ------
    InputError
        A file is missing, unreadable or unusable, grids do not nest, or a band is unknown.
    UsageError
        The assumed CRS is none.
    """
    paths = [sources] if isinstance(sources, str) else [str(path) for path in sources]
    if not paths:
        raise InputError("no input was named; give at least one raster")
    opened = [_open(path, assumed) for path in paths]
    grid = finest(opened)
    nestings = [nest(grid, source.info) for source in opened]
    table = [(s, i) for s, source in enumerate(opened) for i in range(1, _count(source) + 1)]
    names = _names(opened, table)
    chosen = _choose(bands, opened, table, names)
    parts = _parts(opened, nestings, [table[c] for c in chosen])
    share_out([(source, indexes) for source, _, indexes, _ in parts])
    if not bands:
        _tell_alpha(opened)
    return Raster(
        _info(opened, grid.path, [(*table[c], names[c]) for c in chosen]), parts, resampling
    )


def _open(name: str, assumed: Assumed) -> Source:
    path = readable(name)
    try:
        if not _is_netcdf(path):
            return GdalSource(path, assumed, name)
        from stcli.raster.reading.netcdf import NetcdfSource  # xarray takes half a second to import

        return NetcdfSource(path, assumed, name)
    except InputError as error:
        if path == name:
            raise
        raise InputError(str(error).replace(path, name)) from error


def _is_netcdf(path: str) -> bool:
    if path.startswith("/vsi") or "://" in path or not Path(path).is_file():
        return Path(path).suffix.lower() in NETCDF_SUFFIXES and not path.startswith("/vsi")
    suffix = Path(path).suffix.lower()
    try:
        with Path(path).open("rb") as file:
            magic = file.read(8)
    except OSError:
        return False  # GDAL's open will tell why
    hdf5 = magic == HDF5_MAGIC and (suffix in HDF5_SUFFIXES or not suffix)
    return suffix in NETCDF_SUFFIXES or magic[:4] in NETCDF_MAGIC or hdf5


def _count(source: Source) -> int:
    return len(source.info.bands)


def _names(opened: list[Source], table: list[tuple[int, int]]) -> list[str]:
    names = [opened[s].info.bands[i - 1].name for s, i in table]
    stems = [stem(opened[s].info.path) for s, _ in table]
    return once_each(among_files(names, stems) if len(opened) > 1 else names)


def _choose(
    bands: Sequence[int | str],
    opened: list[Source],
    table: list[tuple[int, int]],
    names: list[str],
) -> list[int]:
    """Turn the asked bands into positions in the table of all bands."""
    if not bands:
        return [k for k, (s, i) in enumerate(table) if i in opened[s].info.default]
    chosen = []
    for band in bands:
        if isinstance(band, str) and band in names:
            chosen.append(names.index(band))
        elif str(band).isdecimal() and 1 <= int(band) <= len(table):
            chosen.append(int(band) - 1)
        elif of_variable := [k for k, name in enumerate(names) if name.startswith(_within(band))]:
            chosen += of_variable
        else:
            path = named([source.info.path for source in opened])
            listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
            raise InputError(
                f"{path}: has no band {band}; choose among 1 to {len(table)} or {listed}"
            )
    return chosen


def _within(variable: int | str) -> tuple[str, str]:
    """How the names of a variable's bands begin: its times, or its places on other dimensions."""
    return f"{variable}@", f"{variable}["


def _parts(
    opened: list[Source], nestings: list[Nesting | None], chosen: list[tuple[int, int]]
) -> list[_Part]:
    parts: list[_Part] = []
    for s, source in enumerate(opened):
        places = tuple(k for k, (owner, _) in enumerate(chosen) if owner == s)
        if places:
            indexes = tuple(chosen[k][1] for k in places)
            parts.append((source, nestings[s], indexes, places))
    return parts


def _info(opened: list[Source], grid_path: str, chosen: list[tuple[int, int, str]]) -> RasterInfo:
    grid = next(source.info for source in opened if source.info.path == grid_path)
    bands: list[BandInfo] = []
    rules, times = set(), []
    for s, i, name in chosen:
        info = opened[s].info
        band = info.bands[i - 1]
        bands.append(BandInfo(name, band.dtype, band.nodata, band.scale, band.offset, band.units))
        rules.add(info.rules[i - 1])
        if info.times[i - 1]:
            times.append(info.times[i - 1])
    return RasterInfo(
        path=named([source.info.path for source in opened]),
        driver=grid.driver,
        geobox=grid.geobox,
        bands=tuple(bands),
        valid_from=min(rules, key=RULES.index),
        times=tuple(dict.fromkeys(times)),
        tags=dict(grid.tags),
        sources=tuple(source.info.path for source in opened),
        held=sum((opened[s].info.held for s in sorted({s for s, *_ in chosen})), Held()),
    )


def _tell_alpha(opened: list[Source]) -> None:
    for source in opened:
        info = source.info
        if not info.alpha:
            continue
        rule = min((info.rules[i - 1] for i in info.default), key=RULES.index)
        unread = f"not read, because its {rule} tells what is valid"
        used = "is used as the valid mask" if rule == "alpha" else unread
        logger.warning(
            "%s: band %d is declared alpha and %s; if it holds data, name the bands with --bidx",
            info.path,
            info.alpha,
            used,
        )
