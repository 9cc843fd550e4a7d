"""Mamba blocks without torch: to rounding those of `stcli.nn.mamba`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stcli.nn.mamba import BidirectionalMamba
from stcli.nn.mamba_cpu import BidirectionalMambaCpu, layer_norm
from stcli.nn.scan_kernels import scan_forward, scan_tokens
from stcli.nn.tensors import arrays_of


@pytest.mark.parametrize(("width", "states"), [(64, 16), (20, 5), (8, 1), (33, 4)])
@pytest.mark.parametrize("firsts", [[0], [0, 1, 3, 4, 40, 99]])
def test_a_block_is_torchs(width, states, firsts):
    torch.manual_seed(0)
    block = BidirectionalMamba(width, states)
    starts = torch.zeros(100, dtype=torch.bool)
    starts[firsts] = True
    tokens = torch.randn(100, width)
    with torch.no_grad():
        wanted = block(tokens, starts).numpy()
    found = BidirectionalMambaCpu(arrays_of(block.state_dict()))(tokens.numpy(), starts.numpy())
    assert found.dtype == np.float32
    assert np.allclose(found, wanted, rtol=0, atol=2e-6)


def test_nothing_is_mixed_to_nothing():
    block = BidirectionalMambaCpu(arrays_of(BidirectionalMamba(8, 2).state_dict()))
    nothing = np.zeros((0, 8), dtype=np.float32)
    assert block(nothing, np.zeros(0, dtype=bool)).shape == (0, 8)


@pytest.mark.parametrize("length", [63, 64, 128, 150, 320])
def test_a_scan_of_tokens_is_the_scan_of_channels_to_the_bit(length):
    g = np.random.default_rng(0)
    u, delta = g.normal(size=(2, length, 32)).astype(np.float32)
    delta = np.abs(delta)
    A = -g.random((32, 5)).astype(np.float32)
    B, C = g.normal(size=(2, length, 5)).astype(np.float32)
    matrices = (A, B, C, g.normal(size=32).astype(np.float32))
    starts = np.isin(np.arange(length), [0, 64, 65, 100])
    turned = tuple(np.ascontiguousarray(each.T) for each in (u, delta))
    wanted, _ = scan_forward((*turned, *matrices, starts), kept=False, threaded=False)
    assert np.array_equal(scan_tokens(u, delta, matrices, starts), wanted.T)


def test_a_layer_norm_is_torchs():
    values = 100 + np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    norm = torch.nn.LayerNorm(6)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
        wanted = norm(torch.from_numpy(values)).numpy()
    state = arrays_of(norm.state_dict())
    assert np.allclose(layer_norm(values, state["weight"], state["bias"]), wanted, atol=1e-4)
