"""The Mamba block: official weights, packed sequences, both directions."""

from __future__ import annotations

import pytest
import torch

from stcli.nn.mamba import BidirectionalMamba, Mamba


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(3)


def starts_at(length: int, *at: int) -> torch.Tensor:
    starts = torch.zeros(length, dtype=torch.bool)
    starts[list(at)] = True
    return starts


# --- the official block -------------------------------------------------------------------------


def official(d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2):
    pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    config = MambaConfig(
        hidden_size=d_model, state_size=d_state, conv_kernel=d_conv, expand=expand, vocab_size=8
    )
    mixer = MambaMixer(config, layer_idx=0).eval()
    for name, weight in mixer.named_parameters():
        if name not in ("A_log", "D"):
            torch.nn.init.normal_(weight, std=0.3)  # no zero bias: each must be used
    return mixer


@pytest.mark.parametrize("sizes", [(64, 16, 4, 2), (24, 5, 3, 2), (16, 4, 2, 1)])
def test_weights_load_both_ways_and_outputs_agree(sizes):
    theirs, ours = official(*sizes), Mamba(*sizes)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(3, 70, sizes[0])
    with torch.no_grad():
        wanted, found = theirs(x), ours(x)
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
        fresh = Mamba(*sizes)
        theirs.load_state_dict(fresh.state_dict(), strict=True)
        wanted = theirs(x)
        assert (fresh(x) - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_gradients_agree_with_the_official_block():
    theirs, ours = official(32, 5), Mamba(32, 5)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 67, 32)
    for block in (theirs, ours):
        block(x).square().sum().backward()
    for (name, a), (_, b) in zip(
        sorted(ours.named_parameters()), sorted(theirs.named_parameters()), strict=True
    ):
        assert (a.grad - b.grad).norm() < 1e-4 * b.grad.norm(), name


def test_names_and_shapes_are_the_official_ones():
    """As in mamba_ssm.Mamba(d_model=64): written down, for that package needs a GPU."""
    shapes = {name: tuple(weight.shape) for name, weight in Mamba(64).state_dict().items()}
    assert shapes == {
        "A_log": (128, 16),
        "D": (128,),
        "in_proj.weight": (256, 64),
        "conv1d.weight": (128, 1, 4),
        "conv1d.bias": (128,),
        "x_proj.weight": (36, 128),
        "dt_proj.weight": (128, 4),
        "dt_proj.bias": (128,),
        "out_proj.weight": (64, 128),
    }


def test_a_fresh_block_starts_as_the_paper_says():
    block = Mamba(64)
    step = torch.nn.functional.softplus(block.dt_proj.bias)
    assert 0.001 <= step.min() * 1.001 < step.max() <= 0.1001
    assert torch.allclose(torch.exp(block.A_log[5]), torch.arange(1.0, 17.0))


# --- sequences ----------------------------------------------------------------------------------


@pytest.fixture
def block() -> Mamba:
    return Mamba(20, 5).eval()


def test_the_block_is_causal(block):
    x = torch.randn(1, 90, 20)
    changed = x.clone()
    changed[:, 50] += 1
    with torch.no_grad():
        before, after = block(x), block(changed)
    assert torch.equal(before[:, :50], after[:, :50])
    assert (before[:, 50:] != after[:, 50:]).any(dim=2).all()


def test_packed_sequences_equal_each_alone(block):
    lengths = [1, 2, 3, 4, 64, 65, 30, 1]
    parts = [torch.randn(1, n, 20) for n in lengths]
    first = [sum(lengths[:i]) for i in range(len(lengths))]
    with torch.no_grad():
        packed = block(torch.cat(parts, dim=1), starts_at(sum(lengths), *first))
        for at, part in zip(first, parts, strict=True):
            alone = block(part)
            # the same sums, but matrix products of another height: roundings may differ
            assert torch.allclose(packed[:, at : at + part.shape[1]], alone, rtol=1e-5, atol=1e-6)


def test_no_bit_crosses_a_start(block):
    x = torch.randn(1, 60, 20)
    starts = starts_at(60, 0, 31)
    changed = x.clone()
    changed[:, :31] = torch.randn(31, 20) * 100
    with torch.no_grad():
        assert torch.equal(block(x, starts)[:, 31:], block(changed, starts)[:, 31:])


def test_a_batch_is_its_sequences(block):
    x = torch.randn(3, 40, 20)
    with torch.no_grad():
        together = block(x)
        for i in range(3):
            assert torch.allclose(together[i], block(x[i : i + 1])[0], rtol=1e-5, atol=1e-6)


# --- both directions ----------------------------------------------------------------------------


def mirrored(mixer: BidirectionalMamba) -> BidirectionalMamba:
    """The same weights, the two directions exchanged."""
    twin = BidirectionalMamba(12, 4)
    twin.norm.load_state_dict(mixer.norm.state_dict())
    twin.along.load_state_dict(mixer.against.state_dict())
    twin.against.load_state_dict(mixer.along.state_dict())
    return twin


def test_reversed_input_and_exchanged_directions_give_the_reversed_output():
    mixer, x = BidirectionalMamba(12, 4), torch.randn(80, 12)
    starts = starts_at(80, 0, 1, 30, 64)
    lengths = [1, 29, 34, 16]
    back = starts_at(80, *(sum(lengths[:i:-1]) for i in range(4)))
    with torch.no_grad():
        forward = mixer(x, starts)
        backward = mirrored(mixer)(x.flip(0), back).flip(0)
    assert torch.allclose(forward, backward, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(forward, mixer(x.flip(0), back).flip(0), atol=1e-3)


def test_every_token_sees_its_whole_sequence_and_no_other():
    mixer, x = BidirectionalMamba(12, 4), torch.randn(50, 12)
    starts = starts_at(50, 0, 20)
    changed = x.clone()
    changed[30, 3] += 1
    with torch.no_grad():
        before, after = mixer(x, starts), mixer(changed, starts)
    assert torch.equal(before[:20], after[:20])
    assert (before[20:] != after[20:]).any(dim=1).all()


def test_no_tokens_at_all_are_mixed_into_none():
    mixer = BidirectionalMamba(12, 4)
    out = mixer(torch.zeros(0, 12), torch.zeros(0, dtype=torch.bool))
    assert out.shape == (0, 12)
