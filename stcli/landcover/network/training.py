"""Training the land-cover network on lattice windows.

L = local_weight · local + global_weight · global (Dewis et al. 2025, arXiv:2511.10604). stcli's
reading, for the paper does not spell them out: *local* is the cross-entropy of the fused pixel
logits; *global* is the cross-entropy of a superpixel's logits against the class shares of its
labelled pixels. Same seed, same machine: same weights, to the byte.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stcli.errors import InputError
from stcli.landcover.accuracy.accuracy import ConfusionMatrix, accuracy
from stcli.landcover.network.network import DATES_AT_ONCE, GLocal, Windows
from stcli.landcover.network.neural import date_bytes
from stcli.landcover.network.task import Sample, Task, turn, vary
from stcli.settings import NetworkSettings, TrainingSettings

__all__ = ["Begin", "Keep", "Sample", "Task", "Trained", "train", "turn"]

#: Share of the old average kept at each step of the averaged weights.
_AVERAGE = 0.98
_WARM_UP = 0.05
_CLIP = 1.0


@dataclass
class Trained:
    """The outcome: weights, and what was validated when they were kept.

    Attributes
    ----------
    state : dict of str to Tensor
        Averaged weights: of the epoch that validated best, or of the last where nothing validates.
    matrix : ConfusionMatrix
        Of the validation part; empty without one.
    epoch : int
    history : list of dict
        ``loss``, and ``mIoU`` where something validates, of each epoch.
    """

    state: dict[str, Tensor]
    matrix: ConfusionMatrix
    epoch: int
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def miou(self) -> float:
        """Mean intersection over union on the validation part."""
        return float(accuracy(self.matrix).mean_iou)


Report = Callable[[int, int, dict[str, float]], None]


class Keep(Protocol):
    """Where the state of a training is kept, so that one that was killed goes on."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read back, as of `save`, what was kept; None where there is nothing."""

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Put tensors in the place of those before, whole or not at all.

        Parameters
        ----------
        tensors : dict of str to Tensor
            Of any shape.
        facts : dict
            What JSON knows.
        """


@dataclass(frozen=True)
class Begin:
    """Where a training begins.

    Attributes
    ----------
    weights : dict of str to Tensor
        Taken for the parameters of these names; the others are drawn.
    keep : Keep or None
        Looked into at the start, written after each epoch.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    keep: Keep | None = None


def train(
    task: Task,
    network: NetworkSettings,
    settings: TrainingSettings,
    report: Report = lambda epoch, epochs, figures: None,
    begin: Begin | None = None,
) -> Trained:
    """Train a network; stop early and keep the best of the averaged weights if some validate.

    Without validation samples all epochs are run and the last averaged weights are kept.

    Parameters
    ----------
    report : callable
        ``report(epoch, epochs, figures)`` after each epoch, with ``loss`` and ``mIoU``.
    begin : Begin, optional
        By default random weights, and nothing kept.

    Raises
    ------
    InputError
        When a side of the split has no labelled pixel.
    """
    _check(task)
    task = replace(task, order=network.order)
    with _Repeatable(settings.seed, task.where.threads):
        model = GLocal(len(task.scaling.low), len(task.classes), network, task.where.scan)
        begin = begin or Begin()
        model.load_state_dict(model.state_dict() | begin.weights)
        return _Run(model.to(task.where.device), task, settings).finish(report, begin.keep)


class _Run:
    """A training between two epochs: everything that the next one depends on."""

    def __init__(self, model: GLocal, task: Task, settings: TrainingSettings) -> None:
        self.model, self.task, self.settings = model, task, settings
        self.average = copy.deepcopy(model).eval()
        self.optimizer = _optimizer(model, settings)
        self.loss = _Loss(task, settings)
        self.generator = np.random.default_rng(settings.seed)
        self.step = 0
        self.steps = settings.epochs * -(-len(task.train) // settings.batch)
        self.history: list[dict[str, float]] = []
        self.best: Trained | None = None

    def finish(self, report: Report, keep: Keep | None) -> Trained:
        """Run the epochs that are left."""
        found = keep.load() if keep else None
        if found:
            self._restore(*found)
        while not self._over():
            self._epoch()
            if keep:
                keep.save(*self._kept())
            report(len(self.history), self.settings.epochs, self.history[-1])
        assert self.best is not None  # at least one epoch ran
        self.best.history = self.history
        return self.best

    def _over(self) -> bool:
        epoch = len(self.history)
        stale = self.best is not None and epoch - self.best.epoch >= self.settings.patience
        return epoch >= self.settings.epochs or stale

    def _epoch(self) -> None:
        losses = []
        for samples in _batches(self.task.train, self.settings.batch, self.generator):
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * _rate(self.step, self.steps)
            loss = self.loss(self.model, samples)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
            self.optimizer.step()
            self.step += 1
            _follow(self.average, self.model, self.step)
            losses.append(loss.item())
        matrix = _validate(self.average, self.task)
        figures = {"loss": float(np.mean(losses))}
        if self.task.validation:
            figures["mIoU"] = float(accuracy(matrix).mean_iou)
        self.history.append(figures)
        if self.best is None or not self.task.validation or figures["mIoU"] > self.best.miou:
            state = {name: w.cpu().clone() for name, w in self.average.state_dict().items()}
            self.best = Trained(state, matrix, len(self.history))

    def _kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything as tensors and as plain facts."""
        assert self.best is not None  # an epoch has run
        tensors = _named("model", self.model.state_dict())
        tensors |= _named("average", self.average.state_dict())
        tensors |= _named("best", self.best.state)
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= _named(f"optimizer.{number}", moments)
        facts = {
            "step": self.step,
            "history": self.history,
            "random": self.generator.bit_generator.state,
            "best": {"epoch": self.best.epoch, "counts": self.best.matrix.counts.tolist()},
        }
        return tensors, facts

    def _restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Undo `_kept`."""
        self.model.load_state_dict(_under("model", tensors))
        self.average.load_state_dict(_under("average", tensors))
        groups = self.optimizer.state_dict()["param_groups"]
        numbers = [number for group in groups for number in group["params"]]
        moments = {number: _under(f"optimizer.{number}", tensors) for number in numbers}
        kept = {number: found for number, found in moments.items() if found}
        self.optimizer.load_state_dict({"state": kept, "param_groups": groups})
        self.step, self.history = facts["step"], facts["history"]
        self.generator.bit_generator.state = facts["random"]
        counts = np.array(facts["best"]["counts"], dtype=np.int64)
        matrix = ConfusionMatrix(counts, self.task.classes)
        self.best = Trained(_under("best", tensors), matrix, facts["best"]["epoch"])


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor.cpu() for name, tensor in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = len(prefix) + 1
    return {name[start:]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


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


def scan_bytes(network: NetworkSettings, bands: int, tokens: int, dates: int) -> int:
    """Bytes of so many dates of superpixels, at most `dates` of one, in a training step.

    Of each what is packed, as of `bands` of a composite; of those that are scanned at once, and
    once more for their gradients, as much as `step_bytes` says of a token of their width.
    """
    kept = 15 * 2 * network.date_layers + 10
    once = min(tokens, DATES_AT_ONCE + dates) * 2 * network.date_width * kept * 4 * 4 // 3
    return once + date_bytes(network, bands // 2, tokens, dates)


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
    """Shuffled batches, each window varied at random."""
    order = generator.permutation(len(samples))
    for first in range(0, len(order), size):
        yield [vary(samples[i], generator) for i in order[first : first + size]]


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
    sides = [("training", task.train)] + [("validation", task.validation)] * bool(task.validation)
    for side, samples in sides:
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
