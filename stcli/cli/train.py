"""``stcli train landcover``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stcli.cli import options, parsing, train_downscaler, train_patches, train_series
from stcli.cli.assess import accuracy_table
from stcli.cli.console import Console, percent, print_json, table
from stcli.errors import UsageError
from stcli.settings import LANDCOVER_SLIC, RunSettings, SlicSettings, TrainingSettings, given

app = typer.Typer(help="Train models on your own data.", no_args_is_help=True)


@app.callback()
def train() -> None:
    """Train models on your own data."""


@app.command()
def landcover(
    context: typer.Context,
    folder: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="One raster or several (bands on the finest grid, or the dates of a stack).",
            show_default=False,
        ),
    ] = None,
    labels: options.Labels = None,
    pair: Annotated[
        bool, typer.Option("--pair", help="Each INPUT is a scene with its own --labels, in order.")
    ] = False,
    manifest: Annotated[
        str | None,
        typer.Option(
            "--manifest",
            metavar="CSV",
            help="Table of scenes: columns input and labels, optionally class_column and layer.",
        ),
    ] = None,
    class_column: options.ClassColumn = None,
    layer: options.Layer = None,
    class_names: options.ClassNames = None,
    algorithm: options.Algorithm = None,
    size: options.SegmentSize = None,
    compactness: options.Compactness = SlicSettings.compactness,
    epochs: options.Epochs = None,
    patience: options.Patience = None,
    local_weight: Annotated[
        float, typer.Option("--local-weight", help="Weight of the pixel loss.")
    ] = TrainingSettings.local_weight,
    global_weight: Annotated[
        float, typer.Option("--global-weight", help="Weight of the superpixel loss.")
    ] = TrainingSettings.global_weight,
    balance: Annotated[
        float, typer.Option("--balance", help="Class weights: 0 for none, 1 for fully balanced.")
    ] = TrainingSettings.balance,
    split: Annotated[
        str,
        typer.Option(
            "--split", help="Hold out blocks (spatial), or random pixels (flatters the accuracy)."
        ),
    ] = TrainingSettings.split,
    block: options.Block = None,
    folds: options.Folds = None,
    final_fit: Annotated[
        bool,
        typer.Option(
            "--final-fit/--no-final-fit",
            help="After the folds, train on everything; or keep the first fold's model.",
        ),
    ] = True,
    validation: Annotated[
        float, typer.Option("--validation", help="Share of the labels that is held out.")
    ] = TrainingSettings.validation,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="MODEL", help="Begin with the weights of this model."),
    ] = None,
    bands_noise: Annotated[
        Literal["weight", "drop", "none"],
        typer.Option(
            "--bands-noise", help="Weigh noisy bands of a spectrometer less, or drop them."
        ),
    ] = "none",
    series: Annotated[
        bool | None,
        typer.Option(
            "--series/--no-series",
            help="Scan dates over time. Default: if each date has the same bands.",
        ),
    ] = None,
    dates: options.Dates = None,
    mask_band: options.MaskBand = None,
    clear: options.Clear = None,
    seed: options.Seed = TrainingSettings.seed,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = True,
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
    """Train a land-cover model.

    Writes a folder with the weights, their card and a report.

    Example: stcli train landcover scene.tif --labels labels.gpkg --class-column class -o model/
    """
    slic = replace(LANDCOVER_SLIC, **given(size=size, compactness=compactness))
    training = TrainingSettings(
        local_weight=local_weight,
        global_weight=global_weight,
        balance=balance,
        split=split,
        block=block and block[0],
        block_unit=block[1] if block else TrainingSettings.block_unit,
        final_fit=final_fit,
        validation=validation,
        bands_noise=bands_noise,
        seed=seed,
        **given(epochs=epochs, patience=patience, folds=folds),
    )
    _refuse_idle(parsing.asked(context), algorithm or "network", training, init)

    from stcli.workflows.job import Assumed, Inputs
    from stcli.workflows.landcover.dated import Dating
    from stcli.workflows.landcover.samples import Recipe
    from stcli.workflows.landcover.scenes import paired, read_scenes
    from stcli.workflows.landcover.train_landcover import Ears, Fitting, train_landcover
    from stcli.workflows.landcover.training_stacks import as_stacks
    from stcli.workflows.landcover.truth import LabelSource

    assumed = Assumed(assume_crs, assume_nodata)
    recipe = Recipe(slic=slic, training=training, **given(algorithm=algorithm))
    names = parsing.parse_names(class_names)
    chosen = Inputs(tuple(inputs or ()), parsing.parse_bands(bands), resampling, assumed)
    if manifest is None:
        sources = [LabelSource(path, class_column, layer, names) for path in labels or ()]
        scenes = paired(chosen, sources, pair)
    elif inputs or labels or pair or class_column or layer:
        raise UsageError("--manifest names inputs, labels, columns and layers; leave them out.")
    else:
        scenes = read_scenes(manifest, chosen, names)
    rasters = any(source.is_raster for scene in scenes for source in scene.labels)
    if class_names and not rasters:
        raise UsageError(
            "--class-names: names values of class rasters, and all labels are vectors; leave it "
            "out."
        )
    clears = parsing.parse_list(clear, "--clear")
    dating = Dating(parsing.parse_dates(dates), mask_band, clears)
    with Console(quiet, verbose, progress) as console:
        model = train_landcover(
            as_stacks(scenes, dating, series, recipe.algorithm),
            folder,
            recipe,
            RunSettings(tile_size, memory, jobs, device, scan),
            Fitting(overwrite, resume, init),
            Ears(console.progress, console.epochs),
        )
    for note in model.notes:
        console.say(note)
    console.say(f"{folder}: {_kind(recipe.training, model.epoch)}, {model.seconds:.0f} s")
    if json:
        print_json(_facts(model, folder))
    else:
        print_model(model.card.metrics, model.card.calibration)


def _facts(model: Any, folder: Path) -> dict[str, Any]:
    """Describe a trained model with JSON's types."""
    return {
        "output": str(folder),
        "seconds": model.seconds,
        "run": model.run,
        "notes": list(model.notes),
        "card": model.card.model_dump(by_alias=True),
    }


def _refuse_idle(
    asked: set[str], algorithm: str, training: TrainingSettings, init: Path | None
) -> None:
    """Refuse options that would do nothing, before what takes seconds to load.

    Parameters
    ----------
    asked : set of str
        Names of the options that were given.
    algorithm : str
    training : TrainingSettings
    init : Path or None
    """
    if algorithm not in ("network", "ensemble"):
        parsing.refuse_network_words(asked, algorithm)
    if init and asked & {"size", "compactness"}:
        raise UsageError("--init: segments are the model's; leave --size and --compactness out.")
    if init and training.bands_noise == "weight":
        raise UsageError("--bands-noise weight: --init brings the scaling of bands; leave it out.")
    if training.folds and "patience" in asked:
        raise UsageError("--patience: trainings with --folds run all epochs; leave it out.")
    if not training.final_fit and not training.folds:
        raise UsageError(
            "--no-final-fit: only trainings with --folds have a final fit; leave it out."
        )


def print_model(metrics: dict[str, Any], calibration: Any) -> None:
    """Print a model's accuracy on what was held out, its folds and its calibration."""
    print(accuracy_table(metrics["validation"]))
    if "folds" in metrics:
        names = {
            "overall": "OA",
            "mean_iou": "mIoU",
            "mean_f1": "mean F1",
            "learnable_overall": "OA of learnable",
        }
        rows = [("fold", *names.values())]
        for fold in metrics["folds"]:
            rows.append((str(fold["fold"]), *(percent(fold[name]) for name in names)))
        for word in ("mean", "std"):
            together = metrics["out_of_fold"]
            rows.append((word, *(percent(together[name][word]) for name in names)))
        print(f"\n{table(rows)}")
    if calibration is not None:
        covered = ", ".join(
            f"{percent(found)} of {percent(float(asked))} asked"
            for asked, found in calibration.coverage_found.items()
        )
        print(
            f"\ntemperature {calibration.temperature:.2f}, growth {calibration.growth:.2f}; "
            f"calibration error {percent(calibration.ece_before)} before, "
            f"{percent(calibration.ece_after)} after\nprediction sets cover {covered}"
        )


def _kind(training: TrainingSettings, epoch: int) -> str:
    """Say what the accuracy that follows was measured on, and which weights are kept."""
    if training.folds:
        kept = "trained on everything" if training.final_fit else "of the first fold"
        return f"{training.folds} folds of spatial blocks held out in turn, model {kept}"
    kind = {"blocks": "spatial blocks", "random": "RANDOM pixels: flattering"}[training.split]
    return f"best of {kind} after epoch {epoch}" if epoch else f"held out {kind}"


app.command("downscaler")(train_downscaler.command)
app.command("patches")(train_patches.command)
app.command("series")(train_series.command)
