"""``stcli train patches``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stcli.cli import options, parsing
from stcli.cli.assess import accuracy_table
from stcli.cli.console import Console, percent, print_json
from stcli.errors import UsageError
from stcli.settings import PatchSettings, RunSettings, given


def command(
    path: options.Patches,
    folder: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    patch: options.PatchSide = None,
    labels: options.Labels = None,
    class_names: options.ClassNames = None,
    algorithm: options.Algorithm = None,
    folds: options.Folds = None,
    block: options.Block = None,
    seed: options.Seed = PatchSettings.seed,
    bands: options.Bands = None,
    overwrite: options.Overwrite = False,
    memory: options.Memory = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Train a model of patches.

    Patches are small rasters that have one class each.

    Example: stcli train patches patches.csv -o model/
    """
    from stcli.workflows.landcover.train_patches import PatchSource, train_patch_model

    names = parsing.parse_names(class_names, lowest=0)
    if len(labels or ()) > 1:
        raise UsageError(f"--labels: {len(labels or ())} found, one is wanted for patches.")
    source = PatchSource(
        path, patch, labels[0] if labels else None, names, parsing.parse_bands(bands)
    )
    asked = given(algorithm=algorithm, folds=folds, block=parsing.plain_side(block), seed=seed)
    settings = PatchSettings(**asked)
    with Console(quiet, verbose, progress) as console:
        model = train_patch_model(
            source,
            folder,
            settings,
            RunSettings(memory=memory),
            overwrite=overwrite,
            progress=console.progress,
        )
        found = _summary(model.card.metrics, model.card.calibration)
        console.say(f"{folder}: {found}, {model.seconds:.0f} s")
    if json:
        card = model.card.model_dump(by_alias=True)
        print_json({"output": str(folder), "seconds": model.seconds, "card": card})
    else:
        print(accuracy_table(model.card.metrics["validation"], "patches"))


def _summary(metrics: dict[str, Any], sure: Any) -> str:
    """Say how right and how sure the model was on its folds."""
    kind = {"random": "RANDOM folds: flattering"}.get(
        metrics["split"], f"folds of {metrics['split']}"
    )
    found = metrics["folds"]
    return (
        f"OA {percent(found['mean'])} ± {percent(found['std'])} over {len(found['each'])} {kind}, "
        f"calibration error {percent(sure.ece_after)}"
    )
