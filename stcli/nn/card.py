"""The card of a model: what one must know to use its weights."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stcli.settings import BandScaling

#: Fields of a card that tell how its weights came about, and change no result.
_HISTORY = ("resolution", "training", "data", "metrics", "version", "parameters")
#: Fields of a calibration that tell how good it was found to be.
_FOUND = {"ece_before", "ece_after", "coverage_found"}


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
        T: what its logits are divided by. Probabilities p become p^(1/T), summing to 1 again.
    growth : float
        g: of a largest probability c the power is (c / (1 - c))^g / T; 0 in cards without it.
    ece_before, ece_after : float
        Expected calibration error, 0 to 1; the latter on samples that T and g were not fitted on.
    conformal : dict of str to float
        By coverage ("0.9"): the calibrated probability from which a class belongs to a
        prediction set.
    coverage_found : dict of str to float
        By coverage: the share of samples left out whose class was in its set.
    """

    temperature: float = Field(gt=0, allow_inf_nan=False)
    growth: float = Field(0.0, ge=0, le=1)
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

    @property
    def scaling(self) -> BandScaling:
        """How bands are scaled."""
        return BandScaling(tuple(b.low for b in self.bands), tuple(b.high for b in self.bands))

    @property
    def digest(self) -> str:
        """Checksum of all that changes a result: of the weights, and of the card but its history.

        Two models with one digest give the same pixels of the same raster. A field that is added
        to a card counts, unless it is listed as history.
        """
        left_out: dict[str, Any] = {**dict.fromkeys(_HISTORY, True), "calibration": _FOUND}
        facts = self.model_dump(by_alias=True, exclude=left_out)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def marks(self) -> dict[str, str]:
        """What names the model in an output's tags: its weights' checksum, and its digest."""
        return {"model_sha256": self.sha256, "model_digest": self.digest}

    def fault(self) -> str | None:
        """Say what keeps a model of classes from being applied; None where nothing does.

        Bands are scaled from low to high, in float32 but for those that it does not hold. Models
        without classes do not scale by them.
        """
        if not self.classes:
            return None
        for band in self.bands:
            finite = np.isfinite(np.array([band.low, band.high], dtype=np.float32)).all()
            if not (finite and band.low < band.high):
                ends = f"low {band.low:g} and high {band.high:g}"
                return f"band {band.name} has {ends}, finite ones that rise are wanted"
        taken: dict[str, list[int | str]] = {
            "value": [c.value for c in self.classes],
            "name": [c.name for c in self.classes],
        }
        for word, found in taken.items():
            twice = next((each for each in found if found.count(each) > 1), None)
            if twice is not None:
                return f"two classes have the {word} {twice}, each its own is wanted"
        return None
