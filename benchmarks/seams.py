"""Seams: how often ``check seams`` finds planted ones, and how often it cries without any.

Windows are cut at random places from every raster at hand: the sample scene and a map of it, and
the real rasters beside the checkout where they are. Each is looked at as it is (a cry is a false
alarm) and with seams planted on a lattice of a random side and offset: each tile of a continuous
raster gets a step, a share of the window's standard deviation; and a map of five classes is made of
the band with these steps, as a model would that sees each tile a little differently. Nothing here
is tuned: thresholds are those of the command.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import rasterio
from scipy.ndimage import median_filter

from stcli.checks.seams import find_seams, jumps

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data"
CONTINUOUS = [
    ROOT / "sample_data" / "scene.tif",
    *(REAL / "s2-eastern-shore-l1c" / f"{band}.tif" for band in ("B02", "B04", "B08", "B11")),
    REAL / "chesapeake-naip-lc" / "train_image.tif",
    REAL / "dem-bigtujunga-30m" / "bigtujunga.tif",
    REAL / "s1-chips" / "s1a_iw_grdh_vv_overview.tiff",
]
CLASSES = [
    REAL / "chesapeake-naip-lc" / "train_reference.tif",
    REAL / "mt-masks-large" / "PRODES_2001_forest.tif",
    REAL / "mt-masks-large" / "water.tif",
]
THRESHOLD = 3.0
#: Steps as shares of the standard deviation.
SHARES = (0.02, 0.05, 0.1, 0.2)
SIDES = (640, 1024)


def window(path, rng, side):
    """Read the first band in a random window, and what is valid there; None where it is small."""
    with rasterio.open(path) as dataset:
        if min(dataset.shape) < 400:
            return None
        height, width = (min(side, n) for n in dataset.shape)
        row = rng.integers(dataset.height - height + 1)
        col = rng.integers(dataset.width - width + 1)
        where = rasterio.windows.Window(col, row, width, height)
        block = dataset.read(1, window=where)
        valid = dataset.read_masks(1, window=where) > 0
    return (block, valid) if valid.mean() > 0.5 and len(np.unique(block[valid])) > 1 else None


def score(block, valid, classes):
    block = block[None]
    across = jumps(block, valid, classes)
    down = jumps(np.swapaxes(block, 1, 2), valid.T, classes)
    return find_seams(across, down)


def lattice(shape, rng):
    """Choose a side of tiles with at least three lines each way, and where the first begins."""
    period = int(rng.integers(64, min(shape) // 4))
    return period, rng.integers(0, period, 2)


def planted_steps(block, share, rng):
    period, offset = lattice(block.shape, rng)
    rows, cols = (
        (np.arange(n) - o) // period + 1 for n, o in zip(block.shape, offset, strict=True)
    )
    steps = rng.normal(0, share * block.std(), (rows.max() + 1, cols.max() + 1))
    return steps[rows[:, None], cols], period


def classified(block, steps):
    """Map a band to five classes by quantiles, after a median filter, with steps added."""
    smooth = median_filter(block, 5).astype(float)
    edges = np.quantile(smooth, (0.2, 0.4, 0.6, 0.8))
    return np.digitize(smooth + steps, edges).astype("uint8")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--windows", type=int, default=24)
    options = parser.parse_args()
    count = 6 if options.quick else options.windows
    rng = np.random.default_rng(0)
    alarms, found, right = (defaultdict(list) for _ in range(3))
    for path in (*CONTINUOUS, *CLASSES):
        if not path.exists():
            print(f"missing: {path.parent.name}/{path.name}")
            continue
        for k in range(count):
            got = window(path, rng, SIDES[k % len(SIDES)])
            if got is None:
                continue
            block, valid = got
            named = path in CLASSES
            cases = {"classes" if named else "continuous": block}
            if not named:
                cases["digitized"] = classified(block, 0)
            for kind, values in cases.items():
                clean = score(values, valid, kind != "continuous")
                alarms[kind, path.name].append(clean.score >= THRESHOLD)
                if alarms[kind, path.name][-1]:
                    print("alarm", kind, path.name, clean)
            for share in () if named else SHARES:
                steps, period = planted_steps(block, share, rng)
                for kind, values in (
                    ("continuous", block + steps),
                    ("digitized", classified(block, steps)),
                ):
                    seen = score(values, valid, kind == "digitized")
                    found[kind, share].append(seen.score >= THRESHOLD)
                    right[kind, share].append(seen.period == period)
    print("\nfalse alarms, by raster")
    for (kind, name), cries in alarms.items():
        print(f"  {kind:10} {name:32} {sum(cries)} of {len(cries)}")
    print("\nplanted seams: found, and with the right period")
    for (kind, strength), hits in found.items():
        rate, exact = np.mean(hits), np.mean(right[kind, strength])
        print(f"  {kind:10} {strength:5.2f}  {rate:6.1%} {exact:6.1%}  of {len(hits)}")
    held = True
    cries = [cry for each in alarms.values() for cry in each]
    bars = [("seams.false_alarms", np.mean(cries), "<=", 0.02)]
    bars += [("seams.found_steps_of_10_percent", np.mean(found["continuous", 0.1]), ">=", 0.95)]
    bars += [("seams.found_in_classes_of_20_percent", np.mean(found["digitized", 0.2]), ">=", 0.95)]
    for name, value, op, target in bars:
        ok = value <= target if op == "<=" else value >= target
        held &= bool(ok)
        print(f"BAR {name} {value:.3f} {op} {target} {'ok' if ok else 'short'}")
    return 0 if held else 7


if __name__ == "__main__":
    sys.exit(main())
