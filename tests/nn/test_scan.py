"""The fused scan against the plain one: values, gradients, packing, threads, extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stcli.nn.scan import scan_reference
from stcli.nn.scan_cpu import cpu_scan

LENGTHS = (1, 2, 63, 64, 65, 129)
EPS = 2.0**-24  # half a unit in the last place of float32


def problem(channels: int, length: int, states: int, seed: int = 0, dtype=torch.float64):
    """Inputs of the size a Mamba block gives: u, delta, (A, B, C, D)."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    u, B, C, D = (
        normal(channels, length),
        normal(length, states),
        normal(length, states),
        normal(channels),
    )
    delta = torch.nn.functional.softplus(normal(channels, length) - 1)
    A = -torch.exp(normal(channels, states))
    return u.to(dtype), delta.to(dtype), tuple(m.to(dtype) for m in (A, B, C, D))


def starts_at(length: int, *at: int) -> Tensor:
    starts = torch.zeros(length, dtype=torch.bool)
    starts[list(at)] = True
    return starts


def gradients(scan, u, delta, matrices, starts, weight):
    leaves = [t.clone().requires_grad_() for t in (u, delta, *matrices)]
    y = scan(leaves[0], leaves[1], tuple(leaves[2:]), starts)
    return y.detach(), torch.autograd.grad((y * weight).sum(), leaves)


# --- the equation -------------------------------------------------------------------------------


def test_the_reference_is_the_equation_by_hand():
    """One channel, one state, three steps, the third a new sequence."""
    u, delta = torch.tensor([[2.0, 3.0, 5.0]]), torch.tensor([[0.5, 0.25, 1.0]])
    A, D = torch.tensor([[-2.0]]), torch.tensor([10.0])
    B, C = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[1.0], [-1.0], [0.5]])
    h1 = 0.5 * 1 * 2
    h2 = np.exp(-0.5) * h1 + 0.25 * 2 * 3
    wanted = torch.tensor([[h1 + 20, -h2 + 30, 0.5 * (1 * 3 * 5) + 50]], dtype=torch.float32)
    for scan in (scan_reference, cpu_scan):
        assert torch.allclose(scan(u, delta, (A, B, C, D), starts_at(3, 0, 2)), wanted, rtol=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("states", [1, 5, 16])
def test_float64_agrees_with_the_reference(length, states):
    u, delta, matrices = problem(7, length, states)
    starts = starts_at(length, 0, length // 2, length - 1)
    weight = torch.randn(7, length, generator=torch.Generator().manual_seed(1), dtype=u.dtype)
    y, slopes = gradients(cpu_scan, u, delta, matrices, starts, weight)
    wanted, wanted_slopes = gradients(scan_reference, u, delta, matrices, starts, weight)
    assert torch.allclose(y, wanted, rtol=1e-12, atol=1e-12)
    for name, found, want in zip(
        ("u", "Δ", "A", "B", "C", "D"), slopes, wanted_slopes, strict=True
    ):
        assert torch.allclose(found, want, rtol=1e-11, atol=1e-11), name


def bound(u, delta, matrices, starts) -> Tensor:
    """First-order bound of float32's error, by running error analysis in float64.

    The state's error decays with the state; each step adds the exponential's relative error
    (3e-7 and 1e-7·|x|, for its argument is rounded twice) and five roundings, and the sum over n
    states one rounding each.
    """
    A, B, C, D = matrices
    size = error = torch.zeros_like(A)
    result = []
    for step in range(u.shape[1]):
        if starts[step]:
            size = error = torch.zeros_like(A)
        x = delta[:, step, None] * A
        decay, fresh = torch.exp(x), (delta[:, step, None] * B[step] * u[:, step, None]).abs()
        error = decay * error + (3e-7 + 1e-7 * x.abs() + 2 * EPS) * decay * size + 3 * EPS * fresh
        size = decay * size + fresh
        error = error + EPS * size
        kept = (error + (A.shape[1] + 2) * EPS * size) @ C[step].abs()
        result.append(kept + 3 * EPS * (D * u[:, step]).abs())
    return torch.stack(result, dim=1)


@pytest.mark.parametrize("length", [1, 65, 700])
def test_float32_is_within_its_error_bound(length):
    u, delta, matrices = problem(9, length, 16, dtype=torch.float32)
    starts = starts_at(length, 0, length // 3)
    exact = [u.double(), delta.double(), tuple(m.double() for m in matrices), starts]
    error = (cpu_scan(u, delta, matrices, starts) - scan_reference(*exact)).abs()
    limit = bound(*exact)
    assert (error <= limit).all()
    assert error.max() > limit.median() * 1e-3  # the bound is one that could be broken


def test_a_long_sequence_keeps_its_precision():
    length = 20_000
    u, delta, matrices = problem(3, length, 4, dtype=torch.float32)
    matrices[0].mul_(0.01)  # slow decay: the state remembers thousands of steps
    starts = starts_at(length, 0)
    wanted = scan_reference(u.double(), delta.double(), tuple(m.double() for m in matrices), starts)
    found = cpu_scan(u, delta, matrices, starts)
    assert ((found - wanted).norm() / wanted.norm()) < 1e-4
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


# --- gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 9, 67])
def test_gradcheck(length):
    u, delta, matrices = problem(3, length, 5)
    leaves = [t.clone().requires_grad_() for t in (u, delta, *matrices)]
    starts = starts_at(length, 0, length // 2)

    def scan(u, delta, *matrices):
        return cpu_scan(u, delta, matrices, starts)

    assert torch.autograd.gradcheck(scan, leaves, fast_mode=length > 9, atol=1e-7)


@pytest.mark.parametrize("channels", [1, 3, 8, 9, 40])
def test_float32_gradients_for_any_number_of_channels(channels):
    u, delta, matrices = problem(channels, 130, 5, dtype=torch.float32)
    starts = starts_at(130, 0, 70)
    weight = torch.randn(channels, 130, generator=torch.Generator().manual_seed(2))
    _, slopes = gradients(cpu_scan, u, delta, matrices, starts, weight)
    double = [u.double(), delta.double(), tuple(m.double() for m in matrices)]
    _, wanted = gradients(scan_reference, *double, starts, weight.double())
    for found, want in zip(slopes, wanted, strict=True):
        assert found.dtype == torch.float32
        assert (found - want).norm() <= 1e-5 * want.norm()


def test_gradients_come_only_from_what_was_asked():
    u, delta, matrices = problem(4, 20, 5)
    u.requires_grad_()
    cpu_scan(u, delta, matrices, starts_at(20, 0))[:, 7].sum().backward()
    assert (u.grad[:, 8:] == 0).all()  # causal
    assert (u.grad[:, :8] != 0).all()
    assert all(m.grad is None for m in matrices)


def test_expanded_and_transposed_tensors_are_taken():
    """`y.sum()` sends back a gradient of stride 0, and Mamba passes transposed inputs."""
    u, delta, matrices = problem(6, 50, 5)
    twins = [t.T.contiguous().T.requires_grad_() for t in (u, delta)]
    plain = [t.clone().requires_grad_() for t in (u, delta)]
    for scan, leaves in ((cpu_scan, twins), (scan_reference, plain)):
        scan(*leaves, matrices, starts_at(50, 0)).sum().backward()
    for found, want in zip(twins, plain, strict=True):
        assert torch.allclose(found.grad, want.grad, rtol=1e-11, atol=1e-11)


# --- packed sequences ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_packed_sequences_are_each_alone_bit_for_bit(dtype):
    lengths = [*LENGTHS, 64, 1, 1, 130]
    first = np.concatenate([[0], np.cumsum(lengths)])
    u, delta, (A, B, C, D) = problem(5, int(first[-1]), 5, dtype=dtype)
    packed = cpu_scan(u, delta, (A, B, C, D), starts_at(len(B), *first[:-1].tolist()))
    for at, length in zip(first[:-1].tolist(), lengths, strict=True):
        s = slice(at, at + length)
        alone = cpu_scan(u[:, s], delta[:, s], (A, B[s], C[s], D), starts_at(length, 0))
        assert torch.equal(packed[:, s], alone)


def test_no_gradient_crosses_a_start():
    u, delta, matrices = problem(4, 140, 5)
    u.requires_grad_()
    cpu_scan(u, delta, matrices, starts_at(140, 0, 70))[:, 70:].sum().backward()
    assert (u.grad[:, :70] == 0).all()


def test_a_first_step_starts_from_zero_with_or_without_its_mark():
    u, delta, matrices = problem(4, 30, 5)
    marked = cpu_scan(u, delta, matrices, starts_at(30, 0))
    assert torch.equal(marked, cpu_scan(u, delta, matrices, starts_at(30)))


# --- threads ------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(("channels", "states"), [(1, 5), (17, 16), (64, 16), (33, 5)])
def test_the_number_of_threads_changes_no_bit(channels, states):
    dtype = torch.float32
    u, delta, matrices = problem(channels, 300, states, dtype=dtype)
    starts, weight = starts_at(300, 0, 111), torch.ones(channels, 300, dtype=dtype)
    results = []
    for count in (1, 2, 1):
        torch.set_num_threads(count)
        results.append(gradients(cpu_scan, u, delta, matrices, starts, weight))
    for y, slopes in results[1:]:
        assert torch.equal(y, results[0][0])
        assert all(torch.equal(a, b) for a, b in zip(slopes, results[0][1], strict=True))


# --- the exponential ----------------------------------------------------------------------------


def exponential(x: np.ndarray) -> np.ndarray:
    """The scan's own exp(x), one x a channel: a state of 1 decays for one step and is read."""
    channels = len(x)
    u = torch.tensor([[1.0, 0.0]]).repeat(channels, 1)
    one = torch.ones(2, 1)
    A = torch.from_numpy(x.astype(np.float32))[:, None]
    delta = torch.ones(channels, 2)
    return cpu_scan(u, delta, (A, one, one, torch.zeros(channels)), starts_at(2, 0))[:, 1].numpy()


def test_the_exponential_is_as_precise_as_its_rounded_argument_allows():
    """Below 3e-7 near 0. x·log2(e) is rounded: 1e-7·|x| more; absolutely never above 2e-7."""
    x = np.concatenate([-np.linspace(0, 87, 400_001), -np.logspace(-30, 1, 50_001)])
    x = x.astype(np.float32).astype(np.float64)
    found, wanted = exponential(x).astype(np.float64), np.exp(x)
    relative = np.abs(found / wanted - 1)
    assert relative[x > -2].max() < 3e-7
    assert (relative < 3e-7 + 1e-7 * np.abs(x)).all()
    assert np.abs(found - wanted).max() < 2e-7
    assert exponential(np.zeros(1))[0] == 1


def test_the_exponential_of_what_underflows_is_almost_nothing():
    x = np.float32(
        [-87.0001, -87.4, -88, -100, -126 * np.log(2), -128, -1e3, -1e10, -3e38, -np.inf]
    )
    found = exponential(x)
    assert (found >= 0).all()
    assert (found < 2e-38).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_huge_decay_forgets_everything(dtype):
    u, delta, (A, B, C, D) = problem(5, 100, 5, dtype=dtype)
    A = A * 1e30
    y, slopes = gradients(cpu_scan, u, delta, (A, B, C, D), starts_at(100, 0), torch.ones_like(u))
    wanted = (C * B).sum(dim=1) * delta * u + D[:, None] * u
    assert torch.allclose(y, wanted, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-5)
    assert all(torch.isfinite(s).all() for s in (slopes[0], *slopes[2:]))


def test_no_decay_is_a_plain_sum():
    u, delta, (_, B, C, D) = problem(2, 200, 1, dtype=torch.float32)
    y = cpu_scan(u, delta, (torch.zeros(2, 1), B, C, D), starts_at(200, 0))
    state = torch.cumsum((delta * u).double() * B[:, 0].double(), dim=1)
    wanted = state * C[:, 0] + D[:, None] * u
    assert torch.allclose(
        y.double(), wanted, rtol=1e-5, atol=200 * 2 * EPS * float(state.abs().max()) * 4
    )
