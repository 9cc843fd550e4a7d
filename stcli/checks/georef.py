"""Check that a raster says where it lies, and that it can lie there."""

from __future__ import annotations

import math
from typing import Any

from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from stcli.checks.findings import Checked, Findings
from stcli.raster.info import RasterInfo, crs_text, grid_difference, pixel_size


def check_georef(info: RasterInfo, like: RasterInfo | None = None) -> Checked:
    """Check a raster's CRS, transform and place.

    Parameters
    ----------
    info : RasterInfo
    like : RasterInfo, optional
        A raster on whose grid it must lie.

    Returns
    -------
    Checked
        Figures: CRS, bounds and pixel size.
    """
    found, geobox = Findings(), info.geobox
    t = geobox.transform
    found.error(geobox.crs is None, "it has no CRS; gdal_edit.py -a_srs assigns one")
    found.error(t.is_identity, "it has no transform: pixels are not placed anywhere")
    turned = abs(t.b) + abs(t.d) > 1e-9 * (abs(t.a) + abs(t.e))
    found.warning(turned, "its grid is rotated; many tools expect north up")
    found.warning(not turned and t.e > 0 and not t.is_identity, "its rows run from south to north")
    width, height = pixel_size(geobox)
    unequal = not math.isclose(width, height, rel_tol=1e-6)
    found.warning(unequal, f"its pixels are not square ({width:g} by {height:g})")
    if geobox.crs is not None and not t.is_identity:
        _place(geobox, found)
    if like is not None:
        difference = grid_difference(geobox, like.geobox)
        found.error(difference is not None, f"it is not on the grid of {like.path} ({difference})")
    box = geobox.boundingbox
    return found.of(
        info.path,
        crs=crs_text(geobox),
        bounds=[box.left, box.bottom, box.right, box.top],
        pixel=[width, height],
    )


def _place(geobox: GeoBox, found: Findings) -> None:
    """Check that the raster lies in the world, and where its CRS is meant to be used."""
    crs: Any = geobox.crs
    box, (width, height) = geobox.boundingbox, pixel_size(geobox)
    if crs.geographic:
        poles = box.bottom < -90 - height / 2 or box.top > 90 + height / 2
        found.error(poles, f"latitudes run from {box.bottom:g} to {box.top:g}, beyond a pole")
        around = box.left < -360 - width / 2 or box.right > 360 + width / 2
        around |= box.right - box.left > 360 + width
        found.error(around, f"longitudes run from {box.left:g} to {box.right:g}")
        return
    authority = crs.proj.to_authority(min_confidence=100)
    area = CRS(":".join(authority)).proj.area_of_use if authority else crs.proj.area_of_use
    if area is None:
        return
    try:
        west, south, east, north = geobox.extent.to_crs("EPSG:4326").boundingbox
    except Exception as error:  # pyproj, shapely and odc-geo each raise their own family
        found.error(True, f"its bounds cannot be brought to longitude and latitude ({error})")
        return
    finite = all(map(math.isfinite, (west, south, east, north)))
    found.error(not finite, "its bounds lie where its CRS is not defined")
    wide = area.west > area.east  # an area over the antimeridian
    beside = not wide and (east < area.west or west > area.east)
    outside = finite and (beside or north < area.south or south > area.north)
    where = f"at {west:.2f} to {east:.2f} E, {south:.2f} to {north:.2f} N"
    found.error(outside, f"it lies {where}, its CRS is made for {_area(area)}")
    partly = west < area.west - 3 or east > area.east + 3 if not wide else False
    partly |= south < area.south - 3 or north > area.north + 3
    found.warning(finite and not outside and partly, f"it reaches beyond {_area(area)} ({where})")


def _area(area: Any) -> str:
    return f"{area.west:g} to {area.east:g} E, {area.south:g} to {area.north:g} N"
