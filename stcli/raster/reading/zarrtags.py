"""What a Zarr of stcli says of itself, read; GDAL does not hand all of it on."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterio import Affine

logger = logging.getLogger("stcli")

#: A store's attribute: the units of its bands, where they differ.
BAND_UNITS = "band_units"


def group_tags(path: str) -> dict[str, str]:
    """Read a store's own attributes, which GDAL does not hand on; none where there is no store.

    Values that are no text are written as JSON, as GDAL writes an array's.
    """
    found = _said(Path(path))
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in found.items()}


def stored_units(path: str) -> list[str]:
    """Read the units of bands that differ in them, '' for none; empty where one is everyone's."""
    return [str(unit) for unit in _said(Path(path)).get(BAND_UNITS, [])]


def stored_transform(path: str) -> Affine | None:
    """Read the transform that a store of ours tells; GDAL's comes of two coordinates an axis."""
    text = _said(Path(path) / "spatial_ref").get("GeoTransform")
    return None if text is None else Affine.from_gdal(*map(float, text.split()))


def tell_foreign(path: str, tags: Mapping[str, str]) -> None:
    """Warn of what GDAL does not read of a store without a CRS that others wrote, such as xarray.

    Parameters
    ----------
    path : str
        As the user named it.
    tags : mapping of str to str
        Of the store.
    """
    if not any(key.startswith("STCLI_") for key in tags):
        logger.warning(
            "%s: a Zarr in which GDAL finds no CRS; names of variables and times are not read "
            "either, and longitudes are left as they are: write it as NetCDF, which keeps all "
            "(to_netcdf in xarray), or name the CRS alone with --assume-crs",
            path,
        )


def _said(folder: Path) -> dict[str, Any]:
    """Read the attributes of a group or an array; none where there is none."""
    for name, key in ((".zattrs", None), ("zarr.json", "attributes")):
        try:
            said = json.loads((folder / name).read_bytes())
        except (OSError, ValueError):
            continue
        found: dict[str, Any] = said if key is None else said.get(key, {})
        return found
    return {}
