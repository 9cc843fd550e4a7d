"""Write cubes (time, band, row, col) as NetCDF/CF so that nothing half-written is ever visible.

Each band is a variable over (time, y, x), or over (y, x) where it has no time or the cube has none.
The file grows in a hidden directory beside the output, is closed, read back window by window
against checksums of what was handed in, flushed to the disk and renamed. On any error the
directory is removed and the output's name stays as it was.

Conventions: CF 1.8. One ``grid_mapping`` with its CF parameters, ``crs_wkt`` and GDAL's
``GeoTransform`` (so that a transform survives to the bit), coordinates of pixel centres, and the
time axis in the numbers, units, calendar and bounds it came with.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.errors import OutputError
from stcli.raster.axes import axis_attrs, axis_names
from stcli.raster.info import KEPT
from stcli.raster.reading.netcdf import HDF5_LOCK, ScalarCoordinate
from stcli.raster.timeaxis import TimeAxis
from stcli.raster.writing.checksum import crc
from stcli.raster.writing.draft import NO_DRAFTS, Drafts, drafts, refuse_file
from stcli.raster.writing.output import STDOUT

#: Bytes of a chunk at most.
_CHUNK = 1 << 20
_SIDE = 128
#: Dimension of the two bounds of a coordinate's value, and the end of their variable's name.
_PAIR = "bnds"
#: What netCDF4 raises when a file cannot be written.
_ERRORS = (OSError, RuntimeError)


@dataclass(frozen=True)
class CubeBand:
    """One variable of a cube.

    Attributes
    ----------
    name : str
        Name of the variable: letters, digits and underscores, a letter first.
    dtype : str
    nodata : float, int or None
        ``_FillValue``; what pixels never written hold.
    units : str
        UDUNITS; ``"1"`` for a number without a unit.
    attrs : dict
        Further attributes, such as ``long_name`` (default: the name) or ``standard_name``.
    scalars : tuple of ScalarCoordinate
        Coordinates of it that are one number.
    timed : bool
        Whether it has the cube's times; False for what is the same at all of them.
    """

    name: str
    dtype: str = "float32"
    nodata: float | int | None = float("nan")
    units: str = "1"
    attrs: dict[str, Any] = field(default_factory=dict)
    timed: bool = True
    scalars: tuple[ScalarCoordinate, ...] = ()


@dataclass(frozen=True)
class CubeSpec:
    """What to write.

    Attributes
    ----------
    path : str
        A local file.
    bands : tuple of CubeBand
    times : TimeAxis or None
        None for variables over rows and columns only.
    overwrite : bool
        Replace an existing output.
    attrs : dict
        Global attributes; ``history`` should be the input's, one line of ours is put before it.
    command : str
        What that line says.
    edges : bool
        Say where the outer edges of each row and column are, as bounds of their coordinates.
    """

    path: str
    bands: tuple[CubeBand, ...]
    times: TimeAxis | None = None
    overwrite: bool = False
    attrs: dict[str, Any] = field(default_factory=dict)
    command: str = "stcli"
    edges: bool = False


class CubeWriter:
    """Takes blocks of one cube, from any thread, in any order; windows must not overlap."""

    def __init__(self, spec: CubeSpec, dataset: Any) -> None:
        self._spec = spec
        self._dataset = dataset
        self._sums: dict[tuple[int, ...], int] = {}

    def write(self, window: Window, block: NDArray[Any], times: slice = slice(None)) -> None:
        """Write one block.

        Parameters
        ----------
        window : Window
            Whole pixels inside the raster.
        block : ndarray, (time, band, row, col)
            Values of the bands' dtypes (float32 and float64 may mix: each band is cast to its
            own; of one that has no time the first is written); (band, row, col) for a cube without
            a time axis.
        times : slice, optional
            Positions on the time axis, all by default.

        Raises
        ------
        OutputError
            The disk is full, or the file cannot be written.
        ValueError
            The block does not have the shape wanted.
        """
        start, stop, _ = times.indices(_steps(self._spec))
        where = (start, stop, *(int(v) for v in (*window.toranges()[0], *window.toranges()[1])))
        cube = block if self._spec.times else block[None]
        shape = (stop - start, len(self._spec.bands), where[3] - where[2], where[5] - where[4])
        if cube.shape != shape:
            raise ValueError(f"{self._spec.path}: block of {cube.shape} found, {shape} wanted")
        with HDF5_LOCK, _reported(self._spec):
            self._sums[where] = crc(self._stored(cube, where))

    def _stored(self, cube: NDArray[Any], where: tuple[int, ...]) -> Iterator[NDArray[Any]]:
        """Store a cube (time, band, row, col) band by band; give what each is stored as."""
        for band, part in zip(self._spec.bands, cube.swapaxes(0, 1), strict=True):
            kept = (part if _timed(self._spec, band) else part[0]).astype(band.dtype)
            self._dataset[band.name][_key(self._spec, band, where)] = kept
            yield kept

    def note(self, name: str, text: str) -> None:
        """Set a global attribute."""
        with HDF5_LOCK, _reported(self._spec):
            self._dataset.setncattr(name, text)

    def matches(self, path: Path) -> bool:
        """Read every written window back from a file and compare it."""
        with HDF5_LOCK, _open(path, "r", self._spec) as dataset:
            return all(self._same(dataset, where, seen) for where, seen in self._sums.items())

    def _same(self, dataset: Any, where: tuple[int, ...], seen: int) -> bool:
        found = (dataset[band.name][_key(self._spec, band, where)] for band in self._spec.bands)
        return crc(found) == seen


@contextlib.contextmanager
def create_cube(spec: CubeSpec, geobox: GeoBox, beside: Drafts = NO_DRAFTS) -> Iterator[CubeWriter]:
    """Create a cube; it appears under its name when the block ends without an error.

    Parameters
    ----------
    spec : CubeSpec
    geobox : GeoBox
        Grid of the output: not rotated.
    beside : Drafts
        Files that appear just before it, whose block lies around this one.

    Yields
    ------
    CubeWriter

    Raises
    ------
    OutputError
        At entry: the output exists and may not be overwritten, its directory is missing or not
        writable, or the grid is rotated. Later: the disk is full, or what was written cannot be
        read back.
    """
    refuse_cube(spec, geobox)
    with drafts((spec.path,), spec.overwrite, beside=beside) as (draft,):
        with _reported(spec), HDF5_LOCK:
            dataset = _open(draft, "w", spec)
            _define(dataset, spec, geobox)
        writer = CubeWriter(spec, dataset)
        try:
            yield writer
        finally:
            with _reported(spec), HDF5_LOCK:
                dataset.close()
        with _reported(spec):
            if not writer.matches(draft):
                raise OSError("the blocks read back differ from those written")


def refuse_cube(spec: CubeSpec, geobox: GeoBox) -> None:
    """Refuse a cube that cannot be written, before any work; raises `OutputError`."""
    if spec.path in STDOUT:
        raise OutputError(f"{spec.path}: NetCDF cannot be streamed; name a local file")
    refuse_file(spec.path, spec.overwrite)
    if not geobox.axis_aligned:
        raise OutputError(f"{spec.path}: NetCDF axes cannot hold a rotated grid; write GeoTIFF")


def _define(dataset: Any, spec: CubeSpec, geobox: GeoBox) -> None:
    """Write dimensions, coordinates, grid mapping and empty variables."""
    dataset.set_fill_on()
    dataset.setncatts(_globals(spec))
    if spec.times is not None:
        _define_time(dataset, spec.times)
    dims = _define_grid(dataset, geobox, spec.edges)
    shape = (_steps(spec), int(geobox.shape[0]), int(geobox.shape[1]))
    for band in spec.bands:
        chunks = _chunks(shape, np.dtype(band.dtype).itemsize)
        variable = dataset.createVariable(
            band.name,
            band.dtype,
            ("time", *dims) if _timed(spec, band) else dims,
            compression="zlib",
            complevel=1,
            shuffle=True,
            chunksizes=chunks if _timed(spec, band) else chunks[1:],
            fill_value=band.nodata,
        )
        variable.set_auto_maskandscale(False)
        attrs = {"long_name": band.name.replace("_", " "), "units": band.units, **band.attrs}
        if geobox.crs is not None:
            attrs["grid_mapping"] = "crs"
        if band.scalars:
            attrs["coordinates"] = " ".join(_scalar(dataset, one) for one in band.scalars)
        variable.setncatts(attrs)


def _scalar(dataset: Any, one: ScalarCoordinate) -> str:
    """Write a coordinate that is one number, if it is not there; name it."""
    if one.name not in dataset.variables:
        variable = dataset.createVariable(one.name, one.value.dtype)
        variable.setncatts(one.attrs)
        variable[...] = one.value
    return one.name


def _globals(spec: CubeSpec) -> dict[str, Any]:
    own = {"Conventions": "CF-1.8", "title": Path(spec.path).stem, "source": "stcli"}
    history = "\n".join(filter(None, (spec.command, str(spec.attrs.get("history", "")))))
    return {**own, **spec.attrs, "Conventions": "CF-1.8", "history": history}


def _define_time(dataset: Any, times: TimeAxis) -> None:
    dataset.createDimension("time", None if times.unlimited else len(times.values))
    variable = dataset.createVariable("time", "f8", ("time",))
    variable.setncatts(
        {
            "standard_name": "time",
            "long_name": "time",
            "axis": "T",
            "units": times.units,
            "calendar": times.calendar,
        }
    )
    variable[:] = np.asarray(times.values)
    if times.bounds:
        _define_bounds(dataset, "time", np.asarray(times.bounds))


def _define_bounds(dataset: Any, name: str, bounds: NDArray[np.float64]) -> None:
    """Write what each value of a coordinate stands for: bounds (value, 2) in its units."""
    if _PAIR not in dataset.dimensions:
        dataset.createDimension(_PAIR, 2)
    dataset[name].bounds = f"{name}_{_PAIR}"
    variable = dataset.createVariable(f"{name}_{_PAIR}", "f8", (name, _PAIR))
    variable[:] = bounds


def _define_grid(dataset: Any, geobox: GeoBox, edges: bool) -> tuple[str, str]:
    """Write the horizontal coordinates and the grid mapping; return the dimensions' names."""
    names = axis_names(geobox.crs)
    t, (rows, cols) = geobox.transform, (int(n) for n in geobox.shape)
    sides = ((t.f, t.e, rows), (t.c, t.a, cols))
    for name, axis, (start, step, size) in zip(names, "YX", sides, strict=True):
        dataset.createDimension(name, size)
        variable = dataset.createVariable(name, "f8", (name,))
        variable.setncatts(_axis_attrs(geobox, axis, name))
        variable[:] = start + step * (np.arange(size) + 0.5)
        if edges:
            lines = start + step * np.arange(size + 1)
            _define_bounds(dataset, name, np.stack([lines[:-1], lines[1:]], axis=1))
    if geobox.crs is not None:
        mapping = dataset.createVariable("crs", "i4")
        mapping.setncatts(_mapping(geobox))
    return names[0], names[1]


def _axis_attrs(geobox: GeoBox, axis: str, name: str) -> dict[str, str]:
    found = axis_attrs(geobox.crs, axis)
    if geobox.crs is None:
        return {"long_name": f"{name} coordinate", "units": "1", **found}
    return {"long_name": found["standard_name"].replace("_", " "), **found}


def _mapping(geobox: GeoBox) -> dict[str, Any]:
    found = geobox.crs.proj.to_cf() if geobox.crs is not None else {}
    t = geobox.transform
    text = " ".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    kept = {key: value for key, value in found.items() if value not in (None, "undefined")}
    return {**kept, "long_name": "coordinate reference system", "GeoTransform": text}


def _chunks(shape: tuple[int, int, int], itemsize: int) -> tuple[int, int, int]:
    """Chunks of `_CHUNK` bytes at most: squares of `_SIDE` pixels and as many times as fit."""
    rows, cols = min(shape[1], _SIDE), min(shape[2], _SIDE)
    times = max(1, min(shape[0], _CHUNK // (rows * cols * itemsize)))
    return times, rows, cols


def _steps(spec: CubeSpec) -> int:
    return len(spec.times.values) if spec.times else 1


def _timed(spec: CubeSpec, band: CubeBand) -> bool:
    return spec.times is not None and band.timed


def _key(spec: CubeSpec, band: CubeBand, where: tuple[int, ...]) -> tuple[slice, ...]:
    key = tuple(slice(a, b) for a, b in zip(where[::2], where[1::2], strict=True))
    return key if _timed(spec, band) else key[1:]


def _open(path: Path, mode: Literal["r", "w"], spec: CubeSpec) -> Any:
    """Open a cube; the library keeps chunks of each variable, by itself 64 MB of each."""
    import netCDF4

    netCDF4.set_chunk_cache(KEPT // len(spec.bands))
    dataset = netCDF4.Dataset(path, mode)
    dataset.set_auto_maskandscale(False)
    return dataset


@contextlib.contextmanager
def _reported(spec: CubeSpec) -> Iterator[None]:
    """Turn what netCDF4 raises into an `OutputError` that tells how much room there is."""
    try:
        yield
    except _ERRORS as error:
        free = shutil.disk_usage(Path(spec.path).parent).free
        raise OutputError(
            f"{spec.path}: cannot be written ({error}); {free:,} bytes are free there, make room "
            "or write elsewhere"
        ) from error
