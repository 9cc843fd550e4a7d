"""How a raster's bands become a cube: variables, a time axis, and the attributes they came with."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError
from stcli.raster.reading.netcdf import LayerFacts, NetcdfSource, ScalarCoordinate
from stcli.raster.reading.read import Raster
from stcli.raster.reading.timecube import count_dates, cube_of
from stcli.raster.timeaxis import TimeAxis
from stcli.raster.writing.netcdf_write import CubeBand

logger = logging.getLogger("stcli")

#: Attributes that speak of how the input stored its values, or of its grid.
_STALE = {
    *("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "units"),
    *("valid_range", "valid_min", "valid_max", "actual_range", "grid_mapping", "coordinates"),
    *("dimensions", "coordinate_system", "cell_measures", "ancillary_variables"),
}

#: Attributes of a variable of flags, which floats made of it are not.
_FLAGS = {"flag_values", "flag_masks", "flag_meanings"}


@dataclass(frozen=True)
class Layout:
    """Where each band of a raster goes in a cube.

    Attributes
    ----------
    bands : tuple of CubeBand
        The variables: float32 with NaN, names, units and attributes of the input.
    times : TimeAxis or None
        The input's own numbers, units, calendar and bounds.
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

    Bands of one NetCDF file become its variables again, over the times that all of them have; one
    that has no time stays without. Of other rasters the dates that names tell become the time axis,
    where every variable has each; else a band becomes a variable.
    """
    (source, indexes, places), *others = raster.files
    cube = None
    if not others and isinstance(source, NetcdfSource):
        cube = _regrouped(source, dict(zip(places, indexes, strict=True)))
        if cube is None:
            logger.warning(
                "%s: its variables have different times, so that each band becomes a variable of "
                "its own, without a time axis",
                raster.info.path,
            )
    else:
        cube = _dated(raster)
    if cube is None:
        bands = tuple(
            CubeBand(_word(b.name), units=b.units or "1", attrs={"long_name": b.name})
            for b in raster.info.bands
        )
        cube = bands, None, np.arange(len(bands))[None]
    return Layout(*_distinct(cube), global_attrs(raster))


def widened(plan: Layout, suffixes: Sequence[str]) -> Layout:
    """Lay out a raster that has several bands, one after the other, for each that was laid out.

    Parameters
    ----------
    plan : Layout
    suffixes : sequence of str
        What each of them puts after the variable's name and its ``long_name``. Only one without
        keeps its ``standard_name``: whoever looks for it finds that one.
    """
    bands = tuple(_suffixed(band, end) if end else band for band in plan.bands for end in suffixes)
    order = plan.order[:, :, None] * len(suffixes) + np.arange(len(suffixes))
    cube = _distinct((bands, plan.times, order.reshape(len(order), -1)))
    return Layout(*cube, plan.attrs)


def _suffixed(band: CubeBand, end: str) -> CubeBand:
    attrs = {key: value for key, value in band.attrs.items() if key != "standard_name"}
    attrs["long_name"] = f"{attrs['long_name']}{end.replace('_', ' ')}"
    return replace(band, name=f"{band.name}{end}", attrs=attrs)


def global_attrs(raster: Raster) -> dict[str, Any]:
    """Give the global attributes of a NetCDF but those of its extent and of an earlier making."""
    return true_globals(raster.info.tags) if raster.info.driver == "netCDF" else {}


def edged(raster: Raster) -> bool:
    """Tell whether a raster is of NetCDF files that say where rows and columns begin and end."""
    sources = [source for source, _, _ in raster.files]
    return all(isinstance(source, NetcdfSource) and source.edged() for source in sources)


def true_globals(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out global attributes that are not true of what is made of a file."""
    untrue = ("geospatial_", "stcli_", "time_coverage_resolution")
    return {key: value for key, value in attrs.items() if not key.startswith(untrue)}


def variable_attrs(raster: Raster, place: int) -> dict[str, Any]:
    """Give the attributes of the NetCDF variable that a raster's band (its place) is of.

    Without its units, and without what speaks of how the file stored it or of its grid; empty for
    a band of another format.
    """
    layer = _layer(raster, place)
    return true_attrs(layer.attrs) if layer else {}


def variable_scalars(raster: Raster, place: int) -> tuple[ScalarCoordinate, ...]:
    """Give the scalar coordinates of the NetCDF variable that a raster's band (its place) is of."""
    layer = _layer(raster, place)
    return layer.scalars if layer else ()


def _layer(raster: Raster, place: int) -> LayerFacts | None:
    for source, indexes, places in raster.files:
        if place in places and isinstance(source, NetcdfSource):
            return source.layer(indexes[places.index(place)])
    return None


def own_attrs(tags: dict[str, str]) -> dict[str, str]:
    """Turn our tags into global attributes of a NetCDF."""
    return {name.lower(): text for name, text in tags.items() if name.startswith("STCLI_")}


_Cube = tuple[tuple[CubeBand, ...], TimeAxis | None, NDArray[np.int64]]


def _regrouped(source: NetcdfSource, chosen: dict[int, int]) -> _Cube | None:
    """Group the bands of a file by variable and time; None where some lack a time of others."""
    found: dict[tuple[str, ...], dict[int, int]] = {}
    layers: dict[tuple[str, ...], LayerFacts] = {}
    for place, index in sorted(chosen.items()):
        layer = source.layer(index)
        key = (layer.variable, *layer.labels)
        found.setdefault(key, {})[layer.step] = place
        layers[key] = layer
    axes = {layer.time for layer in layers.values() if layer.time}
    stepped = [sorted(places) for key, places in found.items() if layers[key].time] or [[0]]
    steps = stepped[0]
    if len(axes) > 1 or any(other != steps for other in stepped):
        return None
    bands = tuple(_band("_".join(key), layer) for key, layer in layers.items())
    order = np.array(
        [[found[key][step if layers[key].time else 0] for key in found] for step in steps]
    )
    return bands, source.time_axis(axes.pop()).at(steps) if axes else None, order


def _dated(raster: Raster) -> _Cube | None:
    """Group bands by the dates that names tell; None where these are no cube of several."""
    if count_dates(raster) < 2:
        return None
    try:
        cube = cube_of(raster)
    except InputError:
        return None
    firsts = [raster.info.bands[place] for place in cube.places[0]]
    bands = tuple(
        CubeBand(_word(name), units=first.units or "1", attrs={"long_name": name})
        for name, first in zip(cube.variables, firsts, strict=True)
    )
    return bands, cube.times, np.array(cube.places)


def _band(name: str, layer: LayerFacts) -> CubeBand:
    attrs = {"long_name": _word(name), **true_attrs(layer.attrs)}
    attrs = {key: value for key, value in attrs.items() if key not in _FLAGS}
    units = str(layer.attrs.get("units", "1"))
    timed = bool(layer.time)
    return CubeBand(_word(name), units=units, attrs=attrs, timed=timed, scalars=layer.scalars)


def true_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out a variable's units, and what speaks of how a file stored it or of its grid."""
    return {key: value for key, value in attrs.items() if key not in _STALE}


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
