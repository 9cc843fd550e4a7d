"""GeoPackages whose bytes are those of their contents: the date of the run is left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: What GDAL takes for now, in ``gpkg_contents.last_change``.
_NOW = "OGR_CURRENT_DATE"


@contextmanager
def undated() -> Iterator[None]:
    """Give GeoPackages written inside 1970-01-01 for the date of their last change."""
    import pyogrio

    before = pyogrio.get_gdal_config_option(_NOW)
    pyogrio.set_gdal_config_options({_NOW: "1970-01-01T00:00:00.000Z"})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({_NOW: before})
