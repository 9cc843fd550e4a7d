"""Mamba-2: its scan, its weights beside transformers', and single steps."""

from __future__ import annotations

import pytest
import torch

from stcli.nn.backend import choose
from stcli.nn.mamba import Mamba, Mamba2
from stcli.nn.scan import ssd_reference, ssd_scan

LENGTH = 37


def ssd_inputs(groups, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, dtype=dtype, generator=generator)

    heads, width, states = 4, 6, 8
    x, delta = draw(LENGTH, heads, width), draw(LENGTH, heads).exp() * 0.3
    B, C = draw(LENGTH, groups, states), draw(LENGTH, groups, states)
    starts = torch.zeros(LENGTH, dtype=torch.bool)
    starts[[0, 11, 12]] = True
    return x, delta, (-draw(heads).exp(), B, C, draw(heads)), starts


@pytest.mark.long
@pytest.mark.parametrize("groups", [1, 2])
def test_heads_scanned_as_channels_equal_the_plain_loop_and_its_gradients(groups):
    x, delta, matrices, starts = ssd_inputs(groups)
    leaves = [t.requires_grad_() for t in (x, delta, *matrices)]
    slow = ssd_reference(x, delta, matrices, starts)
    fast = ssd_scan(x, delta, matrices, starts, choose("cpu").scan)
    torch.testing.assert_close(fast, slow, rtol=1e-11, atol=1e-11)
    weights = torch.linspace(-1, 1, slow.numel(), dtype=slow.dtype).reshape(slow.shape)
    wanted = torch.autograd.grad((slow * weights).sum(), leaves)
    found = torch.autograd.grad((fast * weights).sum(), leaves)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_weights_load_both_ways_and_outputs_agree_with_transformers():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    torch.manual_seed(0)
    ours = Mamba2(64, d_state=8, headdim=32)
    config = transformers.Mamba2Config(
        hidden_size=64,
        state_size=8,
        expand=2,
        conv_kernel=4,
        head_dim=32,
        num_heads=4,
        n_groups=1,
        chunk_size=16,
        num_hidden_layers=1,
    )
    theirs = Mamba2Mixer(config, layer_idx=0)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, LENGTH, 64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def blocks():
    torch.manual_seed(1)
    yield Mamba(32, d_state=5)
    yield Mamba2(32, d_state=8, headdim=16, ngroups=2)


@pytest.mark.parametrize("block", list(blocks()), ids=["Mamba", "Mamba2"])
@torch.no_grad()
def test_token_by_token_equals_the_full_pass(block):
    x = torch.randn(3, LENGTH, 32)
    state, steps = None, []
    for token in x.unbind(dim=1):
        y, state = block.step(token, state)
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps, dim=1), block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", list(blocks()), ids=["Mamba", "Mamba2"])
@torch.no_grad()
def test_packed_sequences_equal_each_alone(block):
    first, second = torch.randn(1, 9, 32), torch.randn(1, 14, 32)
    starts = torch.zeros(23, dtype=torch.bool)
    starts[[0, 9]] = True
    packed = block(torch.cat([first, second], dim=1), starts)
    torch.testing.assert_close(packed[:, :9], block(first), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(packed[:, 9:], block(second), rtol=1e-5, atol=1e-6)
