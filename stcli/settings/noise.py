"""Noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stcli.settings.checking import check


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
        check(1 <= self.levels <= 6, "--levels", self.levels, "from 1 to 6")
        odd = 9 <= self.window <= 513 and self.window % 2 == 1
        check(odd, "--window", self.window, "an odd number of pixels from 9 to 513")
        models = ("additive", "multiplicative", "poisson")
        check(self.model in models, "--model", self.model, "additive, multiplicative or poisson")

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
        check(1 <= self.depth <= 6, "--depth", self.depth, "from 1 to 6")
        odd = 1 <= self.energy <= 65 and self.energy % 2 == 1
        check(odd, "energy", self.energy, "an odd number of pixels from 1 to 65")
        check(self.passes in (1, 2), "--passes", self.passes, "1 or 2")
        check(0 < self.strength < math.inf, "--strength", self.strength, "> 0 and finite")


@dataclass(frozen=True)
class SimilarSettings:
    """Means of similar pixels.

    Attributes
    ----------
    search : int
        Side in pixels of the square in which similar pixels are looked for, odd.
    around : int
        Side in pixels of the square by which two pixels are compared, odd.
    strength : float
        Factor on the noise's deviation, beside what neighbours are found to share of it.
    """

    search: int = 25
    around: int = 3
    strength: float = 0.8

    def __post_init__(self) -> None:
        odd = 3 <= self.search <= 65 and self.search % 2 == 1
        check(odd, "--search", self.search, "an odd number of pixels from 3 to 65")
        odd = 1 <= self.around <= 15 and self.around % 2 == 1
        check(odd, "around", self.around, "an odd number of pixels from 1 to 15")
        check(0 < self.strength < math.inf, "--strength", self.strength, "> 0 and finite")


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
        check(self.along in ("columns", "rows"), "--stripes", self.along, "columns or rows")
        odd = 3 <= self.span <= 1025 and self.span % 2 == 1
        check(odd, "--span", self.span, "an odd number of columns from 3 to 1025")


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
        check(1 <= self.share <= 32_768, "--share", self.share, "from 1 to 32,768 pixels")
        even = self.rows is None or (self.rows >= 2 and self.rows % 2 == 0)
        check(even, "--rows", self.rows, "an even number >= 2")
        check(self.uneven in ("refuse", "order"), "--uneven", self.uneven, "refuse or order")
