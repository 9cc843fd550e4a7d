"""Land cover from series of dates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stcli.settings.checking import check

#: Methods that a model of series may be made of, and those that `ensemble` joins.
METHODS = ("discriminant", "svm", "forest", "network")
ENSEMBLE = ("discriminant", "svm")
#: Side of a block of samples that stand in degrees, where none is given.
SERIES_BLOCK = 0.1


@dataclass(frozen=True)
class SeriesSettings:
    """How a model of series is trained.

    Attributes
    ----------
    algorithm : str
        One of `METHODS`, or ``"ensemble"``: the mean of the calibrated probabilities of
        `ENSEMBLE`.
    folds : int
        Folds of the blocked validation.
    block : float or None
        Side of a block in units of the samples' coordinates; samples of a block share a fold. None
        for `SERIES_BLOCK` where these are degrees.
    """

    algorithm: str = "ensemble"
    folds: int = 5
    block: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        known = (*METHODS, "ensemble")
        check(self.algorithm in known, "--algorithm", self.algorithm, " or ".join(known))
        check(self.folds >= 2, "--folds", self.folds, ">= 2")
        side = self.block
        check(side is None or 0 < side < math.inf, "--block", side, "> 0 and finite")
        check(0 <= self.seed < 2**32, "--seed", self.seed, "from 0 to 2**32 - 1")

    @property
    def methods(self) -> tuple[str, ...]:
        """What the model is made of."""
        return ENSEMBLE if self.algorithm == "ensemble" else (self.algorithm,)


@dataclass(frozen=True)
class TemporalSettings:
    """Widths of the temporal network.

    Attributes
    ----------
    width : int
        Width of a token: a seen step of a season.
    state : int
        States per channel of the selective scan.
    layers : int
        Bidirectional Mamba layers.
    dropout : float
        Share of pooled features dropped while training.
    """

    width: int = 32
    state: int = 8
    layers: int = 2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check(self.width >= 1, "width", self.width, ">= 1")
        check(self.layers >= 1, "layers", self.layers, ">= 1")
        check(0 <= self.dropout < 1, "dropout", self.dropout, "from 0 to below 1")


@dataclass(frozen=True)
class TemporalTraining:
    """How the temporal network is trained.

    Attributes
    ----------
    shift : float
        Whole series are moved by up to so many days.
    jitter : float
        Standard deviation of the noise on scaled bands, and of a gain that a series shares.
    lost : float
        Share of steps dropped, as clouds do.
    balance : float
        Class weights are ``frequency ** -balance``: 0 none, 1 fully balanced.
    """

    epochs: int = 40
    batch: int = 128
    learning_rate: float = 5e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    shift: float = 8.0
    jitter: float = 0.05
    lost: float = 0.1
    balance: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "--epochs", self.epochs, ">= 1")
        check(0 <= self.lost < 1, "lost", self.lost, "from 0 to below 1")
        check(0 <= self.balance < math.inf, "--balance", self.balance, ">= 0 and finite")
        check(0 <= self.seed < 2**63, "--seed", self.seed, "from 0 to 2**63 - 1")
