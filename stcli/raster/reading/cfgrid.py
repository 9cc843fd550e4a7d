"""Find the regular grid of a NetCDF/CF variable: axes, transform, CRS.

Two axes are put in the order that a raster has: rows from north to south (descending y) and
longitudes within -180 to 180. Both are only views of the stored order: a flip, and a rotation of
the columns by ``roll``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio import Affine

from stcli.errors import InputError
from stcli.raster.axes import in_crs_units
from stcli.raster.packing import scale_of

if TYPE_CHECKING:
    import xarray as xr

#: How far, in steps, a coordinate may lie from its place on a regular grid.
SPACING_TOLERANCE = 1e-3

_DEGREES = re.compile(r"^degrees?(_?(north|east|n|e))?$", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_NORTH_EAST = re.compile(r"^degrees?_?(north|east|n|e)$", re.IGNORECASE)


@dataclass(frozen=True)
class Grid:
    """How stored axes become a raster's rows and columns.

    Attributes
    ----------
    y, x : str
        Names of the horizontal dimensions.
    geobox : GeoBox
    flip : bool
        Stored rows run south to north (or are otherwise against the raster's order).
    roll : int
        Stored column that becomes column 0; the columns before it follow at the end.
    note : str
        What had to be assumed, empty if nothing.
    """

    y: str
    x: str
    geobox: GeoBox
    flip: bool
    roll: int
    note: str


def find_grid(dataset: xr.Dataset, path: str) -> Grid:
    """Find the grid that a dataset's variables share.

    Parameters
    ----------
    dataset : xarray.Dataset
        Opened undecoded.
    path : str
        For messages.

    Raises
    ------
    InputError
        No horizontal axes, 2-D latitudes and longitudes, irregular spacing, unusable units.
    """
    y_name, x_name = _horizontal(dataset, path)
    dataset = _described(dataset, y_name, x_name)
    crs, note = _crs(dataset, (y_name, x_name), path)
    x, y = _placed(dataset[x_name], crs, path), _placed(dataset[y_name], crs, path)
    geographic = crs.geographic if crs is not None else _is_degrees(dataset[x_name])
    _refuse_irregular(dataset[x_name], x, path)
    _refuse_irregular(dataset[y_name], y, path)
    x, roll = _wrap(x) if geographic else (x, 0)
    flip = _step(y) > 0
    y = y[::-1] if flip else y
    widths = _width(dataset, y_name, crs), _width(dataset, x_name, crs)
    transform = _declared(dataset, y, x) or _spanned(y, x, widths, path)
    geobox = GeoBox((len(y), len(x)), transform, crs)
    return Grid(y_name, x_name, geobox, flip, roll, note)


def _spanned(
    y: NDArray[np.float64], x: NDArray[np.float64], widths: tuple[float, float], path: str
) -> Affine:
    """Make the transform of pixel centres in the raster's order.

    An axis of one pixel is as wide as its bounds say (`widths`, 0 for none), else as a pixel of
    the other axis.
    """
    y_step, x_step = _step(y) or -widths[0], _step(x) or widths[1]
    if not (x_step or y_step):
        raise InputError(
            f"{path}: is one pixel of unknown size; two along an axis, or bounds of its "
            "coordinates, are wanted"
        )
    x_step, y_step = x_step or abs(y_step), y_step or -abs(x_step)
    return Affine(x_step, 0, x[0] - x_step / 2, 0, y_step, y[0] - y_step / 2)


def _width(dataset: xr.Dataset, name: str, crs: CRS | None) -> float:
    """Width of the pixel of an axis that has one, by its bounds; 0 where nothing tells it."""
    bounds = bounds_of(dataset, name)
    if bounds is None or len(bounds) > 1:
        return 0.0
    return float(abs(bounds[0, 1] - bounds[0, 0])) * (_factor(dataset[name], crs) or 1.0)


def bounds_of(dataset: xr.Dataset, name: str) -> NDArray[Any] | None:
    """Read the bounds (value, 2) that a coordinate names; None for none of that shape."""
    named = dataset[name].attrs.get("bounds")
    if named not in dataset.variables:
        return None
    found = np.atleast_2d(dataset[named].values)
    return found if found.shape == (dataset[name].size, 2) else None


def _horizontal(dataset: xr.Dataset, path: str) -> tuple[str, str]:
    """Name the 1-D (y, x) coordinates: by CF attributes, else by their usual names."""
    import cf_xarray  # noqa: F401  (registers the .cf accessor)

    guessed = dataset.cf.guess_coord_axis()
    one_d = {str(name) for name in dataset.dims if name in dataset.variables}
    axes, coordinates = guessed.cf.axes, guessed.cf.coordinates
    y = [n for n in (*axes.get("Y", ()), *coordinates.get("latitude", ())) if n in one_d]
    x = [n for n in (*axes.get("X", ()), *coordinates.get("longitude", ())) if n in one_d]
    if y and x:
        return str(y[0]), str(x[0])
    flat = [n for n, v in dataset.variables.items() if v.ndim == 2 and _is_latitude(v.attrs)]
    if flat:
        raise InputError(
            f"{path}: its grid is given by 2-D latitudes and longitudes ({flat[0]}), regular 1-D "
            "coordinates are wanted; regrid it first, for example with cdo remapbil"
        )
    names = ", ".join(map(str, dataset.dims)) or "none at the file's root"
    raise InputError(
        f"{path}: has no horizontal coordinates among its dimensions ({names}); "
        "1-D x and y, or lon and lat, with CF attributes are wanted"
    )


def _described(dataset: xr.Dataset, y: str, x: str) -> xr.Dataset:
    """Let coordinates without units be degrees if their names (lat, lon) and values are such."""
    bare = not any(dataset[name].attrs.get("units") for name in (y, x))
    reach = (float(np.abs(dataset[name].values).max(initial=0)) for name in (y, x))
    if bare and all(far <= most for far, most in zip(reach, (90, 360), strict=True)):
        described: xr.Dataset = dataset.cf.guess_coord_axis()
        return described
    return dataset


def _is_latitude(attrs: dict[Any, Any]) -> bool:
    units = str(attrs.get("units", ""))
    north = _NORTH_EAST.match(units) and "n" in units.lower().removeprefix("degree")
    return bool(north) or attrs.get("standard_name") == "latitude"


def _is_degrees(coordinate: xr.DataArray) -> bool:
    return bool(_DEGREES.match(str(coordinate.attrs.get("units", ""))))


def _factor(coordinate: xr.DataArray, crs: CRS | None) -> float | None:
    """Tell what a coordinate's numbers are to be multiplied with; None for an unusable unit."""
    if _is_degrees(coordinate):
        return 1.0
    return in_crs_units(str(coordinate.attrs.get("units", "")).strip(), crs)


def _placed(coordinate: xr.DataArray, crs: CRS | None, path: str) -> NDArray[np.float64]:
    """Return a coordinate in the units of the CRS (without one degrees or metres), unpacked."""
    factor = _factor(coordinate, crs)
    if factor is None:
        raise InputError(
            f"{path}: coordinate {coordinate.name} is in {str(coordinate.attrs['units'])!r}; "
            "degrees, m, km or feet are wanted"
        )
    values = coordinate.values.astype(np.float64)
    if values.size == 0:
        raise InputError(f"{path}: coordinate {coordinate.name} is empty, pixels are wanted")
    if coordinate.dtype == np.float32:
        values = _unround(values)
    scale, offset = scale_of(coordinate, path)
    return (values * scale + offset) * factor


def _unround(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give float32 coordinates back the decimals they were rounded from (0.1f -> 0.1)."""
    return np.array([float(str(np.float32(v))) for v in values])


def _step(values: NDArray[np.float64]) -> float:
    return float((values[-1] - values[0]) / (values.size - 1)) if values.size > 1 else 0.0


def _refuse_irregular(coordinate: xr.DataArray, values: NDArray[np.float64], path: str) -> None:
    step = _step(values)
    if not np.isfinite(values).all() or (step == 0 and values.size > 1):
        raise InputError(
            f"{path}: coordinate {coordinate.name} is not finite or does not move; "
            "evenly spaced numbers are wanted"
        )
    if step == 0:  # a single pixel
        return
    off = np.abs(values - (values[0] + step * np.arange(values.size)))
    worst = float(off.max()) / abs(step)
    # float32 coordinates cannot be more even than their rounding
    single = coordinate.dtype == np.float32
    rounding = 2 * float(np.spacing(np.float32(np.abs(values).max()))) / abs(step) if single else 0
    if worst > max(SPACING_TOLERANCE, min(rounding, 0.05)):
        raise InputError(
            f"{path}: coordinate {coordinate.name} is irregular, up to {worst:.3g} steps off an "
            "even spacing; an even one is wanted, regrid it first"
        )


def _wrap(lon: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Bring rising longitudes into -180..180 where the columns stay in order.

    A whole circle is rotated; a part beyond 180 is shifted by 360; a part that crosses 180 is
    continuous only as it is, and stays.
    """
    step = _step(lon)
    slack = SPACING_TOLERANCE * step
    if step < 0:
        return lon, 0
    if lon[0] >= 180 - slack:
        return lon - 360, 0
    if lon[-1] < 180 + slack or abs(lon.size * step - 360) > step / 2:
        return lon, 0
    roll = int(np.argmax(lon >= 180 - slack))
    return np.concatenate([lon[roll:] - 360, lon[:roll]]), roll


def _declared(dataset: xr.Dataset, y: NDArray[np.float64], x: NDArray[np.float64]) -> Affine | None:
    """Read GDAL's ``GeoTransform`` attribute, free of rounding, where pixel centres confirm it."""
    for name in dataset.variables:
        words = str(dataset[name].attrs.get("GeoTransform", "")).split()
        if len(words) == 6 and all(map(_NUMBER.fullmatch, words)):
            declared = Affine.from_gdal(*map(float, words))
            first, last = (0.5, 0.5), (x.size - 0.5, y.size - 0.5)
            if not declared.is_rectilinear or declared.is_degenerate:
                continue
            apart = [
                np.subtract(~declared @ (x[k], y[k]), place)
                for k, place in ((0, first), (-1, last))
            ]
            if np.abs(apart).max() < SPACING_TOLERANCE:
                return declared
    return None


def _crs(dataset: xr.Dataset, dims: tuple[str, str], path: str) -> tuple[CRS | None, str]:
    """Read the CRS from the grid mapping, else from latitude and longitude units."""
    mapping = _grid_mapping(dataset, dims)
    if mapping is not None:
        return _mapped_crs(mapping, path), ""
    y, x = (dataset[name].attrs for name in dims)
    named = (y.get("standard_name"), x.get("standard_name")) == ("latitude", "longitude")
    if named or all(_NORTH_EAST.match(str(a.get("units", ""))) for a in (y, x)):
        return CRS("EPSG:4326"), "EPSG:4326, from latitude and longitude without a grid_mapping"
    return None, ""


def _grid_mapping(dataset: xr.Dataset, dims: tuple[str, str]) -> dict[str, Any] | None:
    for variable in dataset.data_vars.values():
        text = variable.attrs.get("grid_mapping")
        if text and set(dims) <= set(map(str, variable.dims)):
            name = str(text).split(":")[0].split()[0]  # the extended form is 'crs: x y'
            if name in dataset.variables:
                return dict(dataset[name].attrs)
    return None


def _mapped_crs(attrs: dict[str, Any], path: str) -> CRS | None:
    import pyproj

    wkt = attrs.get("crs_wkt") or attrs.get("spatial_ref")
    if not wkt and "grid_mapping_name" not in attrs:
        return None
    try:
        if wkt:
            return CRS(str(wkt))
        # by way of WKT, as which files hold it: what parameters make differs in what is compared
        return CRS(pyproj.CRS.from_cf(attrs).to_wkt())
    except (pyproj.exceptions.CRSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: its grid_mapping cannot be understood ({error}); crs_wkt or CF parameters "
            "are wanted"
        ) from error
