"""Training an upscaler on fields whose fine values are known, by coarsening them.

A *sample* is one field at one factor: its features at the coarse resolution and the residual of
the base, place by place. Blocks of each field are held out; crops never touch them. The error
that decides is the RMSE over held-out pixels divided by that of the base (ibp): below 1 the
network is worth its cost, and a model that stays above it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from stcli.downscaling.coarsen import block_mean, block_sum
from stcli.downscaling.features import base, features, unshuffle
from stcli.downscaling.network import Upscaler
from stcli.downscaling.turns import moved
from stcli.settings import DownscalerTraining

#: ``figures(step, steps, {"loss": …, "validation": …})``
Figures = Callable[[int, int, dict[str, float]], None]


def silent(step: int, steps: int, figures: dict[str, float]) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Sample:
    """One field at one factor.

    Attributes
    ----------
    factor : int
    inputs : ndarray of float32, (feature, row, col)
    target : ndarray of float32, (band * factor**2, row, col)
        Truth minus base, place by place; NaN where either has no value.
    """

    factor: int
    inputs: NDArray[np.float32]
    target: NDArray[np.float32]


def sample(truth: NDArray[Any], guide: NDArray[Any] | None, factor: int) -> Sample:
    """Coarsen a field and find what the base misses.

    Parameters
    ----------
    truth : ndarray, (band, row, col)
        NaN is no value; rows and columns that make no whole block are left out.
    guide : ndarray, (guide, row, col), optional
        On the same grid.
    factor : int
    """
    rows, cols = (n // factor * factor for n in truth.shape[1:])
    fine = truth[:, :rows, :cols]
    coarse = block_mean(fine, factor)
    coarse[block_sum(np.isnan(fine), factor) > 0] = np.nan
    seen = None if guide is None else guide[:, :rows, :cols]
    inputs = features(coarse, seen, factor)
    target = unshuffle(fine - base(coarse, factor), factor).astype(np.float32)
    return Sample(factor, inputs, target)


def copies(
    truth: NDArray[Any], guide: NDArray[Any], factor: int, blurs: Sequence[float] = (0.0, 0.45)
) -> list[Sample]:
    """Make samples at shifts of the block grid and with a blurred truth.

    A sensor's bands are less sharp against a guide at their own resolution than block means of
    them are, by its point spread; a model meant for another scale than it is trained at must
    have seen both. `blurs` are standard deviations of a Gaussian in fine pixels.

    Parameters
    ----------
    truth : ndarray, (band, row, col)
    guide : ndarray, (guide, row, col)
        On the grid of the truth.
    factor : int
    """
    found = []
    for blur in blurs:
        soft = np.stack([_blurred(band, blur) for band in truth])
        for shift in range(factor if blur == blurs[0] else 1):
            found.append(sample(soft[:, shift:, shift:], guide[:, shift:, shift:], factor))
    return found


def _blurred(band: NDArray[Any], sigma: float) -> NDArray[np.float64]:
    """Blur, leaving gaps out of every mean."""
    known = ~np.isnan(band)
    weight = gaussian_filter(known.astype(np.float64), sigma, mode="nearest")
    total = gaussian_filter(np.where(known, band, 0.0).astype(np.float64), sigma, mode="nearest")
    return np.where(known, total / np.where(known, weight, 1.0), np.nan)


@dataclass
class _Split:
    """A sample with its held-out pixels, and the corners where a crop touches none of them."""

    data: Sample
    held: NDArray[np.bool_]
    corners: NDArray[np.int64]
    inputs: Tensor
    target: Tensor


def train(
    network: Upscaler,
    samples: Sequence[Sample],
    how: DownscalerTraining,
    checked: int | None = None,
    figures: Figures = silent,
) -> list[dict[str, float]]:
    """Train a network in place; it ends with the weights of the best validation.

    Parameters
    ----------
    network : Module
        `Shuffle` or one with its buffers and call.
    samples : sequence of Sample
    how : DownscalerTraining
    checked : int, optional
        The first so many samples are validated on; all by default.

    Returns
    -------
    list of dict
        ``step``, ``loss`` and ``validation`` (RMSE over the base's, mean over bands and samples).

    Raises
    ------
    ValueError
        The fields are too small to hold out blocks and cut crops from the rest.
    """
    torch.manual_seed(how.seed)
    splits = [_split(one, how, np.random.default_rng(how.seed)) for one in samples]
    usable = [split for split in splits if len(split.corners)]
    judges = [split for split in splits[: checked or len(splits)] if _judges(split)]
    if not usable or not judges:
        raise ValueError("too few pixels to hold out blocks and cut crops from the rest")
    _normalise(network, usable)
    run = _Run(network, usable, judges, how, figures)
    for stage, share in network.stages:
        run.stage(stage, max(1, round(share * how.steps)))
    run.keep_best()
    return run.history


class _Run:
    """A training under way: its crops, its history, its best weights."""

    def __init__(
        self,
        network: Upscaler,
        usable: Sequence[_Split],
        judges: Sequence[_Split],
        how: DownscalerTraining,
        figures: Figures,
    ) -> None:
        self.network, self.usable, self.judges = network, usable, judges
        self.how, self.figures = how, figures
        self.rng = np.random.default_rng(how.seed)
        sizes = np.array([len(split.corners) for split in usable], float)
        self.chances = sizes / sizes.sum()
        self.history: list[dict[str, float]] = []
        self.best, self.waited, self.done = float("inf"), 0, 0
        self.kept: dict[str, Tensor] | None = None
        self.losses: list[float] = []

    def stage(self, stage: str, steps: int) -> None:
        """Train the parameters of a stage, with a learning rate that rises and falls once."""
        parameters = self.network.trained(stage)
        rate = self.how.learning_rate
        optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _pace(step, steps))
        for step in range(1, steps + 1):
            self._step(stage, parameters, optimiser)
            schedule.step()
            judged = stage in ("joint", "pixel")
            if judged and (step % self.how.every == 0 or step == steps) and self._judge(stage):
                return

    def _step(self, stage: str, parameters: list[Any], optimiser: Any) -> None:
        split = self.usable[self.rng.choice(len(self.usable), p=self.chances)]
        inputs, target = _crops(self.network, split, self.how, self.rng)
        factor = split.data.factor
        loss = self.network.loss(stage, inputs, target / self.network.units(factor), factor)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        self.losses.append(float(loss.detach()))
        self.done += 1

    def _judge(self, stage: str) -> bool:
        """Validate; tell whether patience is at its end."""
        score = float(np.mean([_score(self.network, judge) for judge in self.judges]))
        line = {"step": self.done, "loss": float(np.mean(self.losses)), "validation": score}
        self.history.append(line)
        self.figures(self.done, self.how.steps, line)
        self.waited, self.losses = self.waited + 1, []
        if score < self.best:
            self.best, self.waited = score, 0
            state = self.network.state_dict()
            self.kept = {key: value.clone() for key, value in state.items()}
        return stage == "pixel" and self.waited >= self.how.patience

    def keep_best(self) -> None:
        """Go back to the weights of the best validation."""
        if self.kept is not None:
            self.network.load_state_dict(self.kept)


def _pace(step: int, steps: int) -> float:
    """Rise over the first tenth of the steps, then fall to 0 as a cosine."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def validate(
    network: Upscaler, samples: Sequence[Sample], how: DownscalerTraining
) -> dict[int, float]:
    """Measure a network on the held-out blocks of samples: RMSE over the base's, by factor."""
    found: dict[int, list[float]] = {}
    for one in samples:
        split = _split(one, how, np.random.default_rng(how.seed))
        if _judges(split):
            found.setdefault(one.factor, []).append(_score(network, split))
    return {factor: float(np.mean(scores)) for factor, scores in found.items()}


def _split(one: Sample, how: DownscalerTraining, rng: np.random.Generator) -> _Split:
    rows, cols = one.inputs.shape[1:]
    block = min(how.block, max(how.crop, rows // 3), max(how.crop, cols // 3))
    grid = -(-rows // block), -(-cols // block)
    chosen = rng.permutation(grid[0] * grid[1]) < max(1, round(how.validation * grid[0] * grid[1]))
    held = chosen.reshape(grid).repeat(block, 0).repeat(block, 1)[:rows, :cols]
    known = np.isfinite(one.target).all(axis=0)
    side = how.crop
    good = np.zeros((rows + 1, cols + 1))
    good[1:, 1:] = np.cumsum(np.cumsum(~held & known, 0), 1)
    if rows < side or cols < side:
        corners = np.empty((0, 2), np.int64)
    else:
        area = good[side:, side:] - good[:-side, side:] - good[side:, :-side] + good[:-side, :-side]
        bad = np.zeros((rows + 1, cols + 1))
        bad[1:, 1:] = np.cumsum(np.cumsum(held, 0), 1)
        out = bad[side:, side:] - bad[:-side, side:] - bad[side:, :-side] + bad[:-side, :-side]
        corners = np.argwhere((out == 0) & (area > side * side / 2))
    inputs = torch.from_numpy(np.ascontiguousarray(one.inputs))
    return _Split(one, held & known, corners, inputs, torch.from_numpy(one.target))


def _judges(split: _Split) -> bool:
    return bool(split.held.any() and split.data.target[:, split.held].any())


def _normalise(network: Upscaler, splits: Sequence[_Split]) -> None:
    """Set the buffers from the pixels that are trained on."""
    seen = np.concatenate([s.data.inputs[:, _shown(s)] for s in splits], axis=1, dtype=np.float64)
    spread = seen.std(axis=1)
    bands = len(network.unit)
    squares = [
        np.mean(s.data.target[:, _shown(s)].reshape(bands, -1) ** 2.0, axis=1) for s in splits
    ]
    unit = np.sqrt(np.mean(squares, axis=0))
    network.mean.copy_(torch.from_numpy(seen.mean(axis=1)))
    network.scale.copy_(torch.from_numpy(np.where(spread > 0, spread, 1)))
    network.unit.copy_(torch.from_numpy(np.where(unit > 0, unit, 1)))


def _shown(split: _Split) -> NDArray[np.bool_]:
    """Pixels with a value that are not held out."""
    known: NDArray[np.bool_] = np.isfinite(split.data.target).all(axis=0) & ~split.held
    return known


def _crops(
    network: Upscaler, split: _Split, how: DownscalerTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cut crops at random corners, each turned and mirrored at random with its blocks."""
    chosen = split.corners[rng.integers(0, len(split.corners), how.batch)]
    side, s, inputs, targets = how.crop, split.data.factor, [], []
    for row, col in chosen:
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        part = np.s_[:, row : row + side, col : col + side]
        inputs.append(moved(split.inputs[part], turns, mirror, network.plain, s))
        targets.append(moved(split.target[part], turns, mirror, 0, s))
    return torch.stack(inputs), torch.stack(targets)


@torch.no_grad()
def residual_of(network: Upscaler, inputs: Tensor, factor: int) -> NDArray[np.float32]:
    """Run a network over a whole field: (feature, row, col) to (band * s * s, row, col)."""
    network.eval()
    found: NDArray[np.float32] = (network(inputs[None], factor) * network.units(factor))[0].numpy()
    network.train()
    return found


def _score(network: Upscaler, split: _Split) -> float:
    """RMSE over held-out pixels divided by the base's, mean over bands."""
    factor, held = split.data.factor, split.held
    wanted = split.data.target[:, held]
    wrong = residual_of(network, split.inputs, factor)[:, held] - wanted
    bands = len(wanted) // factor**2
    ours, theirs = ((a.reshape(bands, -1) ** 2.0).mean(axis=1) for a in (wrong, wanted))
    return float(np.mean(np.sqrt(ours / np.where(theirs > 0, theirs, 1))))
