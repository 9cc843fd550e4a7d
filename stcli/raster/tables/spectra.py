"""Spectra in a file: what whitened a raster or series, and what unwhitening needs beside it.

NetCDF, one group of series (a lattice block of pixels that share a spectrum) at each
(block_row, block_col) of each band:

- ``density``: stationary one-sided density S0 at 0 … Nyquist, unit² per cycle per time unit;
- ``relative``: R on WDM cells (row, cell);
- ``level`` of each pixel's series, and ``rest``: whitened values at the places of the frame that
  hold no data (padding, gaps), NaN elsewhere.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.errors import InputError, OutputError
from stcli.raster.reading.netcdf import HDF5_LOCK
from stcli.raster.timeaxis import TimeAxis

_FORMAT = "stcli spectra 1"


@dataclass(frozen=True)
class SpectraLayout:
    """Shape and meaning of a file of spectra.

    Attributes
    ----------
    bands : tuple of str
    units : tuple of str
        Of the series, before they were whitened.
    samples, before, rows, times : int
        Length of the series, padding before it, Nf and Nt.
    bins : int
        Of the density.
    step : float
        Between samples, in `time_unit`.
    time_unit : str
    blocks : (int, int)
        Groups down and across.
    shape : (int, int)
        Pixels down and across.
    first : (int, int)
        Lattice block of group (0, 0).
    share : int
        Side of a group in pixels.
    attrs : tuple of dict
        Attributes of each series' variable before it was whitened; empty where there were none.
    names : tuple of str
        Bands that a raster of dates has when it is whitened, date by date.
    axis : TimeAxis or None
        Its dates, in its own numbers and calendar.
    places : tuple of int
        Of its dates on the lattice.
    """

    bands: tuple[str, ...]
    units: tuple[str, ...]
    samples: int
    before: int
    rows: int
    times: int
    bins: int
    step: float
    time_unit: str
    blocks: tuple[int, int]
    shape: tuple[int, int]
    first: tuple[int, int]
    share: int
    attrs: tuple[dict[str, Any], ...] = ()
    names: tuple[str, ...] = ()
    axis: TimeAxis | None = None
    places: tuple[int, ...] = ()


class SpectraFile:
    """An open file of spectra."""

    def __init__(self, path: str, layout: SpectraLayout, dataset: Any) -> None:
        self.path = path
        self.layout = layout
        self._dataset = dataset

    def put(self, where: tuple[int, int, int], arrays: tuple[NDArray[Any], NDArray[Any]]) -> None:
        """Store density and relative power of one group (band, block row, block column)."""
        with HDF5_LOCK, _reported(self.path):
            self._dataset["density"][where] = arrays[0]
            self._dataset["relative"][where] = arrays[1]

    def get(self, where: tuple[int, int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Read density (frequency,) and relative power (row, cell) of one group."""
        with HDF5_LOCK:
            density = np.asarray(self._dataset["density"][where], np.float64)
            return density, np.asarray(self._dataset["relative"][where], np.float64)

    def put_pixels(self, window: Window, level: NDArray[Any], rest: NDArray[Any]) -> None:
        """Store levels (band, row, col) and rests (band, place, row, col)."""
        rows, cols = window.toslices()
        with HDF5_LOCK, _reported(self.path):
            self._dataset["level"][:, rows, cols] = level
            self._dataset["rest"][:, :, rows, cols] = rest

    def get_pixels(self, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Read levels (band, row, col) and rests (band, place, row, col) of a window."""
        rows, cols = window.toslices()
        with HDF5_LOCK:
            level = np.asarray(self._dataset["level"][:, rows, cols], np.float64)
            return level, np.asarray(self._dataset["rest"][:, :, rows, cols], np.float64)

    @property
    def report(self) -> str:
        """What `note` kept, which the whitened result says too; '' where nothing was."""
        with HDF5_LOCK:
            return str(getattr(self._dataset, "stcli_diagonal", ""))

    def note(self, report: dict[str, Any]) -> None:
        """Keep a report as JSON."""
        with HDF5_LOCK, _reported(self.path):
            self._dataset.setncattr("stcli_diagonal", json.dumps(report))


@contextlib.contextmanager
def create_spectra(path: str, draft: Path, layout: SpectraLayout) -> Iterator[SpectraFile]:
    """Create a file of spectra.

    Parameters
    ----------
    path : str
        Named in messages.
    draft : Path
        File to make, which `drafts` publishes.
    layout : SpectraLayout

    Raises
    ------
    OutputError
    """
    import netCDF4

    with _reported(path), HDF5_LOCK:
        dataset = netCDF4.Dataset(draft, "w")
        _define(dataset, layout)
    try:
        yield SpectraFile(path, layout, dataset)
    finally:
        with _reported(path), HDF5_LOCK:
            dataset.close()


@contextlib.contextmanager
def open_spectra(path: str) -> Iterator[SpectraFile]:
    """Open a file of spectra.

    Raises
    ------
    InputError
        Missing, damaged, or of another kind.
    """
    import netCDF4

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the name")
    try:
        with HDF5_LOCK:
            dataset = netCDF4.Dataset(path)
            dataset.set_auto_maskandscale(False)
            layout = _layout(dataset)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path}: is no NetCDF, or a damaged one; a file of spectra that whiten --psd-out "
            "wrote is wanted"
        ) from error
    except (AttributeError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: is a NetCDF without spectra; a file that whiten --psd-out wrote is wanted"
        ) from error
    try:
        yield SpectraFile(path, layout, dataset)
    finally:
        with HDF5_LOCK:
            dataset.close()


def _layout(dataset: Any) -> SpectraLayout:
    if getattr(dataset, "stcli_format", "") != _FORMAT:
        raise ValueError("its format is another")
    found = json.loads(dataset.stcli_layout)
    known = {f.name for f in fields(SpectraLayout)} & set(found)  # the first files hold fewer
    plain: Any = {k: _tuples(found[k]) for k in known - {"axis"}}
    axis = found.get("axis")
    if axis is not None:
        axis = TimeAxis(**{key: _tuples(value) for key, value in axis.items()})
    return SpectraLayout(**plain, axis=axis)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _define(dataset: Any, layout: SpectraLayout) -> None:
    frame = layout.rows * layout.times
    sizes = {"band": len(layout.bands), "block_row": layout.blocks[0]}
    sizes |= {"block_col": layout.blocks[1], "frequency": layout.bins, "row": layout.rows}
    sizes |= {"cell": layout.times, "place": frame, "y": layout.shape[0], "x": layout.shape[1]}
    for name, size in sizes.items():
        dataset.createDimension(name, size)
    dataset.setncatts(
        {
            "Conventions": "CF-1.8",
            "title": "Power spectral densities",
            "source": "stcli",
            "history": "stcli whiten --psd-out",
            "stcli_format": _FORMAT,
            "stcli_layout": json.dumps(asdict(layout), default=_plain),
        }
    )
    groups = ("band", "block_row", "block_col")
    density_unit = f"({layout.units[0]})2 {layout.time_unit}"
    _variable(dataset, "density", (*groups, "frequency"), density_unit)
    _variable(dataset, "relative", (*groups, "row", "cell"), "1")
    _variable(dataset, "level", ("band", "y", "x"), layout.units[0])
    _variable(dataset, "rest", ("band", "place", "y", "x"), "1")
    _coordinates(dataset, layout)


def _plain(value: Any) -> Any:
    """Turn a NetCDF attribute's numbers into JSON's."""
    return value.tolist()


def _variable(dataset: Any, name: str, dims: tuple[str, ...], units: str) -> None:
    names = {
        "density": "one-sided stationary power spectral density",
        "relative": "power relative to the stationary density on WDM cells",
        "level": "median of the series",
        "rest": "whitened values where the frame holds no data",
    }
    sizes = [len(dataset.dimensions[dim]) for dim in dims]
    chunks = [1, *(min(size, 64) for size in sizes[1:])] if name == "rest" else None
    variable = dataset.createVariable(
        name,
        "f8",
        dims,
        compression="zlib",
        complevel=1,
        shuffle=True,
        chunksizes=chunks,
        fill_value=np.nan,
    )
    variable.set_auto_maskandscale(False)
    variable.setncatts({"long_name": names[name], "units": units})


def _coordinates(dataset: Any, layout: SpectraLayout) -> None:
    nyquist = 0.5 / layout.step
    lines = {
        "frequency": (np.linspace(0, nyquist, layout.bins), f"{layout.time_unit}-1"),
        "row": (np.arange(layout.rows) / layout.rows * nyquist, f"{layout.time_unit}-1"),
        "cell": (
            (np.arange(layout.times) * layout.rows - layout.before) * layout.step,
            layout.time_unit,
        ),
    }
    for name, (values, unit) in lines.items():
        axis = dataset.createVariable(name, "f8", (name,))
        text = {"frequency": "frequency", "row": "centre frequency of a row of WDM cells"}
        axis.setncatts({"long_name": text.get(name, "time since the first date"), "units": unit})
        axis[:] = values


@contextlib.contextmanager
def _reported(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{path}: cannot be written ({error}); make room or write elsewhere"
        ) from error
