"""``stcli classify-patches``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, counted, percent, print_json, table
from stcli.settings import RunSettings


def command(
    context: typer.Context,
    path: options.Patches,
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT",
            help=".csv or .json for one row a patch, .tif for one pixel a patch, - for stdout.",
            show_default=False,
        ),
    ],
    model: options.ModelWanted,
    patch: options.PatchSide = None,
    coverage: options.Coverage = None,
    bands: options.Bands = None,
    overwrite: options.Overwrite = False,
    co: options.CreationOptions = None,
    memory: options.Memory = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Classify patches with a trained model.

    Patches are small rasters that have one class each. Writes a row, or a pixel, for each.

    Example: stcli classify-patches patches.tif classes.csv --model model/
    """
    from stcli.workflows.job import Output
    from stcli.workflows.landcover.classify_patches import classify_patches
    from stcli.workflows.landcover.train_patches import PatchSource

    parsing.refuse_mixed((target,), json)
    source = PatchSource(path, patch, bands=parsing.parse_bands(bands))
    output = Output(overwrite, parsing.parse_pairs(co, "--co"), context.obj)
    with Console(quiet, verbose, progress) as console:
        result = classify_patches(
            source,
            target,
            Path(model),
            RunSettings(memory=memory),
            output=output,
            coverage=coverage,
            progress=console.progress,
        )
    total = sum(result.patches.values())
    rows = [("class", "%", "patches")]
    rows += [(name, percent(n / max(1, total)), str(n)) for name, n in result.patches.items()]
    done = counted(total, "patch", "patches")
    console.say(f"{target}: classified {done} in {result.seconds:.1f} s")
    if result.without_values:
        without = counted(result.without_values, "patch", "patches")
        console.say(f"without a valid pixel and so without a class: {without}")
    console.say(table(rows))
    if json:
        print_json(asdict(result))
