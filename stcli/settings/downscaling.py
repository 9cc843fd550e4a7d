"""Downscaling."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stcli.settings.checking import check


@dataclass(frozen=True)
class Conserving:
    """How block means are brought to coarse values (Harder et al. 2023, JMLR 24).

    Attributes
    ----------
    how : str
        ``"add"``, ``"mult"``, ``"scadd"`` or ``"none"``.
    limits : (float, float) or None
        Lowest and highest possible value, in the bands' unit; `scadd` needs them.
    """

    how: str = "add"
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        ways = ("add", "mult", "scadd", "none")
        check(self.how in ways, "--conserve", self.how, ", ".join(ways))
        pair = self.limits is None or self.limits[0] < self.limits[1]
        check(pair, "--limits", self.limits, "LOW,HIGH with LOW < HIGH")
        scadd = self.how != "scadd" or self.limits is not None
        check(scadd, "--conserve scadd", "no limits", "--limits LOW,HIGH beside it")
        used = self.limits is None or self.how == "scadd"
        check(used, "--limits", f"--conserve {self.how}", "--conserve scadd beside it")


@dataclass(frozen=True)
class DownscaleSettings:
    """How a raster is made finer.

    Attributes
    ----------
    factor : int
        Fine pixels along a side of a coarse one.
    method : str
        ``"nearest"``, ``"bilinear"``, ``"cubic"`` (cubic spline), ``"ibp"`` (cubic spline and
        iterative back-projection; Irani and Peleg 1991) or ``"latent"`` (a trained model).
    conserve, limits : str, (float, float) or None
        As `Conserving` has them.
    rounds : int
        Rounds of back-projection.
    """

    factor: int = 2
    method: str = "ibp"
    conserve: str = "add"
    limits: tuple[float, float] | None = None
    rounds: int = 10

    def __post_init__(self) -> None:
        check(2 <= self.factor <= 16, "--factor", self.factor, "from 2 to 16")
        methods = ("nearest", "bilinear", "cubic", "ibp", "latent")
        check(self.method in methods, "--method", self.method, ", ".join(methods))
        learned = self.method == "latent"
        check(not learned or self.factor in (2, 4), "--factor", self.factor, "2 or 4 for a model")
        Conserving(self.conserve, self.limits)  # refuses what does not go together
        check(self.rounds >= 0, "rounds", self.rounds, ">= 0")


@dataclass(frozen=True)
class UpscalerSettings:
    """Widths and windows of a learned upscaler.

    Attributes
    ----------
    architecture : str
        ``"shuffle"`` (convolutions at the coarse resolution and a pixel shuffle) or ``"latent"``
        (autoencoder and Swin upscaler of latents).
    width, blocks : int
        Channels, and residual (or Swin) blocks.
    factors : tuple of int
        Of its heads: 2, 4 or both; one only with a guide.
    window, margin : int
        Side of a lattice window's core and the rim around it that gives context, in coarse
        pixels; the margin is at least the network's reach.
    """

    architecture: str = "shuffle"
    width: int = 32
    blocks: int = 4
    factors: tuple[int, ...] = (2,)
    window: int = 128
    margin: int = 16

    def __post_init__(self) -> None:
        known = ("shuffle", "latent")
        check(self.architecture in known, "--architecture", self.architecture, " or ".join(known))
        heads = bool(self.factors) and set(self.factors) <= {2, 4}
        check(heads, "--factor", self.factors, "2, 4 or 2,4")
        check(self.width >= 4 and self.width % 4 == 0, "--width", self.width, "a multiple of 4")
        check(self.margin >= 4, "margin", self.margin, "the network's reach")
        most = (self.margin - 2) // 2  # a block reaches two pixels, what is around them two more
        check(1 <= self.blocks <= most, "--blocks", self.blocks, f"from 1 to {most}")
        even = (self.window + 2 * self.margin) % 16 == 0
        check(even, "window and two margins", self.window + 2 * self.margin, "a multiple of 16")


@dataclass(frozen=True)
class DownscalerTraining:
    """How an upscaler is trained.

    Attributes
    ----------
    steps : int
        Of each stage at most.
    patience : int
        Validations without a better error before a stage ends.
    every : int
        Steps between validations.
    batch, crop : int
        Crops a step, and their side in coarse pixels.
    validation : float
        Share of the blocks that is held out.
    block : int
        Side of a validation block in coarse pixels.
    transfer : bool
        The model will be used at another scale than it is trained at: blurred copies of the
        fields are trained on as well.
    psf : tuple of float
        Standard deviation, in pixels, of the point spread beyond a pixel's own box, one a band or
        one for all; empty if unknown.
    """

    steps: int = 2000
    patience: int = 5
    every: int = 100
    batch: int = 12
    crop: int = 32
    learning_rate: float = 3e-3
    validation: float = 0.2
    block: int = 64
    transfer: bool = False
    psf: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.steps >= 1, "--steps", self.steps, ">= 1")
        check(self.patience >= 1, "--patience", self.patience, ">= 1")
        check(self.every >= 1, "every", self.every, ">= 1")
        check(self.crop >= 16 and self.crop % 16 == 0, "crop", self.crop, "a multiple of 16")
        check(0 < self.validation < 1, "--validation", self.validation, "between 0 and 1")
        check(all(0 <= s <= 3 for s in self.psf), "--psf", self.psf, "from 0 to 3 pixels")
        check(0 <= self.seed < 2**63, "--seed", self.seed, "from 0 to 2**63 - 1")


def psf_of_mtf(mtf: float) -> float:
    """Turn the modulation transfer at the Nyquist frequency into a point spread.

    The pixel's own box has 2 / pi there; what is missing is laid to a Gaussian.

    Parameters
    ----------
    mtf : float
        Above 0, up to 1.

    Returns
    -------
    float
        Standard deviation in pixels, beyond the pixel's own box.
    """
    missing = min(1.0, mtf * math.pi / 2)
    return math.sqrt(-2 * math.log(missing)) / math.pi
