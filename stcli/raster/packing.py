"""How NetCDF stores values as integers: scale and offset, missing values, valid range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


#: What the NetCDF library fills floats with where a variable declares no fill value.
_NEVER_WRITTEN = 9.969209968386869e36


@dataclass(frozen=True)
class Packing:
    """How a variable stores its values.

    Attributes
    ----------
    dtype : str
        Of the stored values, after ``_Unsigned``.
    missing : tuple of float
        Stored values that mean "no data".
    lowest, highest : float
        Valid range of stored values.
    scale, offset : float
    filled : bool
        It declares what pixels hold that were never written.
    """

    dtype: str
    missing: tuple[float, ...]
    lowest: float
    highest: float
    scale: float
    offset: float
    filled: bool

    @property
    def masks(self) -> bool:
        """Tell whether any stored value is invalid."""
        return bool(self.missing) or self.lowest > -np.inf or self.highest < np.inf


def packing_of(variable: xr.DataArray, path: str) -> Packing:
    """Read how a variable is packed from its attributes (CF 1.8, section 8.1; NUG conventions).

    Raises
    ------
    InputError
        What should be a number is none.
    """
    attrs, raw = variable.attrs, variable.dtype
    dtype = raw
    if raw.kind in "iu" and "_Unsigned" in attrs:
        unsigned = str(attrs["_Unsigned"]).lower() == "true"
        dtype = np.dtype(f"{'u' if unsigned else 'i'}{raw.itemsize}")
    scale, offset = scale_of(variable, path)
    low, high = _valid_range(variable, dtype, (scale, offset), path)
    return Packing(
        dtype=dtype.name,
        missing=_missing(attrs, raw, dtype),
        lowest=low,
        highest=high,
        scale=scale,
        offset=offset,
        filled="_FillValue" in attrs,
    )


def scale_of(variable: xr.DataArray, path: str) -> tuple[float, float]:
    """Read a variable's scale and offset, 1 and 0 by default; raises `InputError`."""
    words = (("scale_factor", 1), ("add_offset", 0))
    scale, offset = (_number(variable, w, variable.attrs.get(w, n), path) for w, n in words)
    if not (math.isfinite(scale) and math.isfinite(offset)):
        raise InputError(
            f"{path}: {variable.name} has the scale_factor {scale:g} and the add_offset "
            f"{offset:g}, finite numbers are wanted; mend them, for example with ncatted"
        )
    return scale, offset


def _number(variable: xr.DataArray, word: str, value: Any, path: str) -> float:
    """Read a number out of an attribute."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: {variable.name} has {word} {value!r}, a number is wanted; mend it, for "
            "example with ncatted"
        ) from error


def _missing(attrs: dict[str, Any], raw: np.dtype[Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Collect the missing values that the stored type can hold; NaN needs no entry."""
    found: list[float] = []
    for key in ("_FillValue", "missing_value"):
        values = np.atleast_1d(attrs.get(key, []))
        for value in values[np.isfinite(values)] if values.dtype.kind in "iuf" else ():
            if dtype != raw and np.can_cast(values.dtype, raw):  # -1 as 255 under _Unsigned
                value = np.asarray(value, raw).view(dtype)
            stored = value if dtype.kind == "f" else _integer(value, dtype)
            if stored is not None and float(stored) not in found:
                found.append(float(stored))
    return tuple(found)


def _integer(value: Any, dtype: np.dtype[Any]) -> float | None:
    limits = np.iinfo(dtype)
    fits = float(value).is_integer() and limits.min <= value <= limits.max
    return float(value) if fits else None


def _valid_range(
    variable: xr.DataArray, dtype: np.dtype[Any], packed: tuple[float, float], path: str
) -> tuple[float, float]:
    """Return the valid range of stored values.

    A range of a floating type beside packed integers is in unpacked units (NUG), else it is in
    stored units.
    """
    attrs, (scale, offset) = variable.attrs, packed
    given = np.atleast_1d(attrs.get("valid_range", []))
    pair = given if given.size == 2 else [attrs.get("valid_min"), attrs.get("valid_max")]
    low, high = (
        default if v is None else _number(variable, "a valid range with", v, path)
        for v, default in zip(pair, (-np.inf, np.inf), strict=True)
    )
    kinds = {np.asarray(v).dtype.kind for v in pair if v is not None}
    if dtype.kind in "iu" and "f" in kinds and (scale, offset) != (1.0, 0.0):
        low, high = sorted(((low - offset) / scale, (high - offset) / scale))
    return low, high


def valid_of(stored: NDArray[Any], packing: Packing) -> NDArray[np.bool_]:
    """Tell which stored values are data: bool, of the shape of `stored`, as (band, row, col)."""
    valid = np.ones(stored.shape, bool)
    for value in packing.missing:
        valid &= stored != stored.dtype.type(value)
    if stored.dtype.kind == "f" and not packing.filled:
        valid &= stored != stored.dtype.type(_NEVER_WRITTEN)
    if packing.lowest > -np.inf:
        valid &= stored >= packing.lowest
    if packing.highest < np.inf:
        valid &= stored <= packing.highest
    return valid
