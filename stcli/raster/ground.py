"""Areas and lengths on the ground, as integer weights of a raster's rows.

On a projected grid every pixel weighs 1 and the units are those of the grid in metres, as the
CRS has them (no correction for its scale). On a geographic grid areas and lengths are those on
the ellipsoid, row by row: a pixel's area between two parallels, its upper edge along a parallel,
its left edge along a meridian; weights are whole multiples of 2**-30 of the largest. Without a
CRS the unit is the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.errors import InputError
from stcli.raster.info import pixel_size

_FINE = 1 << 30
_NODES, _SHARES = np.polynomial.legendre.leggauss(8)


@dataclass(frozen=True)
class Ground:
    """Weights of rows, and what a weight of 1 is.

    Attributes
    ----------
    area, across, down : ndarray of int64 (row,), (row + 1,), (row,)
        Of a pixel, of its upper edge (the last is the lowest row's lower edge), of its left edge.
    units : (float, float, float)
        Area, length across, length down of a weight of 1.
    name : str
        ``"m"`` or ``"px"``.
    """

    area: NDArray[np.int64]
    across: NDArray[np.int64]
    down: NDArray[np.int64]
    units: tuple[float, float, float]
    name: str

    @property
    def weights(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The three arrays: (row,), (row + 1,) and (row,)."""
        return self.area, self.across, self.down


def plain(rows: int) -> Ground:
    """Count pixels and pixel edges."""
    one = np.ones(rows + 1, np.int64)
    return Ground(one[:-1], one, one[:-1], (1.0, 1.0, 1.0), "px")


def ground(geobox: GeoBox, path: str) -> Ground:
    """Measure the rows of a grid.

    Raises
    ------
    InputError
        A geographic grid that is rotated: its rows follow no parallel.
    """
    rows = int(geobox.shape[0])
    if geobox.crs is None:
        return plain(rows)
    if geobox.crs.geographic:
        return _ellipsoid(geobox, geobox.crs.proj, path)
    factor = float(geobox.crs.proj.axis_info[0].unit_conversion_factor or 1.0)
    width, height = (factor * side for side in pixel_size(geobox))
    area = abs(geobox.transform.determinant) * factor**2
    flat = plain(rows)
    return Ground(*flat.weights, (area, width, height), "m")


def _ellipsoid(geobox: GeoBox, crs: Any, path: str) -> Ground:
    t = geobox.transform
    if t.b or t.d:
        raise InputError(
            f"{path}: is a rotated grid of longitudes and latitudes, of which areas are not "
            "measured; reproject it first"
        )
    factor = float(crs.axis_info[0].unit_conversion_factor)  # radians a unit
    ellipsoid = crs.ellipsoid
    a, flattening = ellipsoid.semi_major_metre, 1 / (ellipsoid.inverse_flattening or np.inf)
    e2 = flattening * (2 - flattening)
    edges = (t.f + t.e * np.arange(int(geobox.shape[0]) + 1)) * factor
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    at = middle[:, None] + half[:, None] * _NODES  # Gauss–Legendre over each row
    root = 1 - e2 * np.sin(at) ** 2
    meridian = a * (1 - e2) / root**1.5
    parallel = a * np.cos(at) / np.sqrt(root)
    wide = abs(t.a) * factor
    down = np.abs(half) * (meridian @ _SHARES)
    area = np.abs(half) * ((meridian * parallel) @ _SHARES) * wide
    across = a * np.cos(edges).clip(0) / np.sqrt(1 - e2 * np.sin(edges) ** 2) * wide
    (areas, a), (acrosses, b), (downs, c) = (_whole(values) for values in (area, across, down))
    return Ground(areas, acrosses, downs, (a, b, c), "m")


def _whole(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    unit = float(values.max()) / _FINE
    return np.rint(values / unit).astype(np.int64), unit
