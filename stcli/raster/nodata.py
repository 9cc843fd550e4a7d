"""Which stored values are a nodata value, and what becomes of them.

The rule is GDAL's, without GDAL's reading the band again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Tag of a file in which a pixel is no data only where all bands are.
TOGETHER = "NODATA_VALUES"
#: Floats are equal when they differ by less than this share of their sum.
_EQUAL = 2 * np.finfo(np.float32).eps
#: Whole numbers up to it are doubles.
_EXACT = 1 << 53
#: Rows that are looked at once: what is between stays in the cache.
_ROWS = 64


def comparable(nodata: float, dtype: np.dtype[Any]) -> bool:
    """Tell whether `exclude` knows what GDAL's own mask says.

    It does not for fractions among whole numbers, nor for 64-bit integers, whose nodata value may
    have been rounded.
    """
    if dtype.kind not in "iuf" or (dtype.kind != "f" and dtype.itemsize > 4):
        return False
    return dtype.kind == "f" or float(nodata).is_integer()


def representable(nodata: float, dtype: np.dtype[Any]) -> bool:
    """Tell whether a data type has a value, and a file can declare it: see `whole_limits`."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.isfinite(dtype.type(nodata)) or not np.isfinite(nodata))
    least, most = whole_limits(dtype)
    return float(nodata).is_integer() and least <= nodata <= most


def whole_limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Give the smallest and the largest nodata value of whole numbers that a file can declare.

    Of 64-bit integers those of double precision, by which rasterio hands them on: GDAL 3.10 reads
    -2**63, which is written as -9.2233720368547758e+18, as -9.
    """
    limits = np.iinfo(dtype)
    return max(int(limits.min), -_EXACT), min(int(limits.max), _EXACT)


def exclude(valid: NDArray[np.bool_], values: NDArray[Any], nodata: float) -> None:
    """Make invalid where a band's stored values are its nodata value.

    Parameters
    ----------
    valid : ndarray of bool (row, col)
        Changed in place.
    values : ndarray (row, col)
        Whole numbers of at most 32 bits are compared as they are. Floats are nodata where they
        differ by less than 2.4e-7 of the sum of both (``ARE_REAL_EQUAL`` of GDAL 3.10, which
        takes single precision's epsilon for double precision too); NaN where nodata is NaN.
    nodata : float
        As the file declares it.
    """
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        if limits.min <= nodata <= limits.max:
            for top in range(0, len(values), _ROWS):
                rows = slice(top, top + _ROWS)
                valid[rows] &= values[rows] != values.dtype.type(nodata)
        return
    if nodata != nodata:
        valid &= ~np.isnan(values)
        return
    with np.errstate(over="ignore", invalid="ignore"):  # as in GDAL: infinity is equal to itself
        wanted = values.dtype.type(nodata)
        for top in range(0, len(values), _ROWS):
            some = values[top : top + _ROWS]
            near = np.abs(some + wanted)
            near *= _EQUAL
            equal = np.abs(some - wanted) < near
            equal |= some == wanted
            valid[top : top + _ROWS] &= ~equal


def clear(block: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    """Set to 0 what is not valid.

    By the bits of what is to stay, all or none: choosing by a mask takes twenty times as long
    where much is not valid.

    Parameters
    ----------
    block : ndarray (…, row, col)
        Of numbers of 1, 2, 4 or 8 bytes; changed in place.
    valid : ndarray of bool (row, col) or the shape of `block`
    """
    whole, kept = (np.dtype(f"{kind}{block.dtype.itemsize}") for kind in "ui")
    bits = block.view(whole)
    for top in range(0, block.shape[-2], _ROWS):
        part = np.s_[..., top : top + _ROWS, :]
        keep = np.negative(valid[part].view(np.int8), dtype=kept)
        np.bitwise_and(bits[part], keep.view(whole), out=bits[part])
