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
    """Measure the accuracy of a class raster.

    The reference is a raster, or a sample of points, from which areas are estimated, too.

    Example: stcli assess landcover.tif --reference reference.tif --json
    """
    from stcli.workflows.landcover.assess import assess
    from stcli.workflows.landcover.truth import LabelSource

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
        counted = "points, each counted once" if result["stratified"] else "pixels"
        print(accuracy_table(result["accuracy"], counted))
        print(_confusion(result))
        if result["stratified"]:
            print(_areas(result["stratified"], result["area_unit"]))


def accuracy_table(accuracy: dict[str, Any], what: str = "pixels") -> str:
    """Lay out the accuracy of a map, class by class, and say what was counted."""
    rows = [("class", "precision", "recall", "F1", "IoU", "mapped", "reference")]
    for c in accuracy["classes"]:
        shares = (percent(c[key]) for key in ("precision", "recall", "f1", "iou"))
        rows.append((c["name"], *shares, str(c["mapped"]), str(c["support"])))
    kappa = "–" if accuracy["kappa"] is None else f"{accuracy['kappa']:.3f}"
    return (
        f"{table(rows)}\n"
        f"OA {percent(accuracy['overall'])}  AA {percent(accuracy['average'])}  "
        f"kappa {kappa}  mIoU {percent(accuracy['mean_iou'])}  of {accuracy['total']} {what}"
    )


def _confusion(result: dict[str, Any]) -> str:
    rows = [("map \\ reference", *result["classes"])]
    for name, counts in zip(result["classes"], result["confusion"], strict=True):
        rows.append((name, *(str(n) for n in counts)))
    return f"\n{table(rows)}"


def _areas(stratified: dict[str, Any], unit: str) -> str:
    level = f"± at {100 * stratified['confidence']:.0f} %"
    accuracies = ("user's", "±", "producer's", "±")
    rows = [("class", f"mapped {unit}", f"estimated {unit}", level, *accuracies)]
    for c in stratified["classes"]:
        areas = (c["mapped_area"], c["area"]["value"], _half(c["area"]))
        shares = (f(c[key]) for key in ("users", "producers") for f in (_value, _half))
        rows.append((c["name"], *(f"{area:.1f}" for area in areas), *map(percent, shares)))
    overall = stratified["overall"]
    return (
        f"\nStratified estimates from {stratified['sampled']} points in "
        f"{stratified['strata']} strata ({stratified['method']})\n{table(rows)}\n"
        f"OA {percent(overall['value'])} ± {percent(_half(overall))}"
    )


def _value(estimate: dict[str, Any]) -> Any:
    return estimate["value"]


def _half(estimate: dict[str, Any]) -> Any:
    """Half the width of an interval; None where undefined."""
    low, high = estimate["low"], estimate["high"]
    return None if low is None else (high - low) / 2
