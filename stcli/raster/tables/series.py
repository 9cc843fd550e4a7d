"""Series without pixels: columns of a table, or one-dimensional variables of HDF5 and NetCDF.

Tables are those of `stcli.raster.tables.seriestable`. HDF5 and NetCDF: the longest one-dimensional
variables of floating numbers or packed integers, in any group, which must have the same times;
these come from the variable of their dimension, else from the attributes Xstart, Xspacing and
Xunits, else from the step that the user gives. Where groups have the same names, theirs come first.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError, OutputError
from stcli.raster.reading.netcdf import HDF5_LOCK
from stcli.raster.reading.read import HDF5_MAGIC, NETCDF_MAGIC
from stcli.raster.reading.stdin import on_stdin, readable
from stcli.raster.reading.timecube import refuse_huge
from stcli.raster.tables.seriestable import read_table, write_table
from stcli.raster.writing.layout import true_attrs, true_globals
from stcli.raster.writing.output import STDOUT

TEXT = {".csv", ".txt", ".tsv"}
HDF5 = {".h5", ".hdf5", ".hdf", ".nc", ".nc4", ".cdf"}
#: Units and calendar of a table's dates.
DATED = ("days since 1970-01-01", "standard")
#: Bytes that are looked at to tell what came through stdin.
_HEAD = 4096


@dataclass(frozen=True)
class Series:
    """Series on one axis of times.

    Attributes
    ----------
    names : tuple of str
    values : ndarray, (time, series), float64
        NaN where there is a gap.
    times : ndarray, (time,), float64
    time_unit : str
        ``"s"``, ``"d"``, or what the file says.
    units : tuple of str
        Of each series; ``"1"`` where the file does not say.
    labels : tuple of str
        Times as the file writes them, after their header; empty where they are the numbers.
    axis : (str, str)
        Units and calendar of a CF time axis, empty where there is none.
    unlimited : bool
        More times may be put after them.
    attrs : tuple of dict
        Of each series' variable, without its units; empty for a table.
    about : dict
        Global attributes of the file.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    times: NDArray[np.float64]
    time_unit: str
    units: tuple[str, ...]
    labels: tuple[str, ...] = ()
    axis: tuple[str, str] = ("", "")
    unlimited: bool = False
    attrs: tuple[dict[str, Any], ...] = ()
    about: dict[str, Any] = field(default_factory=dict)


def is_series(path: str) -> bool:
    """Tell whether a file holds series: a text table, or no variable of two dimensions."""
    suffix = Path(path).suffix.lower()
    if suffix in TEXT:
        return True
    if suffix not in HDF5 or not Path(path).is_file():
        return False
    return _flat(path)


def _flat(path: str) -> bool:
    """Tell whether a file of HDF5 has variables of one dimension, and none of more."""
    try:
        with HDF5_LOCK, _dataset(path) as dataset:
            found = [variable for _, variable in _variables(dataset)]
            shapes = [v.ndim for v in found if v.ndim > 1 or _holds_values(v)]
    except (OSError, RuntimeError):
        return False  # the reader of rasters will tell why
    return 1 in shapes and max(shapes) == 1


def refuse_piped(path: str) -> None:
    """Refuse a series that comes through stdin: it is told from a raster by its file's name.

    Raises
    ------
    InputError
        It is a table, or a file of one-dimensional variables.
    """
    if not on_stdin(path):
        return
    spool = readable(path)
    with Path(spool).open("rb") as file:
        head = file.read(_HEAD)
    if _tabular(head) or (head.startswith((HDF5_MAGIC, *NETCDF_MAGIC)) and _flat(spool)):
        raise InputError(f"{path}: holds series, which cannot come through a pipe; name its file")


def refuse_pipe(path: str) -> None:
    """Refuse to write series to stdout; raises `OutputError`."""
    if path in STDOUT:
        raise OutputError(f"{path}: series cannot go through a pipe; name a file to write")


def refuse_names(path: str, series: Series) -> None:
    """Refuse to write what NetCDF has no names for; raises `OutputError`."""
    if Path(path).suffix.lower() in TEXT:
        return
    names, taken = series.names, _axis_name(series)
    bad = [n for n in names if n in ("", taken) or "/" in n or names.count(n) > 1]
    if bad:
        raise OutputError(
            f"{path}: series named {', '.join(map(repr, dict.fromkeys(bad)))} found, NetCDF wants "
            f"a name of its own for each, not '{taken}' and without '/'; write a table, or rename "
            "them"
        )


def _axis_name(series: Series) -> str:
    return "time" if series.axis[0] else "elapsed"  # CF's time wants an epoch


def _tabular(head: bytes) -> bool:
    """Tell whether a file that begins so is a table: text, with fields in its first line."""
    line = head.partition(b"\n")[0]
    return b"\0" not in head and (b"," in line or b"\t" in line) and line[:1] not in b"<{["


def read_series(path: str, names: Sequence[int | str] = (), step: float | None = None) -> Series:
    """Read series.

    Parameters
    ----------
    path : str
    names : sequence of int or str
        1-based numbers or names; all by default.
    step : float, optional
        Seconds between samples, for a file that has no times: then every column is a series.

    Raises
    ------
    InputError
        The file is missing, damaged, or holds no series, a name is unknown, or there are times
        and a step too.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; check the name")
    text = Path(path).suffix.lower() in TEXT
    series = _read_table(path, names, step) if text else _read_hdf5(path, names, step)
    refuse_huge(series.values, path)
    if series.times.size < 2:
        raise InputError(f"{path}: {series.times.size} dates found, a series of several is wanted")
    if not np.isfinite(series.times).all() or (np.diff(series.times) <= 0).any():
        raise InputError(f"{path}: times do not rise throughout; sort them and drop doubles first")
    return series


def _chosen(found: Sequence[str], wanted: Sequence[int | str], path: str) -> list[int]:
    """Give the positions of the series that are wanted, all by default."""
    picked = []
    for name in wanted:
        if isinstance(name, int) and 1 <= name <= len(found):
            picked.append(name - 1)
        elif name in found:
            picked.append(found.index(str(name)))
        else:
            raise InputError(f"{path}: has no series {name}; choose among {', '.join(found)}")
    return picked if wanted else list(range(len(found)))


def _read_table(path: str, names: Sequence[int | str], step: float | None) -> Series:
    table = read_table(path, step)
    chosen = _chosen(table.names, names, path)
    units, axis = ("1",) * len(chosen), DATED if table.dated else ("", "")
    own = tuple(table.names[k] for k in chosen)
    values = table.values[:, chosen]
    return Series(own, values, table.times, table.unit, units, table.labels, axis)


def _dataset(path: str) -> Any:
    import netCDF4

    return netCDF4.Dataset(path)


def _variables(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """List the numeric variables of a file, groups included, coordinates and their bounds apart."""
    bounds = {getattr(variable, "bounds", None) for variable in group.variables.values()}
    found = [
        (prefix + name, variable)
        for name, variable in group.variables.items()
        if name not in bounds.union(group.dimensions)
        and getattr(variable.dtype, "kind", "O") in "iuf"
    ]
    for name, inner in group.groups.items():
        found += _variables(inner, f"{prefix}{name}/")
    return [(name, variable) for name, variable in found if variable.ndim]


def _holds_values(variable: Any) -> bool:
    """Tell whether a variable holds measured values: floating numbers, or packed ones."""
    packed = {"scale_factor", "add_offset"} & set(variable.ncattrs())
    return variable.dtype.kind == "f" or bool(packed)


def _read_hdf5(path: str, names: Sequence[int | str], step: float | None) -> Series:
    try:
        with HDF5_LOCK, _dataset(path) as dataset:
            lines = [(n, v) for n, v in _variables(dataset) if v.ndim == 1 and _holds_values(v)]
            if not lines:
                raise InputError(f"{path}: has no one-dimensional series, one at least is wanted")
            longest = max(variable.size for _, variable in lines)
            lines = [(name, v) for name, v in lines if v.size == longest]
            found = _labels([name for name, _ in lines])
            chosen = _chosen(found, names, path)
            own, variables = tuple(found[k] for k in chosen), [lines[k][1] for k in chosen]
            times, unit, axis = _common_axis(own, variables, path, step)
            values = np.stack([_filled(variable) for variable in variables], axis=1)
            units = tuple(
                str(getattr(v, "units", getattr(v, "Yunits", "")) or "1") for v in variables
            )
            attrs, about = tuple(true_attrs(_plain(v)) for v in variables), _plain(dataset)
            unlimited = variables[0].get_dims()[0].isunlimited()
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{path}: cannot be read as HDF5 ({error}); a whole file is wanted"
        ) from error
    return Series(own, values, times, unit, units, (), axis, unlimited, attrs, about)


def _labels(paths: Sequence[str]) -> list[str]:
    """Name variables without their groups, or with them where that tells them apart."""
    names = [path.rsplit("/", 1)[-1] for path in paths]
    return names if len(set(names)) == len(names) else [path.replace("/", "_") for path in paths]


def _plain(described: Any) -> dict[str, Any]:
    """Give the attributes of a variable or a file that are text or a number."""
    found = {name: described.getncattr(name) for name in described.ncattrs() if name[0] != "_"}
    return {name: value for name, value in found.items() if isinstance(value, (str, np.number))}


def _filled(variable: Any) -> NDArray[np.float64]:
    values = np.ma.masked_invalid(np.ma.asarray(variable[:], dtype=np.float64))
    filled: NDArray[np.float64] = values.filled(np.nan)
    return filled


def _common_axis(
    names: Sequence[str], variables: Sequence[Any], path: str, step: float | None
) -> tuple[NDArray[np.float64], str, tuple[str, str]]:
    """Give the axis of variables, which must be that of each."""
    times, unit, axis = _axis(variables[0], path, step)
    for name, variable in zip(names[1:], variables[1:], strict=True):
        other, *its = _axis(variable, path, step)
        if its != [unit, axis] or not np.array_equal(other, times):
            raise InputError(
                f"{path}: {names[0]} and {name} have other times, the same are wanted; choose "
                "series of one axis by --bidx"
            )
    return times, unit, axis


def _axis(
    variable: Any, path: str, step: float | None
) -> tuple[NDArray[np.float64], str, tuple[str, str]]:
    """Give a variable's times, their unit, and units and calendar of a CF axis; or by the step."""
    group, dimension = variable.get_dims()[0].group(), variable.dimensions[0]
    if step is not None:
        if dimension in group.variables or hasattr(variable, "Xspacing"):
            raise InputError(f"{path}: {variable.name} has times of its own; leave --step out")
        return step * np.arange(variable.size), "s", ("", "")
    if dimension in group.variables:
        axis = group.variables[dimension]
        unit, calendar = (
            str(getattr(axis, "units", "s")),
            str(getattr(axis, "calendar", "standard")),
        )
        cf = (unit, calendar) if " since " in unit else ("", "")
        return np.asarray(axis[:], float), unit.split(" since ")[0], cf
    if hasattr(variable, "Xspacing"):
        start, spacing = float(getattr(variable, "Xstart", 0)), float(variable.Xspacing)
        unit = {"second": "s", "seconds": "s"}.get(str(getattr(variable, "Xunits", "s")), "s")
        return start + spacing * np.arange(variable.size), unit, ("", "")
    raise InputError(
        f"{path}: {variable.name} has no times; a variable named {dimension}, or the attributes "
        "Xstart and Xspacing are wanted; else give --step"
    )


def write_series(path: str, draft: Path, series: Series, attrs: dict[str, Any]) -> None:
    """Write series: CSV by the suffix, else NetCDF.

    Parameters
    ----------
    path : str
        Named in messages.
    draft : Path
        File to make, which `drafts` publishes.
    series : Series
    attrs : dict
        Global attributes of a NetCDF, beside those of the series.

    Raises
    ------
    OutputError
    """
    try:
        if draft.suffix.lower() in TEXT:
            head, times = f"time [{series.time_unit}]", (repr(float(t)) for t in series.times)
            labels = series.labels or itertools.chain((head,), times)
            write_table(draft, labels, series.names, series.values)
        else:
            _write_netcdf(draft, series, attrs)
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{path}: cannot be written ({error}); make room or write elsewhere"
        ) from error


def _write_netcdf(draft: Path, series: Series, attrs: dict[str, str]) -> None:
    import netCDF4

    with HDF5_LOCK, netCDF4.Dataset(draft, "w") as dataset:
        own = {"title": draft.stem, "source": "stcli"}
        said = own | true_globals(series.about) | attrs | {"Conventions": "CF-1.8"}
        dataset.setncatts(said)
        units, calendar = series.axis
        name = _axis_name(series)
        dataset.createDimension(name, None if series.unlimited else series.times.size)
        axis = dataset.createVariable(name, "f8", (name,))
        dated = {"standard_name": "time", "axis": "T", "calendar": calendar} if units else {}
        axis.setncatts({"long_name": "time", "units": units or series.time_unit, **dated})
        axis[:] = series.times
        described = series.attrs or ({},) * len(series.names)
        each = zip(series.names, series.units, described, strict=True)
        for k, (label, unit, more) in enumerate(each):
            variable = dataset.createVariable(
                label, "f8", (name,), compression="zlib", complevel=1, fill_value=np.nan
            )
            variable.setncatts({"long_name": label, "units": unit, **more})
            variable[:] = series.values[:, k]
