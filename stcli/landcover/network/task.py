"""What is learnt from: windows with their truth, and the two sides of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.dates import Series
from stcli.landcover.network.network import Windows
from stcli.landcover.network.neural import batch
from stcli.landcover.network.windows import Window, turned, turned_window
from stcli.nn.device import Compute, compute
from stcli.settings import BandScaling

#: Share of a stack's dates that a varied sample is without, as clouds do; and the days that it is
#: moved by at most, as years do.
_LOST, _SHIFT = 0.1, 8


@dataclass(frozen=True)
class Sample:
    """A window with its truth.

    Attributes
    ----------
    window : Window
    truth : ndarray of uint8 (row, col)
        Class from 1; 0 where not labelled.
    """

    window: Window
    truth: NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """What to learn.

    Attributes
    ----------
    train, validation : sequence of Sample
    classes : tuple of str
    scaling : BandScaling
    step : int
        Pixels between the superpixels' seeds.
    where : Compute
        Device and scan.
    order : str
        In which tokens are scanned; `train` takes the network's.
    """

    train: Sequence[Sample]
    validation: Sequence[Sample]
    classes: tuple[str, ...]
    scaling: BandScaling
    step: int
    where: Compute = field(default_factory=lambda: compute("cpu"))
    order: str = "serpentine"

    def batch(self, samples: Sequence[Sample]) -> Windows:
        """Make the network's input of samples, on the device."""
        windows = batch([s.window for s in samples], self.scaling, self.step, self.order)
        return windows.to(self.where.device)


def vary(sample: Sample, generator: np.random.Generator) -> Sample:
    """Turn a sample at random; of a stack, leave dates out and move them all by some days."""
    turned_sample = turn(sample, int(generator.integers(8)))
    window = turned_sample.window
    if window.series is None:
        return turned_sample
    return replace(turned_sample, window=replace(window, series=_varied(window.series, generator)))


def _varied(series: Series, generator: np.random.Generator) -> Series:
    kept = generator.random(len(series.days)) >= _LOST
    shift = int(generator.integers(-_SHIFT, _SHIFT + 1))
    return replace(series, clear=series.clear * kept, days=series.days + shift)


def turn(sample: Sample, way: int) -> Sample:
    """One of the eight turns and mirrorings of a sample; radiometry stays."""
    return Sample(turned_window(sample.window, way), turned(sample.truth, way))
