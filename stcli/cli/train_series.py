"""``stcli train series``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from stcli.cli import options, parsing
from stcli.cli.assess import accuracy_table
from stcli.cli.console import Console, percent, print_json
from stcli.settings import SERIES_SLIC, RunSettings, SeriesSettings, TemporalTraining, given


def command(
    context: typer.Context,
    samples: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLES",
            help="CSV or Parquet with longitude, latitude, date, label and a column for each band; "
            "or with a column for each band and date.",
        ),
    ],
    folder: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    algorithm: options.Algorithm = None,
    folds: options.Folds = None,
    block: options.Block = None,
    size: options.SegmentSize = None,
    epochs: options.Epochs = None,
    seed: options.Seed = SeriesSettings.seed,
    overwrite: options.Overwrite = False,
    jobs: options.Jobs = None,
    device: options.Device = "auto",
    scan: options.Scan = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Train a land-cover model on labelled time series.

    The series are those of points, in a table.

    Example: stcli train series samples.csv --block 0.5 -o model/
    """
    from stcli.workflows.landcover.train_series import Recipe, train_series_model

    asked = given(algorithm=algorithm, folds=folds, block=parsing.plain_side(block), seed=seed)
    recipe = Recipe(
        SeriesSettings(**asked), training=TemporalTraining(**given(epochs=epochs, seed=seed))
    )
    if "network" not in recipe.series.methods:
        parsing.refuse_network_words(parsing.asked(context), recipe.series.algorithm)
    with Console(quiet, verbose, progress) as console:
        model = train_series_model(
            samples,
            folder,
            recipe,
            replace(SERIES_SLIC, **given(size=size)),
            RunSettings(jobs=jobs, device=device, scan=scan),
            overwrite=overwrite,
            report=lambda done, total: console.progress("folds", done, total),
        )
        console.say(_told(model.card.metrics, str(folder), model.seconds))
        console.say(f"bands: {', '.join(band.name for band in model.card.bands)}")
    if json:
        card = model.card.model_dump(by_alias=True)
        print_json({"output": str(folder), "seconds": model.seconds, "card": card})
    else:
        print(accuracy_table(model.card.metrics["validation"], "samples"))


def _told(metrics: dict[str, Any], folder: str, seconds: float) -> str:
    folds, learnable = metrics["folds"], metrics["learnable"]
    overall = metrics["validation"]["overall"]
    each = f"{percent(folds['mean'])} ± {percent(folds['std'])} % a fold"
    lines = [
        f"{folder}: held-out blocks: OA {percent(overall)} % of all samples, {each} of "
        f"{len(folds['overall'])}; {seconds:.0f} s"
    ]
    for fold, classes in learnable["absent_classes"].items():
        lines.append(f"{fold}: absent from its training: {', '.join(classes)}")
    if learnable["absent_classes"]:
        lines.append(
            f"of the {percent(learnable['share'])} % whose class was there: OA "
            f"{percent(learnable['overall'])} %"
        )
    return "\n".join(lines)
