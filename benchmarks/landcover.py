"""Land cover of patches and of a hyperspectral cube, beside what people would use instead.

    python benchmarks/landcover.py [--quick] [--only tokyo-20m,...] [--data ../shared/data]

Sections
--------
tokyo-20m, tokyo-10m
    s2-tokyo-patches, 5 random folds inside the set. Baseline: a support vector machine on the
    percentiles, means and deviations of log bands and of all band-pair ratios; its price is the
    best of 3, 10, 30 by cross-validation on four fifths of the set.
indian-blocks
    indian-pines in 29 px blocks, 5 folds, guarded: nothing of a fold's test side is seen in
    training, and its superpixels are cut at the split. Baselines: a random forest and a support
    vector machine on the spectra.
indian-random
    10 % of the labelled pixels train: it leaks, for neighbours are nearly alike, and is shown for
    the published table only. Baseline: a support vector machine on means of superpixels.

Splits and seeds stand here and every baseline is computed in the same run. Settings were chosen
beforehand by cross-validation on training parts. ``--quick`` takes one seed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from stcli.landcover.calibration import cross_fit
from stcli.landcover.members import Machine
from stcli.landcover.patches import Patches, hold_out
from stcli.landcover.patchfeatures import PERCENTILES, Lens, features
from stcli.settings import PatchSettings

ROOT = Path(__file__).resolve().parents[1]
FOLDS = 5
#: Sides of patches, files, and the baseline's unit of the logarithm and price.
TOKYO = {
    "20m": (8, "s2_20m_patches_A.tif", "s2_labels_A.tif", 30.0, 30.0),
    "10m": (
        *(16, "Sentinel-2_B4328_10m_patches_A.jp2", "Sentinel-2_B4328_10m_labels_A.tif"),
        *(3.0, 10.0),
    ),
}
results: list[bool] = []


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target}[op]
    results.append(holds)
    print(
        f"BAR landcover.{name} {value:.4g} {op} {target:.4g} {'ok' if holds else 'short'}",
        flush=True,
    )


def spread(values: list[float]) -> str:
    """Mean and deviation of percentages."""
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}"


def sure(name: str, chances: NDArray[Any], truth: NDArray[Any], groups: NDArray[Any]) -> None:
    """Bars of calibration: error after it, and coverage of sets at 0.9, both cross-fitted."""
    found = cross_fit(chances, truth, groups)
    print(f"  {name}: ECE {100 * found.ece_before:.2f} before, {100 * found.ece_after:.2f} after")
    bar(f"{name}.ece", 100 * found.ece_after, "<=", 3)
    bar(f"{name}.coverage_gap", 100 * abs(found.coverage_found["0.9"] - 0.9), "<=", 2)


# --- patches -------------------------------------------------------------------------------------


def read_tokyo(data: Path, which: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Patches (n, band, row, col) and classes from 0."""
    side, image, labels, *_ = TOKYO[which]
    with rasterio.open(data / "s2-tokyo-patches" / image) as source:
        block = source.read()
    with rasterio.open(data / "s2-tokyo-patches" / labels) as source:
        truth = source.read(1).ravel().astype(np.int64)
    stack = block.reshape(len(block), -1, side, side).transpose(1, 0, 2, 3)
    return stack.astype(np.float32), truth


def plain_features(patches: NDArray[np.float32], unit: float) -> NDArray[np.float64]:
    """Measure log bands and ratios of all pairs: percentiles, mean and deviation."""
    bands = np.log(np.maximum(patches, 0).astype(np.float64) + unit)
    pairs = itertools.combinations(range(bands.shape[1]), 2)
    ratios = np.stack([bands[:, i] - bands[:, j] for i, j in pairs], axis=1)
    flat = np.concatenate([bands, ratios], axis=1).reshape(len(bands), -1, bands[0, 0].size)
    ranks = np.percentile(flat, PERCENTILES, axis=2)
    both = np.concatenate([ranks, flat.mean(axis=2)[None], flat.std(axis=2)[None]])
    return both.transpose(1, 2, 0).reshape(len(bands), -1)


def measured(patches: NDArray[np.float32], seed: int) -> dict[str, NDArray[np.float64]]:
    """Features of all patches; the lens looks at 256 of them, and at no class."""
    chosen = np.linspace(0, len(patches) - 1, 256).round().astype(np.int64)
    lens = Lens.fit(patches[chosen], seed)
    parts = [features(patches[k : k + 256], lens) for k in range(0, len(patches), 256)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def tokyo(which: str, data: Path, seeds: range) -> None:
    """Measure patches."""
    patches, truth = read_tokyo(data, which)
    *_, unit, price = TOKYO[which]
    plain = plain_features(patches, unit)
    ours, theirs, last = [], [], None
    for seed in seeds:
        task = Patches(measured(patches, seed), truth, None, 6)
        held = hold_out(task, PatchSettings(folds=FOLDS, seed=seed))
        chances = held.probabilities(truth)
        ours.append(100 * float((chances.argmax(axis=0) == truth).mean()))
        each = {m: f"{100 * (p.argmax(0) == truth).mean():.2f}" for m, p in held.each.items()}
        right = 0
        for k in range(FOLDS):
            here = held.fold == k
            machine = Machine.fit(plain[~here], truth[~here], seed, price)
            right += int((machine.probabilities(plain[here]).argmax(axis=0) == truth[here]).sum())
        theirs.append(100 * right / len(truth))
        last = (chances, held.fold)
        print(f"  seed {seed}: SVM {theirs[-1]:.2f}, ensemble {ours[-1]:.2f}, {each}", flush=True)
    name = f"tokyo_{which}"
    print(f"  {name}: SVM {spread(theirs)}, ensemble {spread(ours)}")
    bar(f"{name}.accuracy", float(np.mean(ours)), ">=", float(np.mean(theirs)) + 2)
    assert last is not None
    sure(name, last[0], truth, last[1])


SECTIONS: dict[str, Callable[[Path, range], None]] = {
    "tokyo-20m": lambda data, seeds: tokyo("20m", data, seeds),
    "tokyo-10m": lambda data, seeds: tokyo("10m", data, seeds),
}
FOLDERS = {"tokyo": "s2-tokyo-patches", "indian": "indian-pines"}


def main() -> int:
    """Run the sections and say whether all bars hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    args = parser.parse_args()
    for name in args.only.split(","):
        folder = FOLDERS[name.split("-")[0]]
        if not (args.data / folder).is_dir():
            print(f"{name}: {args.data / folder} is missing, nothing measured")
            continue
        begun = time.perf_counter()
        print(f"{name}:", flush=True)
        SECTIONS[name](args.data, range(1 if args.quick else 3))
        print(f"  {time.perf_counter() - begun:.0f} s", flush=True)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
