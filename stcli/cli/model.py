"""``stcli model``: show a model's card, verify its files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from stcli.cli import options
from stcli.cli.console import print_json

app = typer.Typer(help="Look at models: folders that stcli train wrote.", no_args_is_help=True)

Folder = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Folder of the model.", show_default=False)
]


@app.callback()
def model() -> None:
    """Look at models: folders that stcli train wrote."""


@app.command()
def show(folder: Folder, json: options.Json = False) -> None:
    """Show what a model takes, makes, was trained on, and how good it was found to be.

    Example: stcli model show model/
    """
    from stcli.workflows.model import show

    card = show(folder)
    if json:
        print_json({"output": str(folder), "card": card})
    else:
        print("\n".join(f"{name}: {fact}" for name, fact in _rows(card)))


@app.command()
def verify(folder: Folder, json: options.Json = False) -> None:
    """Verify that a model is whole and safe: card, item, checksum, arrays. Nothing is executed.

    Example: stcli model verify model/
    """
    from stcli.workflows.model import verify

    found = verify(folder)
    if json:
        print_json(asdict(found))
    else:
        whole = "whole" if found.item else "whole, without the item.json that catalogues read"
        print(f"{folder}: {whole}; {found.architecture}, {found.parameters} numbers")
        print(f"weights {found.sha256}\ndigest  {found.digest}")


def _rows(card: dict[str, Any]) -> list[tuple[str, str]]:
    """Lay the facts of a card out, a line each."""
    bands = ", ".join(f"{b['name']} ({b['low']:g} to {b['high']:g})" for b in card["bands"])
    rows = [
        ("kind", card["architecture"]),
        ("bands", bands),
    ]
    if any(card["resolution"]):  # samples of series have none
        what = "patch" if card["architecture"].startswith("patch") else "pixel"
        rows.append((what, " x ".join(f"{side:g}" for side in card["resolution"])))
    if card["classes"]:
        rows.append(("classes", ", ".join(f"{c['value']} {c['name']}" for c in card["classes"])))
    rows += [("parameters", str(card["parameters"])), ("stcli", card["version"])]
    found = card["metrics"].get("validation") or {}
    for word, name in (("overall", "overall accuracy"), ("mean_iou", "mean IoU")):
        if found.get(word) is not None:
            rows.append((name, f"{found[word]:.3f}"))
    calibration = card.get("calibration")
    if calibration:
        rows.append(("temperature", f"{calibration['temperature']:.3f}"))
        rows.append(("growth", f"{calibration['growth']:.3f}"))
        rows.append(("coverages", ", ".join(calibration["conformal"]) or "none"))
    return [*rows, ("sha256", card["sha256"])]
