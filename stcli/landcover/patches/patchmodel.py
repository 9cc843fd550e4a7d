"""A trained model of patches on disk: written, read, applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from stcli.errors import ModelError, apart
from stcli.landcover.accuracy.calibration import prediction_sets
from stcli.landcover.accuracy.tempering import temper
from stcli.landcover.joined import Joined
from stcli.landcover.patches.patches import ARCHITECTURE, Views, model_of, shown
from stcli.landcover.patches.patchfeatures import UNIT, WAVES, Lens, feature_count, features, pairs
from stcli.nn.weights import Card, load_card, load_weights, save_weights

#: Patches that the machines look at at once, made up with zeros. Products of matrices of another
#: shape add up in another order; with this many rows none of them is at an odd end of the kernels.
_ROWS = 48
#: Patches that are read and measured at once, at most; and pixels that are enough for speed.
_BATCH, _ENOUGH = 256, 1 << 16


@dataclass(frozen=True, eq=False)
class PatchClassifier:
    """A model of patches and its card.

    Attributes
    ----------
    folder : Path
    card : Card
        Under ``network``: ``side`` and ``temperatures``.
    model : Joined
    lens : Lens
    """

    folder: Path
    card: Card
    model: Joined
    lens: Lens

    @property
    def side(self) -> int:
        """Rows, and columns, of a patch."""
        return int(self.card.network["side"])

    @property
    def usual(self) -> float:
        """Median absolute value of the patches that it was trained with."""
        usual: float = self.lens.unit.item() / UNIT
        return usual

    def check(self, path: str, names: tuple[str, ...], side: int) -> None:
        """Refuse patches that are not as the model wants them.

        Raises
        ------
        ModelError
        """
        wanted = tuple(band.name for band in self.card.bands)
        if names != wanted or side != self.side:
            these, those = apart(names, wanted)
            raise ModelError(
                f"{path}: patches of {side} px and {len(names)} bands ({these}), the "
                f"model {self.folder} wants {self.side} px and {len(wanted)} ({those})."
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
            Calibrated; NaN for a patch without a valid pixel. The same to the bit, whatever
            other patches stand beside it.
        """
        count = len(patches)
        with threadpool_limits(1):  # sums of one order, whatever the machine
            views = features(patches, self.lens)
            parts = [self._looked(views, first) for first in range(0, count, _ROWS)]
        result = np.concatenate(parts, axis=1)[:, :count]
        result[:, np.isnan(patches).all(axis=(1, 2, 3))] = np.nan
        return result

    def _looked(self, views: Views, first: int) -> NDArray[np.float64]:
        """Classify `_ROWS` patches from `first` on; those that are not there hold zeros."""
        filled = {}
        for name, view in views.items():
            filled[name] = np.zeros((_ROWS, view.shape[1]))
            part = view[first : first + _ROWS]
            filled[name][: len(part)] = part
        chances, calibration = self.model.probabilities(shown(filled)), self.card.calibration
        if calibration is not None:
            chances = temper(chances, calibration.temperature, calibration.growth)
        return np.array(chances, dtype=np.float64)

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
                f"{self.folder}: --coverage {coverage} found, the model is calibrated for "
                f"{', '.join(known)}."
            )
        return prediction_sets(probabilities, float(known[str(coverage)]))


def save_patch_model(folder: Path, model: Joined, lens: Lens, card: Card) -> Card:
    """Write a model; raises OutputError."""
    kept = {f"lens.{name}": np.array(array) for name, array in lens.state().items()}
    return save_weights(folder, model.state() | kept, card)


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
        model = model_of(arrays, temperatures, len(card.classes))
        _try(model, lens, card)
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(f"{folder}: weights and card do not fit together.") from error
    return PatchClassifier(folder, card, model, lens)


def training_bytes(patches: int, bands: int, side: int, classes: int) -> int:
    """Bytes of a training at its peak, with every patch a support vector.

    The features and their copies: a method's view, a fold's part, standardised, the vectors of
    two models; the kernel of half of the patches with the other, as it is made; the weights of
    each pair of classes; and libsvm's cache of 200 MB.
    """
    pairs_of = classes * (classes - 1) // 2
    features_of, kernel = 8 * feature_count(bands, side), 3 * patches // 4
    return 8 * patches * (features_of + kernel + 10 * pairs_of) + 200_000_000


def patch_bytes(bands: int, side: int) -> int:
    """Bytes of reading a patch and measuring it, at the peak.

    Its values, filled; then its channels, one's change and the percentiles' copy, or the cosines
    of all its pixels beside these with an edge, their steepness and differences; its features.
    """
    channels = 3 * (bands + len(pairs(bands)))
    values = 4 * bands + max(channels, WAVES + 8 * bands)
    return 8 * ((side + 2) ** 2 * values + 4 * feature_count(bands, side))


def sample_bytes(patches: int, bands: int, side: int) -> int:
    """Bytes of a sample of patches, float32, and its copies while its median is found."""
    return 5 * 4 * patches * bands * side**2


def most_at_once(patches: int, side: int) -> int:
    """Give the patches beyond which a batch makes nothing faster."""
    return max(1, min(patches, _BATCH, _ENOUGH // side**2))


def _try(model: Joined, lens: Lens, card: Card) -> None:
    """Apply the model to one patch, so that a shape that does not fit is found now."""
    side = int(card.network["side"])
    views = features(np.ones((1, len(card.bands), side, side)), lens)
    found = model.probabilities(shown(views))
    if found.shape != (len(card.classes), 1):
        raise ValueError("classes")
