"""Superpixels beside scikit-image's and fast-slic's: speed, growth, quality, and no tile in sight.

    python benchmarks/segmentation.py [--quick] [--only NAME,...] [--data FOLDER]

Everything runs on 2 threads, peers in turn with ours; a time is the best of its rounds, and for
scikit-image, which runs on one thread, not more than the processor time that it took, so that
other work on the machine does not flatter us. The scene is Sentinel-2, mirrored to the size
wanted; the whole process reads it from an uncompressed GeoTIFF. fast-slic is taken where its AVX2
build can be imported, and named as missing where it cannot. FOLDER holds `s2-eastern-shore-l1c` and
`chesapeake-naip-lc`.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from scipy import ndimage

from stcli.engine.tiling import TilePlan
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.cells import Layout, empty, pack
from stcli.segmentation.superpixels.rounds import rounds
from stcli.segmentation.superpixels.slic import Block, halo, slic
from stcli.segmentation.superpixels.team import Team
from stcli.settings import BandScaling, SlicSettings

TEAM = Team(2)
#: As scikit-image has it by default: half the mean size at least.
SETTINGS = SlicSettings(100, 0.1, 10, 0.5)
results: list[bool] = []


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target}[op]
    results.append(holds)
    mark = "ok" if holds else "short"
    print(f"BAR segmentation.{name} {value:.4g} {op} {target:g} {mark}", flush=True)


def alone(work: Callable[[], Any], rounds: int) -> float:
    """Least seconds of a peer that runs on one thread: of the clock or of its processor time."""
    times = []
    for _ in range(rounds):
        begun, used = time.perf_counter(), time.process_time()
        work()
        times += [time.perf_counter() - begun, time.process_time() - used]
    return min(times)


def in_turn(works: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Best seconds of each, run in turn after one warm-up on the first."""
    works[0]()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seen in zip(works, times, strict=True):
            begun = time.perf_counter()
            work()
            seen.append(time.perf_counter() - begun)
    return [min(seen) for seen in times]


# --- scenes -------------------------------------------------------------------------------------


def scene(data: Path, bands: int, side: int) -> NDArray[np.uint16]:
    """Sentinel-2 bands, mirrored to a square: (band, row, col). Beyond 4 the same ones, shifted."""
    folder = data / "s2-eastern-shore-l1c"
    read = [rasterio.open(folder / f"{name}.tif").read(1) for name in ("B02", "B03", "B04", "B08")]
    whole = np.stack([np.roll(read[i % 4], 37 * (i // 4), axis=1) for i in range(bands)])
    rows, cols = whole.shape[1:]
    return np.pad(whole, ((0, 0), (0, max(0, side - rows)), (0, max(0, side - cols))), "symmetric")[
        :, :side, :side
    ]


def percentiles(values: NDArray[Any]) -> BandScaling:
    """Scale by the 2nd and 98th percentile of every 7th pixel."""
    low, high = np.percentile(values[:, ::7, ::7].reshape(len(values), -1), (2, 98), axis=1)
    return BandScaling(tuple(low.tolist()), tuple(high.tolist()))


def features(values: NDArray[Any]) -> NDArray[np.float32]:
    """Scaled bands for a peer, (row, col, band)."""
    s = percentiles(values)
    low, high = np.float32(s.low), np.float32(s.high)
    return np.ascontiguousarray((values.transpose(1, 2, 0) - low) / (high - low), dtype=np.float32)


def segments(
    values: NDArray[Any], scaling: BandScaling, settings: SlicSettings = SETTINGS
) -> NDArray[Any]:
    """Segment a raster as one block with the team."""
    shape = values.shape[1], values.shape[2]
    space = LabelSpace((0, 0), shape, settings.step)
    block = Block(values, np.ones(shape, dtype=bool), (0, 0))
    return slic(block, scaling, settings, space, TEAM.threads)


def peer(x: NDArray[np.float32], count: int, compactness: float, connected: bool) -> NDArray[Any]:
    """Segment by scikit-image; its compactness is for the sum over bands, ours for their mean."""
    from skimage.segmentation import slic as other

    return other(  # type: ignore[no-any-return, no-untyped-call]
        x,
        n_segments=count,
        compactness=compactness * x.shape[2] ** 0.5,
        max_num_iter=10,
        convert2lab=False,
        enforce_connectivity=connected,
        channel_axis=-1,
        start_label=1,
    )


# --- speed --------------------------------------------------------------------------------------


def kernel(data: Path, quick: bool) -> None:
    """Assign and update alone, 4 bands float32."""
    side = 1000 if quick else 1900
    x = features(scene(data, 4, side))
    values = np.ascontiguousarray(x.transpose(2, 0, 1))
    layout, count = Layout((side, side), (0, 0), 10), side * side // 100
    packed, scaling = empty(layout, 4, TEAM.memory), BandScaling((0.0,) * 4, (1.0,) * 4)
    valid = np.ones((side, side), dtype=bool)
    best = used = np.inf
    for _ in range(20):
        pack((values, valid), scaling, layout, packed, range(layout.cells[0]))
        begun, busy = time.perf_counter(), time.process_time()
        for _ in rounds(packed, 4, layout, SETTINGS, TEAM):
            pass
        best = min(best, time.perf_counter() - begun)
        used = min(used, (time.process_time() - busy) / TEAM.threads)
    theirs = alone(lambda: peer(x, count, 0.1, False), 1 if quick else 2)
    print(f"kernel: {side**2 / best / 1e6:.1f} to {side**2 / theirs / 1e6:.2f} Mpx/s")
    print(f"by processor time, both threads busy throughout: {side**2 / used / 1e6:.1f} Mpx/s")
    bar("kernel_vs_skimage", theirs / best, ">=", 20)


def connected(data: Path, quick: bool) -> None:
    """All of `slic`, packing and connectivity included."""
    for bands, target in ((4, 14), (10, 10)):
        side = 800 if quick else 1600
        values = scene(data, bands, side).astype(np.float32)
        x, scaling, count = features(values), percentiles(values), side * side // 100
        ours = min(in_turn([lambda v=values, s=scaling: segments(v, s)], 20))
        busy = time.process_time()
        segments(values, scaling)
        used = (time.process_time() - busy) / TEAM.threads
        print(f"by processor time, both threads busy throughout: {side**2 / used / 1e6:.1f} Mpx/s")
        theirs = alone(lambda x=x, n=count: peer(x, n, 0.1, True), 1 if quick else 2)
        print(f"{bands} bands: {side**2 / ours / 1e6:.1f} to {side**2 / theirs / 1e6:.2f} Mpx/s")
        bar(f"connected_vs_skimage_{bands}", theirs / ours, ">=", target)


def fast_slic(data: Path, quick: bool) -> None:
    """Beside fast-slic's AVX2 build, 3 bands uint8, its defaults."""
    try:
        module: Any = importlib.import_module("fast_slic.avx2")
    except ImportError:
        print("fast-slic: cannot be imported here, not measured")
        return
    with rasterio.open(data / "chesapeake-naip-lc" / "train_image.tif") as dataset:
        tile = dataset.read([1, 2, 3])
    values = np.tile(tile, (1, 1, 1) if quick else (1, 2, 2))
    pixels = values.shape[1] * values.shape[2]
    x, scaling = (
        np.ascontiguousarray(values.transpose(1, 2, 0)),
        BandScaling((0.0,) * 3, (255.0,) * 3),
    )
    count = min(pixels // 100, 65_000)

    def theirs() -> Any:
        model = module.SlicAvx2(num_components=count, min_size_factor=0.5, num_threads=2)
        return model.iterate(x)

    ours, other = in_turn([lambda: segments(values, scaling), theirs], 20)
    print(f"3 bands uint8: {pixels / ours / 1e6:.1f} to {pixels / other / 1e6:.1f} Mpx/s")
    bar("connected_vs_fast_slic", other / ours, ">=", 1.0)


def growth(data: Path, quick: bool) -> None:
    """Mpx/s of `slic` from 1 Mpx on: all sizes in turn, so that the host's swings meet all alike.

    Parts of the scene differ by half in speed, for water has less to choose, so all sizes hold the
    same: 4 Mpx of it once, its quarters one after the other as 1 Mpx, itself mirrored as more. In a
    turn each size is done for about as long as the largest takes, and the mean of its best turn
    counts: the best of many short times beside the best of few long ones would be the host's luck.
    Each turn of a size begins with one that does not count: else the largest, done once a turn,
    would alone wait for memory that the system has to find, and the smallest never.
    """
    whole = scene(data, 4, 2000)
    more = (0, 2000) if quick else (0, 2000, 8000)
    mirrored = [[np.pad(whole, ((0, 0), (0, n), (0, n)), "symmetric")] for n in more]
    rasters = [_quarters(whole), *mirrored]
    works = [[functools.partial(segments, v, percentiles(v)) for v in each] for each in rasters]
    pixels = [sum(v[0].size for v in each) for each in rasters]
    best = [np.inf] * len(rasters)
    for _ in range(8):  # the host is slow for up to a minute at a time
        for k, each in enumerate(works):
            times = max(1, pixels[-1] // pixels[k])
            for work in each:
                work()
            seconds = sum(_seconds(work) for _ in range(times) for work in each)
            best[k] = min(best[k], seconds / times)
    rates = [count / seconds / 1e6 for count, seconds in zip(pixels, best, strict=True)]
    for each, rate in zip(rasters, rates, strict=True):
        print(f"{each[0][0].size / 1e6:.0f} Mpx: {rate:.1f} Mpx/s", flush=True)
    bar("growth_spread", max(rates) / min(rates) - 1, "<=", 0.2)


def _quarters(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Cut a raster (band, row, col) into its four quarters."""
    rows, cols = (side // 2 for side in values.shape[1:])
    return [
        np.ascontiguousarray(values[:, top : top + rows, left : left + cols])
        for top in (0, rows)
        for left in (0, cols)
    ]


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def process(data: Path, quick: bool) -> None:
    """Time the whole process, GeoTIFF to label COG, beside scikit-image's kernel alone.

    In turn, for hosts differ from minute to minute; of each the least seconds.
    """
    side, some, rounds = (3000, 1000, 1) if quick else (10_000, 1600, 7)
    x = features(scene(data, 4, some))
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        _write(path, scene(data, 4, side))
        os.sync()  # or the run would wait for the disk to take its input
        argv = ["segment", str(path), str(Path(folder) / "labels.tif"), "--overwrite"]
        argv += ["-j", "2", "--memory", "4GB", "--json", "-q"]
        code = "from stcli.cli.app import run; run()"
        for _ in range(rounds):
            begun = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code, *argv], check=True, capture_output=True, text=True
            )
            ours.append(time.perf_counter() - begun)
            theirs.append(alone(lambda: peer(x, some * some // 100, 0.1, False), 1))
    report = json.loads(done.stdout)["run"]
    speed, peers = side * side / min(ours), some * some / min(theirs)
    print(
        f"process: {speed / 1e6:.2f} Mpx/s in {', '.join(f'{s:.1f}' for s in ours)} s, tiles of "
        f"{report['tile_size']}, {report['overcompute']} pixels read for each written; "
        f"scikit-image's kernel {peers / 1e6:.2f} Mpx/s"
    )
    bar("process_vs_skimage_kernel", speed / peers, ">=", 8)


def _write(path: Path, values: NDArray[Any]) -> None:
    profile = {
        **{"driver": "GTiff", "count": len(values), "dtype": values.dtype.name},
        **{"height": values.shape[1], "width": values.shape[2], "crs": "EPSG:32618"},
        **{"tiled": True, "blockxsize": 512, "blockysize": 512},
        **{"transform": from_origin(440_000, 4_190_000, 10, 10)},
    }
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)


# --- quality ------------------------------------------------------------------------------------


def figures(
    labels: NDArray[Any], truth: NDArray[Any], x: NDArray[np.float32]
) -> tuple[float, float, float]:
    """ASA, boundary recall within 2 pixels, and explained variation, in percent.

    Neubert and Protzel 2012; Moore et al. 2008: between-segment over total sum of squares.
    """
    _, number = np.unique(labels, return_inverse=True)
    number = number.reshape(labels.shape)
    known = truth != 15
    table = np.zeros((number.max() + 1, 16), dtype=np.int64)
    np.add.at(table, (number[known], truth[known]), 1)
    asa = table.max(axis=1).sum() / known.sum()
    edges, found = _edges(truth), _edges(number)
    near = ndimage.binary_dilation(found, np.ones((5, 5), dtype=bool))
    counts = np.bincount(number.ravel())
    between = total = 0.0
    for band in np.moveaxis(x.astype(np.float64), -1, 0):
        means = np.bincount(number.ravel(), band.ravel()) / counts
        between += (counts * (means - band.mean()) ** 2).sum()
        total += ((band - band.mean()) ** 2).sum()
    return 100 * float(asa), 100 * float((edges & near).sum() / edges.sum()), 100 * between / total


def _edges(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels whose lower or right neighbour has another label."""
    edges = np.zeros(labels.shape, dtype=bool)
    edges[:-1] |= labels[:-1] != labels[1:]
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return edges


def quality(data: Path, quick: bool) -> None:
    """Beside scikit-image at equal numbers of segments obtained, on a NAIP tile."""
    folder = data / "chesapeake-naip-lc"
    with rasterio.open(folder / "train_image.tif") as dataset:
        values = dataset.read()
    with rasterio.open(folder / "train_reference.tif") as dataset:
        truth = dataset.read(1)
    x = np.ascontiguousarray(values.transpose(1, 2, 0), dtype=np.float32) / np.float32(255)
    scaling = BandScaling((0.0,) * 4, (255.0,) * 4)
    for asked, step in ((1600, 25),) if quick else ((300, 56), (1600, 25), (7700, 12)):
        ours = segments(values, scaling, SlicSettings(step * step))
        count = len(np.unique(ours))
        theirs, obtained = _with_count(x, count)
        pairs = zip(figures(ours, truth, x), figures(theirs, truth, x), strict=True)
        names = ("asa", "boundary_recall", "explained_variation")
        for name, (a, b) in zip(names, pairs, strict=True):
            print(f"{asked}: {name} {a:.2f} ({count} segments) to {b:.2f} ({obtained})")
            bar(f"{name}_{asked}", a - b, ">=", 0)


def _with_count(x: NDArray[np.float32], count: int) -> tuple[NDArray[Any], int]:
    """Segment by scikit-image so that the number of segments is as near to `count` as can be."""
    low, high, best = 0.8 * count, 2.5 * count, (np.empty(0), 0)
    for _ in range(9):
        asked = (low + high) / 2
        labels = peer(x, round(asked), SlicSettings.compactness, True)
        found = len(np.unique(labels))
        best = (labels, found) if abs(found - count) < abs(best[1] - count) else best
        low, high = (asked, high) if found < count else (low, asked)
    return best


# --- tiles --------------------------------------------------------------------------------------


def tiling(data: Path, quick: bool) -> None:
    """Pixels that differ between tilings, and between crops that lie a halo away from an edge."""
    side = 1100 if quick else 1900
    values = scene(data, 4, side)
    row, col = np.mgrid[:side, :side]
    valid = ((row - 700) ** 2 + (col - 500) ** 2 > 150**2) & ((row + 3 * col) % 997 > 20)
    scaling, space = percentiles(values), LabelSpace((-7, 1013), (side, side), 10)
    whole = slic(Block(values, valid, space.origin), scaling, SETTINGS, space)
    for tile_size in (512, 1000) if quick else (200, 512, 1000):
        labels = np.zeros_like(whole)
        plan = TilePlan((side, side), tile_size, halo(SETTINGS), 1, space.origin)

        def work(tile: Any, labels: NDArray[Any] = labels) -> None:
            at = tile.read.toslices()
            block = Block(values[:, *at], valid[at], tile.lattice, tile.trim)
            labels[tile.core.toslices()] = slic(block, scaling, SETTINGS, space, TEAM.threads)

        for tile in plan:
            work(tile)
        bar(f"tiles_{tile_size}_differ", int((labels != whole).sum()), "<=", 0)
    _crops(values, valid, scaling, (whole, space), 5 if quick else 20)


def _crops(
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    scaling: BandScaling,
    whole: tuple[NDArray[Any], LabelSpace],
    count: int,
) -> None:
    rng, side, around = np.random.default_rng(0), values.shape[1], halo(SETTINGS)
    differ = seen = 0
    for _ in range(count):
        size = rng.integers(2 * around + 60, min(side, 2 * around + 500), 2)
        at = [int(rng.integers(0, side - n + 1)) for n in size]
        rows, cols = (slice(a, a + int(n)) for a, n in zip(at, size, strict=True))
        corner = whole[1].origin[0] + at[0], whole[1].origin[1] + at[1]
        space = LabelSpace(corner, (int(size[0]), int(size[1])), 10)
        crop = slic(
            Block(values[:, rows, cols], valid[rows, cols], corner), scaling, SETTINGS, space
        )
        inside = np.s_[around:-around, around:-around]
        a, b = crop[inside].ravel(), whole[0][rows, cols][inside].ravel()
        pairs = np.unique(np.stack([a, b]), axis=1)
        # the same segments up to renumbering: labels pair one to one
        again = len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
        differ, seen = differ + (not again), seen + a.size
    print(f"{count} crops, {seen / 1e6:.1f} Mpx compared")
    bar("crops_differ", differ, "<=", 0)


SECTIONS: dict[str, Callable[[Path, bool], None]] = {
    "kernel": kernel,
    "connected": connected,
    "fast_slic": fast_slic,
    "growth": growth,
    "process": process,
    "quality": quality,
    "tiling": tiling,
}


def main() -> int:
    """Run all; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    given = parser.parse_args()
    if not given.data.is_dir():
        print(f"{given.data}: no such folder; nothing is measured")
        return 7
    for name in given.only.split(","):
        SECTIONS[name](given.data, given.quick)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
