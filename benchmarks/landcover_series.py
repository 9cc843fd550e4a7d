"""Land cover from series of dates: blocked folds, honest calibration, baselines in the same run.

    python benchmarks/landcover_series.py [--data ../shared/data] [--quick]

Protocol, for each of three seeds: five folds of whole blocks (0.5 degrees for Mato Grosso, 0.1 for
Rondônia; `StratifiedGroupKFold`, shuffled by the seed). For each fold the whole of ``stcli train
series`` runs on the other folds alone: its own blocked folds inside them fit temperatures and
conformal thresholds. The held-out fold is looked at once. Baselines, on the values as they stand:
SVM (C = 10, standardised) and a random forest of 300 trees (100 for Mato Grosso, for time).
Calibration error: bins of equal mass, a hundred samples a bin at least, and beside it what
perfectly calibrated probabilities would show with as many samples. "Learnable": the sample's class
was in its fold's training.

Prints ``BAR name value op target ok|short``; exit 0 when all bars hold, else 7.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from stcli.landcover.accuracy.calibration import prediction_sets, reliability
from stcli.landcover.accuracy.tempering import temper
from stcli.landcover.series.series import Recipe, Samples, folds, shown, train_series
from stcli.nn.device import compute
from stcli.settings import SeriesSettings

SETS = {
    "modis-matogrosso": ("modis-matogrosso-sits-samples/br_mt_1_8K_9classes_6bands.npz", 0.5, 100),
    "s2-rondonia": ("s2-rondonia-sits-samples/samples_S2_T20LKP_2018_2019.npz", 0.1, 300),
}
COVERAGES = ("0.9", "0.95", "0.99")


def load(path, side):
    """Read the samples of a set; days of the steps are those of its first sample."""
    with np.load(path) as file:
        classes, truth = np.unique(file["y"], return_inverse=True)
        cells = np.floor(np.stack([file["lon"], file["lat"]], axis=1) / side).astype(int)
        groups = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
        days = file["days_since_1970"][0]
        return Samples(file["X"], truth, groups, (days - days[0]).astype(float), len(classes))


def baselines(seed, trees):
    return {
        "svm": make_pipeline(StandardScaler(), SVC(C=10)),
        "forest": RandomForestClassifier(trees, random_state=seed),
    }


def look(samples, seed, algorithm, trees):
    """Hold out each fold once.

    Returns what each method said, stcli's probabilities, which samples were learnable, and for
    each asked coverage whether the true class was above the threshold, whether it was in the set
    (which always holds the most probable class), and the size of the set.
    """
    fold = folds(samples, SeriesSettings(seed=seed))
    recipe = Recipe(SeriesSettings(algorithm, seed=seed))
    found = {name: np.zeros(len(fold), int) for name in ("svm", "forest")}
    chances, learnable = np.zeros((samples.count, len(fold))), np.zeros(len(fold), bool)
    above, inside, sizes = (np.zeros((len(COVERAGES), len(fold))) for _ in range(3))
    for k in np.unique(fold):
        here = fold == k
        rest = samples.part(~here)
        trained = train_series(rest, recipe, compute("cpu"))
        sure = trained.calibration
        p = temper(
            trained.model.probabilities(shown(samples.series[here], samples.offsets)),
            sure.temperature,
            sure.growth,
        )
        chances[:, here], learnable[here] = p, np.isin(samples.truth[here], rest.truth)
        true = (samples.truth[here], np.arange(here.sum()))
        for c, asked in enumerate(COVERAGES):
            threshold = sure.conformal[asked]
            sets = prediction_sets(p, threshold)
            above[c, here], inside[c, here] = p[true] >= threshold, sets[true]
            sizes[c, here] = sets.sum(axis=0)
        flat = samples.series.reshape(len(fold), -1)
        for name, method in baselines(seed, trees).items():
            found[name][here] = method.fit(flat[~here], rest.truth).predict(flat[here])
    found["stcli"] = chances.argmax(axis=0)
    return found, chances, learnable, (above, inside, sizes)


def calibration_error(chances, truth):
    """Calibration error, and the mean one of truths drawn from the probabilities themselves."""
    bins = int(np.clip(len(truth) // 100, 1, 15))
    rng = np.random.default_rng(0)
    edges = chances.cumsum(axis=0)
    drawn = [
        (rng.random(len(truth)) * edges[-1] > edges).sum(axis=0).clip(max=len(chances) - 1)
        for _ in range(50)
    ]
    floor = np.mean([reliability(chances, t, bins).error for t in drawn])
    return reliability(chances, truth, bins).error, float(floor)


def interval(right, draws=2000):
    """95 % interval of a mean by resampling samples."""
    rng = np.random.default_rng(0)
    means = [right[rng.integers(0, len(right), len(right))].mean() for _ in range(draws)]
    return np.percentile(means, (2.5, 97.5))


def measure(name, samples, seeds, algorithm, trees):
    """Print the figures of a set, seed by seed; return them by name, a row a seed."""
    rows = []
    for seed in seeds:
        begun = time.perf_counter()
        found, chances, learnable, conformal = look(samples, seed, algorithm, trees)
        truth, row = samples.truth, {}
        for method, guess in found.items():
            row[f"{method} OA"] = 100 * (guess == truth).mean()
            row[f"{method} F1"] = 100 * f1_score(truth, guess, average="macro", zero_division=0)
        row["OA of learnable"] = 100 * (found["stcli"] == truth)[learnable].mean()
        row["learnable"] = 100 * learnable.mean()
        error, floor = calibration_error(chances[:, learnable], truth[learnable])
        row["ECE"], row["ECE of perfect"] = 100 * error, 100 * floor
        row["ECE of all"] = 100 * calibration_error(chances, truth)[0]
        for c, asked in enumerate(COVERAGES):
            above, inside, sizes = (part[c, learnable] for part in conformal)
            row[f"{asked}: above threshold"] = 100 * above.mean()
            row[f"{asked}: in set"] = 100 * inside.mean()
            row[f"{asked}: classes a set"] = sizes.mean()
        low, high = 100 * interval(found["stcli"] == truth)
        told = ", ".join(f"{key} {value:.2f}" for key, value in row.items())
        print(
            f"{name} seed {seed}: {told}; OA 95 % interval {low:.1f} to {high:.1f} "
            f"({time.perf_counter() - begun:.0f} s)",
            flush=True,
        )
        rows.append(row)
    for key in rows[0]:
        values = np.array([row[key] for row in rows])
        print(f"{name} {key}: {values.mean():.2f} ± {values.std():.2f}")
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def bar(name, value, op, target):
    ok = value >= target if op == ">=" else value <= target
    print(f"BAR landcover.{name} {value:.2f} {op} {target:.2f} {'ok' if ok else 'short'}")
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--only", choices=SETS, help="one set alone")
    parser.add_argument("--algorithm", default="ensemble")
    parser.add_argument("--quick", action="store_true", help="one seed")
    arguments = parser.parse_args()
    seeds = (0,) if arguments.quick else (0, 1, 2)
    good = True
    for name in [arguments.only] if arguments.only else SETS:
        file, side, trees = SETS[name]
        if not (arguments.data / file).is_file():
            print(f"{name}: no {arguments.data / file}; not measured")
            continue
        samples = load(arguments.data / file, side)
        mean = measure(name, samples, seeds, arguments.algorithm, trees)
        if name == "modis-matogrosso":
            good &= bar(f"{name}-OA", mean["stcli OA"], ">=", 85.5)
            good &= bar(f"{name}-F1", mean["stcli F1"], ">=", 67.4)
        else:
            good &= bar(f"{name}-OA", mean["stcli OA"], ">=", mean["forest OA"] - 0.5)
        good &= bar(f"{name}-ECE", mean["ECE"], "<=", 3)
        for asked in COVERAGES:
            off = abs(mean[f"{asked}: above threshold"] - 100 * float(asked))
            good &= bar(f"{name}-coverage-{asked}-off", off, "<=", 2)
    return 0 if good else 7


if __name__ == "__main__":
    sys.exit(main())
