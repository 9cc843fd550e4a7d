"""What classification writes: classes, probabilities, doubt and prediction sets, from a legend."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import ModelError, UsageError
from stcli.landcover.accuracy.calibration import prediction_sets
from stcli.landcover.legend import rgba
from stcli.landcover.prediction import UNCERTAINTY, Classifier, classes, uncertainty
from stcli.nn.weights import Card, ClassCard
from stcli.raster.info import RasterInfo
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.settings import DecisionSettings
from stcli.workflows.job import Output

_UNSURE, _GREY = "unsure", "#9d9d9d"
#: Band of an uncertainty raster that refinement adds.
DISAGREEMENT = "disagreement"
#: In a raster of prediction sets, where nothing is known.
_NO_SET = 255


@dataclass(frozen=True)
class Products:
    """Where the outputs go, None for those not wanted, and what is made of probabilities.

    Attributes
    ----------
    classes, proba, uncertainty, sets : str or None
    decision : DecisionSettings
    threshold : float or None
        From which a class belongs to a prediction set; `decided` takes it from the card.
    """

    classes: str
    proba: str | None = None
    uncertainty: str | None = None
    sets: str | None = None
    decision: DecisionSettings = field(default_factory=DecisionSettings)
    threshold: float | None = None

    def __post_init__(self) -> None:
        if (self.sets is None) != (self.decision.coverage is None):
            raise UsageError(
                "--coverage and --sets: one without the other found; --coverage 0.9 says how often "
                "a set holds the true class, --sets FILE where the sets go."
            )

    @property
    def paths(self) -> tuple[str, ...]:
        """Those that are wanted."""
        wanted = (self.classes, self.proba, self.uncertainty, self.sets)
        return tuple(p for p in wanted if p is not None)


def decided(products: Products, model: Classifier) -> Products:
    """Take the threshold of the wanted coverage from a model's card.

    A least confidence that goes by probabilities that are not calibrated is told.

    Raises
    ------
    ModelError
        When the model is not calibrated, or not for this coverage.
    """
    coverage, least = products.decision.coverage, products.decision.min_confidence
    calibration = model.card.calibration
    if least is not None and calibration is None:
        logging.getLogger("stcli").warning(
            "%s: no calibration found, so --min-confidence %g goes by probabilities as the model "
            "gives them, which may be too sure; train the model again for calibrated ones",
            *(model.folder, least),
        )
    if coverage is None:
        return products
    if calibration is None or not calibration.conformal:
        raise ModelError(
            f"{model.folder}: no calibration found, --coverage wants one; train the model again."
        )
    known = {float(c): threshold for c, threshold in calibration.conformal.items()}
    if coverage not in known:
        listed = ", ".join(f"{c:g}" for c in sorted(known))
        raise ModelError(
            f"{model.folder}: --coverage {coverage:g} found, the model is calibrated for {listed}."
        )
    return replace(products, threshold=known[coverage])


def legend(card: Card, products: Products) -> tuple[ClassCard, ...]:
    """Classes of the output: the model's, then "unsure" where it is wanted.

    Raises
    ------
    ModelError
        When the classes leave no value for it.
    """
    if products.decision.min_confidence is None:
        return card.classes
    taken, names = {c.value for c in card.classes}, {c.name for c in card.classes}
    above = range(max(taken) + 1, 256)
    free = next((v for v in (*above, *range(1, 256)) if v not in taken), None)
    if free is None:
        raise ModelError("--min-confidence: the model's classes leave no value for 'unsure'.")
    name = _UNSURE if _UNSURE not in names else f"{_UNSURE} (by the model)"
    return (*card.classes, ClassCard(value=free, name=name, color=_GREY))


def legend_values(card: Card, products: Products) -> NDArray[np.uint8]:
    """Values (entry,) of a class raster: 0, then that of each class, then of "unsure"."""
    return np.array([0, *(c.value for c in legend(card, products))], dtype=np.uint8)


def layers(
    chances: NDArray[np.float32],
    products: Products,
    values: NDArray[np.uint8],
    disagreement: NDArray[np.float32] | None = None,
) -> list[NDArray[Any]]:
    """Make the wanted products of probabilities (class, row, col), in the order of `specs_of`.

    `values` are the legend's, 0 first; `disagreement` (row, col) is refinement's.
    """
    number, least = classes(chances), products.decision.min_confidence
    if least is not None:
        unsure = chances.max(axis=0) < least  # never where NaN
        number = np.where(unsure, np.uint8(len(chances) + 1), number)
    results: list[NDArray[Any]] = [values[number][None]]
    if products.proba is not None:
        results.append(chances)
    if products.uncertainty is not None:
        doubt = uncertainty(chances)
        if disagreement is not None:
            doubt = np.concatenate([doubt, disagreement[None]])
        results.append(doubt)
    if products.threshold is not None:
        results.append(set_layers(chances, products.threshold))
    return results


def set_layers(chances: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Prediction sets (class + 1, row, col): 1 for a class of the set, then the set's size."""
    sets = prediction_sets(chances, threshold).astype(np.uint8)
    result = np.concatenate([sets, sets.sum(axis=0, dtype=np.uint8)[None]])
    result[:, np.isnan(chances[0])] = _NO_SET
    return result


def count_classes(blocks: Sequence[NDArray[Any]]) -> list[list[int]]:
    """Count the pixels of each class value that a tile has.

    Parameters
    ----------
    blocks : sequence of ndarray
        A tile's products, the classes uint8 (1, row, col) first.

    Returns
    -------
    list of [int, int]
        Value and number of pixels.
    """
    counts = np.bincount(blocks[0].ravel(), minlength=256)
    return [[int(value), int(counts[value])] for value in np.flatnonzero(counts)]


def specs_of(
    info: RasterInfo, products: Products, card: Card, output: Output, threads: int
) -> list[OutputSpec]:
    """Describe the outputs wanted."""
    tags = output.tags(info, **card.marks)
    common: dict[str, Any] = {
        "creation_options": output.creation_options,
        "overwrite": output.overwrite,
        "tags": tags,
        "driver": output.driver,
        "threads": threads,
    }
    band = class_band(legend(card, products))
    specs = [OutputSpec(products.classes, "uint8", (band,), 0, "classes", **common)]
    titles = [c.name for c in card.classes]
    doubts = list(UNCERTAINTY) + [DISAGREEMENT] * (products.decision.refine is not None)
    for path, names in ((products.proba, titles), (products.uncertainty, doubts)):
        if path is not None:
            bands = tuple(OutputBand(name) for name in names)
            specs.append(OutputSpec(path, "float32", bands, np.nan, "continuous", **common))
    if products.sets is not None:
        bands = tuple(OutputBand(name) for name in (*titles, "set size"))
        specs.append(OutputSpec(products.sets, "uint8", bands, _NO_SET, "classes", **common))
    return specs


def class_band(entries: tuple[ClassCard, ...]) -> OutputBand:
    """Describe a class raster's band: colours and names."""
    names = [""] * (max(c.value for c in entries) + 1)
    for c in entries:
        names[c.value] = c.name
    table = {0: (0, 0, 0, 0), **{c.value: rgba(c.color) for c in entries}}
    return OutputBand("class", table, tuple(names))
