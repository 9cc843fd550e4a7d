"""Overviews: each the half of the one before, by the rule that fits what the raster holds.

A pixel of an overview stands for two by two of the finer level, at the raster's end for those
that are there. Pixels without data count for nothing where another is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine

from stcli.raster.writing.copying import See, copy_windows
from stcli.raster.writing.output import packing
from stcli.raster.writing.tiff import read_directory
from stcli.raster.writing.tiffblocks import PackedTiff

Kind = Literal["labels", "classes", "continuous"]


def fill_overviews(source: Path, target: PackedTiff, threads: int, see: See | None = None) -> None:
    """Fill the overviews of a file under construction, and turn to its full resolution.

    Parameters
    ----------
    source : Path
        The full resolution, with the nodata value of the target.
    target : PackedTiff
        Nothing has been appended to it yet. Files beside it, with longer names, hold the levels
        while the coarser ones are made of them.
    threads : int
    see : callable, optional
        Is shown all of the full resolution once, where there are overviews; see `copy_windows`.
    """
    spec, made = target.spec, list[Path]()
    reduce = functools.partial(halve, kind=spec.kind, nodata=spec.nodata)
    plain = replace(spec, driver="GTiff", creation_options=packing(spec) or {}, tags={})
    for number, (rows, cols) in enumerate(target.levels[1:], start=1):
        path = target.path.with_name(f"{target.path.name}.level-{number}")
        grid = {"height": rows, "width": cols, "count": len(spec.bands), "dtype": spec.dtype}
        grid |= {"nodata": spec.nodata, "transform": Affine.scale(2**number)}
        with PackedTiff(path, plain, grid) as level:
            if made:
                copy_windows(made[-1], level, threads, reduce)
            else:
                copy_windows(source, level, threads, reduce, see)
        made.append(path)
    for number in range(len(made), 0, -1):
        target.turn(number)
        _append(target, made[number - 1])
    target.turn(0)


def _append(target: PackedTiff, level: Path) -> None:
    """Append all blocks of a file, and remove it."""
    with level.open("rb") as file:
        directory = read_directory(file)
        target.put(0, file.fileno(), directory, slice(0, directory.offsets.size))
    level.unlink()


def halve(block: NDArray[Any], kind: Kind, nodata: float | int | None) -> NDArray[Any]:
    """Halve the resolution of an array.

    Parameters
    ----------
    block : ndarray (band, row, col)
        Begins at an even row and column of its level.
    kind : {'labels', 'classes', 'continuous'}
        Labels are taken from the first pixel of the four; of classes the most frequent, the
        first of equals; of continuous values the mean, whole numbers rounded half up.
    nodata : float, int or None
        NaN is no data in any raster of floats.

    Returns
    -------
    ndarray (band, row, col) of the same dtype
        Rows and columns rounded up.
    """
    if kind == "labels":
        return np.ascontiguousarray(block[:, ::2, ::2])
    of_four = _mode if kind == "classes" else _mean
    half = np.empty((len(block), *(-(-n // 2) for n in block.shape[1:])), block.dtype)
    for band, found in zip(block, half, strict=True):  # one at a time: what is between is wide
        odd = [n % 2 for n in band.shape]
        even = np.pad(band, [(0, n) for n in odd], mode="edge") if any(odd) else band
        found[:] = of_four([even[i::2, j::2] for i in range(2) for j in range(2)], nodata)
    return half


def _mode(corners: Sequence[NDArray[Any]], nodata: float | int | None) -> NDArray[Any]:
    best, most = corners[0].copy(), np.zeros(corners[0].shape, np.uint8)
    for corner in corners:
        votes = sum((other == corner).astype(np.uint8) for other in corners)
        votes[_missing(corner, nodata)] = 0
        more = votes > most
        best[more], most[more] = corner[more], votes[more]
    return best


def _mean(corners: Sequence[NDArray[Any]], nodata: float | int | None) -> NDArray[Any]:
    dtype = corners[0].dtype
    missing = [_missing(corner, nodata) for corner in corners]
    total = np.zeros(corners[0].shape, np.float64)
    count = np.zeros(corners[0].shape, np.uint8)
    for corner, gone in zip(corners, missing, strict=True):
        np.add(total, corner, out=total, where=~gone)
        count += ~gone
    np.divide(total, count, out=total, where=count > 0)
    if dtype.kind in "iu":
        np.floor(total + 0.5, out=total)
    mean = total.astype(dtype)
    return np.where(count > 0, mean, corners[0])


def _missing(values: NDArray[Any], nodata: float | int | None) -> NDArray[np.bool_]:
    """Tell which values are no data."""
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, np.bool_)
    if nodata is not None and nodata == nodata:
        missing |= values == nodata
    return missing
