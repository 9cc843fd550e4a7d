"""Write features (multipolygons with columns) or plain tables, batch by batch.

GeoPackage and FlatGeobuf go through GDAL's Arrow interface, GeoParquet 1.1 and Parquet through
pyarrow. Polygons are multipolygons throughout: a file's type must not depend on its data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.errors import OutputError, UsageError
from stcli.raster.tables.geopackage import undated

FORMATS = {
    ".gpkg": "GPKG",
    ".fgb": "FlatGeobuf",
    ".parquet": "Parquet",
    ".geoparquet": "Parquet",
    ".pq": "Parquet",
}
#: What GDAL puts before SQLite's own word on a GeoPackage: all the SQL of its tables.
_SQL = re.compile(r"^sqlite3_exec\(.*\) failed: ")
#: Bytes of what writes features, measured: Arrow, pyogrio and the GDAL that it brings along.
WRITER = 110_000_000
#: Columns of a table, each (feature,).
Columns = dict[str, NDArray[Any]]
#: Vertices (vertex, 2) as rows and columns of the raster, and offsets of rings, parts, features.
Outlines = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class FeatureSpec:
    """What to write.

    Attributes
    ----------
    geobox : GeoBox
        Grid whose rows and columns the outlines are in.
    geometry : bool
        Write polygons; without them the format is Parquet.
    layer : str
    tags : dict of str
        Provenance: metadata of the layer, or of the Parquet file.
    """

    geobox: GeoBox
    geometry: bool = True
    layer: str = "objects"
    tags: dict[str, str] = field(default_factory=dict)


def feature_format(path: str, geometry: bool) -> str:
    """Name the format of a file by its suffix.

    Raises
    ------
    UsageError
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        found = suffix or "no suffix"
        raise UsageError(f"{path}: {found} found, one of {', '.join(FORMATS)} is wanted.")
    if not geometry and FORMATS[suffix] != "Parquet":
        raise UsageError(f"{path}: a table without geometry is written as .parquet only.")
    return FORMATS[suffix]


def write_features(
    file: Path, spec: FeatureSpec, batches: Iterator[tuple[Columns, Outlines | None]]
) -> None:
    """Write features to a file that does not exist yet.

    Parameters
    ----------
    batches : iterator of (columns, outlines)
        At least one; the same columns in each.

    Raises
    ------
    OutputError
        The disk is full, or the file cannot be written.
    """
    import pyarrow as pa

    driver = feature_format(str(file), spec.geometry)
    arrays = (_batch(spec, columns, outlines) for columns, outlines in batches)
    first = next(arrays)
    stream = (part for parts in ((first,), arrays) for part in parts)
    try:
        if driver == "Parquet":
            _parquet(file, spec, first.schema, stream)
        else:
            _gdal(file, spec, driver, pa.RecordBatchReader.from_batches(first.schema, stream))
    except (OSError, RuntimeError, pa.ArrowException) as error:  # pyogrio's are RuntimeErrors
        detail = _SQL.sub("", " ".join(str(error).split()))
        raise OutputError(
            f"{file}: cannot be written ({detail}); make room or write elsewhere"
        ) from error


def _batch(spec: FeatureSpec, columns: Columns, outlines: Outlines | None) -> Any:
    import pyarrow as pa

    arrays = {name: pa.array(values) for name, values in columns.items()}
    if outlines is not None:
        arrays["geometry"] = pa.array(_wkb(spec.geobox, outlines), pa.binary())
    return pa.RecordBatch.from_pydict(arrays)


def _wkb(geobox: GeoBox, outlines: Outlines) -> NDArray[Any]:
    """Turn outlines into WKB; a vertex has the same coordinates in every polygon."""
    import shapely

    vertices, *offsets = outlines
    t = geobox.transform
    rows, cols = vertices[:, 0], vertices[:, 1]
    xy = np.stack([t.c + t.a * cols + t.b * rows, t.f + t.d * cols + t.e * rows], axis=1)
    kind = shapely.GeometryType.MULTIPOLYGON
    wkb: NDArray[Any] = shapely.to_wkb(shapely.from_ragged_array(kind, xy, tuple(offsets)))
    return wkb


def _gdal(file: Path, spec: FeatureSpec, driver: str, reader: Any) -> None:
    import pyogrio

    crs = None if spec.geobox.crs is None else spec.geobox.crs.to_wkt()
    with undated():
        pyogrio.write_arrow(
            reader,
            file,
            layer=spec.layer,
            driver=driver,
            geometry_name="geometry",
            geometry_type="MultiPolygon",
            crs=crs,
            layer_metadata=spec.tags if driver == "GPKG" else None,
        )


def _parquet(file: Path, spec: FeatureSpec, schema: Any, stream: Iterator[Any]) -> None:
    import pyarrow.parquet as pq

    metadata = {**spec.tags}
    if spec.geometry:
        metadata["geo"] = json.dumps(_geo(spec.geobox))
    with pq.ParquetWriter(file, schema.with_metadata(metadata), compression="zstd") as writer:
        for batch in stream:
            writer.write_batch(batch)


def _geo(geobox: GeoBox) -> dict[str, Any]:
    """Describe the geometry column as GeoParquet 1.1 has it."""
    box = geobox.boundingbox
    column = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon"],
        "crs": None if geobox.crs is None else geobox.crs.proj.to_json_dict(),
        "edges": "planar",
        "bbox": [box.left, box.bottom, box.right, box.top],
    }
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
