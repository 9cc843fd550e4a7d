"""A raster without its pixels: grid, bands, times, and what makes a pixel valid.

Values only: nothing here opens a file. A grid is always an ``odc.geo.geobox.GeoBox``
(CRS + transform + shape); rows come before columns everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from stcli.errors import InputError
from stcli.settings import MOST_THREADS

#: Fractions of a pixel above this round up in :func:`lattice_origin`. It is irrational, so that
#: no usual registration (corners, centres, thirds, tenths of a pixel) sits on the threshold,
#: where two crops of one raster could round apart.
PHASE_THRESHOLD = 1 / math.sqrt(2)

#: Pixel sizes that differ by less, relative to their size, count as one resolution.
_SAME_SIZE = 1e-3
#: Files of a stack that are named one by one.
_NAMED = 4

#: Two transforms are one grid when they differ by less than this, in pixels.
GRID_TOLERANCE = 1e-6

#: Bytes that are kept of the chunks of all NetCDF files that are read.
KEPT = 64_000_000

#: Files that GDAL may keep open behind VRTs, by each of which it keeps a block of all bands and its
#: packed bytes; an error where threads need more at once.
POOL = 2 * MOST_THREADS


@dataclass(frozen=True)
class BandInfo:
    """One band as its file declares it.

    Attributes
    ----------
    name : str
        Description in the file, the file's stem, or ``band N``.
    dtype : str
        Data type as stored.
    nodata : float or None
        The stored (still packed) value that means "no data".
    scale, offset : float
        Unpacked value = stored value * scale + offset.
    units : str or None
        Unit of the unpacked value.
    """

    name: str
    dtype: str
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    units: str | None = None

    @property
    def packed(self) -> bool:
        """Tell whether stored values must be unpacked."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def block_dtype(self) -> np.dtype[Any]:
        """Data type of the band's values as read: float32 where the band is packed."""
        return np.dtype(np.float32 if self.packed else self.dtype)


@dataclass(frozen=True)
class Held:
    """What reading holds beside the blocks that it gives, in bytes; of several files their sum.

    Attributes
    ----------
    handles : int
        By each thread, as long as it has the files open.
    behind : tuple of int
        By each file behind others that a thread has open, the largest first. All threads together
        keep no more than `POOL` open.
    box : int
        By each thread while it reads one of the files: what it cuts its blocks out of.
    chunks : int
        By all threads together, of what they may want again.
    unpacking : int
        By one thread at a time.
    """

    handles: int = 0
    box: int = 0
    chunks: int = 0
    unpacking: int = 0
    behind: tuple[int, ...] = ()

    def __add__(self, other: Held) -> Held:
        return Held(
            self.handles + other.handles,
            max(self.box, other.box),
            min(self.chunks + other.chunks, KEPT),
            max(self.unpacking, other.unpacking),
            tuple(sorted(self.behind + other.behind, reverse=True)[:POOL]),
        )

    @property
    def thread(self) -> int:
        """Bytes of each thread."""
        return self.handles + self.box

    @property
    def once(self) -> int:
        """Bytes of all together."""
        return self.chunks + self.unpacking

    @property
    def opened(self) -> tuple[int, ...]:
        """Bytes of the files behind others that one thread has open, two, three, … together."""
        found: list[int] = []
        for threads in range(1, POOL + 1):
            size = sum(sorted(self.behind * threads, reverse=True)[:POOL])
            if found and size == found[-1]:
                break
            found.append(size)
        return tuple(found)


@dataclass(frozen=True)
class RasterInfo:
    """Everything about a raster but its pixels.

    Attributes
    ----------
    path : str
        Where it came from, for messages; see `named`.
    driver : str
        GDAL's short driver name, or ``netCDF`` when read with xarray.
    geobox : GeoBox
        CRS (or None), transform and shape (rows, columns).
    bands : tuple of BandInfo
        The selected bands in the order of ``read()``.
    valid_from : {'nodata', 'assumed', 'mask', 'alpha', 'nan', 'all'}
        Strongest source of the valid mask among the bands.
    times : tuple of str
        ISO times of the bands, each once, in file order; empty without a time axis.
    tags : dict of str to str
        Dataset tags (GeoTIFF metadata, NetCDF global attributes).
    sources : tuple of str
        The paths of a stack, each by itself, as they were named.
    held : Held
        What reading all of its files holds.
    """

    path: str
    driver: str
    geobox: GeoBox
    bands: tuple[BandInfo, ...]
    valid_from: str
    times: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    held: Held = field(default_factory=Held)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.geobox.shape[0]), int(self.geobox.shape[1])

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.bands)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the blocks that ``read()`` gives: one that holds every band."""
        return np.dtype(np.result_type(*(band.block_dtype for band in self.bands)))

    @property
    def origin(self) -> str:
        """Where it came from, the sources of a stack joined by ``' + '``."""
        return " + ".join(self.sources) or self.path

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in order."""
        return tuple(band.name for band in self.bands)

    def to_json(self) -> dict[str, Any]:
        """Describe the raster with JSON's types only (NaN nodata becomes ``'nan'``)."""
        rows, cols = self.shape
        bounds = self.geobox.boundingbox
        return {
            "path": self.origin,
            "driver": self.driver,
            "size": {"rows": rows, "cols": cols},
            "crs": crs_text(self.geobox),
            "transform": [float(v) for v in tuple(self.geobox.transform)[:6]],
            "bounds": [float(v) for v in (bounds.left, bounds.bottom, bounds.right, bounds.top)],
            "resolution": list(pixel_size(self.geobox)),
            "bands": [_band_json(band) for band in self.bands],
            "dtype": self.dtype.name,
            "valid_from": self.valid_from,
            "times": list(self.times),
            "tags": dict(self.tags),
        }


def _band_json(band: BandInfo) -> dict[str, Any]:
    special = band.nodata is not None and not math.isfinite(band.nodata)  # JSON knows no NaN
    return {
        "name": band.name,
        "dtype": band.dtype,
        "nodata": str(band.nodata) if special else band.nodata,
        "scale": band.scale,
        "offset": band.offset,
        "units": band.units,
    }


def named(paths: Sequence[str]) -> str:
    """Name the files of a stack for a message: up to four, or the first and how many more."""
    if len(paths) <= _NAMED:
        return " + ".join(paths)
    return f"{paths[0]} + {len(paths) - 1} more"


def crs_text(geobox: GeoBox) -> str | None:
    """Name a grid's CRS: ``EPSG:n`` where it is exactly that, else WKT, else None."""
    if geobox.crs is None:
        return None
    authority = geobox.crs.proj.to_authority(min_confidence=100)
    return ":".join(authority) if authority else str(geobox.crs.to_wkt())


def crs_name(geobox: GeoBox) -> str:
    """Name a grid's CRS for people, in a few words where its text is a page of WKT."""
    text = crs_text(geobox) or "no CRS"
    return text if len(text) < 40 or geobox.crs is None else str(geobox.crs.proj.name)


def pixel_size(geobox: GeoBox) -> tuple[float, float]:
    """Return a pixel's width and height in CRS units, both positive, also on rotated grids."""
    t = geobox.transform
    return math.hypot(t.a, t.d), math.hypot(t.b, t.e)


def same_pixels(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Tell whether two pixel sizes, as of `pixel_size`, count as one resolution."""
    return all(math.isclose(a, b, rel_tol=_SAME_SIZE) for a, b in zip(one, other, strict=True))


def lattice_origin(geobox: GeoBox) -> tuple[int, int]:
    """Place a raster's first pixel on the pixel lattice anchored at its CRS origin.

    The lattice has the raster's pixel size and orientation and a corner at CRS (0, 0)::

        (col, row) = round(inverse(linear part of the transform) (c, f))

    The raster's sub-pixel phase against that lattice is rounded away: up where the fraction is
    above 1/√2, else down. All crops of one raster, and neighbouring scenes on the same grid,
    share their phase, so a crop by (dr, dc) pixels has exactly this origin + (dr, dc).

    Parameters
    ----------
    geobox : GeoBox
        Any affine grid, rotated and south-up ones too; the CRS itself does not matter.

    Returns
    -------
    tuple of int
        (row, col) of the first pixel, of either sign.
    """
    t = geobox.transform
    determinant = t.a * t.e - t.b * t.d
    col = (t.e * t.c - t.b * t.f) / determinant
    row = (t.a * t.f - t.d * t.c) / determinant
    shift = 1 - PHASE_THRESHOLD
    return math.floor(row + shift), math.floor(col + shift)


def grid_difference(a: GeoBox, b: GeoBox) -> str | None:
    """Say in a few words how two grids differ.

    Returns
    -------
    str or None
        None when CRS and shape are equal and the transforms agree within 1e-6 pixel over the
        whole grid; else a phrase such as ``'pixels of 10 x 10 and 20 x 20'``.
    """
    if a.crs != b.crs:
        return f"CRS {_crs_name(a)} and {_crs_name(b)}"
    relative = ~a.transform @ b.transform
    if max(abs(relative.b), abs(relative.d)) > 1e-3 or min(relative.a, relative.e) <= 0:
        return "different orientations"
    size_a, size_b = pixel_size(a), pixel_size(b)
    if not np.allclose(size_a, size_b, rtol=GRID_TOLERANCE, atol=0):
        return "pixels of {:g} x {:g} and {:g} x {:g}".format(*size_a, *size_b)
    if max(abs(relative.c), abs(relative.f)) > GRID_TOLERANCE:
        return f"origins {relative.f:.6g} rows and {relative.c:.6g} columns apart"
    if tuple(a.shape) != tuple(b.shape):
        return "sizes of {} x {} and {} x {} pixels (rows x columns)".format(*a.shape, *b.shape)
    rows, cols = a.shape
    far_col, far_row = relative @ (cols, rows)
    drift = max(abs(far_col - cols), abs(far_row - rows))
    return f"transforms {drift:.3g} pixels apart" if drift > GRID_TOLERANCE else None


def refuse_other_grid(info: RasterInfo, like: RasterInfo) -> None:
    """Refuse a raster on another grid than one that it is to be looked at with.

    Raises
    ------
    InputError
    """
    difference = grid_difference(info.geobox, like.geobox)
    if difference:
        raise InputError(
            f"{info.path}: not on the grid of {like.path} ({difference}), one grid is wanted; give "
            "one that is of that raster, or warp it with gdalwarp first."
        )


def _crs_name(geobox: GeoBox) -> str:
    if geobox.crs is None:
        return "none"
    text = crs_text(geobox) or ""
    return text if len(text) < 40 else f"'{geobox.crs.proj.name}'"
