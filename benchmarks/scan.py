"""The selective scan on this CPU, beside the official reference and mambapy, and the hardware.

    python benchmarks/scan.py [--quick]

float32, batch 1, 16 states (Mamba-2: 64); peers run in turn with ours, ratios are of medians. Each
turn begins by giving freed memory back to the system, or the next would be charged for what the
last one left, and lasts `TURN` seconds or two runs, as layers of a network run one after the other;
the median of its runs but the first counts, for all alike. The first runs' ratio is printed too.
Peers: the official reference's algorithm (all decays and inputs as (d, l, n) arrays, then a loop
over steps), mambapy's parallel scan, and Mamba-2's chunked form in torch with bmm.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stcli.heap import give_back
from stcli.nn.backend import choose
from stcli.nn.scan import scan_reference, ssd_scan

SCAN = choose("cpu").scan
#: Operations a state and step: exponential 17 (its polynomial counted), recurrence and output 5.
OPERATIONS = 22
#: Seconds of a turn.
TURN = 0.2
results: list[bool] = []


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target}[op]
    results.append(holds)
    print(f"BAR scan.{name} {value:.4g} {op} {target:g} {'ok' if holds else 'short'}", flush=True)


def inputs(d: int, length: int, n: int = 16) -> tuple[Tensor, Tensor, Any, Tensor]:
    """Make inputs of a Mamba-1 scan as a network gives them."""
    torch.manual_seed(0)
    u, delta = torch.randn(d, length), torch.rand(d, length) * 0.2
    A = -torch.arange(1.0, n + 1).repeat(d, 1)
    matrices = (A, torch.randn(length, n), torch.randn(length, n), torch.ones(d))
    starts = torch.zeros(length, dtype=torch.bool)
    starts[0] = True
    return u, delta, matrices, starts


def official(u: Tensor, delta: Tensor, matrices: Any, starts: Tensor) -> Tensor:
    """Scan by the official reference's algorithm and einsums, batch of one."""
    A, B, C, D = matrices
    u, delta, B, C = u[None], delta[None], B.T[None], C.T[None]
    decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, A))
    fed = torch.einsum("bdl,bnl,bdl->bdln", delta, B, u)
    h = A.new_zeros(1, *A.shape)
    y = []
    for step in range(u.shape[2]):
        h = decay[:, :, step] * h + fed[:, :, step]
        y.append(torch.einsum("bdn,bn->bd", h, C[:, :, step]))
    return (torch.stack(y, dim=2) + u * D[:, None])[0]


def mambapy(u: Tensor, delta: Tensor, matrices: Any, starts: Tensor) -> Tensor:
    """Scan through mambapy's parallel scan, in its layout (b, l, d)."""
    from mambapy.pscan import pscan

    A, B, C, D = matrices
    x, Δ = u.T[None], delta.T[None]
    decay = torch.exp(Δ[..., None] * A)
    fed = Δ[..., None] * B[None, :, None] * x[..., None]
    y = (pscan(decay, fed) @ C[None, :, :, None]).squeeze(3) + D * x
    return y[0].T


def chunked(x: Tensor, delta: Tensor, matrices: Any, size: int = 64) -> Tensor:
    """Scan by Mamba-2's chunked form with bmm: x (l, h, p), delta (l, h), one group of B and C."""
    A, B, C, D = matrices
    length, heads, width = x.shape
    fed = (x * delta[..., None]).reshape(-1, size, heads, width).permute(0, 2, 1, 3)
    steps = (delta * A).reshape(-1, size, heads).permute(0, 2, 1)
    b, c = B.reshape(-1, size, B.shape[-1]), C.reshape(-1, size, C.shape[-1])
    total = steps.cumsum(2)
    gap = total[..., :, None] - total[..., None, :]
    lower = torch.tril(torch.ones(size, size, dtype=torch.bool))
    inside = torch.exp(gap.masked_fill(~lower, -torch.inf)) * (c @ b.transpose(1, 2))[:, None]
    y = inside @ fed
    left = torch.exp(total[..., -1:] - total)
    made = torch.einsum("kln,khl,khlp->khpn", b, left, fed)
    h, states = torch.zeros_like(made[0]), []
    for chunk in range(len(made)):
        states.append(h)
        h = h * torch.exp(total[chunk, :, -1])[:, None, None] + made[chunk]
    y = y + torch.einsum("kln,khpn,khl->khlp", c, torch.stack(states), torch.exp(total))
    return y.permute(0, 2, 1, 3).reshape(length, heads, width) + D[:, None] * x


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one run."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def settle() -> None:
    """Give freed memory back to the system."""
    gc.collect()
    give_back()


def in_turn(works: list[Callable[[], Any]], rounds: int, first: bool = False) -> list[float]:
    """Median seconds of each one over its turns: of their first runs, or of all the others."""
    for work in works:
        work()
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seen in zip(works, times, strict=True):
            settle()
            ran = [timed(work)]
            while len(ran) < 2 or (sum(ran) < TURN and not first):
                ran.append(timed(work))
            seen.append(ran[0] if first else statistics.median(ran[1:]))
    return [statistics.median(seen) for seen in times]


def no_grad(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Call a function without gradients."""

    def work() -> Any:
        with torch.inference_mode():
            return function(*arguments)

    return work


def with_grad(function: Callable[..., Tensor], d: int, length: int) -> Callable[[], Any]:
    """Forward and backward to all inputs."""
    u, delta, matrices, starts = inputs(d, length)
    leaves = [t.requires_grad_() for t in (u, delta, *matrices)]

    def work() -> Any:
        y = function(u, delta, matrices, starts)
        return torch.autograd.grad(y.sum(), leaves)

    return work


def forward(quick: bool) -> None:
    """Ours, the official reference and mambapy, forward."""
    bars = {1024: (80, 20), 4096: (80, 25), 16384: (80, 40)}
    for length, targets in bars.items():
        if quick and length > 4096:
            continue
        data = inputs(256, length)
        works = [no_grad(f, *data) for f in (SCAN, official, mambapy)]
        ours, reference, parallel = in_turn(works, 3 if quick else 7)
        print(f"L {length}: {1e3 * ours:.2f} / {1e3 * reference:.0f} / {1e3 * parallel:.0f} ms")
        bar(f"forward_vs_reference_{length}", reference / ours, ">=", targets[0])
        bar(f"forward_vs_mambapy_{length}", parallel / ours, ">=", targets[1])
        first = in_turn(works[:2], 5, first=True)
        print(f"first runs: {1e3 * first[0]:.2f} ms, {first[1] / first[0]:.0f} times the reference")


def backward() -> None:
    """Ours and mambapy, forward and backward."""
    for d in (128, 256):
        ours, parallel = in_turn([with_grad(f, d, 1024) for f in (SCAN, mambapy)], 9)
        print(f"forward and backward, D {d}: {1e3 * ours:.2f} / {1e3 * parallel:.1f} ms")
        bar(f"backward_vs_mambapy_{d}", parallel / ours, ">=", 10)


def mamba2() -> None:
    """Mamba-2 with 64 states, beside the chunked form."""
    torch.manual_seed(0)
    length, heads, width, n = 4096, 4, 32, 64
    x, delta = torch.randn(length, heads, width), torch.rand(length, heads) * 0.2
    B, C = torch.randn(length, 1, n), torch.randn(length, 1, n)
    matrices = (-torch.rand(heads) * 8 - 1, B, C, torch.ones(heads))
    starts = torch.zeros(length, dtype=torch.bool)
    starts[0] = True
    works = [
        no_grad(ssd_scan, x, delta, matrices, starts, SCAN),
        no_grad(chunked, x, delta, matrices),
    ]
    gap = (works[0]() - works[1]()).abs().max().item()
    ours, peer = in_turn(works, 9)
    print(f"Mamba-2: {1e3 * ours:.2f} / {1e3 * peer:.2f} ms, largest difference {gap:.1e}")
    bar("mamba2_vs_chunked", peer / ours, ">=", 2)


def hardware() -> None:
    """Operations a second over the matmul peak; threads; growth; error."""
    size = 2048
    a, b = torch.randn(size, size), torch.randn(size, size)
    peak = 2 * size**3 / min(in_turn([lambda: a @ b], 5))
    data = inputs(256, 16384)
    (seconds,) = in_turn([no_grad(SCAN, *data)], 9)
    rate = OPERATIONS * 256 * 16384 * 16 / seconds
    print(f"peak {peak / 1e9:.0f} GFLOP/s, scan {rate / 1e9:.0f}")
    bar("share_of_peak", rate / peak, ">=", 0.35)
    threads = torch.get_num_threads()
    one = no_grad(SCAN, *data)

    def alone() -> Any:
        torch.set_num_threads(1)
        one()
        torch.set_num_threads(threads)

    both, single = in_turn([one, alone], 9)
    bar("two_threads_over_one", single / both, ">=", 1.7)


def growth(quick: bool) -> None:
    """Nanoseconds a step and channel from 1 k to 1 M steps, and the error at 1 M.

    A turn's first run finds no memory kept: the system zeroes fresh pages for outputs beyond 32 MB.
    """
    lengths = (1 << 10, 1 << 13, 1 << 16) if quick else (1 << 10, 1 << 13, 1 << 16, 1 << 20)
    works = [no_grad(SCAN, *inputs(256, length)) for length in lengths]
    rates = [
        [1e9 * seconds / length / 256 for seconds, length in zip(spent, lengths, strict=True)]
        for spent in (in_turn(works, 7), in_turn(works, 7, first=True))
    ]
    for name, each in zip(("", "first runs, "), rates, strict=True):
        print(f"{name}ns a step and channel:", [f"{rate:.2f}" for rate in each])
    bar("growth_spread", max(rates[0]) / min(rates[0]) - 1, "<=", 0.15)
    errors(lengths[-1])


def errors(longest: int) -> None:
    """Errors of long scans in float32, and of short ones in float64."""
    u, delta, matrices, starts = inputs(4, longest)
    exact = [t.double() for t in (u, delta, *matrices)]
    truth = no_grad(SCAN, exact[0], exact[1], tuple(exact[2:]), starts)()
    found = no_grad(SCAN, u, delta, matrices, starts)()
    bar("error_long", ((found - truth).norm() / truth.norm()).item(), "<=", 1e-4)
    short = inputs(4, 2048)
    doubled = [t.double() for t in (short[0], short[1], *short[2])]
    slow = scan_reference(doubled[0], doubled[1], tuple(doubled[2:]), short[3])
    quickly = no_grad(SCAN, doubled[0], doubled[1], tuple(doubled[2:]), short[3])()
    bar("double_vs_reference", (slow - quickly).abs().max().item(), "<=", 1e-10)


def main() -> int:
    """Run all; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    forward(quick)
    backward()
    mamba2()
    hardware()
    growth(quick)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
