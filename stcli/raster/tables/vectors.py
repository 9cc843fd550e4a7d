"""Read labels (points, lines, polygons with a class) and burn them onto a raster's grid.

Burning must not depend on the window. GDAL's rasteriser works in the window's own pixel
coordinates, whose rounding differs from window to window, so labels are first brought into pixel
coordinates of the whole raster, put on a grid of 2⁻²⁰ pixel (then a shift by whole rows is exact in
float64), and burned in strips as wide as the raster: every scanline meets the same numbers.

The rules are GDAL's: a polygon takes the pixels whose centres it contains, a point the pixel that
contains it, a line the pixels of its path. Where features overlap, the later one in the file wins.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.errors import InputError
from stcli.raster.info import crs_name
from stcli.raster.tables.classnames import MOST_CLASSES, distinct, spelt, unlisted

if TYPE_CHECKING:
    import geopandas

logger = logging.getLogger("stcli")

PARQUET_SUFFIXES = {".parquet", ".geoparquet", ".pq"}
_SUBPIXEL = float(1 << 20)
#: Pixels of a strip that is burnt at once, unless a row has more; GDAL holds it twice.
_STRIP = 4_000_000
#: Before the names of columns that are kept, which may be those of our own.
_KEPT = "kept "


@dataclass(frozen=True)
class Labels:
    """Features with a class each, in a raster's CRS.

    Attributes
    ----------
    path : str
    frame : geopandas.GeoDataFrame
        Columns ``geometry`` and ``value`` (int, 1-based position in ``classes``), in file order.
    classes : tuple of str
    geobox : GeoBox or None
        Grid of the whole raster, to which burning is anchored.
    kept : dict of str
        Other columns that were asked for and are there, each an ndarray (feature,).
    """

    path: str
    frame: geopandas.GeoDataFrame
    classes: tuple[str, ...]
    geobox: GeoBox | None = None
    kept: dict[str, NDArray[Any]] = field(default_factory=dict)

    @functools.cached_property
    def bounds(self) -> NDArray[np.float64]:
        """Left, bottom, right and top of each feature: (4, feature)."""
        import shapely

        found: NDArray[np.float64] = shapely.bounds(self.frame.geometry.values).T
        return found


def read_labels(
    path: str,
    geobox: GeoBox,
    *,
    class_column: str,
    legend: Mapping[int, str] | None = None,
    layer: str | None = None,
    least: int = 2,
    keep: Sequence[str] = (),
) -> Labels:
    """Read labels and reproject them to a raster.

    Parameters
    ----------
    path : str
        GeoPackage, GeoJSON, FlatGeobuf and whatever else OGR reads, or GeoParquet.
    geobox : GeoBox
        Grid of the whole raster.
    class_column : str
        Column with each feature's class. Features without one are dropped, with a warning.
    legend : mapping of int to str, optional
        The classes of a class raster by value, which are those of the labels in this order: by
        their names, blanks and underscores alike, or by their values where the labels hold no
        name. Names that it has not follow, with a warning. By default the classes are those found
        in the raster, sorted as numbers if they all are whole numbers, else as text.
    layer : str, optional
        Layer of a file that has several.
    least : int
        Classes that must be in the raster.
    keep : sequence of str
        Other columns to keep, where the file has them.

    Returns
    -------
    Labels
        Those features that touch the raster's bounds.

    Raises
    ------
    InputError
        Raster or labels without CRS; an unreadable file, several layers or an unknown column;
        labels outside the raster, of too few classes, of none that is listed, or of more than 255
        classes.
    """
    if geobox.crs is None:
        raise InputError(
            f"{path}: labels can only be laid on a raster with a CRS and this one has none; "
            "name it with --assume-crs EPSG:n"
        )
    frame = _classed(_read(path, layer), path, class_column, keep)
    frame = _touching(frame.to_crs(geobox.crs.proj), geobox, path)
    names = frame["class"].tolist()
    if legend is None:
        chosen = distinct(set(names), path, least)
    else:
        names = spelt(names, legend, path)
        listed = tuple(legend.values())
        chosen = (*listed, *unlisted(names, listed, f"{path}: {class_column}"))
    if len(chosen) > MOST_CLASSES:
        raise InputError(
            f"{path}: {class_column} has {len(chosen)} classes, at most {MOST_CLASSES} fit; "
            "choose a column of categories"
        )
    kept = {name: frame[_KEPT + name].to_numpy() for name in keep if _KEPT + name in frame}
    value = {name: number for number, name in enumerate(chosen, start=1)}
    frame = frame.assign(value=[value[name] for name in names])[["value", "geometry"]]
    return Labels(path, frame.reset_index(drop=True), chosen, geobox, kept)


def burn(labels: Labels, geobox: GeoBox) -> NDArray[np.uint8]:
    """Burn labels onto a window of their raster.

    Parameters
    ----------
    labels : Labels
    geobox : GeoBox
        Grid of the window: the raster's own, or a crop of it by whole pixels.

    Returns
    -------
    ndarray of uint8, (row, col)
        Class values, 0 where unlabelled; the same for a pixel from every window.
    """
    raster = geobox if labels.geobox is None else labels.geobox
    _, left = _place(geobox, raster)
    rows, cols = (int(n) for n in geobox.shape)
    width = max(left + cols, int(raster.shape[1]))
    burnt, some = np.zeros((rows, cols), np.uint8), max(1, _STRIP // width)
    for top in range(0, rows, some):
        here = slice(top, min(top + some, rows))
        strip = _strip(labels, raster, geobox[here, 0:cols], width)
        if strip is not None:
            burnt[here] = strip[:, left : left + cols]
    return burnt


def sample_points(
    labels: Labels, geobox: GeoBox
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find the pixels of point labels.

    Parameters
    ----------
    labels : Labels
        Points or multipoints.
    geobox : GeoBox
        Grid whose pixels are counted; points outside are left out.

    Returns
    -------
    rows, cols : ndarray of int64, (point,)
    values : ndarray of int64, (point,)
        Class values.
    features : ndarray of int64, (point,)
        Which of the labels each is of.

    Raises
    ------
    InputError
        A feature is not a point.
    """
    import shapely

    kinds = sorted({*labels.frame.geom_type} - {"Point", "MultiPoint"})
    if kinds:
        raise InputError(f"{labels.path}: holds {kinds[0]} features, only points are wanted")
    points, owner = shapely.get_coordinates(labels.frame.geometry.values, return_index=True)
    cols, rows = _to_pixels(points, geobox).T
    inside = (rows >= 0) & (rows < geobox.shape[0]) & (cols >= 0) & (cols < geobox.shape[1])
    features = owner[inside].astype(np.int64)
    return (
        np.floor(rows[inside]).astype(np.int64),
        np.floor(cols[inside]).astype(np.int64),
        labels.frame["value"].to_numpy(np.int64)[features],
        features,
    )


def _read(path: str, layer: str | None) -> geopandas.GeoDataFrame:
    import geopandas

    if not path.startswith("/vsi") and "://" not in path and not Path(path).exists():
        raise InputError(f"{path}: no such file; check the name")
    try:
        if Path(path).suffix.lower() in PARQUET_SUFFIXES:
            frame = geopandas.read_parquet(path)
        else:
            frame = geopandas.read_file(path, engine="pyogrio", layer=_layer(path, layer))
    except InputError:
        raise
    except Exception as error:  # pyogrio, pyarrow and fiona-like errors have no common base
        detail = " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read as vectors ({detail}); GeoPackage, GeoJSON, FlatGeobuf or "
            "GeoParquet is wanted"
        ) from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise InputError(
            f"{path}: has no geometries, features with a CRS are wanted; columns of coordinates "
            f"become points with ogr2ogr points.gpkg {path} -oo X_POSSIBLE_NAMES=lon* "
            "-oo Y_POSSIBLE_NAMES=lat* -a_srs EPSG:4326"
        )
    if frame.crs is None:
        raise InputError(
            f"{path}: has no CRS, features with a CRS are wanted; add it first, with "
            "ogr2ogr -a_srs EPSG:n for one"
        )
    return frame


def _layer(path: str, wanted: str | None) -> str | None:
    """Name the layer to read: that which is wanted, or the one of a file that has one.

    Tables without geometries are passed over.
    """
    import pyogrio

    names = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if wanted is not None:
        if wanted not in names:
            raise InputError(
                f"{path}: has no layer {wanted}, choose one of: {', '.join(names) or 'none at all'}"
            )
        return wanted
    if len(names) > 1:
        raise InputError(
            f"{path}: has {len(names)} layers ({', '.join(names)}); name the one with --layer"
        )
    return names[0] if names else None


def _classed(
    frame: geopandas.GeoDataFrame, path: str, column: str, keep: Sequence[str]
) -> geopandas.GeoDataFrame:
    """Keep features that have a class and a geometry, the class as text in column ``class``.

    A class of no letters is none.
    """
    if frame.empty:
        raise InputError(f"{path}: holds no features, labels with a class are wanted")
    geometry = frame.geometry.name
    columns = [str(name) for name in frame.columns if name != geometry]
    if column not in columns:
        listed = ", ".join(columns) or "none at all"
        raise InputError(f"{path}: has no column {column}, choose one of: {listed}")
    named = frame[column].notna() & (frame[column].astype(str).str.strip() != "")
    whole = named & frame.geometry.notna() & ~frame.geometry.is_empty
    if not whole.all():
        logger.warning(
            "%s: %d of %d features have no class or no geometry and are left out",
            path,
            int((~whole).sum()),
            len(frame),
        )
    if not whole.any():
        raise InputError(
            f"{path}: none of its {len(frame)} features has a {column} and a geometry, labels "
            "with a class are wanted"
        )
    frame = frame[whole]
    named = [cell_text(value) for value in frame[column]]
    kept = (
        frame[[geometry]].rename_geometry("geometry")
        if geometry != "geometry"
        else frame[[geometry]]
    )
    others = {_KEPT + name: frame[name] for name in keep if name in columns}
    return kept.assign(**others, **{"class": named})


def cell_text(value: Any) -> str:
    """Write a table's cell; a column with gaps holds its whole numbers as floats (3.0 -> '3').

    Spaces around it are no part of it.
    """
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()


def _touching(frame: geopandas.GeoDataFrame, geobox: GeoBox, path: str) -> geopandas.GeoDataFrame:
    """Keep the features that touch the raster."""
    import shapely

    edge = geobox.extent.geom  # the true outline: rotated rasters are not their bounds
    shapely.prepare(edge)
    keep = shapely.intersects(edge, frame.geometry.values)
    if not keep.any():
        bounds = geobox.boundingbox
        wanted = (bounds.left, bounds.bottom, bounds.right, bounds.top)
        raise InputError(
            f"{path}: its {len(frame)} labels lie at {_numbers(frame.total_bounds)} and none is "
            f"in the raster at {_numbers(wanted)} ({crs_name(geobox)}); labels inside the "
            "raster are wanted"
        )
    if not keep.all():
        logger.warning(
            "%s: %d of %d labels lie outside the raster and are left out",
            path,
            int((~keep).sum()),
            len(frame),
        )
    return frame[keep]


def _numbers(bounds: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.7g}" for value in bounds) + ")"


def _place(window: GeoBox, raster: GeoBox) -> tuple[int, int]:
    """Find a window's (row, col) in its raster; on another grid it is a programming error."""
    relative = ~raster.transform @ window.transform
    top, left = round(relative.f), round(relative.c)
    apart = (relative.f - top, relative.c - left, relative.a - 1, relative.e - 1)
    if max(map(abs, apart)) > 1e-3 or left < 0:
        raise ValueError("the window is not a crop of the labels' raster by whole pixels")
    return top, left


def _to_pixels(points: NDArray[np.float64], geobox: GeoBox) -> NDArray[np.float64]:
    """Turn CRS coordinates (point, xy) into pixel coordinates (point, col/row) on 2⁻²⁰ pixel."""
    inverse = ~geobox.transform
    x, y = points[:, 0], points[:, 1]
    pixels = np.stack(
        [inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f], 1
    )
    snapped: NDArray[np.float64] = np.round(pixels * _SUBPIXEL) / _SUBPIXEL
    return snapped


def _strip(labels: Labels, raster: GeoBox, window: GeoBox, width: int) -> NDArray[np.uint8] | None:
    """Burn a window's features onto all columns of its rows; None where there are none."""
    from rasterio.features import rasterize

    shapes, values = _in_pixels(labels, raster, window)
    if not len(shapes):
        return None
    strip = np.zeros((int(window.shape[0]), width), np.uint8)
    rasterize(zip(shapes, values, strict=True), out=strip)
    return strip


def _in_pixels(
    labels: Labels, raster: GeoBox, window: GeoBox
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Select the features near a window, as shapes in pixels of its strip."""
    import shapely

    shapes, (x0, y0, x1, y1) = labels.frame.geometry.values, labels.bounds
    around = window.pad(2).boundingbox
    near = (x1 >= around.left) & (x0 <= around.right) & (y1 >= around.bottom) & (y0 <= around.top)
    down = np.array([0.0, _place(window, raster)[0]])
    moved = shapely.transform(
        shapely.force_2d(shapes[near]), lambda xy: _to_pixels(xy, raster) - down
    )
    return moved, labels.frame["value"].to_numpy(np.int64)[near]
