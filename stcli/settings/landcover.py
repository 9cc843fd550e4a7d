"""Land cover."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from stcli.settings.checking import check

#: Orders of the tokens; see `NetworkSettings.order`.
ORDERS = ("serpentine", "hilbert", "crossed")
#: Convolutions of the residuals; see `NetworkSettings.convolution`.
CONVOLUTIONS = ("dense", "separable")

#: Of the scan over dates, in models of stacks: see `NetworkSettings.date_width`.
DATE_WIDTH = 32


#: Margin of a window where a trained model is applied: what its CNN reaches, 20 pixels, and a part
#: of the superpixels beyond.
APPLIED_MARGIN = 24


@dataclass(frozen=True)
class NetworkSettings:
    """Widths and windows of the GLocal OBIA-Mamba network.

    Attributes
    ----------
    window, margin : int
        Side of a lattice window and the rim of it that gives context but no result, in pixels, in
        training; see `applied`.
    local_width : int
        Channels of the CNN branch at full resolution; 0 for no such branch: bands alone.
    fine : int
        Residuals of the CNN branch at full resolution: 1, or 0 for its first convolution alone,
        which is a fifth quicker.
    model_width : int
        Width of a token.
    state : int
        States per channel of the selective scan.
    layers : int
        Bidirectional Mamba layers; 0 for superpixels that know nothing of each other.
    order : str
        In which tokens are scanned: ``"serpentine"`` along the lattice's rows, ``"hilbert"`` along
        a Hilbert curve, ``"crossed"``: every second layer along the columns.
    convolution : str
        Of the residuals at full and half resolution: ``"dense"``, or ``"separable"``: each channel
        by itself, then a mix of channels.
    date_width : int
        Width of a date's token in the scan over the dates of a superpixel; 0 for a raster of one
        date, which has no such scan.
    date_state, date_layers : int
        Of that scan, as `state` and `layers`.
    """

    window: int = 256
    margin: int = 32
    local_width: int = 24
    model_width: int = 64
    state: int = 16
    layers: int = 2
    order: str = "serpentine"
    fine: int = 1
    convolution: str = "dense"
    date_width: int = 0
    date_state: int = 8
    date_layers: int = 2

    def __post_init__(self) -> None:
        check(self.order in ORDERS, "order", self.order, " or ".join(ORDERS))
        check(self.local_width >= 0, "local_width", self.local_width, ">= 0 channels")
        check(self.fine in (0, 1), "fine", self.fine, "0 or 1")
        known = self.convolution in CONVOLUTIONS
        check(known, "convolution", self.convolution, " or ".join(CONVOLUTIONS))
        check(self.layers >= 0, "layers", self.layers, ">= 0")
        check(self.date_width >= 0, "date_width", self.date_width, ">= 0")
        check(self.date_layers >= 1, "date_layers", self.date_layers, ">= 1")
        check(self.margin >= 0, "margin", self.margin, ">= 0 pixels")
        whole = self.window > 0 and self.window % 4 == 0
        check(whole, "window", self.window, "a multiple of 4 pixels")
        check(self.stride > 0, "window", self.window, f"more than two margins of {self.margin}")

    @property
    def stride(self) -> int:
        """Side of the part of a window that answers for its pixels."""
        return self.window - 2 * self.margin

    @property
    def applied(self) -> NetworkSettings:
        """These settings as a trained model is applied: a margin of `APPLIED_MARGIN` at most.

        A window costs the same whatever its margin, and answers for more with a narrow one.
        """
        return replace(self, margin=min(self.margin, APPLIED_MARGIN))


#: What may be trained: the network, the two baselines, the network and the forest together.
ALGORITHMS = ("network", "forest", "svm", "ensemble")


@dataclass(frozen=True)
class ForestSettings:
    """A random forest over the features of pixels.

    Attributes
    ----------
    trees : int
    leaf : int
        Pixels of a leaf, at least.
    pixels : int
        Labelled pixels drawn for training, at most.
    """

    trees: int = 150
    leaf: int = 3
    pixels: int = 40_000

    def __post_init__(self) -> None:
        check(self.trees >= 1, "trees", self.trees, ">= 1")
        check(self.leaf >= 1, "leaf", self.leaf, ">= 1 pixels")
        check(self.pixels >= 1, "pixels", self.pixels, ">= 1")


@dataclass(frozen=True)
class SvmSettings:
    """A support vector machine over the features of pixels.

    Attributes
    ----------
    penalty : float
        C: what a pixel on the wrong side costs.
    pixels : int
        Labelled pixels drawn for training, at most: time grows with their square.
    """

    penalty: float = 10.0
    pixels: int = 4_000

    def __post_init__(self) -> None:
        check(0 < self.penalty < math.inf, "penalty", self.penalty, "> 0 and finite")
        check(self.pixels >= 1, "pixels", self.pixels, ">= 1")


@dataclass(frozen=True)
class TrainingSettings:
    """How a land-cover model is trained.

    Attributes
    ----------
    local_weight, global_weight : float
        The two losses, L = local_weight * local + global_weight * global
        (0.7 and 0.3 in Dewis et al. 2025, arXiv:2511.10604).
    split : str
        ``"blocks"`` (spatially blocked validation) or ``"random"`` (leaks neighbours).
    block : float or None
        Side of a block; None for an eighth of the raster's longer side.
    block_unit : str
        ``"crs"`` (units of the CRS) or ``"m"`` (metres on the ground, at the raster's middle row).
    folds : int
        Parts of which each is held out in turn; 0 for a single held-out part.
    final_fit : bool
        With folds: train once more on everything; else the first fold's model is kept.
    validation : float
        Share of the blocks (or pixels) that is held out.
    balance : float
        Class weights are ``frequency ** -balance``: 0 none, 1 fully balanced.
    bands_noise : str
        What becomes of bands that are mostly noise: ``"weight"``, ``"drop"`` or ``"none"``.
    """

    epochs: int = 120
    patience: int = 30
    batch: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    local_weight: float = 0.7
    global_weight: float = 0.3
    label_smoothing: float = 0.05
    balance: float = 0.5
    split: str = "blocks"
    block: float | None = None
    block_unit: str = "crs"
    folds: int = 0
    final_fit: bool = True
    validation: float = 0.25
    bands_noise: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "--epochs", self.epochs, ">= 1")
        check(self.patience >= 1, "--patience", self.patience, ">= 1")
        check(self.split in ("blocks", "random"), "--split", self.split, "blocks or random")
        side = self.block is None or 0 < self.block < math.inf
        check(side, "--block", self.block, "> 0 and finite")
        check(self.block_unit in ("crs", "m"), "--block", self.block_unit, "a unit of m or none")
        check(self.folds == 0 or self.folds >= 2, "--folds", self.folds, ">= 2")
        spatial = self.folds == 0 or self.split == "blocks"
        check(spatial, "--folds", f"--split {self.split}", "--split blocks")
        blocked = self.block is None or self.split == "blocks"
        check(blocked, "--block", f"--split {self.split}", "--split blocks")
        alone = self.folds == 0 or self.validation == TrainingSettings.validation
        found = f"{self.validation:g} with --folds"
        check(alone, "--validation", found, "one of the two: folds are held out in turn")
        known = ("weight", "drop", "none")
        check(self.bands_noise in known, "--bands-noise", self.bands_noise, " or ".join(known))
        check(0 < self.validation < 1, "--validation", self.validation, "between 0 and 1")
        weights = (self.local_weight, self.global_weight)
        for option, weight in zip(("--local-weight", "--global-weight"), weights, strict=True):
            check(0 <= weight < math.inf, option, weight, ">= 0 and finite")
        check(sum(weights) > 0, "--local-weight and --global-weight", "0 twice", "one above 0")
        check(0 <= self.balance < math.inf, "--balance", self.balance, ">= 0 and finite")
        check(0 <= self.seed < 2**63, "--seed", self.seed, "from 0 to 2**63 - 1")


@dataclass(frozen=True)
class DecisionSettings:
    """What is made of probabilities.

    Attributes
    ----------
    min_confidence : float or None
        Pixels whose best class is less probable become "unsure"; None for none.
    coverage : float or None
        Share of pixels whose prediction set is to hold the true class; None for no sets.
    refine : float or None
        Segments of a lower mean confidence are looked at again; None for none.
    """

    min_confidence: float | None = None
    coverage: float | None = None
    refine: float | None = None

    def __post_init__(self) -> None:
        sure = self.min_confidence is None or 0 < self.min_confidence <= 1
        check(sure, "--min-confidence", self.min_confidence, "above 0 and at most 1")
        covered = self.coverage is None or 0 < self.coverage < 1
        check(covered, "--coverage", self.coverage, "between 0 and 1")
        again = self.refine is None or 0 < self.refine <= 1
        check(again, "--refine", self.refine, "above 0 and at most 1")
