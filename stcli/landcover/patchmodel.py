"""A trained model of patches on disk: written, read, applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stcli.errors import ModelError
from stcli.landcover.calibration import prediction_sets
from stcli.landcover.patches import ARCHITECTURE, PatchModel
from stcli.landcover.patchfeatures import WAVES, Lens, feature_count, features
from stcli.landcover.tempering import temper
from stcli.nn.weights import Card, load_card, load_weights, save_weights


@dataclass(frozen=True, eq=False)
class PatchClassifier:
    """A model of patches and its card.

    Attributes
    ----------
    folder : Path
    card : Card
        Under ``network``: ``side`` and ``temperatures``.
    model : PatchModel
    lens : Lens
    """

    folder: Path
    card: Card
    model: PatchModel
    lens: Lens

    @property
    def side(self) -> int:
        """Rows, and columns, of a patch."""
        return int(self.card.network["side"])

    def check(self, path: str, names: tuple[str, ...], side: int) -> None:
        """Refuse patches that are not as the model wants them.

        Raises
        ------
        ModelError
        """
        wanted = tuple(band.name for band in self.card.bands)
        if names != wanted or side != self.side:
            raise ModelError(
                f"{path}: patches of {side} px and {len(names)} bands ({', '.join(names)}), the "
                f"model {self.folder} wants {self.side} px and {len(wanted)} ({', '.join(wanted)})."
            )

    def probabilities(self, patches: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Classify patches.

        Parameters
        ----------
        patches : ndarray of float (n, band, row, col)
            In the bands' own units; NaN where not valid.

        Returns
        -------
        ndarray of float64 (class, n)
            Calibrated; NaN for a patch without a valid pixel.
        """
        with threadpool_limits(1):  # sums of one order, whatever the machine
            chances = self.model.probabilities(features(patches, self.lens))
        calibration = self.card.calibration
        if calibration is not None:
            chances = temper(chances, calibration.temperature, calibration.growth)
        result = np.array(chances, dtype=np.float64)
        result[:, np.isnan(patches).all(axis=(1, 2, 3))] = np.nan
        return result

    def sets(self, probabilities: NDArray[np.float64], coverage: float) -> NDArray[np.bool_]:
        """Mark the classes (class, n) of each patch's prediction set.

        Raises
        ------
        ModelError
            The card has no threshold for this coverage.
        """
        known = self.card.calibration.conformal if self.card.calibration else {}
        if str(coverage) not in known:
            raise ModelError(
                f"{self.folder}: a coverage of {coverage} wanted, the model knows "
                f"{', '.join(known)}."
            )
        return prediction_sets(probabilities, float(known[str(coverage)]))


def save_patch_model(folder: Path, model: PatchModel, lens: Lens, card: Card) -> Card:
    """Write a model; raises OutputError."""
    arrays = model.state() | {f"lens.{name}": array for name, array in lens.state().items()}
    return save_weights(folder, {name: np.array(array) for name, array in arrays.items()}, card)


def load_patch_model(folder: Path) -> PatchClassifier:
    """Read a model.

    Raises
    ------
    ModelError
        The folder holds no model of patches, or a damaged one.
    """
    card = load_card(folder)
    if card.architecture != ARCHITECTURE:
        raise ModelError(
            f"{folder}: a model of kind '{card.architecture}' found, '{ARCHITECTURE}' wanted."
        )
    arrays = load_weights(folder, card)
    try:
        temperatures = {str(k): float(v) for k, v in card.network["temperatures"].items()}
        lens = Lens(**{k[5:]: arrays.pop(k) for k in list(arrays) if k.startswith("lens.")})
        model = PatchModel.of(arrays, temperatures, len(card.classes))
        _try(model, lens, card)
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"{folder}: weights and card do not fit together.") from error
    return PatchClassifier(folder, card, model, lens)


def training_bytes(patches: int, bands: int, side: int) -> int:
    """Bytes of a training at its peak.

    The features, their copies (a method's view, standardised, a fold's part, libsvm's own), and
    libsvm's cache of 200 MB.
    """
    return 6 * 8 * patches * feature_count(bands, side) + 200_000_000


def batch_bytes(patches: int, bands: int, side: int) -> int:
    """Bytes of measuring a batch: a patch's channels, their differences and their features."""
    return (
        8
        * patches
        * (side**2 * (4 * bands * (bands + 1) + 3 * WAVES) + 4 * feature_count(bands, side))
    )


def _try(model: PatchModel, lens: Lens, card: Card) -> None:
    """Apply the model to one patch, so that a shape that does not fit is found now."""
    side = int(card.network["side"])
    found = model.probabilities(features(np.ones((1, len(card.bands), side, side)), lens))
    if found.shape != (len(card.classes), 1):
        raise ValueError("classes")
