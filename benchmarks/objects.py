"""Objects of a label raster: exactness, speed beside scikit-image and rasterio, nested levels.

    python benchmarks/objects.py [--quick]

Peers run in the same run on a crop: scikit-image's regionprops_table (area, mean, std, min, max of
each band) and rasterio's shapes (polygons by class of equal pixels).
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import rasterio
from affine import Affine
from rasterio.features import shapes
from rasterio.windows import Window
from skimage.measure import regionprops_table

from stcli.cli.app import main as stcli
from stcli.raster.ground import plain
from stcli.raster.reading.read import open_raster
from stcli.segmentation.objects.merge import merge_levels
from stcli.settings import MergeSettings, RunSettings
from stcli.workflows.job import silent
from stcli.workflows.scaling import band_scaling
from stcli.workflows.segmentation.labels import list_labels, open_label_raster
from stcli.workflows.segmentation.levels import graph_of
from stcli.workflows.segmentation.measure import Measures, measure

BANDS = 4
results: list[bool] = []


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target, "==": value == target}[op]
    results.append(holds)
    word = "ok" if holds else "short"
    print(f"BAR segmentation.objects_{name} {value:.4g} {op} {target:g} {word}", flush=True)


def world(folder: Path, side: int) -> tuple[Path, Path]:
    """Write a label raster of about 100 pixels a segment and a scene of four bands.

    Segments are cells of a jittered lattice with ragged borders, as superpixels have them.
    """
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "crs": "EPSG:32618",
        "transform": Affine(10, 0, 4e5, 0, -10, 4.2e6),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "zstd",
    }
    labels, scene = folder / "labels.tif", folder / "scene.tif"
    cols = np.arange(side)
    wide = side // 10 + 2
    with (
        rasterio.open(labels, "w", count=1, dtype="uint32", nodata=0, **profile) as lab,
        rasterio.open(scene, "w", count=BANDS, dtype="uint16", **profile) as sc,
    ):
        for top in range(0, side, 512):
            height = min(512, side - top)
            rng = np.random.default_rng(top)
            rows = np.arange(top, top + height)[:, None]
            down = rows + 2 * np.sin(cols * 0.9 + rows // 7) + 2
            across = cols + 2 * np.sin(rows * 0.8 + cols // 9) + 2
            block = (down // 10 * wide + across // 10 + 1).astype("uint32")
            window = Window(0, top, side, height)
            lab.write(block, 1, window=window)
            base = 1000 + 800 * np.sin(rows / 190) * np.cos(cols / 230)
            base = base + 300 * ((rows // 340 + cols // 410) % 2)
            for band in range(1, BANDS + 1):
                values = base * band / 2 + rng.normal(0, 40, (height, side)) + 200
                sc.write(values.astype("uint16"), band, window=window)
    return labels, scene


def exactness(folder: Path) -> None:
    """Areas and means against NumPy, over all objects of a raster of a million pixels."""
    labels, scene = world(folder, 1000)
    table = run_objects(labels, scene, folder / "small.parquet")
    with rasterio.open(labels) as dataset:
        own = dataset.read(1).ravel()
    with rasterio.open(scene) as dataset:
        values = dataset.read().reshape(BANDS, -1).astype(np.float64)
    names, number = np.unique(own, return_inverse=True)
    count = np.bincount(number)
    bar("areas_differ", float((table["area_m2"] != 100.0 * count).sum()), "==", 0)
    gap = 0.0
    for band in range(BANDS):
        mean = np.bincount(number, values[band]) / count
        spread = np.sqrt(np.bincount(number, (values[band] - mean[number]) ** 2) / count)
        key = f"band {band + 1}"
        gap = max(gap, float(abs(table[f"{key}_mean"] / mean - 1).max()))
        gap = max(gap, float(abs(table[f"{key}_std"] / spread - 1).max()))
    bar("means_and_deviations_off", gap, "<=", 1e-12)
    print(f"{names.size} objects compared")


def run_objects(labels: Path, scene: Path, path: Path, *more: str) -> dict[str, Any]:
    """Run ``stcli objects`` and read its table."""
    argv = ["objects", str(labels), str(scene), str(path), "--overwrite", "--no-progress", *more]
    if path.suffix == ".parquet" and "--geometry" not in more:
        argv.append("--no-geometry")
    if stcli(argv):
        raise SystemExit("stcli objects failed")
    if path.suffix != ".parquet":
        return {}
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names if name != "geometry"}


def peers(folder: Path, labels: Path, scene: Path) -> None:
    """Pixels a second of statistics, and of polygons, beside the peers on a crop."""
    with rasterio.open(labels) as dataset:
        transform = dataset.transform
        side = min(2000, dataset.width)
        own = dataset.read(1, window=Window(0, 0, side, side))
    with rasterio.open(scene) as dataset:
        values = dataset.read(window=Window(0, 0, side, side))
    small_labels, small_scene = folder / "cl.tif", folder / "cs.tif"
    for path, array in ((small_labels, own[None]), (small_scene, values)):
        profile = {"driver": "GTiff", "height": side, "width": side, "crs": "EPSG:32618"}
        how = {"count": len(array), "dtype": array.dtype, "transform": transform}
        with rasterio.open(path, "w", **profile, **how) as dataset:
            dataset.write(array)
    run_objects(small_labels, small_scene, folder / "c.parquet")  # kernels compiled
    ours = timed(lambda: run_objects(small_labels, small_scene, folder / "c.parquet"))
    figures = ("label", "area", "intensity_mean", "intensity_std", "intensity_min", "intensity_max")
    stack = values.transpose(1, 2, 0)
    theirs = timed(lambda: regionprops_table(own.astype(np.int32), stack, figures))
    print(f"statistics from file to file: {theirs / ours:.2f} x scikit-image's in memory")
    geo = folder / "c2.parquet"
    run_objects(small_labels, small_scene, geo, "--geometry")
    ours = timed(lambda: run_objects(small_labels, small_scene, geo, "--geometry"))
    theirs = timed(lambda: list(shapes(own.astype(np.int32), transform=transform)))
    print(f"statistics and polygons in a file take {ours / theirs:.2f} of rasterio's shapes alone")


def timed(function: Any) -> float:
    """Seconds of a call."""
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def large(folder: Path, labels: Path, scene: Path, quick: bool) -> None:
    """Seconds of a million objects of 100 Mpx: the table, and then with polygons."""
    share = 25 if quick else 1
    seconds = timed(lambda: run_objects(labels, scene, folder / "o.parquet"))
    count = pq.read_metadata(folder / "o.parquet").num_rows
    print(f"{count} objects: table in {seconds:.1f} s")
    if not quick:
        bar("seconds_1M_of_100Mpx", seconds, "<=", 180)
    else:
        bar("seconds_at_full_size_from_quick", seconds * share, "<=", 180)


def polygons(folder: Path, labels: Path, scene: Path) -> None:
    """Seconds of the table with polygons as GeoPackage."""
    seconds = timed(lambda: run_objects(labels, scene, folder / "o.gpkg"))
    print(f"with polygons, as GeoPackage: {seconds:.1f} s")


def levels(labels: Path, scene: Path) -> None:
    """Merge the segments to three levels, and see that they nest."""
    with open_label_raster(str(labels)) as raster, open_raster((str(scene),)) as bands:
        settings = RunSettings()
        names = list_labels(raster, settings, silent)
        measures = Measures(plain(raster.info.shape[0]).weights, bands)
        measured, _, _ = measure(raster, names, measures, settings, silent)
        graph = graph_of(measured, band_scaling(bands, settings, silent))
    how = MergeSettings((20.0, 50.0, 100.0))
    begun = time.perf_counter()
    found = merge_levels(graph, how)
    seconds = time.perf_counter() - begun
    counts = [np.unique(level).size for level in found]
    print(f"{names.size} segments merge to {counts} objects in {seconds:.1f} s")
    broken = sum(int((b != b[a]).sum()) for a, b in itertools.pairwise(found))
    bar("levels_not_nested", float(broken), "==", 0)


def main() -> int:
    """Run all; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("small", "table", "polygons", "levels"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        if asked.only in (None, "small"):
            exactness(folder)
        labels, scene = world(folder, 2000 if asked.quick else 10_000)
        if asked.only in (None, "small"):
            peers(folder, labels, scene)
        if asked.only in (None, "table"):
            large(folder, labels, scene, asked.quick)
        if asked.only in (None, "polygons"):
            polygons(folder, labels, scene)
        if asked.only in (None, "levels"):
            levels(labels, scene)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
