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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from sklearn.preprocessing import StandardScaler

from stcli.landcover.accuracy.calibration import cross_fit
from stcli.landcover.members import Machine
from stcli.landcover.patches.patches import Patches, hold_out_groups
from stcli.landcover.patches.patchfeatures import PERCENTILES, Lens, features
from stcli.noise.space.bands import band_noise, clarity, weights
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, slic
from stcli.settings import BandScaling, PatchSettings, SlicSettings

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
    print(f"  {name}: temperature {found.temperature:.3f}, growth {found.growth:.3f}")
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
        held = hold_out_groups(task, PatchSettings(folds=FOLDS, seed=seed))
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


# --- a hyperspectral cube ------------------------------------------------------------------------

SIZE = 29
#: Pixels of the superpixels over which probabilities are averaged, each in turn.
SUPERPIXELS = (20, 40, 80)
#: And those whose means train where the split leaks anyway.
RANDOM_SUPERPIXELS = (12, 25, 50, 100, 200)
PRICE = 100.0


@dataclass(frozen=True)
class Cube:
    """Indian Pines: values (row, col, band), the labelled pixels' places, classes and blocks."""

    values: NDArray[np.float64]
    place: NDArray[np.int64]
    truth: NDArray[np.int64]
    block: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def flat(self) -> NDArray[np.float64]:
        """Values (pixel, band)."""
        return self.values.reshape(-1, self.values.shape[2])


def read_cube(data: Path) -> Cube:
    """Read the cube and its labels."""
    values = np.load(data / "indian-pines" / "Indian_pines_corrected.npy").astype(np.float64)
    labels = np.load(data / "indian-pines" / "Indian_pines_gt.npy")
    rows, cols = np.nonzero(labels)
    block = rows // SIZE * -(-labels.shape[1] // SIZE) + cols // SIZE
    return Cube(values, rows * labels.shape[1] + cols, labels[rows, cols].astype(np.int64), block)


@dataclass(frozen=True)
class Spectra:
    """Spectra and their slopes, bands weighed by their clarity; fitted on the pixels of a side."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weight: NDArray[np.float64]
    scaling: BandScaling

    @classmethod
    def fit(cls, cube: Cube, side: NDArray[np.bool_]) -> Spectra:
        """Fit on the pixels of `side` (row, col) alone."""
        seen = cube.values[side]
        both = side[:, 1:] & side[:, :-1]
        differences = (cube.values[:, 1:] - cube.values[:, :-1])[both]
        weight = weights(clarity(seen.std(axis=0), band_noise(differences)))
        raw = _spectra(seen)
        low, high = np.percentile(seen, (2, 98), axis=0)
        middle, half = (low + high) / 2, (high - low) / 2 / weight
        scaling = BandScaling(tuple((middle - half).tolist()), tuple((middle + half).tolist()))
        return cls(raw.mean(axis=0), raw.std(axis=0), np.tile(weight, 2), scaling)

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give features (pixel, 2 band) of values (pixel, band)."""
        return (_spectra(values) - self.mean) / self.spread * self.weight

    def superpixels(self, cube: Cube, side: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
        """Give the superpixels of a side (row, col) numbers from 1; 0 outside."""
        values = np.ascontiguousarray(cube.values.transpose(2, 0, 1), dtype=np.float32)
        settings = SlicSettings(size=size)
        space = LabelSpace((0, 0), cube.shape, settings.step)
        labels = slic(Block(values, side, (0, 0)), self.scaling, settings, space)
        return np.unique(labels, return_inverse=True)[1].reshape(cube.shape)


def _spectra(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spectra and the slopes of their logarithms."""
    slope = gaussian_filter1d(np.log(np.maximum(values, 1)), 2, axis=1, order=1)
    return np.concatenate([values, slope], axis=1)


def averaged(values: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Replace values (k, pixel) by their means over superpixels (pixel,)."""
    count = np.bincount(labels)
    sums = np.stack([np.bincount(labels, row) for row in values])
    return (sums / np.maximum(count, 1))[:, labels]


def known(
    cube: Cube, chances: NDArray[Any], seen: NDArray[Any], held: NDArray[Any]
) -> NDArray[Any]:
    """Probabilities (16, n) of held labelled pixels, of those (k, n) of the classes seen."""
    full = np.zeros((cube.truth.max(), len(held)))
    full[seen - 1] = chances
    return full


def guarded_fold(
    cube: Cube, train: NDArray[Any], held: NDArray[Any]
) -> dict[str, NDArray[np.float64]]:
    """Train on one side, classify the other: probabilities (16, n) of what is held, by method."""
    rows, cols = np.indices(cube.shape) // SIZE
    blocks = rows * -(-cube.shape[1] // SIZE) + cols
    side = ~np.isin(blocks, np.unique(cube.block[held]))
    seen, truth = np.unique(cube.truth[train], return_inverse=True)
    raw = cube.flat
    forest = RandomForestClassifier(500, n_jobs=1, random_state=0)
    forest.fit(raw[cube.place[train]], truth)
    plain = Machine.fit(raw[cube.place[train]], truth, 0, PRICE)
    spectra = Spectra.fit(cube, side)
    ours = Machine.fit(spectra.of(raw[cube.place[train]]), truth, 0, PRICE, weighed=True)
    other = np.flatnonzero(~side.ravel())
    alone = np.zeros((len(seen), raw.shape[0]))
    alone[:, other] = ours.probabilities(spectra.of(raw[other]))
    scales = [spectra.superpixels(cube, ~side, size).ravel() for size in SUPERPIXELS]
    joined = np.mean([averaged(alone, labels) for labels in scales], axis=0)
    at = cube.place[held]
    found = {
        "forest": forest.predict_proba(raw[at]).T,
        "SVM": plain.probabilities(raw[at]),
        "weighed": alone[:, at],
        "averaged": joined[:, at],
    }
    return {name: known(cube, p, seen, held) for name, p in found.items()}


def indian_blocks(data: Path, seeds: range) -> None:
    """Measure the blocked, guarded split; it has one seed, and no method but the forest another."""
    cube = read_cube(data)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    count = len(cube.truth)
    chances: dict[str, NDArray[np.float64]] = {}
    fold, learnable = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.bool_)
    for k, (train, held) in enumerate(splitter.split(cube.place, cube.truth, cube.block)):
        fold[held], learnable[held] = k, np.isin(cube.truth[held], cube.truth[train])
        for name, p in guarded_fold(cube, train, held).items():
            chances.setdefault(name, np.zeros((16, count)))[:, held] = p
        right = {m: p[:, held].argmax(axis=0) + 1 == cube.truth[held] for m, p in chances.items()}
        absent = sorted(set(cube.truth[held]) - set(cube.truth[train]))
        said = ", ".join(f"{name} {100 * r.mean():.1f}" for name, r in right.items())
        print(f"  fold {k}: {said}; classes absent from training: {absent or 'none'}", flush=True)
    for name, p in chances.items():
        right = p.argmax(axis=0) + 1 == cube.truth
        learnt = 100 * right[learnable].mean()
        print(f"  {name}: {100 * right.mean():.2f}, of the learnable {learnt:.2f}")
    ours = chances["averaged"]
    found = 100 * float((ours.argmax(axis=0) + 1 == cube.truth).mean())
    bar("indian_blocks.accuracy", found, ">=", 70)
    sure("indian_blocks", ours[:, learnable], cube.truth[learnable] - 1, fold[learnable])


def indian_random(data: Path, seeds: range) -> None:
    """Measure the random split, which leaks: superpixels of the whole raster, whose means train."""
    cube = read_cube(data)
    everywhere = np.ones(cube.shape, dtype=np.bool_)
    spectra = Spectra.fit(cube, everywhere)
    values = spectra.of(cube.flat)
    plain = StandardScaler().fit_transform(cube.flat)
    scales = [spectra.superpixels(cube, everywhere, size).ravel() for size in RANDOM_SUPERPIXELS]
    means = [averaged(values.T, labels).T for labels in scales]
    single = averaged(plain.T, scales[1]).T
    ours: list[float] = []
    for seed in seeds:
        train, held = train_test_split(
            np.arange(len(cube.truth)), train_size=0.1, stratify=cube.truth, random_state=seed
        )
        seen, truth = np.unique(cube.truth[train], return_inverse=True)
        at, here = cube.place[train], cube.place[held]
        parts = [
            Machine.fit(m[at], truth, 0, PRICE, weighed=True).probabilities(m[here]) for m in means
        ]
        right = seen[np.mean(parts, axis=0).argmax(axis=0)] == cube.truth[held]
        ours.append(100 * float(right.mean()))
        said = []
        for features_of in (plain, single):
            machine = Machine.fit(features_of[at], truth, 0, PRICE)
            found = seen[machine.probabilities(features_of[here]).argmax(axis=0)]
            said.append(f"{100 * (found == cube.truth[held]).mean():.2f}")
        print(f"  seed {seed}: SVM {said[0]}, on means {said[1]}, ours {ours[-1]:.2f}", flush=True)
    print(f"  indian_random: {spread(ours)} (leaks)")
    bar("indian_random.accuracy", float(np.mean(ours)), ">=", 97.5)


SECTIONS: dict[str, Callable[[Path, range], None]] = {
    "tokyo-20m": lambda data, seeds: tokyo("20m", data, seeds),
    "tokyo-10m": lambda data, seeds: tokyo("10m", data, seeds),
    "indian-blocks": indian_blocks,
    "indian-random": indian_random,
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
