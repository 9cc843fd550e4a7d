"""Mamba blocks on a CPU, for inference: what `stcli.nn.mamba` computes, without torch.

Shapes: packed tokens (length, channels); weights by the names that `stcli.nn.mamba` gives them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, store
from stcli.nn.activations import silu, softplus
from stcli.nn.products import Linear, padded
from stcli.nn.scan_kernels import scan_tokens
from stcli.nn.weights import part_of

Floats = NDArray[np.float32]
State = Mapping[str, Floats]


def linear(state: State, name: str) -> Linear:
    """Make a linear layer of its weights, with or without a bias."""
    return Linear(state[f"{name}.weight"], state.get(f"{name}.bias"))


def layer_norm(values: Floats, weight: Floats, bias: Floats) -> Floats:
    """Normalise each row of (n, m), as ``torch.nn.LayerNorm``."""
    apart = values - values.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.square(apart).mean(axis=1, keepdims=True) + np.float32(1e-5))
    return np.asarray(apart / scale * weight + bias, dtype=np.float32)


class MambaCpu:
    """A Mamba-1 block of the weights of `stcli.nn.mamba.Mamba`.

    Its inner channels are padded to whole vectors; those that are added stay 0.
    """

    def __init__(self, state: State) -> None:
        inner = len(state["D"])
        gate = [_padded(part, 0) for part in np.split(state["in_proj.weight"], [inner])]
        self.into = Linear(np.concatenate(gate))
        self.select = Linear(_padded(state["x_proj.weight"], 1))
        self.step = Linear(_padded(state["dt_proj.weight"], 0), _padded(state["dt_proj.bias"], 0))
        self.out = Linear(_padded(state["out_proj.weight"], 1))
        self.taps = np.ascontiguousarray(_padded(state["conv1d.weight"][:, 0], 0).T)
        self.bias = _padded(state["conv1d.bias"], 0)
        self.rates, self.skip = -np.exp(_padded(state["A_log"], 0)), _padded(state["D"], 0)

    def __call__(self, tokens: Floats, starts: NDArray[np.bool_]) -> Floats:
        """Scan packed sequences (length, d_model) causally; `starts` marks where each begins."""
        both = self.into(tokens)
        u = np.empty((len(both), len(self.skip)), dtype=np.float32)
        _convolve(both, self.taps, self.bias, starts, u)
        states = self.rates.shape[1]
        rank = self.select.size - 2 * states
        low, B, C = np.split(self.select(u), [rank, rank + states], axis=1)
        delta = self.step(low)
        _soften(delta.reshape(-1))
        matrices = (self.rates, np.ascontiguousarray(B), np.ascontiguousarray(C), self.skip)
        y = scan_tokens(u, delta, matrices, starts)
        _gate(both, y)
        return self.out(y)


class BidirectionalMambaCpu:
    """Two blocks of the weights of `stcli.nn.mamba.BidirectionalMamba`."""

    def __init__(self, state: State) -> None:
        self.weight, self.bias = state["norm.weight"], state["norm.bias"]
        self.along = MambaCpu(part_of(state, "along"))
        self.against = MambaCpu(part_of(state, "against"))

    def __call__(self, tokens: Floats, starts: NDArray[np.bool_]) -> Floats:
        """Mix packed sequences (length, d_model), each in both directions."""
        if not len(tokens):
            return tokens
        given = layer_norm(tokens, self.weight, self.bias)
        ends = np.ascontiguousarray(np.append(starts[1:], True)[::-1])
        against = self.against(given[::-1], ends)[::-1]
        return tokens + (self.along(given, starts) + against)


def _padded(weight: Floats, axis: int) -> Floats:
    """Add zeros along an axis to whole vectors."""
    more = [(0, 0)] * weight.ndim
    more[axis] = (0, padded(weight.shape[axis]) - weight.shape[axis])
    return np.pad(weight, more)


@njit(**OPTIONS)
def _convolve(both, taps, bias, starts, u):  # type: ignore[no-untyped-def]
    """SiLU of the causal convolution of the first half, never across the start of a sequence."""
    inner, (length, wide), since = u.shape[1], both.shape, 0
    flat, out, weights = both.reshape(-1), u.reshape(-1), taps.reshape(-1)
    for step in range(length):
        since = 0 if starts[step] else since + 1
        for x in range(0, inner, WIDTH):
            total = load(bias, x)
            for back in range(min(len(taps), since + 1)):
                tap = load(weights, (len(taps) - 1 - back) * inner + x)
                total = total + tap * load(flat, (step - back) * wide + x)
            store(out, step * inner + x, silu(total))


@njit(**OPTIONS)
def _soften(values):  # type: ignore[no-untyped-def]
    for x in range(0, len(values), WIDTH):
        store(values, x, softplus(load(values, x)))


@njit(**OPTIONS)
def _gate(both, y):  # type: ignore[no-untyped-def]
    """Multiply by SiLU of the second half."""
    inner, wide = y.shape[1], both.shape[1]
    gates, out = both.reshape(-1), y.reshape(-1)
    for step in range(len(y)):
        for x in range(0, inner, WIDTH):
            gate = silu(load(gates, step * wide + inner + x))
            store(out, step * inner + x, load(out, step * inner + x) * gate)
