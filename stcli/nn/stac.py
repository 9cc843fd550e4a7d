"""A card as an item of the SpatioTemporal Asset Catalog, with its Machine Learning Model fields.

Catalogues of models read ``item.json``; stcli itself reads ``card.json`` alone. Fields as of
https://stac-extensions.github.io/mlm/v1.4.0 and STAC 1.1.0. Nothing of it depends on the clock:
the same model gives the same bytes, and a model says nothing of when or where it holds.
"""

from __future__ import annotations

import re
from typing import Any

from stcli.nn.card import Card

_EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
#: Architectures of scikit-learn; all others are torch's, but those of series without a network.
_PLAIN = ("forest", "svm", "patch")
#: Architectures that see a stack of dates, of any number; and one class for a whole patch.
_STACKS, _PATCHES = ("glocal-obia-mamba-series", "series"), "patch"


def item_of(card: Card, weights: str, description: str) -> dict[str, Any]:
    """Describe a model as a STAC item.

    Parameters
    ----------
    card : Card
        With its checksum.
    weights, description : str
        Names of the weights' file and of the card's, beside the item.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [_EXTENSION],
        "id": f"stcli-{card.sha256[:16]}",
        "geometry": None,
        "properties": {
            "datetime": None,
            "start_datetime": "1900-01-01T00:00:00Z",
            "end_datetime": "9999-12-31T23:59:59Z",
            "description": _sentence(card),
            **_model(card),
        },
        "links": [
            {"rel": "describedby", "href": f"./{description}", "type": "application/json"},
        ],
        "assets": {
            "model": {
                "href": f"./{weights}",
                "type": "application/octet-stream; application=safetensors",
                "title": "Weights",
                "roles": ["mlm:model", "mlm:weights", "data"],
                "mlm:artifact_type": "safetensors",
            }
        },
    }


def _model(card: Card) -> dict[str, Any]:
    return {
        "mlm:name": f"stcli-{card.sha256[:16]}",
        "mlm:architecture": card.architecture,
        "mlm:tasks": [_task(card)],
        "mlm:framework": "Scikit-learn" if _plain(card) else "PyTorch",
        "mlm:total_parameters": card.parameters,
        "mlm:pretrained": True,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input(card)],
        "mlm:output": [_output(card)],
        "mlm:hyperparameters": {"stcli": card.network, "version": card.version},
    }


def _plain(card: Card) -> bool:
    """Tell whether a model is scikit-learn's alone."""
    if card.architecture.startswith(_PLAIN):
        return True
    return "methods" in card.network and "network" not in card.network["methods"]


def _task(card: Card) -> str:
    if card.architecture.startswith(_PATCHES):
        return "scene-classification"
    return "semantic-segmentation" if card.classes else "super-resolution"


def _input(card: Card) -> dict[str, Any]:
    structure = _structure("bands", len(card.bands))
    if card.architecture.startswith(_PATCHES):
        structure["shape"][1:] = [int(side) for side in card.resolution]
    if card.architecture.startswith(_STACKS):
        structure["shape"].insert(0, -1)
        structure["dim_order"].insert(0, "time")
    return {
        "name": "bands",
        "bands": [band.name for band in card.bands],
        "input": structure,
        "value_scaling": [
            {"type": "min-max", "minimum": band.low, "maximum": band.high} for band in card.bands
        ],
    }


def _output(card: Card) -> dict[str, Any]:
    what, count = ("class", len(card.classes)) if card.classes else ("bands", len(card.bands))
    result = _structure(what, count)
    if card.architecture.startswith(_PATCHES):  # one answer for all of a patch
        result |= {"shape": [count], "dim_order": [what]}
    return {
        "name": "probabilities" if card.classes else "finer bands",
        "tasks": [_task(card)],
        "result": result,
        "classification:classes": [
            {
                "value": c.value,
                "name": re.sub("[^0-9A-Za-z_-]+", "-", c.name).strip("-") or f"class-{c.value}",
                "description": c.name,
                "color_hint": c.color[1:],
            }
            for c in card.classes
        ],
    }


def _structure(first: str, count: int) -> dict[str, Any]:
    return {
        "shape": [count, -1, -1],
        "dim_order": [first, "height", "width"],
        "data_type": "float32",
    }


def _sentence(card: Card) -> str:
    if not card.classes:
        return f"{card.architecture}: makes {len(card.bands)} bands finer."
    return f"{card.architecture}: land cover of {', '.join(c.name for c in card.classes)}."
