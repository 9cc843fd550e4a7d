"""Training the land-cover network on lattice windows.

L = local_weight · local + global_weight · global (Dewis et al. 2025, arXiv:2511.10604). stcli's
reading, for the paper does not spell them out: *local* is the cross-entropy of the fused pixel
logits; *global* is the cross-entropy of a superpixel's logits against the class shares of its
labelled pixels. Same seed, same machine: same weights, to the byte.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stcli.errors import InputError
from stcli.landcover.accuracy import ConfusionMatrix, accuracy
from stcli.landcover.network import GLocal, Windows
from stcli.landcover.neural import batch
from stcli.landcover.windows import Window
from stcli.nn.device import Compute, compute
from stcli.settings import BandScaling, NetworkSettings, TrainingSettings

#: Share of the old average kept at each step of the averaged weights.
_AVERAGE = 0.98
_WARM_UP = 0.05
_CLIP = 1.0


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
    """

    train: Sequence[Sample]
    validation: Sequence[Sample]
    classes: tuple[str, ...]
    scaling: BandScaling
    step: int
    where: Compute = field(default_factory=lambda: compute("cpu"))

    def batch(self, samples: Sequence[Sample]) -> Windows:
        """Make the network's input of samples, on the device."""
        windows = batch([sample.window for sample in samples], self.scaling, self.step)
        return windows.to(self.where.device)


@dataclass
class Trained:
    """The outcome: best weights and the accuracy that made them best."""

    state: dict[str, Tensor]
    matrix: ConfusionMatrix
    epoch: int
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def miou(self) -> float:
        """Mean intersection over union on the validation part."""
        return float(accuracy(self.matrix).mean_iou)


Report = Callable[[int, int, dict[str, float]], None]


def train(
    task: Task,
    network: NetworkSettings,
    settings: TrainingSettings,
    report: Report = lambda epoch, epochs, figures: None,
) -> Trained:
    """Train from scratch, keep the averaged weights that validate best, stop early.

    Parameters
    ----------
    report : callable
        ``report(epoch, epochs, figures)`` after each epoch, with ``loss`` and ``mIoU``.

    Raises
    ------
    InputError
        When a side of the split has no labelled pixel.
    """
    _check(task)
    with _Repeatable(settings.seed, task.where.threads):
        model = GLocal(len(task.scaling.low), len(task.classes), network, task.where.scan)
        return _fit(model.to(task.where.device), task, settings, report)


def _fit(model: GLocal, task: Task, settings: TrainingSettings, report: Report) -> Trained:
    steps = settings.epochs * -(-len(task.train) // settings.batch)
    optimizer = _optimizer(model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    average = copy.deepcopy(model).eval()
    loss_function = _Loss(task, settings)
    generator = np.random.default_rng(settings.seed)
    best: Trained | None = None
    history = []
    for epoch in range(1, settings.epochs + 1):
        losses = []
        for samples in _batches(task.train, settings.batch, generator):
            loss = loss_function(model, samples)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
            _follow(average, model, schedule.last_epoch)
            losses.append(loss.item())
        matrix = _validate(average, task)
        history.append({"loss": float(np.mean(losses)), "mIoU": float(accuracy(matrix).mean_iou)})
        report(epoch, settings.epochs, history[-1])
        if best is None or history[-1]["mIoU"] > best.miou:
            state = {name: weight.cpu().clone() for name, weight in average.state_dict().items()}
            best = Trained(state, matrix, epoch)
        if epoch - best.epoch >= settings.patience:
            break
    assert best is not None  # at least one epoch ran
    best.history = history
    return best


def step_bytes(network: NetworkSettings, bands: int, classes: int, tokens: int) -> int:
    """Bytes of a window in a training step at its peak: what backward needs of forward.

    Of c local channels and token width d, in float32 a pixel at full resolution: the stem's input;
    11 c of the local branch (five arrays each at full, half and quarter resolution, three sums);
    bands and features, joined to their squares; twice d of the fused features; logits and their
    logarithms. Two gradients of d and of the logits pass while all that is kept. A token keeps 15
    inner widths (2 d) for each direction of each layer, ten more are in flight. A third more lies
    unused between blocks: the allocator keeps what a step frees, and the next fits it imperfectly.
    """
    c, d = network.local_width, network.model_width
    pixel = bands + 1 + 11 * c + 3 * (bands + c) + 2 * d + 3 * classes + 2 * (d + classes)
    token = 2 * d * (15 * 2 * network.layers + 10)
    return 4 * (network.window**2 * pixel + tokens * token) * 4 // 3


def model_bytes(network: NetworkSettings, bands: int, classes: int) -> int:
    """Bytes of the weights while training: model, average, best, gradient, moments, temporaries."""
    with torch.device("meta"):
        model = GLocal(bands, classes, network)
    return 8 * 4 * sum(weight.numel() for weight in model.parameters())


class _Loss:
    """The two losses, with class weights from the training part."""

    def __init__(self, task: Task, settings: TrainingSettings) -> None:
        self.task, self.settings = task, settings
        count = sum(_count(sample.truth, len(task.classes)) for sample in task.train)
        share = np.maximum(count, 1) / np.sum(count)
        weight = np.where(count > 0, share**-settings.balance, 0)
        even = torch.tensor(weight / (weight * share).sum(), dtype=torch.float32)
        self.weight = even.to(task.where.device)

    def __call__(self, model: GLocal, samples: Sequence[Sample]) -> Tensor:
        windows = self.task.batch(samples)
        truth = torch.from_numpy(np.stack([s.truth for s in samples])).long() - 1
        truth = truth.to(self.task.where.device)
        pixels, tokens = model(windows)
        local = F.cross_entropy(
            pixels,
            truth,
            weight=self.weight,
            ignore_index=-1,
            label_smoothing=self.settings.label_smoothing,
        )
        if not (truth >= 0).any():
            local = torch.zeros_like(local)  # a mean over no pixel is NaN
        total = self.settings.local_weight * local
        return total + self.settings.global_weight * self._tokens(tokens, windows, truth)

    def _tokens(self, logits: Tensor, windows: Windows, truth: Tensor) -> Tensor:
        """Cross-entropy of token logits (k, class) against the shares of labelled pixels."""
        labelled = (truth >= 0) & (windows.index < len(logits))
        place = windows.index[labelled] * logits.shape[1] + truth[labelled]
        shares = torch.bincount(place, minlength=logits.numel()).reshape(logits.shape)
        known = shares.sum(dim=1) > 0
        target = shares[known] / shares[known].sum(dim=1, keepdim=True) * self.weight
        entropy = -(target * F.log_softmax(logits[known], dim=1)).sum()
        return entropy / target.sum().clamp(min=1e-6)


def _validate(model: GLocal, task: Task) -> ConfusionMatrix:
    matrix = ConfusionMatrix.empty(task.classes)
    with torch.inference_mode():
        for sample in task.validation:
            logits, _ = model(task.batch([sample]))
            found = logits[0].argmax(dim=0).cpu().numpy().astype(np.uint8) + np.uint8(1)
            matrix = matrix.add(found, sample.truth)
    return matrix


def _batches(
    samples: Sequence[Sample], size: int, generator: np.random.Generator
) -> Iterator[list[Sample]]:
    """Shuffled batches, each window turned and mirrored at random."""
    order = generator.permutation(len(samples))
    for first in range(0, len(order), size):
        yield [turn(samples[i], int(generator.integers(8))) for i in order[first : first + size]]


def turn(sample: Sample, way: int) -> Sample:
    """One of the eight turns and mirrorings of a sample; radiometry stays."""

    def apply(array: NDArray[Any]) -> NDArray[Any]:
        turned = np.rot90(array, way % 4, axes=(-2, -1))
        return np.ascontiguousarray(turned[..., ::-1] if way >= 4 else turned)

    w = sample.window
    window = Window(apply(w.values), apply(w.valid), apply(w.segments), w.lattice)
    return Sample(window, apply(sample.truth))


def _optimizer(model: GLocal, settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW; matrices decay, the rest (norms, biases, A_log, D) does not."""
    decay: list[Tensor] = []
    free: list[Tensor] = []
    for name, weight in model.named_parameters():
        (decay if weight.ndim > 1 and not name.endswith("A_log") else free).append(weight)
    groups: list[dict[str, Any]] = [{"params": decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to a hundredth."""
    warm = max(1, round(_WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, steps - warm))))


def _follow(average: GLocal, model: GLocal, step: int) -> None:
    """Move the averaged weights towards the model's; faster in the first steps."""
    keep = min(_AVERAGE, step / (step + 10))
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new, 1 - keep)


def _count(truth: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    return np.bincount(truth.ravel(), minlength=classes + 1)[1 : classes + 1]


def _check(task: Task) -> None:
    for side, samples in (("training", task.train), ("validation", task.validation)):
        if not any(sample.truth.any() for sample in samples):
            raise InputError(
                f"the labels leave no pixel for {side}; label more places, or choose smaller "
                "blocks with --block."
            )


class _Repeatable:
    """Fix torch's random numbers, order of sums and threads for a while."""

    def __init__(self, seed: int, threads: int | None) -> None:
        self.seed, self.threads = seed, threads

    def __enter__(self) -> None:
        self.before = torch.are_deterministic_algorithms_enabled()
        self.random, self.were = torch.get_rng_state(), torch.get_num_threads()
        torch.set_num_threads(self.threads or self.were)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(self.seed)

    def __exit__(self, *error: object) -> None:
        torch.use_deterministic_algorithms(self.before)
        torch.set_rng_state(self.random)
        torch.set_num_threads(self.were)
