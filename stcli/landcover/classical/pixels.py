"""Methods that classify each pixel by its features: the forest and the support vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stcli.errors import ModelError
from stcli.landcover.classical.features import feature_bytes, feature_count, window_features
from stcli.landcover.network.windows import Needs, Window
from stcli.nn.device import Compute
from stcli.nn.weights import Arrays, Card, load_weights
from stcli.settings import BandScaling, NetworkSettings, SlicSettings

#: Pixels that a model takes at once, and support vectors at most, which bound its temporaries.
_CHUNK, _VECTORS = 4096, 4000


class PixelModel(Protocol):
    """What tells classes by features."""

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify features float32 (pixel, feature): (pixel, class)."""


#: Makes a pixel model of a state, the number of features and of classes.
Maker = Callable[[Arrays, int, int], PixelModel]


class PixelMethod:
    """A pixel model over lattice windows: those of the network, so that both see the same.

    Parameters
    ----------
    model : PixelModel
    classes : int
    scaling : BandScaling
    grid : NetworkSettings
        Its window and margin.
    step : int
        Pixels between the segments' seeds.
    """

    def __init__(
        self,
        model: PixelModel,
        classes: int,
        scaling: BandScaling,
        grid: NetworkSettings,
        step: int,
    ) -> None:
        self.model, self.classes, self.scaling = model, classes, scaling
        self.grid, self.step = grid, step

    @property
    def needs(self) -> Needs:
        """A tile's probabilities with their temporaries; a window's features and chances."""
        bands, pixels = len(self.scaling.low), self.grid.window**2
        # features twice more where their valid rows are taken out; products with 4000 vectors
        features = feature_bytes(bands, pixels) + 2 * 4 * feature_count(bands) * pixels
        chances = 4 * 8 * self.classes * pixels
        return Needs(
            core_pixel=3 * 4 * self.classes, window=features + chances + _CHUNK * _VECTORS * 12
        )

    def window(self, window: Window) -> NDArray[np.float32]:
        """Classify a window's centre: (class, row, col), NaN elsewhere."""
        inside = np.zeros_like(window.valid)
        centre = slice(self.grid.margin, self.grid.margin + self.grid.stride)
        inside[centre, centre] = window.valid[centre, centre]
        result = np.full((self.classes, *window.valid.shape), np.nan, dtype=np.float32)
        if inside.any():
            features = window_features(window, self.scaling, self.step, inside)
            chunks = [features[i : i + _CHUNK] for i in range(0, len(features), _CHUNK)]
            found = [self.model.probabilities(chunk) for chunk in chunks]
            result[:, inside] = np.concatenate(found).T
        return result


def pixel_method(make: Maker, state: Arrays, card: Card, network: dict[str, Any]) -> PixelMethod:
    """Make the method of a state and a card; `network` holds the grid's window and margin.

    Raises
    ------
    KeyError, ValueError, IndexError
        When they do not fit together.
    """
    bands, classes = len(card.bands), len(card.classes)
    grid = NetworkSettings(window=network["window"], margin=network["margin"]).applied
    step = SlicSettings(**card.segmentation).step
    model = make(state, feature_count(bands), classes)
    return PixelMethod(model, classes, card.scaling, grid, step)


def loader(make: Maker) -> Callable[[Path, Card, Compute], PixelMethod]:
    """Return the factory of a kind of pixel model: see `stcli.landcover.prediction.Factory`."""

    def load(folder: Path, card: Card, where: Compute) -> PixelMethod:
        state = load_weights(folder, card)
        try:
            return pixel_method(make, state, card, card.network)
        except (KeyError, ValueError, IndexError) as error:
            raise ModelError(f"{folder}: weights and card do not fit together.") from error

    return load
