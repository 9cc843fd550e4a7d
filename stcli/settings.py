"""The control panel: one frozen dataclass per algorithm, standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from stcli.errors import UsageError


def _check(holds: bool, option: str, found: object, wanted: str) -> None:
    if not holds:
        raise UsageError(f"{option}: found {found}, wanted {wanted}.")


#: Who may work on tiles; the address of a cluster's scheduler beside them.
SCHEDULERS = ("threads", "processes", "serial", "local")


@dataclass(frozen=True)
class RunSettings:
    """How a job runs; none of it may change a result.

    Attributes
    ----------
    tile_size : int or None
        Side of a tile's core in pixels; 0 for the whole raster as one tile; None lets the
        planner take the size that finishes first within the memory budget.
    memory : int or None
        Memory budget in bytes; None for half of what the container may use.
    jobs : int or None
        Tiles in flight at once; None for the processors that this process may use.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``, where networks run.
    scan : str or None
        ``"cpu"``, ``"cuda"`` or ``"reference"`` to force what runs the selective scan.
    scheduler : str
        Who works on tiles: ``"threads"``, ``"processes"``, ``"serial"``, ``"local"`` (a
        ``dask.distributed`` cluster on this machine), or the address of such a scheduler.
    """

    tile_size: int | None = None
    memory: int | None = None
    jobs: int | None = None
    device: str = "auto"
    scan: str | None = None
    scheduler: str = "threads"

    def __post_init__(self) -> None:
        _check(self.tile_size is None or self.tile_size >= 0, "--tile-size", self.tile_size, ">= 0")
        _check(self.memory is None or self.memory > 0, "--memory", self.memory, "> 0")
        _check(self.jobs is None or self.jobs >= 1, "--jobs", self.jobs, ">= 1")
        known = self.scheduler in SCHEDULERS or "://" in self.scheduler
        wanted = f"{', '.join(SCHEDULERS)} or an address such as tcp://host:8786"
        _check(known, "--scheduler", self.scheduler, wanted)


@dataclass(frozen=True)
class BandScaling:
    """What maps each band to about [0, 1]: ``(value - low) / (high - low)``.

    Attributes
    ----------
    low, high : tuple of float
        One value a band, in the band's unit; ``high > low``.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class SlicSettings:
    """SLIC superpixels (Achanta et al. 2012, doi:10.1109/TPAMI.2012.120).

    Attributes
    ----------
    size : int
        Mean pixels of a superpixel; the seed lattice has a step of ``round(sqrt(size))`` pixels.
    compactness : float or "auto"
        Weight of position against spectrum: a distance of one lattice step weighs as much as a
        root-mean-square difference of `compactness` in scaled bands. With ``"auto"`` each
        superpixel takes the largest such difference among its pixels (SLICO).
    iterations : int
        Rounds of assigning pixels and moving centres.
    min_size : float
        Segments below this share of `size` are absorbed by a neighbour.
    """

    size: int = 100
    compactness: float | Literal["auto"] = 0.1
    iterations: int = 10
    min_size: float = 0.25

    def __post_init__(self) -> None:
        _check(self.size >= 4, "--size", self.size, ">= 4 pixels")
        finite = self.compactness == "auto" or 0 <= self.compactness < math.inf
        _check(finite, "--compactness", self.compactness, ">= 0 and finite, or auto")
        _check(self.iterations >= 1, "--iterations", self.iterations, ">= 1")
        _check(0 <= self.min_size <= 1, "--min-size", self.min_size, "between 0 and 1")

    @property
    def step(self) -> int:
        """Step of the seed lattice in pixels."""
        return max(2, round(math.sqrt(self.size)))


#: Superpixels for land cover: half the rounds, and so about half the halo to read.
LANDCOVER_SLIC = SlicSettings(iterations=5)


@dataclass(frozen=True)
class NetworkSettings:
    """Widths and windows of the GLocal OBIA-Mamba network.

    Attributes
    ----------
    window, margin : int
        Side of a lattice window and the rim of it that gives context but no result, in pixels.
    local_width : int
        Channels of the CNN branch at full resolution.
    model_width : int
        Width of a token.
    state : int
        States per channel of the selective scan.
    layers : int
        Bidirectional Mamba layers.
    """

    window: int = 256
    margin: int = 32
    local_width: int = 24
    model_width: int = 64
    state: int = 16
    layers: int = 2

    def __post_init__(self) -> None:
        _check(self.margin >= 0, "margin", self.margin, ">= 0 pixels")
        whole = self.window > 0 and self.window % 4 == 0
        _check(whole, "window", self.window, "a multiple of 4 pixels")
        _check(self.stride > 0, "window", self.window, f"more than two margins of {self.margin}")

    @property
    def stride(self) -> int:
        """Side of the part of a window that answers for its pixels."""
        return self.window - 2 * self.margin


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
        Side of a validation block in CRS units; None for an eighth of the raster's longer side.
    validation : float
        Share of the blocks (or pixels) that is held out.
    balance : float
        Class weights are ``frequency ** -balance``: 0 none, 1 fully balanced.
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
    validation: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.epochs >= 1, "--epochs", self.epochs, ">= 1")
        _check(self.patience >= 1, "--patience", self.patience, ">= 1")
        _check(self.split in ("blocks", "random"), "--split", self.split, "blocks or random")
        side = self.block is None or 0 < self.block < math.inf
        _check(side, "--block", self.block, "> 0 and finite")
        _check(0 < self.validation < 1, "--validation", self.validation, "between 0 and 1")
        weights = (self.local_weight, self.global_weight)
        for option, weight in zip(("--local-weight", "--global-weight"), weights, strict=True):
            _check(0 <= weight < math.inf, option, weight, ">= 0 and finite")
        _check(sum(weights) > 0, "--local-weight and --global-weight", "0 twice", "one above 0")
        _check(0 <= self.balance < math.inf, "--balance", self.balance, ">= 0 and finite")
        _check(0 <= self.seed < 2**63, "--seed", self.seed, "from 0 to 2**63 - 1")


@dataclass(frozen=True)
class ObjectSettings:
    """What is written of each object.

    Attributes
    ----------
    percentiles : tuple of float
        Percentiles of each band, 0 to 100.
    indices : tuple of str
        Spectral indices by name.
    index_bands : tuple of (str, str)
        Letters of the formulas and the bands that stand for them.
    texture : bool
        Grey-level co-occurrence figures of each band.
    geometry : bool
        Polygons, or a plain table.
    """

    percentiles: tuple[float, ...] = ()
    indices: tuple[str, ...] = ()
    index_bands: tuple[tuple[str, str], ...] = ()
    texture: bool = False
    geometry: bool = True

    def __post_init__(self) -> None:
        for percentile in self.percentiles:
            _check(0 <= percentile <= 100, "--percentiles", percentile, "from 0 to 100")


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
    conserve : str
        ``"add"``, ``"mult"``, ``"scadd"`` or ``"none"``: how block means are brought back to the
        coarse values (Harder et al. 2023, JMLR 24).
    limits : (float, float) or None
        Lowest and highest possible value, in the bands' unit; `scadd` needs them.
    rounds : int
        Rounds of back-projection.
    """

    factor: int = 2
    method: str = "ibp"
    conserve: str = "add"
    limits: tuple[float, float] | None = None
    rounds: int = 10

    def __post_init__(self) -> None:
        _check(2 <= self.factor <= 16, "--factor", self.factor, "from 2 to 16")
        methods = ("nearest", "bilinear", "cubic", "ibp", "latent")
        _check(self.method in methods, "--method", self.method, ", ".join(methods))
        learned = self.method == "latent"
        _check(not learned or self.factor in (2, 4), "--factor", self.factor, "2 or 4 for a model")
        ways = ("add", "mult", "scadd", "none")
        _check(self.conserve in ways, "--conserve", self.conserve, ", ".join(ways))
        pair = self.limits is None or self.limits[0] < self.limits[1]
        _check(pair, "--limits", self.limits, "LOW,HIGH with LOW < HIGH")
        scadd = self.conserve != "scadd" or self.limits is not None
        _check(scadd, "--conserve scadd", "no limits", "--limits LOW,HIGH beside it")
        _check(self.rounds >= 0, "rounds", self.rounds, ">= 0")


@dataclass(frozen=True)
class MergeSettings:
    """Objects by region merging (Baatz & Schäpe 2000), of bands scaled to 0–255.

    Attributes
    ----------
    scales : tuple of float
        Two objects merge while their heterogeneity grows by less than ``scale ** 2``; one level
        each, rising.
    shape : float
        Weight of shape against spectrum, 0 to 1.
    compactness : float
        Within shape, weight of compactness against smoothness, 0 to 1.
    """

    scales: tuple[float, ...] = (50.0,)
    shape: float = 0.1
    compactness: float = 0.5

    def __post_init__(self) -> None:
        finite = all(0 < scale < math.inf for scale in self.scales)
        _check(bool(self.scales) and finite, "--scale", self.scales, "numbers > 0")
        rising = all(a < b for a, b in zip(self.scales, self.scales[1:], strict=False))
        _check(rising, "--scale", self.scales, "rising scales")
        _check(0 <= self.shape <= 1, "--shape", self.shape, "between 0 and 1")
        option = "--shape-compactness"
        _check(0 <= self.compactness <= 1, option, self.compactness, "between 0 and 1")


@dataclass(frozen=True)
class NoiseMapSettings:
    """The local noise map: a windowed robust deviation of diagonal wavelet coefficients.

    Attributes
    ----------
    wavelet : str
        Orthogonal wavelet of PyWavelets.
    levels : int
        Wavelet levels that get a map of their own; the first is the noise of white bands.
    window : int
        Side in pixels of the largest window at level 1, odd; at level j it is j times as wide.
        A third of it is taken where the noise changes.
    model : str
        ``"additive"``; ``"multiplicative"``: noise is a share of the value (speckle);
        ``"poisson"``: its variance is gain * value + read noise**2.
    """

    wavelet: str = "sym8"
    levels: int = 1
    window: int = 97
    model: str = "additive"

    def __post_init__(self) -> None:
        _check(1 <= self.levels <= 6, "--levels", self.levels, "from 1 to 6")
        odd = 9 <= self.window <= 513 and self.window % 2 == 1
        _check(odd, "--window", self.window, "an odd number of pixels from 9 to 513")
        models = ("additive", "multiplicative", "poisson")
        _check(self.model in models, "--model", self.model, "additive, multiplicative or poisson")

    @property
    def step(self) -> int:
        """Pixels between the nodes where the map is measured; it is linear between them."""
        return max(1, self.window // 8)


@dataclass(frozen=True)
class ShrinkSettings:
    """Wiener shrinkage of stationary wavelet coefficients.

    Attributes
    ----------
    wavelet : str
        Orthogonal wavelet of PyWavelets.
    depth : int
        Wavelet levels that are shrunk.
    energy : int
        Side in pixels of the window of a coefficient's local energy, odd.
    passes : int
        1: energies from the noisy coefficients; 2: again, from those of the first result.
    strength : float
        Factor on the noise's deviation.
    """

    wavelet: str = "db4"
    depth: int = 4
    energy: int = 7
    passes: int = 2
    strength: float = 1.0

    def __post_init__(self) -> None:
        _check(1 <= self.depth <= 6, "--depth", self.depth, "from 1 to 6")
        odd = 1 <= self.energy <= 65 and self.energy % 2 == 1
        _check(odd, "energy", self.energy, "an odd number of pixels from 1 to 65")
        _check(self.passes in (1, 2), "--passes", self.passes, "1 or 2")
        _check(0 < self.strength < math.inf, "--strength", self.strength, "> 0 and finite")


@dataclass(frozen=True)
class WhitenSettings:
    """Whitening in time (Cornish 2025, arXiv:2511.10632).

    Attributes
    ----------
    share : int
        Side in pixels of a lattice block whose series share one spectrum; 1 for each on its own.
    rows : int or None
        Frequency rows of the WDM cells, even; None for a power of two near sqrt(samples / 8).
    evolving : bool
        Let the spectrum change in time where the data prove that it does.
    uneven : str
        ``"refuse"`` dates that lie on no even lattice, or take them in ``"order"``, as if even.
    """

    share: int = 32
    rows: int | None = None
    evolving: bool = True
    uneven: str = "refuse"

    def __post_init__(self) -> None:
        _check(self.share >= 1, "--share", self.share, ">= 1 pixel")
        even = self.rows is None or (self.rows >= 2 and self.rows % 2 == 0)
        _check(even, "--rows", self.rows, "an even number >= 2")
        _check(self.uneven in ("refuse", "order"), "--uneven", self.uneven, "refuse or order")


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
        _check(self.architecture in known, "--architecture", self.architecture, " or ".join(known))
        heads = bool(self.factors) and set(self.factors) <= {2, 4}
        _check(heads, "--factor", self.factors, "2, 4 or 2,4")
        _check(self.width >= 4 and self.width % 4 == 0, "width", self.width, "a multiple of 4")
        _check(self.blocks >= 1, "blocks", self.blocks, ">= 1")
        _check(self.margin >= 2 * self.blocks + 2, "margin", self.margin, "the network's reach")
        even = (self.window + 2 * self.margin) % 16 == 0
        _check(even, "window and two margins", self.window + 2 * self.margin, "a multiple of 16")


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
    augment : float
        Probability that a crop comes from a coarsened or blurred copy of the fields: for models
        that will be used at another scale than they were trained at.
    """

    steps: int = 600
    patience: int = 5
    every: int = 100
    batch: int = 12
    crop: int = 32
    learning_rate: float = 2e-3
    validation: float = 0.2
    block: int = 64
    augment: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self.steps >= 1, "--steps", self.steps, ">= 1")
        _check(self.patience >= 1, "--patience", self.patience, ">= 1")
        _check(self.every >= 1, "every", self.every, ">= 1")
        _check(self.crop >= 16 and self.crop % 16 == 0, "crop", self.crop, "a multiple of 16")
        _check(0 < self.validation < 1, "--validation", self.validation, "between 0 and 1")
        _check(0 <= self.augment <= 1, "--augment", self.augment, "between 0 and 1")
        _check(0 <= self.seed < 2**63, "--seed", self.seed, "from 0 to 2**63 - 1")


@dataclass(frozen=True)
class DestripeSettings:
    """Stripes of single detectors, found by medians over a column and taken out.

    Attributes
    ----------
    along : str
        ``"columns"``: a detector a column (pushbroom along rows); ``"rows"``: a detector a row.
    gain : bool
        Correct gains too, not offsets alone.
    span : int
        Columns beyond which a change belongs to the scene, odd.
    """

    along: str = "columns"
    gain: bool = False
    span: int = 31

    def __post_init__(self) -> None:
        _check(self.along in ("columns", "rows"), "--stripes", self.along, "columns or rows")
        odd = 3 <= self.span <= 1025 and self.span % 2 == 1
        _check(odd, "--span", self.span, "an odd number of columns from 3 to 1025")
