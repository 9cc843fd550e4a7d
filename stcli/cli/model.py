"""``stcli model``: show a model's card, verify its files."""

from __future__ import annotations

import itertools
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
    """Show what a model is.

    Prints what it takes and makes, what it was trained on, and how good it was found to be.

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
    """Verify that a model is whole and safe.

    Checks card, item, checksum and arrays. Nothing is executed.

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
    data = card["data"]
    rows = [
        ("kind", card["architecture"]),
        ("bands", _bands(card["bands"], data.get("units", []))),
        ("guides", ", ".join(data.get("guides", []))),
        ("patch" if card["architecture"].startswith("patch") else "pixel", _side(card)),
        ("factors", ", ".join(map(str, card["network"].get("factors", [])))),
        ("classes", ", ".join(f"{c['value']} {c['name']}" for c in card["classes"])),
        ("trained on", ", ".join(data.get("inputs", []))),
        ("parameters", str(card["parameters"])),
        ("stcli", card["version"]),
    ]
    return [*((name, fact) for name, fact in rows if fact), *_goodness(card)]


def _side(card: dict[str, Any]) -> str:
    """Tell the sides of a pixel or a patch; samples of series have none."""
    sides = card["resolution"]
    return " x ".join(f"{side:g}" for side in sides) if any(sides) else ""


def _bands(bands: list[dict[str, Any]], units: list[str | None]) -> str:
    told = itertools.zip_longest(bands, units)
    return ", ".join(
        f"{b['name']} ({b['low']:g} to {b['high']:g}{f' {unit}' if unit else ''})"
        for b, unit in told
    )


def _goodness(card: dict[str, Any]) -> list[tuple[str, str]]:
    """Lay out how good a model was found to be, and what tells it from others."""
    rows = []
    found = card["metrics"].get("validation") or {}
    for word, name in (("overall", "overall accuracy"), ("mean_iou", "mean IoU")):
        if found.get(word) is not None:
            rows.append((name, f"{found[word]:.3f}"))
    for factor, ratio in card["metrics"].get("rmse_over_ibp", {}).items():
        rows.append((f"error over ibp's, factor {factor}", f"{ratio:.3f}"))
    calibration = card.get("calibration")
    if calibration:
        rows.append(("temperature", f"{calibration['temperature']:.3f}"))
        rows.append(("growth", f"{calibration['growth']:.3f}"))
        rows.append(("coverages", ", ".join(calibration["conformal"]) or "none"))
    return [*rows, ("sha256", card["sha256"])]
