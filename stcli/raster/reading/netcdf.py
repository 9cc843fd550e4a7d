"""Read NetCDF/CF with xarray: variables and times become bands.

Everything is opened undecoded and decoded here, exactly once: packed integers, ``_Unsigned``,
``_FillValue``, ``missing_value`` and ``valid_range``; so a NaN fill value on an integer variable,
which xarray's decoding cannot digest, does no harm. A variable that has both horizontal
dimensions is a band; with others beside them each combination is one, named ``B04@2020-01-05``
for a time and ``B04[level=500]`` for anything else.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.raster.info import KEPT, BandInfo
from stcli.raster.packing import Packing, valid_of
from stcli.raster.reading.assumed import NOTHING, Assumed
from stcli.raster.reading.cfgrid import Grid, bounds_of, find_grid
from stcli.raster.reading.chunks import boxes, chunks_of, held, together
from stcli.raster.reading.layers import (
    Layer,
    is_time,
    labels_of,
    layers_of,
    scalar_time_name,
)
from stcli.raster.reading.source import SourceInfo, from_anywhere, unpack
from stcli.raster.reading.stdin import no_file, readable
from stcli.raster.timeaxis import TimeAxis

if TYPE_CHECKING:
    import xarray as xr

logger = logging.getLogger("stcli")

# The HDF5 and NetCDF libraries are not thread-safe: one lock for every file.
HDF5_LOCK = threading.RLock()


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
        self._kept = KEPT
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
                "%s: its groups are not read (%s), only variables at the root; move a group there, "
                "for example with ncks -G : -g %s",
                *(self.name, ", ".join(groups), groups[0]),
            )
        grid = find_grid(dataset, self.name)
        if grid.note and assumed.crs:  # the user knows better than a unit
            box = GeoBox(grid.geobox.shape, grid.geobox.transform, None)
            grid = replace(grid, geobox=box, note="")
        self._grid = grid
        layers = layers_of(dataset, grid, self.name)
        names = dict.fromkeys(layer.variable for layer in layers)
        self._chunks = {name: chunks_of(dataset[name], grid) for name in names}
        info = _info(dataset, self.name, grid, layers)
        self.info = assumed.of(replace(info, held=held(self._chunks.values(), grid)))
        self._layers = tuple(map(_taken, layers, self.info.bands, self.info.rules))
        if grid.note:
            logger.info("%s: CRS is %s", self.name, grid.note)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "path": from_anywhere(self.path), "_dataset": None}

    def _open(self) -> Any:
        if self._dataset is None:
            self._dataset = open_undecoded(self.path, self._kept)
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
            labels, time, step = [], scalar_time_name(dataset, variable), 0
            for dim, i in layer.where:
                if is_time(dataset, dim):
                    time, step = dim, i
                elif variable.sizes[dim] > 1:
                    label = re.sub(r"\W+", "_", labels_of(dataset, dim)[i]).strip("_")
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

    @property
    def variables(self) -> tuple[str, ...]:
        """Name each band's variable."""
        return tuple(layer.variable for layer in self._layers)

    def keep(self, size: int) -> None:
        """Keep so many bytes of the chunks of each variable: the next tile may want them."""
        if size != self._kept:
            self._kept = size
            self.close()

    def read(
        self, window: Window, indexes: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands by 1-based numbers; see ``Source.read``.

        Raises
        ------
        InputError
            The file opened but these pixels cannot be read.
        """
        block, valid = self._read(window, indexes, False)
        return block, valid[0]

    def read_each(
        self, window: Window, indexes: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands with a valid mask each; raises as `read`."""
        return self._read(window, indexes, True)

    def _read(
        self, window: Window, indexes: tuple[int, ...], each: bool
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read block (band, row, col), and valid (band, row, col) or one for all (1, row, col)."""
        bands = [self.info.bands[i - 1] for i in indexes]
        dtype = np.result_type(*(band.block_dtype for band in bands))
        block = np.empty((len(bands), window.height, window.width), dtype)
        valid = np.ones((len(bands) if each else 1, *block.shape[1:]), bool)
        for k, here, stored in self._stored(window, indexes):
            mask, values = valid[k if each else 0][here], block[k][here]
            mask &= valid_of(stored, self._layers[indexes[k] - 1].packing)
            values[...] = unpack(stored, bands[k])
            if dtype.kind == "f":
                mask &= np.isfinite(values)
        return block, valid

    def _stored(
        self, window: Window, indexes: tuple[int, ...]
    ) -> Iterator[tuple[int, tuple[slice, slice], NDArray[Any]]]:
        """Give pieces of stored values, in the raster's order, with band and place in the block."""
        by_variable: dict[str, list[int]] = {}
        for k, index in enumerate(indexes):
            by_variable.setdefault(self._layers[index - 1].variable, []).append(k)
        for name, places in by_variable.items():
            layers = [self._layers[indexes[k] - 1] for k in places]
            chunks = self._chunks[name]
            for members, around in together([dict(layer.where) for layer in layers], chunks):
                depth = math.prod(each.stop - each.start for each in around.values())
                for here, box in boxes(window, self._grid, chunks, depth):
                    values = self._box(layers[members[0]], {**around, **box}, window)
                    for n in members:
                        at = tuple(i - around[dim].start for dim, i in layers[n].where)
                        yield places[n], here, self._turned(values[at], layers[n])

    def _box(self, layer: Layer, box: dict[str, slice], window: Window) -> NDArray[Any]:
        """Read a box of a variable, the layer's other dimensions before rows and columns."""
        grid, others = self._grid, [dim for dim, _ in layer.where]
        try:
            with HDF5_LOCK:
                variable = self._open()[layer.variable]
                found = variable.isel(box).transpose(*others, grid.y, grid.x).values
        except (OSError, RuntimeError) as error:
            rows = f"rows {window.row_off} to {window.row_off + window.height}"
            raise InputError(
                f"{self.name}: {layer.name} cannot be read at {rows} ({error}); "
                "the file is truncated or damaged, fetch it again"
            ) from error
        return np.asarray(found)

    def _turned(self, stored: NDArray[Any], layer: Layer) -> NDArray[Any]:
        """Give a layer's values their own type, and rows in the raster's order."""
        if stored.dtype != layer.packing.dtype:
            stored = np.ascontiguousarray(stored).view(layer.packing.dtype)
        return stored[::-1] if self._grid.flip else stored


def open_undecoded(path: str, kept: int = KEPT) -> xr.Dataset:
    """Open a NetCDF file with xarray and no decoding at all.

    Parameters
    ----------
    path : str
    kept : int
        Bytes that the library keeps of each variable's chunks.

    Raises
    ------
    InputError
        No such file, or not a whole NetCDF file.
    """
    import netCDF4
    import xarray as xr

    place = readable(path)
    if not Path(place).is_file():
        raise no_file(path)
    netCDF4.set_chunk_cache(kept)  # of files that are opened from now on
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


def _info(dataset: xr.Dataset, path: str, grid: Grid, layers: tuple[Layer, ...]) -> SourceInfo:
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


def _band(layer: Layer) -> BandInfo:
    packing = layer.packing
    nodata = packing.missing[0] if packing.missing else None
    return BandInfo(layer.name, packing.dtype, nodata, packing.scale, packing.offset, layer.units)


def _taken(layer: Layer, band: BandInfo, rule: str) -> Layer:
    """Give a layer the nodata value that is assumed of it."""
    if rule != "assumed" or band.nodata is None:
        return layer
    return replace(layer, packing=replace(layer.packing, missing=(float(band.nodata),)))


def _rule(packing: Packing) -> str:
    if packing.masks:
        return "nodata"
    return "nan" if np.dtype(packing.dtype).kind == "f" else "all"


def _scalars(dataset: xr.Dataset, variable: xr.DataArray) -> tuple[ScalarCoordinate, ...]:
    """Read the numbers, but a time, that a variable names as its coordinates."""
    found = []
    for name in str(variable.attrs.get("coordinates", "")).split():
        if name not in dataset.variables or is_time(dataset, name):
            continue
        one = dataset[name]
        if one.ndim == 0 and one.dtype.kind in "iuf":
            attrs = {key: v for key, v in one.attrs.items() if key not in ("bounds", "_FillValue")}
            found.append(ScalarCoordinate(name, one.values[()], attrs))
    return tuple(found)
