"""Land cover on the two halves of the Chesapeake tile, beside a forest and a U-Net; and its cost.

    python benchmarks/landcover_halves.py [--quick] [--data ../shared/data] [--seeds 0,1,2]
        [--algorithm network|ensemble] [--no-unet] [--no-cost]

Train on one half, score the other: segments and context never cross the line, because the halves
are separate files. Bars: mean mIoU at least the forest's + 3, mean OA at least its + 1.5, neither
direction below the forest's mIoU - 1, calibration error of the other half at most 3 %, and
``--refine 0.7`` lowers the mIoU in no direction. The U-Net
(`unet.py`) trains for the same wall time. Cost, on the 1933 x 1947 Sentinel-2 scene: `classify`
against `segment`, and against the U-Net tiled.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import unet
from firstmap import NAMES, NODATA, ROOT, forest, halves, measures, stcli

results: list[bool] = []
#: Segments below this confidence are refined; chosen on held-out blocks of the training halves.
REFINE = 0.7
DIRECTIONS = (("west", "east"), ("east", "west"))


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target}[op]
    results.append(holds)
    verdict = "ok" if holds else "short"
    print(f"BAR landcover.{name} {value:.4g} {op} {target:g} {verdict}", flush=True)


def ours(pairs: tuple, folder: Path, seed: int, quick: bool, algorithm: str) -> tuple[float, ...]:
    """Train, classify, score; mIoU, OA, seconds of training, calibration error in percent.

    Then the same three figures of a refined map: mIoU, OA, calibration error.
    """
    (image, labels), half = pairs
    model = folder / "model"
    epochs = ["--epochs", "4"] if quick else []
    _, seconds = stcli(
        *("train", "landcover", image, "--labels", labels, "-o", model, "--overwrite"),
        *("--class-names", NAMES, "--seed", seed, "--algorithm", algorithm, *epochs),
    )
    plain = score(model, half, folder)
    return *plain[:2], seconds, plain[2], *score(model, half, folder, "--refine", REFINE)


def score(model: Path, half: tuple[Path, Path], folder: Path, *how: object) -> tuple[float, ...]:
    """Classify a half and compare: mIoU, OA, calibration error in percent."""
    (other, reference), out, proba = half, folder / "map.tif", folder / "proba.tif"
    stcli("classify", other, out, "--model", model, "--proba", proba, "--overwrite", *how)
    truth = rasterio.open(reference).read(1)
    known = truth != NODATA
    found = measures(truth[known], rasterio.open(out).read(1)[known])
    return *found, 100 * _calibration(proba, truth, known)


def _calibration(proba: Path, truth: np.ndarray, known: np.ndarray) -> float:
    """Calibration error of a probability raster over 15 bins of equal mass, written here again."""
    chances = rasterio.open(proba).read()[:, known]
    order = np.argsort(chances.max(0), kind="stable")
    right = (chances.argmax(0) + 1 == truth[known])[order]
    sure = chances.max(0)[order]
    parts = zip(np.array_split(sure, 15), np.array_split(right, 15), strict=True)
    return sum(abs(s.mean() - r.mean()) * len(s) for s, r in parts) / len(sure)


def peer(pairs: tuple, seconds: float, seed: int) -> tuple[float, float]:
    """Train the U-Net for a time and score it."""
    (image, labels), (other, reference) = pairs
    x, low, high = _scaled(rasterio.open(image).read())
    y = rasterio.open(labels).read(1).astype(np.int64)
    model = unet.train(x, np.where(y == NODATA, -1, y - 1), 6, seconds, seed)
    found = unet.predict(model, _scaled(rasterio.open(other).read(), low, high)[0])
    truth = rasterio.open(reference).read(1)
    return measures(truth[truth != NODATA], found[truth != NODATA] + 1)


def _scaled(
    x: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale bands to about [-1, 1] by their 2nd and 98th percentiles."""
    if low is None or high is None:
        low, high = np.percentile(x, (2, 98), axis=(1, 2))
    span = np.maximum(high - low, 1)[:, None, None]
    return ((x - low[:, None, None]) / span * 2 - 1).astype(np.float32), low, high


def accuracy(
    data: Path, folder: Path, seeds: list[int], quick: bool, with_unet: bool, algorithm: str
) -> None:
    """Both directions, all seeds."""
    pairs = halves(data, folder)
    table = []
    trees = [forest(pairs[a], pairs[b], quick) for a, b in DIRECTIONS]
    for seed in seeds:
        for (a, b), tree in zip(DIRECTIONS, trees, strict=True):
            found = ours((pairs[a], pairs[b]), folder, seed, quick, algorithm)
            line = f"{a} to {b}, seed {seed}: stcli mIoU {found[0]:.1f} OA {found[1]:.1f} "
            line += (
                f"ECE {found[3]:.1f} in {found[2]:.0f} s; refined {found[4]:.1f} {found[5]:.1f} "
            )
            line += f"ECE {found[6]:.1f}; forest {tree[0]:.1f} {tree[1]:.1f}"
            other = (np.nan, np.nan)
            if with_unet:
                other = peer((pairs[a], pairs[b]), found[2], seed)
                line += f"; U-Net {other[0]:.1f} {other[1]:.1f}"
            print(line, flush=True)
            table.append((*found, *tree, *other))
    rows = np.array(table).reshape(len(seeds), 2, -1)
    mean, spread = rows.mean((0, 1)), rows.mean(1).std(0, ddof=1 if len(seeds) > 1 else 0)
    print(f"mean mIoU {mean[0]:.2f} ± {spread[0]:.2f}, OA {mean[1]:.2f} ± {spread[1]:.2f}")
    bar("halves_miou_minus_forest", mean[0] - mean[7], ">=", 3)
    bar("halves_oa_minus_forest", mean[1] - mean[8], ">=", 1.5)
    worst = (rows[..., 0] - rows[..., 7]).mean(0).min()
    bar("halves_worst_direction", worst, ">=", -1)
    bar("halves_calibration_error", mean[3], "<=", 3)
    gain = (rows[..., 4] - rows[..., 0]).mean(0).min()
    bar("halves_refined_worst_gain", gain, ">=", 0)
    if with_unet:
        bar("halves_miou_minus_unet", mean[0] - mean[9], ">=", 0)


def cost(data: Path, folder: Path) -> None:
    """Seconds over the whole scene, the better of two runs each."""
    scene = data / "s2-eastern-shore-l1c"
    bands = [scene / f"{name}.tif" for name in ("B02", "B03", "B04", "B08")]
    model, out = ROOT / "sample_data" / "model", folder / "out.tif"
    runs = {
        "segment": ("segment", *bands, out, "--overwrite"),
        "classify": ("classify", *bands, out, "--model", model, "--overwrite"),
    }
    seconds = {name: min(stcli(*argv)[1] for _ in range(2)) for name, argv in runs.items()}
    image = np.concatenate([rasterio.open(path).read() for path in bands])
    network, scaled = unet.UNet(4, 6).eval(), _scaled(image)[0]
    begun = time.perf_counter()
    unet.predict(network, scaled)
    seconds["unet"] = time.perf_counter() - begun
    print(", ".join(f"{name} {value:.1f} s" for name, value in seconds.items()))
    bar("classify_over_segment", seconds["classify"] / seconds["segment"], "<=", 2.5)
    bar("unet_over_classify", seconds["unet"] / seconds["classify"], ">=", 5)


def main() -> int:
    """Run all; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--algorithm", choices=("network", "ensemble"), default="network")
    parser.add_argument("--no-unet", action="store_true")
    parser.add_argument("--no-cost", action="store_true")
    parser.add_argument("--no-accuracy", action="store_true")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    if not arguments.data.is_dir():
        print(f"missing: {arguments.data}; nothing was measured")
        return 7
    seeds = [int(seed) for seed in arguments.seeds.split(",")][: 1 if arguments.quick else None]
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.no_cost:
            cost(arguments.data, Path(folder))
        if not arguments.no_accuracy:
            how = seeds, arguments.quick, not arguments.no_unet, arguments.algorithm
            accuracy(arguments.data, Path(folder), *how)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
