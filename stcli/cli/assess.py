"""``stcli assess``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stcli.cli import options
from stcli.cli.console import Console, percent, print_json, table
from stcli.settings import RunSettings


def command(
    path: Annotated[str, typer.Argument(metavar="MAP", help="Class raster.")],
    reference: options.ReferenceWanted,
    class_column: options.ClassColumn = None,
    layer: options.Layer = None,
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Measure a class raster against a reference: accuracies, and areas from points.

    Example: stcli assess landcover.tif --reference reference.tif --json
    """
    from stcli.workflows.assess import assess
    from stcli.workflows.truth import LabelSource

    with Console(quiet, verbose, progress) as console:
        result = assess(
            path,
            LabelSource(reference, class_column, layer),
            RunSettings(tile_size, memory, jobs),
            progress=console.progress,
        ).to_json()
    if json:
        print_json(result)
    else:
        print(accuracy_table(result["accuracy"]))
        print(_confusion(result))
        if result["stratified"]:
            print(_areas(result["stratified"], result["area_unit"]))


command.__name__ = "assess"


def accuracy_table(accuracy: dict[str, Any]) -> str:
    """Lay out the accuracy of a map, class by class."""
    rows = [("class", "precision", "recall", "F1", "IoU", "mapped", "reference")]
    for c in accuracy["classes"]:
        shares = (percent(c[key]) for key in ("precision", "recall", "f1", "iou"))
        rows.append((c["name"], *shares, str(c["mapped"]), str(c["support"])))
    kappa = "–" if accuracy["kappa"] is None else f"{accuracy['kappa']:.3f}"
    return (
        f"{table(rows)}\n"
        f"OA {percent(accuracy['overall'])}  AA {percent(accuracy['average'])}  "
        f"kappa {kappa}  mIoU {percent(accuracy['mean_iou'])}  of {accuracy['total']} pixels"
    )


def _confusion(result: dict[str, Any]) -> str:
    rows = [("map \\ reference", *result["classes"])]
    for name, counts in zip(result["classes"], result["confusion"], strict=True):
        rows.append((name, *(str(n) for n in counts)))
    return f"\n{table(rows)}"


def _areas(stratified: dict[str, Any], unit: str) -> str:
    level = f"{100 * stratified['confidence']:.0f} %"
    rows = [("class", f"mapped {unit}", f"estimated {unit}", f"± at {level}")]
    for c in stratified["classes"]:
        half = (c["area"]["high"] - c["area"]["low"]) / 2
        rows.append(
            (c["name"], f"{c['mapped_area']:.1f}", f"{c['area']['value']:.1f}", f"{half:.1f}")
        )
    overall = stratified["overall"]
    half = (overall["high"] - overall["low"]) / 2
    return (
        f"\nStratified estimates from {stratified['sampled']} points "
        f"(Olofsson et al. 2014)\n{table(rows)}\n"
        f"OA {percent(overall['value'])} ± {percent(half)}"
    )
