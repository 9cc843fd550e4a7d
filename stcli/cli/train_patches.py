"""``stcli train patches``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stcli.cli import options, parsing
from stcli.cli.assess import accuracy_table
from stcli.cli.console import Console, percent, print_json
from stcli.settings import PatchSettings, RunSettings


def command(
    path: options.Patches,
    folder: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    patch: options.PatchSide = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="For a raster: a class for each patch, table or raster."),
    ] = None,
    class_names: options.ClassNames = None,
    algorithm: Annotated[
        Literal["ensemble", "svm"],
        typer.Option("--algorithm", help="Several methods' mean, or one on the spectrum alone."),
    ] = "ensemble",
    folds: Annotated[
        int, typer.Option("--folds", help="Hold out each of so many parts in turn.")
    ] = PatchSettings.folds,
    block: Annotated[
        float | None,
        typer.Option("--block", help="Side of a validation block in CRS units (pixels without)."),
    ] = None,
    seed: options.Seed = PatchSettings.seed,
    bands: options.Bands = None,
    overwrite: options.Overwrite = False,
    memory: options.Memory = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Train a model of patches: small rasters that have one class each.

    Example: stcli train patches patches.csv -o model/
    """
    from stcli.workflows.train_patches import PatchSource, train_patch_model

    names = parsing.parse_names(class_names, lowest=0)
    source = PatchSource(path, patch, labels, names, parsing.parse_bands(bands))
    settings = PatchSettings(algorithm, folds, block, seed)
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
        print(accuracy_table(model.card.metrics["validation"]).replace(" pixels", " patches"))


command.__name__ = "patches"


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
