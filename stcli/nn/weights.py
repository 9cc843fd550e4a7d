"""Weights on disk: a folder with ``weights.safetensors`` and ``card.json``; never a pickle.

Beside them lies ``item.json``, the card as a STAC item for catalogues: see `stcli.nn.stac`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stcli.errors import ModelError, OutputError
from stcli.nn.card import BandCard, CalibrationCard, Card, ClassCard
from stcli.nn.stac import item_of

__all__ = [
    "CARD",
    "ITEM",
    "WEIGHTS",
    "Arrays",
    "BandCard",
    "CalibrationCard",
    "Card",
    "ClassCard",
    "check_item",
    "load_card",
    "load_weights",
    "save_weights",
]

WEIGHTS = "weights.safetensors"
CARD = "card.json"
ITEM = "item.json"

#: What a model has learnt, by name.
Arrays = dict[str, NDArray[Any]]


def part_of(state: Mapping[str, NDArray[Any]], name: str) -> Arrays:
    """Take the arrays of a part, or of a member, under their own names.

    Parameters
    ----------
    state : mapping of str to ndarray of any shape
        Named ``part.name``.
    name : str
        Of the part.
    """
    start = f"{name}."
    return {key[len(start) :]: a for key, a in state.items() if key.startswith(start)}


def save_weights(
    folder: Path, state: Arrays, card: Card, report: Callable[[Card], None] = lambda card: None
) -> Card:
    """Write weights and card; the card last, so that a folder with a card is complete.

    Returns
    -------
    Card
        As written: with the checksum of the weights.

    Parameters
    ----------
    folder : Path
    state : dict of str to ndarray
        Of any shape, kept as they are.
    card : Card
    report : callable
        Puts a report of the model as it will be into the folder: first, since a model whose report
        cannot be written would be refused to the command that is run again.

    Raises
    ------
    OutputError
        When the folder cannot be written.
    """
    from safetensors.numpy import save

    content = save({name: np.asarray(a, order="C") for name, a in sorted(state.items())})
    card = card.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    fresh = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        report(card)
        item, text = item_of(card, WEIGHTS, CARD), card.model_dump(by_alias=True)
        _replace(
            {folder / WEIGHTS: content, folder / ITEM: _text(item), folder / CARD: _text(text)}
        )
    except (OSError, OutputError) as error:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{folder}: the model cannot be written ({error.strerror}).") from error
    return card


def check_item(folder: Path, card: Card) -> bool:
    """Check the item of a card; False where there is none, as in models of before.

    Raises
    ------
    ModelError
        When it is not the card's.
    """
    try:
        found = (folder / ITEM).read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ModelError(f"{folder / ITEM}: cannot be read ({error.strerror}).") from error
    if found != _text(item_of(card, WEIGHTS, CARD)):
        raise ModelError(
            f"{folder / ITEM}: another item than the card's found; it is damaged or of another "
            "model."
        )
    return True


def load_card(folder: Path) -> Card:
    """Read and check a card.

    Raises
    ------
    ModelError
        When there is none, it is not one of ours, or no model can be applied by it.
    """
    try:
        card = Card.model_validate_json((folder / CARD).read_bytes())
    except OSError as error:
        raise ModelError(
            f"{folder}: no {CARD} found ({error.strerror}), wanted a folder made by stcli train."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if not where:
            raise ModelError(
                f"{folder / CARD}: holds no card ({first['msg']}), the JSON object that stcli "
                "train writes is wanted; fetch the model anew, or train it again."
            ) from error
        raise ModelError(
            f"{folder / CARD}: the card is damaged or foreign at '{where}' ({first['msg']})."
        ) from error
    if fault := card.fault():
        raise ModelError(f"{folder / CARD}: {fault}; the card is damaged, train the model again.")
    return card


def load_weights(folder: Path, card: Card) -> Arrays:
    """Read the arrays of a card and check their checksum.

    Returns
    -------
    dict of str to ndarray
        Of the shapes that they were saved with.

    Raises
    ------
    ModelError
        When the file is missing, or is not the one that the card describes.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: weights cannot be read ({error.strerror}).") from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise ModelError(
            f"{path}: checksum {found[:12]}… found, the card wants {card.sha256[:12]}…; "
            "the weights are damaged or belong to another card."
        )
    try:
        return load(content)
    except KeyError as error:
        raise ModelError(f"{path}: numbers of a kind that is not known here ({error}).") from error
    except SafetensorError as error:
        raise ModelError(
            f"{path}: no safetensors file ({error}), which alone is read; nothing in it was run; "
            "fetch the model anew from who trained it, or train it again."
        ) from error


def refuse_changed(folder: Path, card: Card, known: str) -> None:
    """Refuse a model that is not the one a run began with.

    Parameters
    ----------
    folder : Path
    card : Card
    known : str
        Digest of the card that the run began with.

    Raises
    ------
    ModelError
    """
    if known != card.digest:
        raise ModelError(f"{folder}: the model has changed since the run began; run it again.")


def _text(record: dict[str, Any]) -> bytes:
    """Write a record as indented JSON in plain letters."""
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def _replace(contents: dict[Path, bytes]) -> None:
    """Write files under temporary names, flush all to the disk, and rename them in this order."""
    parts = {path.with_name(f".{path.name}.part"): path for path in contents}
    try:
        for part, path in parts.items():
            with part.open("wb") as file:
                file.write(contents[path])
                file.flush()
                os.fsync(file.fileno())
        for part, path in parts.items():
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
