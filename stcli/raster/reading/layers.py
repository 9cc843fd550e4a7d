"""The bands of a NetCDF file: each variable over rows and columns, at each place on its others."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stcli.errors import InputError, few
from stcli.raster.packing import Packing, packing_of
from stcli.raster.reading.cfgrid import Grid

if TYPE_CHECKING:
    import xarray as xr

logger = logging.getLogger("stcli")

#: Standard names of what is on the globe.
_GLOBE = ("latitude", "longitude")


@dataclass(frozen=True)
class Layer:
    """One band: its variable, its index along the other dimensions, its name and time."""

    variable: str
    where: tuple[tuple[str, int], ...]
    name: str
    time: str
    packing: Packing
    units: str | None


def layers_of(dataset: xr.Dataset, grid: Grid, path: str) -> tuple[Layer, ...]:
    """List the bands of every numeric variable that lies on the grid.

    Parameters
    ----------
    dataset : xarray.Dataset
        Not decoded.
    grid : Grid
    path : str
        Named in the refusal.

    Raises
    ------
    InputError
        There is none.
    """
    layers: list[Layer] = []
    places, passed = _coordinates(dataset), []
    for key, variable in dataset.data_vars.items():
        dims = [str(dim) for dim in variable.dims]
        if not {grid.y, grid.x} <= set(dims) or variable.dtype.kind not in "iuf":
            continue
        if key in places:
            passed.append(str(key))
            continue
        others = [d for d in dims if d not in (grid.y, grid.x)]
        layers += _of_variable(dataset, str(key), others, path)
    if passed:
        logger.info("%s: %s: coordinates and no bands", path, few(passed))
    if not layers:
        raise InputError(
            f"{path}: has no numeric variable over {grid.y} and {grid.x}, one at least is wanted"
        )
    return tuple(layers)


def _coordinates(dataset: xr.Dataset) -> set[str]:
    """Name the variables that say where others are.

    These are what any variable calls its coordinates or bounds, latitudes and longitudes (CF wants
    those of each pixel beside the rows and columns of a rotated pole), and what the file calls
    coordinates: xarray names there those that no variable has to itself.
    """
    every = [dataset.attrs, *(variable.attrs for variable in dataset.variables.values())]
    told = [str(attrs.get(key, "")) for attrs in every for key in ("coordinates", "bounds")]
    globe = [str(k) for k, v in dataset.variables.items() if v.attrs.get("standard_name") in _GLOBE]
    return {*" ".join(told).split(), *globe}


def _of_variable(dataset: xr.Dataset, key: str, others: list[str], path: str) -> list[Layer]:
    variable = dataset[key]
    packing = packing_of(variable, path)
    units = variable.attrs.get("units")
    labels = {dim: labels_of(dataset, dim) for dim in others}
    layers = []
    for index in itertools.product(*(range(variable.sizes[dim]) for dim in others)):
        where = tuple(zip(others, index, strict=True))
        name, time = key, _scalar_time(dataset, variable)
        for dim, i in where:
            label = labels[dim][i]
            several = variable.sizes[dim] > 1
            if is_time(dataset, dim):
                time, name = label, f"{name}@{label}" if several else name
            elif several:
                name = f"{name}[{dim}={label}]"
        layers.append(Layer(key, where, name, time, packing, str(units) if units else None))
    return layers


def is_time(dataset: xr.Dataset, name: str) -> bool:
    """Tell whether a name is a coordinate of times."""
    known = name in dataset.variables
    return known and " since " in str(dataset[name].attrs.get("units", ""))


def _scalar_time(dataset: xr.Dataset, variable: xr.DataArray) -> str:
    """Read the time of a variable whose time is a single number beside it."""
    name = scalar_time_name(dataset, variable)
    return _time_labels(dataset, name)[0] if name else ""


def scalar_time_name(dataset: xr.Dataset, variable: xr.DataArray) -> str:
    """Name that number; '' where there is none."""
    for name in str(variable.attrs.get("coordinates", "")).split():
        if is_time(dataset, name) and dataset[name].size == 1:
            return name
    return ""


def labels_of(dataset: xr.Dataset, dim: str) -> list[str]:
    """Name the positions along a dimension: times as ISO dates, others as they stand."""
    if is_time(dataset, dim):
        return _time_labels(dataset, dim)
    if dim in dataset.variables:
        return [str(value) for value in dataset[dim].values]
    return [str(i + 1) for i in range(dataset.sizes[dim])]


def _time_labels(dataset: xr.Dataset, name: str) -> list[str]:
    """Write times as ISO dates; with the clock where one date has several times."""
    import xarray as xr

    try:
        decoded = xr.decode_cf(dataset[[name]].reset_coords())[name].values.ravel()
    except (ValueError, OverflowError):  # units xarray does not know, such as 'months since'
        units = dataset[name].attrs["units"]
        return [f"{value} {units}" for value in dataset[name].values.ravel()]
    stamps = [
        str(np.datetime_as_string(t, unit="s")) if isinstance(t, np.datetime64) else t.isoformat()
        for t in decoded
    ]
    dates = [stamp.split("T")[0] for stamp in stamps]
    return dates if len(set(dates)) == len(dates) else stamps
