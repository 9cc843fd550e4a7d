"""Weights on disk: a folder with ``weights.safetensors`` and ``card.json``; never a pickle.

The card follows the STAC Machine Learning Model extension's words (``mlm:`` fields) where it has
one; what stcli needs beyond them stands under ``stcli``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from stcli.errors import ModelError, OutputError

WEIGHTS = "weights.safetensors"
CARD = "card.json"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BandCard(_Record):
    """A band that the model wants, and how it is scaled: ``(value - low) / (high - low)``."""

    name: str
    low: float
    high: float


class ClassCard(_Record):
    """A class: its value in the class raster, its name and its colour ``#rrggbb``."""

    value: int = Field(ge=1, le=255)
    name: str
    color: str = Field(pattern="^#[0-9a-f]{6}$")


class CalibrationCard(_Record):
    """How sure the model's probabilities are, fitted on samples that it was not trained on.

    Attributes
    ----------
    temperature : float
        What its logits are divided by: probabilities p become p^(1/T), summing to 1 again.
    ece_before, ece_after : float
        Expected calibration error, 0 to 1; the latter on samples that T was not fitted on.
    conformal : dict of str to float
        By coverage ("0.9"): the calibrated probability from which a class belongs to a
        prediction set.
    coverage_found : dict of str to float
        By coverage: the share of samples left out whose class was in its set.
    """

    temperature: float = Field(gt=0, allow_inf_nan=False)
    ece_before: float | None = None
    ece_after: float | None = None
    conformal: dict[str, float] = {}
    coverage_found: dict[str, float] = {}


class Card(_Record):
    """What one must know to use weights.

    Attributes
    ----------
    architecture : str
        Name of the network that the weights belong to.
    bands, classes : tuple
        In the order of the network's input and output.
    segmentation, network, training : dict
        Fields of `SlicSettings`, `NetworkSettings`, `TrainingSettings` that made the weights;
        and the device and scan that trained them.
    data : dict
        What it was trained on: inputs, labels, their checksums, the split.
    metrics : dict
        Accuracy on the held-out part.
    calibration : CalibrationCard or None
        None for probabilities as the network gives them.
    version : str
        Of stcli.
    parameters : int
        Number of weights.
    sha256 : str
        Of ``weights.safetensors``.
    """

    schema_: Literal["stcli-card-1"] = Field("stcli-card-1", alias="schema")
    architecture: str
    bands: tuple[BandCard, ...]
    classes: tuple[ClassCard, ...]
    resolution: tuple[float, float]
    segmentation: dict[str, Any]
    network: dict[str, Any]
    training: dict[str, Any]
    data: dict[str, Any]
    metrics: dict[str, Any]
    version: str
    parameters: int
    sha256: str = ""
    calibration: CalibrationCard | None = None


def save_weights(folder: Path, state: dict[str, Tensor], card: Card) -> Card:
    """Write weights and card; the card last, so that a folder with a card is complete.

    Returns
    -------
    Card
        As written: with the checksum of the weights.

    Raises
    ------
    OutputError
        When the folder cannot be written.
    """
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in sorted(state.items())})
    card = card.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    text = json.dumps(card.model_dump(by_alias=True), indent=2, ensure_ascii=False) + "\n"
    fresh = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / WEIGHTS, content)
        _replace(folder / CARD, text.encode())
    except OSError as error:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        raise OutputError(f"{folder}: the model cannot be written ({error.strerror}).") from error
    return card


def load_card(folder: Path) -> Card:
    """Read and check a card.

    Raises
    ------
    ModelError
        When there is none, or it is not one of ours.
    """
    try:
        return Card.model_validate_json((folder / CARD).read_bytes())
    except OSError as error:
        raise ModelError(
            f"{folder}: no {CARD} found ({error.strerror}), wanted a folder made by stcli train."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(
            f"{folder / CARD}: the card is damaged or foreign at '{where}' ({first['msg']})."
        ) from error


def load_weights(folder: Path, card: Card) -> dict[str, Tensor]:
    """Read the tensors of a card and check their checksum.

    Raises
    ------
    ModelError
        When the file is missing, or is not the one that the card describes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

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
    except SafetensorError as error:
        raise ModelError(f"{path}: no safetensors file ({error}).") from error


def _replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
