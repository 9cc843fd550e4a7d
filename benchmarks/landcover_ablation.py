"""What each part of the land-cover network is worth: short equal trainings, one part changed.

    python benchmarks/landcover_ablation.py [--quick] [--data ../shared/data] [--epochs 20]
        [--variants full,no_scan] [--directions west,east] [--seeds 0]

Trains on one half of the Chesapeake tile and scores the other, as `firstmap.py` cuts them. Prints
a line a training and a table; it has no bars, because it compares the network with itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from firstmap import NODATA, halves, measures

from stcli.settings import NetworkSettings, RunSettings, TrainingSettings
from stcli.workflows.job import Inputs, Output
from stcli.workflows.landcover.classify import classify
from stcli.workflows.landcover.products import Products
from stcli.workflows.landcover.samples import Recipe
from stcli.workflows.landcover.scenes import LabelledScene
from stcli.workflows.landcover.train_landcover import Fitting, train_landcover
from stcli.workflows.landcover.truth import LabelSource

ROOT = Path(__file__).resolve().parents[1]
CLASSES = {
    1: "water",
    2: "tree canopy",
    3: "low vegetation",
    4: "barren",
    5: "impervious",
    6: "road",
}
#: Changed fields of the network's and of the training's settings.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "full": ({}, {}),
    "no_scan": ({"layers": 0}, {}),
    "no_cnn": ({"local_width": 0}, {}),
    "no_object_loss": ({}, {"global_weight": 0.0, "local_weight": 1.0}),
    "hilbert": ({"order": "hilbert"}, {}),
    "crossed": ({"order": "crossed"}, {}),
    "no_smoothing": ({}, {"label_smoothing": 0.0}),
    "no_class_weights": ({}, {"balance": 0.0}),
    "full_class_weights": ({}, {"balance": 1.0}),
    "wide_cnn": ({"local_width": 32}, {}),
    "no_fine": ({"fine": 0}, {}),
    "separable": ({"convolution": "separable"}, {}),
    "narrow_margin": ({"window": 288, "margin": 16}, {"batch": 3}),
    "one_layer": ({"layers": 1}, {}),
}


def trained(
    pairs: tuple[Any, Any], folder: Path, variant: str, training: TrainingSettings
) -> tuple[float, float, float]:
    """Train a variant on the first pair and score it on the second: mIoU, OA, seconds."""
    network, changed = VARIANTS[variant]
    recipe = Recipe(network=replace(NetworkSettings(), **network))
    recipe = replace(recipe, training=replace(training, **changed))
    (image, labels), (other, truth) = pairs
    begun = time.perf_counter()
    source = LabelSource(str(labels), names=CLASSES)
    settings = RunSettings(jobs=1)
    scenes = [LabelledScene(Inputs((str(image),)), (source,))]
    train_landcover(scenes, folder / "model", recipe, settings, Fitting(overwrite=True))
    seconds = time.perf_counter() - begun
    out = folder / "map.tif"
    products, again = Products(str(out)), Output(overwrite=True)
    classify(Inputs((str(other),)), products, folder / "model", settings, output=again)
    found, wanted = (rasterio.open(path).read(1).ravel() for path in (out, truth))
    known = wanted != NODATA
    return *measures(wanted[known], found[known]), seconds


def main() -> int:
    """Run all variants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--directions", default="west,east")
    parser.add_argument("--seeds", default="0")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"missing: {arguments.data}; nothing was measured")
        return 7
    epochs = 2 if arguments.quick else arguments.epochs
    opposite = {"west": "east", "east": "west"}
    table: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pairs = halves(arguments.data, folder)
        for seed in map(int, arguments.seeds.split(",")):
            training = TrainingSettings(epochs=epochs, patience=epochs, seed=seed)
            for variant in arguments.variants.split(","):
                for side in arguments.directions.split(","):
                    found = trained((pairs[side], pairs[opposite[side]]), folder, variant, training)
                    table.setdefault(variant, []).append(found)
                    miou, overall, seconds = found
                    print(
                        f"{variant} seed {seed} from {side}: mIoU {miou:.1f} OA {overall:.1f}, "
                        f"{seconds:.0f} s",
                        flush=True,
                    )
    print("| variant | mIoU | OA | seconds |\n|---|---|---|---|")
    for variant, rows in table.items():
        miou, overall, seconds = np.mean(rows, axis=0)
        print(f"| {variant} | {miou:.1f} | {overall:.1f} | {seconds:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
