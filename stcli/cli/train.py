"""``stcli train landcover``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stcli.cli import options, parsing, train_downscaler, train_patches, train_series
from stcli.cli.assess import accuracy_table
from stcli.cli.console import Console, print_json
from stcli.settings import LANDCOVER_SLIC, RunSettings, SlicSettings, TrainingSettings

app = typer.Typer(help="Train models on your own data.", no_args_is_help=True)


@app.callback()
def train() -> None:
    """Train models on your own data."""


@app.command()
def landcover(
    inputs: options.Rasters,
    labels: Annotated[
        str, typer.Option("--labels", help="Vectors with a class column, or a class raster.")
    ],
    folder: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    class_column: options.ClassColumn = None,
    layer: options.Layer = None,
    class_names: options.ClassNames = None,
    size: options.SegmentSize = SlicSettings.size,
    compactness: options.Compactness = SlicSettings.compactness,
    epochs: Annotated[
        int, typer.Option("--epochs", help="At most this many.")
    ] = TrainingSettings.epochs,
    patience: Annotated[
        int, typer.Option("--patience", help="Epochs without a better mIoU before stopping.")
    ] = TrainingSettings.patience,
    local_weight: Annotated[
        float, typer.Option("--local-weight", help="Weight of the pixel loss.")
    ] = TrainingSettings.local_weight,
    global_weight: Annotated[
        float, typer.Option("--global-weight", help="Weight of the superpixel loss.")
    ] = TrainingSettings.global_weight,
    balance: Annotated[
        float, typer.Option("--balance", help="Class weights: 0 none, 1 fully balanced.")
    ] = TrainingSettings.balance,
    split: Annotated[
        str, typer.Option("--split", help="blocks (spatial), or random (flatters).")
    ] = TrainingSettings.split,
    block: Annotated[
        float | None,
        typer.Option("--block", help="Side of a validation block in CRS units. Default: 1/8."),
    ] = None,
    validation: Annotated[
        float, typer.Option("--validation", help="Share that is held out.")
    ] = TrainingSettings.validation,
    seed: options.Seed = TrainingSettings.seed,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    overwrite: options.Overwrite = False,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    device: options.Device = "auto",
    scan: options.Scan = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Train a land-cover model: a folder of weights and their card.

    Example: stcli train landcover scene.tif --labels labels.gpkg --class-column class -o model/
    """
    from stcli.workflows.job import Inputs
    from stcli.workflows.samples import Recipe
    from stcli.workflows.train_landcover import train_landcover
    from stcli.workflows.truth import LabelSource

    recipe = Recipe(
        slic=replace(LANDCOVER_SLIC, size=size, compactness=compactness),
        training=TrainingSettings(
            epochs=epochs,
            patience=patience,
            local_weight=local_weight,
            global_weight=global_weight,
            balance=balance,
            split=split,
            block=block,
            validation=validation,
            seed=seed,
        ),
    )
    with Console(quiet, verbose, progress) as console:
        model = train_landcover(
            Inputs(tuple(inputs), parsing.parse_bands(bands), resampling, assume_crs),
            LabelSource(labels, class_column, layer, parsing.parse_names(class_names)),
            folder,
            recipe,
            RunSettings(tile_size, memory, jobs, device, scan),
            overwrite=overwrite,
            progress=console.progress,
            figures=console.epochs,
        )
    accuracy = model.card.metrics["validation"]
    kind = {"blocks": "spatial blocks", "random": "RANDOM pixels: flattering"}[split]
    console.say(f"{folder}: best of {kind} after epoch {model.epoch}, {model.seconds:.0f} s")
    if json:
        print_json(
            {
                "output": str(folder),
                "seconds": model.seconds,
                "run": model.run,
                "card": model.card.model_dump(by_alias=True),
            }
        )
    else:
        print(accuracy_table(accuracy))


app.command("downscaler")(train_downscaler.command)
app.command("patches")(train_patches.command)
app.command("series")(train_series.command)
