"""How a raster's bands become a cube: variables, a time axis, and the attributes they came with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.raster.netcdf import NetcdfSource
from stcli.raster.netcdf_write import CubeBand, TimeAxis
from stcli.raster.read import Raster

#: Attributes that speak of how the input stored its values, or of its grid.
_STALE = {
    *("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "units"),
    *("valid_range", "valid_min", "valid_max", "actual_range", "grid_mapping", "coordinates"),
    *("dimensions", "coordinate_system", "cell_measures", "ancillary_variables", "long_name"),
}


@dataclass(frozen=True)
class Layout:
    """Where each band of a raster goes in a cube.

    Attributes
    ----------
    bands : tuple of CubeBand
        The variables: float32 with NaN, names, units and attributes of the input.
    times : TimeAxis or None
        The input's own numbers, units and calendar.
    order : ndarray of int, (time, band)
        Place of each in the raster's bands; one row without a time axis.
    attrs : dict
        The input's global attributes but those of its extent.
    """

    bands: tuple[CubeBand, ...]
    times: TimeAxis | None
    order: NDArray[np.int64]
    attrs: dict[str, Any]


def layout(raster: Raster) -> Layout:
    """Lay a raster's bands out as variables over time and space.

    Bands of one NetCDF file become its variables again, over the times that all of them have.
    Any other raster becomes one variable a band.
    """
    (source, indexes, places), *others = raster.files
    cube = None
    if not others and isinstance(source, NetcdfSource):
        cube = _regrouped(source, dict(zip(places, indexes, strict=True)))
    if cube is None:
        bands = tuple(
            CubeBand(_word(b.name), units=b.units or "1", attrs={"long_name": b.name})
            for b in raster.info.bands
        )
        cube = bands, None, np.arange(len(bands))[None]
    extent = ("geospatial_", "stcli_crs", "time_coverage_resolution")
    netcdf = raster.info.driver == "netCDF"
    kept = {k: v for k, v in raster.info.tags.items() if netcdf and not k.startswith(extent)}
    return Layout(*_distinct(cube), kept)


_Cube = tuple[tuple[CubeBand, ...], TimeAxis | None, NDArray[np.int64]]


def _regrouped(source: NetcdfSource, chosen: dict[int, int]) -> _Cube | None:
    """Group the bands of a file by variable and time; None where some lack a time of others."""
    found: dict[str, dict[int, int]] = {}
    attrs: dict[str, dict[str, Any]] = {}
    axes: set[str] = set()
    for place, index in sorted(chosen.items()):
        layer = source.layer(index)
        name = _word("_".join([layer.variable, *layer.labels]))
        found.setdefault(name, {})[layer.step] = place
        attrs[name] = layer.attrs
        axes.add(layer.time)
    steps = sorted(next(iter(found.values())))
    if len(axes) != 1 or any(sorted(places) != steps for places in found.values()):
        return None
    (time,) = axes
    bands = tuple(_band(name, attrs[name]) for name in found)
    order = np.array([[found[name][step] for name in found] for step in steps])
    return bands, _times(source.time_axis(time), steps) if time else None, order


def _band(name: str, attrs: dict[str, Any]) -> CubeBand:
    kept = {key: value for key, value in attrs.items() if key not in _STALE}
    kept["long_name"] = attrs.get("long_name", name)
    return CubeBand(name, units=str(attrs.get("units", "1")), attrs=kept)


def _times(axis: tuple[NDArray[Any], str, str], steps: list[int]) -> TimeAxis:
    values, units, calendar = axis
    return TimeAxis(tuple(float(values[step]) for step in steps), units, calendar)


def _word(name: str) -> str:
    """Turn a band's name into a variable's: letters, digits and underscores, a letter first."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return word if word[:1].isalpha() else f"band_{word}"


def variables(names: Sequence[str]) -> list[str]:
    """Turn bands' names into those of variables; of several alike each gets a running number."""
    seen: dict[str, int] = {}
    unique = []
    for word in map(_word, names):
        seen[word] = seen.get(word, 0) + 1
        unique.append(f"{word}_{seen[word]}" if seen[word] > 1 else word)
    return unique


def _distinct(cube: _Cube) -> _Cube:
    """Give variables whose names have become one a running number."""
    bands, times, order = cube
    names = variables([band.name for band in bands])
    unique = tuple(replace(band, name=name) for band, name in zip(bands, names, strict=True))
    return unique, times, order
