"""Training the temporal network. Same seed, same machine: same weights, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stcli.landcover.network.temporal import Packed, TemporalMamba, pack
from stcli.nn.device import Compute
from stcli.settings import TemporalSettings, TemporalTraining

#: Share of the old average kept at each step of the averaged weights.
_AVERAGE = 0.98
_CLIP = 1.0


def train_temporal(
    values: NDArray[np.float32],
    truth: NDArray[np.int64],
    offsets: NDArray[np.float32],
    settings: tuple[TemporalSettings, TemporalTraining],
    where: Compute,
) -> TemporalMamba:
    """Train a network from scratch for all epochs; its weights are a running average.

    Parameters
    ----------
    values : ndarray of float32 (n, s, b)
        Scaled bands; NaN where a step was not seen.
    truth : ndarray of int64 (n,)
        From 0.
    offsets : ndarray of float32 (s,)
        Days of the steps since the season began.
    settings : (TemporalSettings, TemporalTraining)
    where : Compute

    Returns
    -------
    TemporalMamba
        On the device, in evaluation mode.
    """
    shape, training = settings
    classes = int(truth.max()) + 1
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(training.seed)
        model = TemporalMamba(values.shape[2], classes, shape, where.scan).to(where.device)
        series, days = torch.from_numpy(values), torch.from_numpy(offsets)
        average = _fit(model, (series, torch.from_numpy(truth), days), training, where)
    return average.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work alone for a while: tensors are small, and sums keep one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(
    model: TemporalMamba,
    data: tuple[Tensor, Tensor, Tensor],
    training: TemporalTraining,
    where: Compute,
) -> TemporalMamba:
    series, truth, days = data
    steps = -(-len(series) // training.batch)
    optimizer = torch.optim.AdamW(
        model.parameters(), training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=steps * training.epochs, pct_start=0.1
    )
    average = torch.optim.swa_utils.AveragedModel(model, avg_fn=_follow)
    weight = _weights(truth, training.balance).to(where.device)
    for _ in range(training.epochs):
        for chosen in torch.split(torch.randperm(len(series)), training.batch):
            packed = augment(series[chosen], days, training).to(where.device)
            logits = model(packed)
            loss = F.cross_entropy(
                logits,
                truth[chosen].to(where.device),
                weight,
                label_smoothing=training.label_smoothing,
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
    assert isinstance(average.module, TemporalMamba)  # it averages a copy of the model
    return average.module


def _follow(old: Tensor, new: Tensor, count: Any) -> Tensor:
    """Move averaged weights towards the model's; faster in the first steps."""
    keep = min(_AVERAGE, float(count) / (float(count) + 10))
    return old.lerp(new, 1 - keep)


def augment(series: Tensor, days: Tensor, training: TemporalTraining) -> Packed:
    """Move, scale, blur and thin series (n, s, b): what weather and years do to them.

    Values stay with their step; the day that a series believes to be on is what moves.

    Parameters
    ----------
    series : Tensor, (n, s, b)
        NaN is a gap.
    days : Tensor, (s,)
    training : TemporalTraining
    """
    gain = 1 + training.jitter * torch.randn(len(series), 1, 1)
    noisy = series * gain + training.jitter * torch.randn(series.shape)
    noisy[torch.rand(series.shape[:2]) < training.lost] = torch.nan
    packed = pack(noisy, days)
    moved = training.shift * (2 * torch.rand(len(series)) - 1)
    return Packed(packed.bands, packed.day + moved[packed.owner], packed.owner, packed.count)


def _weights(truth: Tensor, balance: float) -> Tensor:
    """Weights of classes whose mean over samples is 1."""
    share = torch.bincount(truth).double() / len(truth)
    weight: Any = torch.where(share > 0, share.clamp(min=1e-9) ** -balance, 0.0)
    even: Tensor = (weight / (weight * share).sum()).float()
    return even
