"""Read NetCDF/CF with xarray: variables and times become bands.

Everything is opened undecoded and decoded here, exactly once: packed integers, ``_Unsigned``,
``_FillValue``, ``missing_value`` and ``valid_range``; so a NaN fill value on an integer variable,
which xarray's decoding cannot digest, does no harm. A variable that has both horizontal
dimensions is a band; with others beside them each combination is one, named ``B04@2020-01-05``
for a time and ``B04[level=500]`` for anything else.
"""

from __future__ import annotations

import itertools
import logging
import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.raster.info import BandInfo
from stcli.raster.packing import Packing, packing_of, valid_of
from stcli.raster.reading.assumed import NOTHING, Assumed
from stcli.raster.reading.cfgrid import Grid, bounds_of, find_grid
from stcli.raster.reading.source import SourceInfo, from_anywhere, unpack
from stcli.raster.reading.stdin import no_file, readable
from stcli.raster.timeaxis import TimeAxis

if TYPE_CHECKING:
    import xarray as xr

logger = logging.getLogger("stcli")

# The HDF5 and NetCDF libraries are not thread-safe: one lock for every file.
HDF5_LOCK = threading.RLock()


@dataclass(frozen=True)
class _Layer:
    """One band: its variable, its index along the other dimensions, its name and time."""

    variable: str
    where: tuple[tuple[str, int], ...]
    name: str
    time: str
    packing: Packing
    units: str | None


@dataclass(frozen=True)
class ScalarCoordinate:
    """A coordinate that is one number, the same for all of a variable.

    Attributes
    ----------
    name : str
    value : numpy scalar
    attrs : dict
    """

    name: str
    value: Any
    attrs: dict[str, Any]


@dataclass(frozen=True)
class LayerFacts:
    """What a file says of one band.

    Attributes
    ----------
    variable : str
    labels : tuple of str
        Positions on other dimensions than time, such as ``level_500``: letters, digits and
        underscores.
    time : str
        Name of the time coordinate, '' for none.
    step : int
        Position on it.
    attrs : dict
        The variable's attributes, undecoded.
    scalars : tuple of ScalarCoordinate
        What else it says of where it is, such as a height of 2 m.
    """

    variable: str
    labels: tuple[str, ...]
    time: str
    step: int
    attrs: dict[str, Any]
    scalars: tuple[ScalarCoordinate, ...] = ()


class NetcdfSource:
    """A NetCDF file read with xarray; picklable, read under one lock."""

    def __init__(self, path: str, assumed: Assumed = NOTHING, name: str = "") -> None:
        self.path = path
        self.name = name or path
        self._dataset: Any = None
        try:
            with HDF5_LOCK:
                self._describe(assumed)
        except BaseException:
            self.close()
            raise

    def _describe(self, assumed: Assumed) -> None:
        dataset = self._open()
        if groups := _groups(self.path):
            logger.warning(
                "%s: its groups are not read (%s), variables at the root are; put a group there, "
                "for example by ncks -G : -g %s",
                *(self.name, ", ".join(groups), groups[0]),
            )
        grid = find_grid(dataset, self.name)
        if grid.note and assumed.crs:  # the user knows better than a unit
            box = GeoBox(grid.geobox.shape, grid.geobox.transform, None)
            grid = replace(grid, geobox=box, note="")
        self._grid = grid
        layers = _layers(dataset, grid, self.name)
        self.info = assumed.of(_info(dataset, self.name, grid, layers))
        self._layers = tuple(map(_taken, layers, self.info.bands, self.info.rules))
        if grid.note:
            logger.info("%s: CRS is %s", self.name, grid.note)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "path": from_anywhere(self.path), "_dataset": None}

    def _open(self) -> Any:
        if self._dataset is None:
            self._dataset = open_undecoded(self.path)
        return self._dataset

    def close(self) -> None:
        """Close the file; a later read opens it anew."""
        with HDF5_LOCK:
            if self._dataset is not None:
                self._dataset.close()
                self._dataset = None

    def layer(self, index: int) -> LayerFacts:
        """Tell which variable and which time a band (1-based number) is."""
        layer = self._layers[index - 1]
        with HDF5_LOCK:
            dataset = self._open()
            variable = dataset[layer.variable]
            labels, time, step = [], _scalar_time_name(dataset, variable), 0
            for dim, i in layer.where:
                if _is_time(dataset, dim):
                    time, step = dim, i
                elif variable.sizes[dim] > 1:
                    label = re.sub(r"\W+", "_", _labels(dataset, dim)[i]).strip("_")
                    labels.append(f"{dim}_{label}")
            facts = layer.variable, tuple(labels), time, step, dict(variable.attrs)
            return LayerFacts(*facts, _scalars(dataset, variable))

    def time_axis(self, name: str) -> TimeAxis:
        """Read a time coordinate as stored, with its bounds if it names any."""
        with HDF5_LOCK:
            dataset = self._open()
            time = dataset[name]
            calendar = str(time.attrs.get("calendar", "standard"))
            values = np.atleast_1d(time.values).astype(float)
            bounds = bounds_of(dataset, name)
            pairs = () if bounds is None else tuple(map(tuple, bounds.astype(float).tolist()))
            unlimited = _unlimited(dataset, name)
            return TimeAxis(
                tuple(values.tolist()), str(time.attrs["units"]), calendar, unlimited, pairs
            )

    def edged(self) -> bool:
        """Tell whether the file says where its rows and columns begin and end."""
        with HDF5_LOCK:
            dataset = self._open()
            return all(bounds_of(dataset, dim) is not None for dim in (self._grid.y, self._grid.x))

    def read(
        self, window: Window, indexes: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands by 1-based numbers; see ``Source.read``.

        Raises
        ------
        InputError
            The file opened but these pixels cannot be read.
        """
        bands = [self.info.bands[i - 1] for i in indexes]
        dtype = np.result_type(*(band.block_dtype for band in bands))
        block = np.empty((len(bands), window.height, window.width), dtype)
        valid = np.ones(block.shape[1:], bool)
        for k, (i, band) in enumerate(zip(indexes, bands, strict=True)):
            layer = self._layers[i - 1]
            stored = self._stored(layer, window)
            valid &= valid_of(stored, layer.packing)
            block[k] = unpack(stored, band)
            if dtype.kind == "f":
                valid &= np.isfinite(block[k])
        return block, valid

    def _stored(self, layer: _Layer, window: Window) -> NDArray[Any]:
        """Read one band's stored values in the raster's order of rows and columns."""
        grid, (rows, cols) = self._grid, self.info.geobox.shape
        top, bottom = window.row_off, window.row_off + window.height
        y = slice(rows - bottom, rows - top) if grid.flip else slice(top, bottom)
        first = (window.col_off + grid.roll) % cols
        pieces = [slice(first, min(first + window.width, cols))]
        if first + window.width > cols:  # over the seam of a rotated circle
            pieces.append(slice(0, first + window.width - cols))
        try:
            with HDF5_LOCK:
                variable = self._open()[layer.variable].isel(dict(layer.where))
                parts = [
                    variable.isel({grid.y: y, grid.x: x}).transpose(grid.y, grid.x).values
                    for x in pieces
                ]
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{self.name}: {layer.name} cannot be read at rows {top} to {bottom} ({error}); "
                "the file is truncated or damaged, fetch it again"
            ) from error
        stored = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        if stored.dtype != layer.packing.dtype:
            stored = np.ascontiguousarray(stored).view(layer.packing.dtype)
        return stored[::-1] if grid.flip else stored


def open_undecoded(path: str) -> xr.Dataset:
    """Open a NetCDF file with xarray and no decoding at all.

    Raises
    ------
    InputError
        No such file, or not a whole NetCDF file.
    """
    import xarray as xr

    place = readable(path)
    if not Path(place).is_file():
        raise no_file(path)
    try:
        return xr.open_dataset(place, engine="netcdf4", decode_cf=False, cache=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as NetCDF ({error}); a whole NetCDF or HDF5 file is wanted"
        ) from error


def _groups(path: str) -> list[str]:
    """Name the groups of a NetCDF file, of which xarray opens the root alone."""
    import netCDF4

    with netCDF4.Dataset(path) as file:
        return list(file.groups)


def _unlimited(dataset: xr.Dataset, dim: str) -> bool:
    """Tell whether a dimension of an open file is unlimited."""
    return dim in dataset.encoding.get("unlimited_dims", ())


def _info(dataset: xr.Dataset, path: str, grid: Grid, layers: tuple[_Layer, ...]) -> SourceInfo:
    tags = {str(key): str(value) for key, value in dataset.attrs.items()}
    if grid.note:
        tags["stcli_crs"] = grid.note
    return SourceInfo(
        path=path,
        driver="netCDF",
        geobox=grid.geobox,
        bands=tuple(_band(layer) for layer in layers),
        rules=tuple(_rule(layer.packing) for layer in layers),
        default=tuple(range(1, len(layers) + 1)),
        times=tuple(layer.time for layer in layers),
        tags=tags,
    )


def _band(layer: _Layer) -> BandInfo:
    packing = layer.packing
    nodata = packing.missing[0] if packing.missing else None
    return BandInfo(layer.name, packing.dtype, nodata, packing.scale, packing.offset, layer.units)


def _taken(layer: _Layer, band: BandInfo, rule: str) -> _Layer:
    """Give a layer the nodata value that is assumed of it."""
    if rule != "assumed" or band.nodata is None:
        return layer
    return replace(layer, packing=replace(layer.packing, missing=(float(band.nodata),)))


def _rule(packing: Packing) -> str:
    if packing.masks:
        return "nodata"
    return "nan" if np.dtype(packing.dtype).kind == "f" else "all"


def _layers(dataset: xr.Dataset, grid: Grid, path: str) -> tuple[_Layer, ...]:
    """List the bands of every numeric variable that lies on the grid."""
    layers: list[_Layer] = []
    for key, variable in dataset.data_vars.items():
        dims = [str(dim) for dim in variable.dims]
        if {grid.y, grid.x} <= set(dims) and variable.dtype.kind in "iuf":
            others = [d for d in dims if d not in (grid.y, grid.x)]
            layers += _layers_of(dataset, str(key), others, path)
    if not layers:
        raise InputError(
            f"{path}: has no numeric variable over {grid.y} and {grid.x}, one at least is wanted"
        )
    return tuple(layers)


def _layers_of(dataset: xr.Dataset, key: str, others: list[str], path: str) -> list[_Layer]:
    variable = dataset[key]
    packing = packing_of(variable, path)
    units = variable.attrs.get("units")
    labels = {dim: _labels(dataset, dim) for dim in others}
    layers = []
    for index in itertools.product(*(range(variable.sizes[dim]) for dim in others)):
        where = tuple(zip(others, index, strict=True))
        name, time = key, _scalar_time(dataset, variable)
        for dim, i in where:
            label = labels[dim][i]
            several = variable.sizes[dim] > 1
            if _is_time(dataset, dim):
                time, name = label, f"{name}@{label}" if several else name
            elif several:
                name = f"{name}[{dim}={label}]"
        layers.append(_Layer(key, where, name, time, packing, str(units) if units else None))
    return layers


def _is_time(dataset: xr.Dataset, name: str) -> bool:
    known = name in dataset.variables
    return known and " since " in str(dataset[name].attrs.get("units", ""))


def _scalar_time(dataset: xr.Dataset, variable: xr.DataArray) -> str:
    """Read the time of a variable whose time is a single number beside it."""
    name = _scalar_time_name(dataset, variable)
    return _time_labels(dataset, name)[0] if name else ""


def _scalar_time_name(dataset: xr.Dataset, variable: xr.DataArray) -> str:
    """Name that number; '' where there is none."""
    for name in str(variable.attrs.get("coordinates", "")).split():
        if _is_time(dataset, name) and dataset[name].size == 1:
            return name
    return ""


def _scalars(dataset: xr.Dataset, variable: xr.DataArray) -> tuple[ScalarCoordinate, ...]:
    """Read the numbers, but a time, that a variable names as its coordinates."""
    found = []
    for name in str(variable.attrs.get("coordinates", "")).split():
        if name not in dataset.variables or _is_time(dataset, name):
            continue
        one = dataset[name]
        if one.ndim == 0 and one.dtype.kind in "iuf":
            attrs = {key: v for key, v in one.attrs.items() if key not in ("bounds", "_FillValue")}
            found.append(ScalarCoordinate(name, one.values[()], attrs))
    return tuple(found)


def _labels(dataset: xr.Dataset, dim: str) -> list[str]:
    if _is_time(dataset, dim):
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
