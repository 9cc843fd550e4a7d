"""The network and the forest together: the mean of their calibrated probabilities.

The two err in different places; the mean of probabilities that are both honest is seldom worse
than the better one and often better than both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import ModelError
from stcli.landcover.accuracy.tempering import temper
from stcli.landcover.classical.forest import Forest
from stcli.landcover.classical.pixels import PixelMethod, pixel_method
from stcli.landcover.network.network_method import NetworkMethod, network_of
from stcli.landcover.network.windows import Needs, Window
from stcli.nn.device import Compute
from stcli.nn.weights import Arrays, Card, load_weights, part_of

#: Names of the members: before the names of their arrays, and in the card's temperatures.
NETWORK, FOREST = "network", "forest"
Member = Callable[[Window], NDArray[np.float32]]


class Mean:
    """The mean of two members' tempered probabilities of a window.

    Parameters
    ----------
    members : two callables
        Map a window to float32 (class, row, col).
    temperatures : (float, float)
    """

    def __init__(self, members: tuple[Member, Member], temperatures: tuple[float, float]) -> None:
        self.members, self.temperatures = members, temperatures

    def __call__(self, window: Window) -> NDArray[np.float32]:
        """Classify a window: NaN where either member says nothing."""
        pairs = zip(self.members, self.temperatures, strict=True)
        first, second = (temper(member(window), t) for member, t in pairs)
        return np.asarray((first + second) / 2, dtype=np.float32)


class EnsembleMethod:
    """Two methods over the same lattice windows, each with its temperature.

    Parameters
    ----------
    network : NetworkMethod
    forest : PixelMethod
    temperatures : (float, float)
        Of the network and of the forest.
    """

    def __init__(
        self, network: NetworkMethod, forest: PixelMethod, temperatures: tuple[float, float]
    ) -> None:
        self.network, self.forest = network, forest
        self.grid, self.classes = forest.grid, forest.classes
        self.window = Mean((network.window, forest.window), temperatures)

    @property
    def needs(self) -> Needs:
        """Those of both members: what one frees the other need not find again."""
        one, two = self.network.needs, self.forest.needs
        return Needs(one.read_pixel, one.core_pixel, one.window + two.window)


def join(network: Arrays, forest: Arrays) -> Arrays:
    """Put the arrays of both members into one state."""
    pairs = ((NETWORK, network), (FOREST, forest))
    return {f"{member}.{name}": array for member, state in pairs for name, array in state.items()}


def load_ensemble(folder: Path, card: Card, where: Compute) -> EnsembleMethod:
    """Make the method of a model's folder: see `stcli.landcover.prediction.Factory`.

    Raises
    ------
    ModelError
    """
    state = load_weights(folder, card)
    try:
        settings: dict[str, Any] = card.network[NETWORK]
        found = card.network["temperatures"]
        temperatures = float(found[NETWORK]), float(found[FOREST])
        forest = pixel_method(Forest, part_of(state, FOREST), card, settings)
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"{folder}: weights and card do not fit together.") from error
    network = network_of(part_of(state, NETWORK), card, settings, where)
    return EnsembleMethod(network, forest, temperatures)
