"""Training an upscaler on samples: its stages, its learning rate, and when it ends.

Blocks of each field are held out (`stcli.downscaling.splits`); the weights kept are those of the
smallest error there (`stcli.downscaling.validation`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stcli.downscaling.network import Upscaler
from stcli.downscaling.samples import Sample
from stcli.downscaling.splits import Split, crops, judges, shown, split
from stcli.downscaling.spread import Spread, member_loss, spread
from stcli.downscaling.validation import blend, score
from stcli.settings import DownscalerTraining

#: ``figures(step, steps, {"loss": …, "validation": …})``
Figures = Callable[[int, int, dict[str, float]], None]

#: Steps that members are trained for, beside those of everything else, and how much faster: few
#: weights move, between layers that stand still.
SPREAD_SHARE, SPREAD_RATE = 0.25, 4.0


def silent(step: int, steps: int, figures: dict[str, float]) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Trained:
    """How a training went.

    Attributes
    ----------
    history : list of dict
        ``step``, ``loss`` and ``validation`` (RMSE over the base's, mean over bands and samples).
    ratios : dict of int to tuple of float
        Of each factor, RMSE over the base's by band on held-out pixels, as the network is used.
    spread : dict of int to Spread
        Of each factor, how its members do there.
    """

    history: list[dict[str, float]]
    ratios: dict[int, tuple[float, ...]]
    spread: dict[int, Spread]


def train(
    network: Upscaler,
    samples: Sequence[Sample],
    how: DownscalerTraining,
    checked: int | None = None,
    figures: Figures = silent,
) -> Trained:
    """Train a network in place; it ends with the weights of the best validation.

    Parameters
    ----------
    network : Upscaler
    samples : sequence of Sample
    how : DownscalerTraining
    checked : int, optional
        The first so many samples are validated on; all by default.

    Raises
    ------
    ValueError
        The fields are too small to hold out blocks and cut crops from the rest.
    """
    torch.manual_seed(how.seed)
    splits = [split(one, how) for one in samples]
    usable = [one for one in splits if len(one.corners)]
    judging = [one for one in splits[: checked or len(splits)] if judges(one)]
    if not usable or not judging:
        raise ValueError("too few pixels to hold out blocks and cut crops from the rest")
    _normalise(network, usable)
    run = _Run(network, usable, judging, how, figures)
    for stage, share in network.stages:
        run.stage(stage, max(1, round(share * how.steps)))
    run.keep_best()
    ratios = blend(network, judging)
    run.stage("spread", max(1, round(SPREAD_SHARE * how.steps)))
    network.requires_grad_(True)
    return Trained(run.history, ratios, spread(network, judging, how.seed))


class _Run:
    """A training under way: its crops, its history, its best weights."""

    def __init__(
        self,
        network: Upscaler,
        usable: Sequence[Split],
        judging: Sequence[Split],
        how: DownscalerTraining,
        figures: Figures,
    ) -> None:
        self.network, self.usable, self.judging = network, usable, judging
        self.how, self.figures = how, figures
        self.rng = np.random.default_rng(how.seed)
        sizes = np.array([len(one.corners) for one in usable], float)
        self.chances = sizes / sizes.sum()
        self.history: list[dict[str, float]] = []
        self.best, self.waited, self.done = float("inf"), 0, 0
        self.kept: dict[str, Tensor] | None = None
        self.losses: list[float] = []

    def stage(self, stage: str, steps: int) -> None:
        """Train the parameters of a stage, with a learning rate that rises and falls once."""
        parameters = self._moved(stage)
        _still(self.network, parameters)
        rate = self.how.learning_rate * (SPREAD_RATE if stage == "spread" else 1)
        optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _pace(step, steps))
        for step in range(1, steps + 1):
            self._step(stage, parameters, optimiser)
            schedule.step()
            judged = stage in ("joint", "pixel")
            if judged and (step % self.how.every == 0 or step == steps) and self._judge(stage):
                return

    def _moved(self, stage: str) -> list[nn.Parameter]:
        if stage == "spread":
            return list(self.network.noise.parameters())
        return self.network.trained(stage)

    def _step(self, stage: str, parameters: list[Any], optimiser: Any) -> None:
        one = self.usable[self.rng.choice(len(self.usable), p=self.chances)]
        inputs, target = crops(self.network, one, self.how, self.rng)
        factor = one.data.factor
        scaled = target / self.network.units(factor)
        if stage == "spread":
            loss = member_loss(self.network, inputs, scaled, factor)
        else:
            loss = self.network.loss(stage, inputs, scaled, factor)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        self.losses.append(float(loss.detach()))
        self.done += 1

    def _judge(self, stage: str) -> bool:
        """Validate; tell whether patience is at its end."""
        found = float(np.mean([score(self.network, one) for one in self.judging]))
        line = {"step": self.done, "loss": float(np.mean(self.losses)), "validation": found}
        self.history.append(line)
        self.figures(self.done, self.how.steps, line)
        self.waited, self.losses = self.waited + 1, []
        if found < self.best:
            self.best, self.waited = found, 0
            state = self.network.state_dict()
            self.kept = {key: value.clone() for key, value in state.items()}
        return stage == "pixel" and self.waited >= self.how.patience

    def keep_best(self) -> None:
        """Go back to the weights of the best validation."""
        if self.kept is not None:
            self.network.load_state_dict(self.kept)


def _still(network: Upscaler, moved: Sequence[nn.Parameter]) -> None:
    """Spare the gradients of parameters that a stage does not move."""
    mine = {id(parameter) for parameter in moved}
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in mine)


def _pace(step: int, steps: int) -> float:
    """Rise over the first tenth of the steps, then fall to 0 as a cosine."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _normalise(network: Upscaler, splits: Sequence[Split]) -> None:
    """Set the buffers from the pixels that are trained on."""
    seen = np.concatenate([s.data.inputs[:, shown(s)] for s in splits], axis=1, dtype=np.float64)
    spread = seen.std(axis=1)
    bands = len(network.unit)
    squares = [
        np.mean(s.data.target[:, shown(s)].reshape(bands, -1) ** 2.0, axis=1) for s in splits
    ]
    unit = np.sqrt(np.mean(squares, axis=0))
    network.mean.copy_(torch.from_numpy(seen.mean(axis=1)))
    network.scale.copy_(torch.from_numpy(np.where(spread > 0, spread, 1)))
    network.unit.copy_(torch.from_numpy(np.where(unit > 0, unit, 1)))
