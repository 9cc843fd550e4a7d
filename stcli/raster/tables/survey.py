"""A field survey as a GeoPackage: its points and the path through them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.errors import OutputError
from stcli.raster.tables.geopackage import undated
from stcli.raster.writing.draft import drafts

POINTS, PATH = "points", "path"


def pixel_centres(geobox: GeoBox, place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Coordinates (point, 2) in the CRS of the centres of pixels (point, row and column)."""
    t, rows, cols = geobox.transform, place[:, 0] + 0.5, place[:, 1] + 0.5
    return np.stack([t.c + t.a * cols + t.b * rows, t.f + t.d * cols + t.e * rows], axis=1)


def in_metres(geobox: GeoBox, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates (n, 2) on a plane about their middle in metres; unchanged without a CRS."""
    import pyproj

    if geobox.crs is None or not len(xy):
        return xy
    crs = pyproj.CRS.from_user_input(geobox.crs)
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(xy[:, 0], xy[:, 1])
    middle = f"+proj=aeqd +lat_0={np.mean(lat):.6f} +lon_0={np.mean(lon):.6f} +datum=WGS84"
    to_plane = pyproj.Transformer.from_crs("EPSG:4326", middle, always_xy=True)
    return np.stack(to_plane.transform(lon, lat), axis=1)


def write_survey(
    path: str,
    geobox: GeoBox,
    columns: dict[str, Any],
    line: tuple[NDArray[np.float64], float | None],
    overwrite: bool,
) -> None:
    """Write points and the path through them.

    Parameters
    ----------
    columns : dict of str
        What is known of each point.
    line : (ndarray of float64 (point, 2), float or None)
        Coordinates of the points in the path's order, and its length in metres; None where no CRS
        says what a unit is, NULL in the file.

    Raises
    ------
    OutputError
    """
    import geopandas
    import shapely

    xy, metres = line
    crs = None if geobox.crs is None else geobox.crs.to_wkt()
    points = geopandas.GeoDataFrame(columns, geometry=shapely.points(xy), crs=crs)
    with drafts((path,), overwrite) as (file,), undated():
        try:
            points.to_file(file, layer=POINTS, driver="GPKG", engine="pyogrio")
            if len(xy) > 1:
                drawn = geopandas.GeoDataFrame(
                    {"points": [len(xy)], "metres": np.array([metres], np.float64)},
                    geometry=[shapely.linestrings(xy)],
                    crs=crs,
                )
                drawn.to_file(file, layer=PATH, driver="GPKG", engine="pyogrio")
        except (OSError, RuntimeError) as error:
            raise OutputError(f"{path}: the survey cannot be written ({error}).") from error
