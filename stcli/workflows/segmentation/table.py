"""Columns of the table of objects, and of the table of their borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stcli.raster.ground import Ground
from stcli.raster.reading.read import Raster
from stcli.raster.tables.features import Columns
from stcli.segmentation.objects.adjacency import neighbours
from stcli.segmentation.objects.indices import band_letters, indices
from stcli.segmentation.objects.shapes import ACROSS, AREA, COLS, DOWN, PIXELS, ROWS
from stcli.segmentation.objects.texture import figures
from stcli.settings import ObjectSettings
from stcli.workflows.segmentation.measure import Measured


def object_columns(
    measured: Measured,
    raster: Raster,
    ground: Ground,
    scene: Raster | None,
    wanted: ObjectSettings,
) -> Columns:
    """Lay out what was measured of the objects, in the order of their labels."""
    columns = {"label": measured.labels, **_geometry(measured, raster, ground)}
    pairs, _ = measured.borders.table()
    columns["neighbours"] = neighbours(pairs, measured.labels.size)
    if scene is not None:
        columns |= _bands(measured, scene, wanted)
    return columns


def table_bytes(objects: int, bands: int, wanted: ObjectSettings) -> int:
    """Bytes of the columns and of what they are made from, twice: a copy goes to the file."""
    each = 20 + len(wanted.indices) + bands * (8 + len(wanted.percentiles) + 4 * wanted.texture)
    return 2 * 8 * each * objects


def border_columns(measured: Measured, ground: Ground) -> Columns:
    """Lay out the borders: two labels, the lower first, and the length that they share."""
    pairs, lengths = measured.borders.table()
    _, across, down = ground.units
    return {
        "label": measured.labels[pairs[:, 0]],
        "neighbour": measured.labels[pairs[:, 1]],
        f"length_{ground.name}": lengths[:, 0] * across + lengths[:, 1] * down,
    }


def _geometry(measured: Measured, raster: Raster, ground: Ground) -> Columns:
    sums, t = measured.sums, raster.info.geobox.transform
    pixels = sums[:, PIXELS]
    unit, across, down = ground.units
    area = sums[:, AREA] * unit
    perimeter = sums[:, ACROSS] * across + sums[:, DOWN] * down
    row, col = sums[:, ROWS] / pixels + 0.5, sums[:, COLS] / pixels + 0.5
    return {
        "pixels": pixels,
        "area_m2" if ground.name == "m" else "area_px": area,
        f"perimeter_{ground.name}": perimeter,
        "compactness": 4 * np.pi * area / perimeter**2,
        "centroid_x": t.c + t.a * col + t.b * row,
        "centroid_y": t.f + t.d * col + t.e * row,
        **_bounds(measured.limits.astype(np.float64), raster),
    }


def _bounds(limits: NDArray[np.float64], raster: Raster) -> Columns:
    """Bounds in the CRS of the rectangle of rows and columns that holds each object."""
    t = raster.info.geobox.transform
    rows = np.stack([limits[:, 0], limits[:, 0], limits[:, 1] + 1, limits[:, 1] + 1])
    cols = np.stack([limits[:, 2], limits[:, 3] + 1, limits[:, 2], limits[:, 3] + 1])
    x, y = t.c + t.a * cols + t.b * rows, t.f + t.d * cols + t.e * rows
    return {
        "xmin": x.min(axis=0),
        "ymin": y.min(axis=0),
        "xmax": x.max(axis=0),
        "ymax": y.max(axis=0),
    }


def _bands(measured: Measured, scene: Raster, wanted: ObjectSettings) -> Columns:
    names, sums = scene.info.band_names, measured.bands
    means, deviations = sums.moments()
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(deviations / sums.count[:, None])
    empty = sums.count[:, None] == 0
    low, high = (np.where(empty, np.nan, limit) for limit in (sums.low, sums.high))
    columns: Columns = {"valid_pixels": sums.count}
    for band, name in enumerate(names):
        columns |= {
            f"{name}_mean": means[:, band],
            f"{name}_std": spread[:, band],
            f"{name}_min": low[:, band],
            f"{name}_max": high[:, band],
        }
    columns |= indices(wanted.indices, means, band_letters(names, dict(wanted.index_bands)))
    for band in range(measured.texture.shape[1]):
        found = figures(measured.texture[:, band])
        columns |= {f"{names[band]}_{figure}": values for figure, values in found.items()}
    return columns
