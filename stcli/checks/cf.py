"""Check a NetCDF file against the CF conventions, as far as gridded data are concerned.

The rules are those of CF 1.8 that a reader of grids stumbles over; the section is named with each.
It does not replace the IOOS compliance checker, which knows the table of standard names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from stcli.checks.findings import Checked, Findings
from stcli.raster.reading.netcdf import open_undecoded

if TYPE_CHECKING:
    import xarray as xr

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SINCE = re.compile(
    r"(days?|hours?|hrs?|hr|h|minutes?|mins?|seconds?|secs?|s|d|weeks?|months?|years?|common_years?|"
    r"milliseconds?|microseconds?)\s+since\s+[-+]?\d{1,5}-\d{1,2}-\d{1,2}.*",
    re.IGNORECASE,
)
_CALENDARS = {
    *("gregorian", "standard", "proleptic_gregorian", "noleap", "365_day", "all_leap"),
    *("366_day", "360_day", "julian", "none"),
}
#: Appendix F of CF 1.8.
_MAPPINGS = {
    *("albers_conical_equal_area", "azimuthal_equidistant", "geostationary", "latitude_longitude"),
    *("lambert_azimuthal_equal_area", "lambert_conformal_conic", "lambert_cylindrical_equal_area"),
    *("mercator", "oblique_mercator", "orthographic", "polar_stereographic", "sinusoidal"),
    *("rotated_latitude_longitude", "stereographic", "transverse_mercator"),
    "vertical_perspective",
}
_LATITUDE = {"degrees_north", "degree_north", "degree_N", "degrees_N", "degreeN", "degreesN"}
_LONGITUDE = {"degrees_east", "degree_east", "degree_E", "degrees_E", "degreeE", "degreesE"}
_AXES = {"X", "Y", "Z", "T"}
_OF_THE_TYPE = ("_FillValue", "missing_value", "valid_min", "valid_max", "valid_range")


def check_cf(path: str) -> Checked:
    """Check a NetCDF file.

    Returns
    -------
    Checked
        Figures: ``conventions``, and the number of variables.

    Raises
    ------
    InputError
        It is no NetCDF file.
    """
    found = Findings()
    with open_undecoded(path) as dataset:
        conventions = str(dataset.attrs.get("Conventions", ""))
        found.error(
            not re.search(r"CF-1\.\d", conventions),
            f"Conventions is '{conventions}', CF-1.8 for example is wanted (2.6.1)",
        )
        for name in dataset.variables:
            _variable(dataset, str(name), found)
        return found.of(path, conventions=conventions, variables=len(dataset.variables))


def _variable(dataset: xr.Dataset, name: str, found: Findings) -> None:
    variable: Any = dataset.variables[name]
    found.warning(not _NAME.fullmatch(name), f"{name}: letters, digits and _ are wanted (2.3)")
    _packing(variable, name, found)
    _references(dataset, variable, name, found)
    _flags(variable, name, found)
    axis = variable.attrs.get("axis")
    found.error(axis is not None and axis not in _AXES, f"{name}: axis is '{axis}' (4)")
    if variable.dims == (name,):
        _coordinate(variable, name, found)
    units = str(variable.attrs.get("units", ""))
    if " since " in units:
        found.error(not _SINCE.fullmatch(units), f"{name}: units are '{units}' (4.4)")
        calendar = str(variable.attrs.get("calendar", "standard")).lower()
        found.error(calendar not in _CALENDARS, f"{name}: calendar is '{calendar}' (4.4.1)")
    _place(variable, name, units, found)


def _place(variable: Any, name: str, units: str, found: Findings) -> None:
    for meaning, right in (("latitude", _LATITUDE), ("longitude", _LONGITUDE)):
        if variable.attrs.get("standard_name") == meaning:
            wrong = units not in right
            found.error(wrong, f"{name}: units are '{units}', {max(right, key=len)} wanted (4)")
    if variable.attrs.get("standard_name") == "time":
        found.error(" since " not in units, f"{name}: units are '{units}', no time (4.4)")


def _packing(variable: Any, name: str, found: Findings) -> None:
    for key in _OF_THE_TYPE:
        if key in variable.attrs and variable.dtype.kind in "iuf":
            kind = np.asarray(variable.attrs[key]).dtype
            found.error(
                kind != variable.dtype, f"{name}: {key} is {kind}, {variable.dtype} wanted (2.5)"
            )
    kinds = {
        str(np.asarray(variable.attrs[key]).dtype)
        for key in ("scale_factor", "add_offset")
        if key in variable.attrs
    }
    found.error(len(kinds) > 1, f"{name}: scale_factor and add_offset differ in type (8.1)")


def _references(dataset: xr.Dataset, variable: Any, name: str, found: Findings) -> None:
    mapping = str(variable.attrs.get("grid_mapping", ""))
    for word in re.findall(r"[^\s:]+", mapping) if mapping else ():
        found.error(word not in dataset.variables, f"{name}: grid_mapping {word} is absent (5.6)")
    if "grid_mapping_name" in variable.attrs:
        projection = variable.attrs["grid_mapping_name"]
        found.error(projection not in _MAPPINGS, f"{name}: no grid mapping '{projection}' (5.6)")
    for word in str(variable.attrs.get("coordinates", "")).split():
        found.error(word not in dataset.variables, f"{name}: coordinate {word} is absent (5)")
    bounds = variable.attrs.get("bounds")
    if bounds is not None:
        there = dataset.variables.get(bounds)
        found.error(there is None, f"{name}: bounds {bounds} are absent (7.1)")
        if there is not None:
            fits = there.dims[:-1] == variable.dims and there.ndim == variable.ndim + 1
            found.error(not fits, f"{name}: bounds {bounds} have other dimensions (7.1)")


def _flags(variable: Any, name: str, found: Findings) -> None:
    meanings = variable.attrs.get("flag_meanings")
    values = variable.attrs.get("flag_values")
    if values is None:
        return
    values = np.atleast_1d(np.asarray(values))
    found.error(meanings is None, f"{name}: flag_values without flag_meanings (3.5)")
    found.error(values.dtype != variable.dtype, f"{name}: flag_values are {values.dtype} (3.5)")
    found.error(
        meanings is not None and len(str(meanings).split()) != values.size,
        f"{name}: {values.size} flag_values and other flag_meanings (3.5)",
    )


def _coordinate(variable: Any, name: str, found: Findings) -> None:
    """Check a coordinate variable: numbers, all there, in order, with a unit."""
    if variable.dtype.kind not in "iuf":
        return
    values = np.asarray(variable.values, dtype=np.float64)
    found.error(not np.isfinite(values).all(), f"{name}: a coordinate is missing (2.5.1)")
    steps = np.diff(values)
    ordered = values.size < 2 or (steps > 0).all() or (steps < 0).all()
    found.error(not ordered, f"{name}: its values neither rise nor fall throughout (5)")
    spoken = {"units", "standard_name", "axis", "long_name"} & set(variable.attrs)
    found.warning(not spoken, f"{name}: no units, standard_name or axis say what it is (4)")
