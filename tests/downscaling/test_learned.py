"""Learned upscalers: what they see, how it turns, how far they reach, that they learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import pixel_shuffle

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.ensemble import Ensemble
from stcli.downscaling.features import base, features, shuffle, unshuffle
from stcli.downscaling.guide import detail, part, weights
from stcli.downscaling.models import build
from stcli.downscaling.network import CHANNELS, RIM, conserving, pixel_loss
from stcli.downscaling.samples import blurred, copies, paired, sample, shifts, transferred
from stcli.downscaling.splits import crops, split
from stcli.downscaling.spread import spread
from stcli.downscaling.training import train
from stcli.downscaling.turns import moved, moved_back
from stcli.downscaling.validation import around_held, averaged, blend, residual_of
from stcli.nn.swin import WINDOW, SwinBlock
from stcli.settings import DownscalerTraining, UpscalerSettings, psf_of_mtf

SMALL = UpscalerSettings(width=8, blocks=2, window=32, margin=16)
KINDS = [SMALL, replace(SMALL, architecture="latent")]
each_kind = pytest.mark.parametrize("settings", KINDS, ids=lambda s: s.architecture)
WAYS = [(turns, mirror) for turns in range(4) for mirror in (False, True)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small tensors: a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scene(rows=96, cols=80, seed=0):
    """Make edges that a spline blurs, and two guides that see them."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    steps = np.sign(np.sin(row / 5.3 + np.sin(col / 7))) + np.sign(np.cos(col / 4.1))
    noise = rng.normal(0, 0.02, (3, rows, cols))
    truth = (steps + noise[0])[None]
    return truth, np.stack([2 * steps + 5, 3 - steps]) + noise[1:]


def test_places_of_a_block_become_channels_as_in_torch():
    fine = np.random.default_rng(0).normal(size=(2, 12, 8))
    channels = unshuffle(fine, 4)
    assert channels.shape == (32, 3, 2)
    assert np.array_equal(shuffle(channels, 4), fine)
    assert np.array_equal(pixel_shuffle(torch.from_numpy(channels), 4).numpy(), fine)


def test_features_have_no_gaps_and_details_average_to_nothing():
    truth, guide = scene()
    coarse = block_mean(truth, 2)
    coarse[0, 10:14, 3:30] = np.nan
    guide[1, 40:44, 8:12] = np.nan
    found = features(coarse, guide, 2)
    assert found.shape == (3 * 3 + 2 * 4, 48, 40)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found[9:13].mean(axis=0)).max() < 1e-5


@pytest.mark.parametrize(("turns", "mirror"), WAYS)
def test_features_turn_with_the_scene(turns, mirror):
    truth, guide = scene()

    def turned(field):
        found = np.rot90(field, turns, (-2, -1))
        return np.ascontiguousarray(found[..., ::-1] if mirror else found)

    plain = torch.from_numpy(features(block_mean(truth, 2), guide, 2))
    wanted = features(turned(block_mean(truth, 2)), turned(guide), 2)
    found = moved(plain, turns, mirror, 9, 2)
    assert np.allclose(found.numpy(), wanted, atol=1e-5)
    places = plain[9:]
    assert torch.equal(moved_back(moved(places, turns, mirror, 0, 2), turns, mirror, 2), places)


def test_the_base_keeps_block_means():
    truth, _ = scene()
    coarse = block_mean(truth, 4)
    assert np.allclose(block_mean(base(coarse, 4), 4), coarse, atol=1e-12)


def test_the_linear_guide_finds_its_weights_one_scale_coarser():
    truth, guide = scene(192, 160)
    found = weights([part(block_mean(truth, 2), guide, 2)], 2, 1)
    assert np.allclose(found.values @ [2, -1], 1, atol=0.02)
    assert found.helped == (True,)
    assert found.ratios[0] < 0.2
    ibp = base(block_mean(truth, 2), 2)
    fine = ibp + np.einsum("kg,grc->krc", found.values, detail(guide, 2))
    error, peer = (np.sqrt(np.mean((a - truth) ** 2)) for a in (fine, ibp))
    assert error < 0.2 * peer


def test_the_unit_of_a_guide_changes_nothing_of_what_it_and_others_say():
    rng = np.random.default_rng(2)
    guide = gaussian_filter(rng.normal(size=(2, 192, 160)), (0, 1, 1))
    coarse = block_mean((guide[0] + 2 * guide[1])[None], 2)  # each says what the other does not
    units = np.array([1e4, 1e-2])  # digital numbers beside an index
    plain = weights([part(coarse, guide, 2)], 2, 1)
    other = weights([part(coarse, guide * units[:, None, None], 2)], 2, 1)
    assert np.allclose(plain.values, [[1, 2]], rtol=1e-6)
    assert np.allclose(other.values * units, plain.values, rtol=1e-6)
    assert max(other.ratios) < 1e-6


def test_a_guide_that_knows_nothing_of_a_band_is_not_used_for_it():
    truth, guide = scene(192, 160)
    stranger = np.random.default_rng(5).normal(size=truth.shape)
    bands = np.concatenate([truth, stranger])
    found = weights([part(block_mean(bands, 2), guide, 2)], 2, 2)
    assert found.helped == (True, False)
    assert found.ratios[1] >= 1
    assert not found.values[1].any()


def test_a_raster_too_small_to_judge_a_guide_is_left_to_ibp():
    truth, guide = scene(48, 48)
    found = weights([part(block_mean(truth, 2), guide, 2)], 2, 1)
    assert found.ratios == (np.inf,)
    assert not found.values.any()


def test_blocks_of_the_residual_average_to_nothing():
    found = conserving(torch.randn(2, 12, 5, 5), 2)
    assert pixel_shuffle(found, 2).reshape(2, 3, 5, 2, 5, 2).mean((3, 5)).abs().max() < 1e-6


def test_unknown_pixels_and_the_rim_do_not_score():
    found, target = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    wild = target.clone()
    wild[..., :RIM, :], wild[..., 8, 8] = 99, torch.nan
    other = found.clone()
    other[..., :RIM, :], other[..., 8, 8] = -99, -99
    target[..., 8, 8] = torch.nan
    assert pixel_loss(other, wild) == pixel_loss(found, target)


# --- reach ----------------------------------------------------------------------------------------


def untamed(settings, bands=1, guides=0):
    """Make a network whose last layers are not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build(bands, guides, settings)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, 0, 0.2)
    return network


def test_convolutions_reach_no_further_than_the_margin():
    network, x = untamed(SMALL), torch.randn(1, 49, 49)
    x2 = x.clone()
    x2[:, 24, 24] += 10
    changed = np.abs(residual_of(network, x, 2) - residual_of(network, x2, 2)).max(axis=0) > 0
    rows, cols = np.nonzero(changed)
    reach = max(np.abs(rows - 24).max(), np.abs(cols - 24).max())
    assert 2 < reach <= 2 * SMALL.blocks + 2 <= SMALL.margin


@pytest.mark.parametrize("shifted", [False, True])
def test_attention_stays_in_its_window_and_never_goes_around(shifted):
    block = SwinBlock(8, 2, shifted)
    torch.nn.init.normal_(block.bias)
    x = torch.randn(1, 8, 2 * WINDOW, 3 * WINDOW)
    x2 = x.clone()
    x2[0, 0, 1, 2] += 1  # one channel: LayerNorm would take all of them away
    with torch.no_grad():
        changed = (block(x) - block(x2)).abs().amax((0, 1)) > 0
    side = WINDOW // 2 if shifted else WINDOW
    assert changed[:side, :side].all()
    assert changed.sum() == side * side


@each_kind
def test_turning_and_averaging_is_blind_to_turns(settings):
    network, x = untamed(settings), torch.randn(2, 32, 32)
    plain = torch.from_numpy(averaged(network, x, 2))
    other = torch.from_numpy(averaged(network, moved(x, 1, True, 2, 2), 2))
    assert torch.allclose(other, moved(plain, 1, True, 0, 2), atol=1e-4)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.long
@each_kind
def test_it_learns_what_ibp_cannot_know(settings):
    truth, guide = scene(192, 160)
    how = DownscalerTraining(steps=120, every=20, block=32, batch=2)
    one = sample(truth, guide, 2)
    network = build(1, 2, settings)
    trained = train(network, [one], how)
    assert trained.history[-1]["validation"] < 0.8
    assert trained.ratios[2][0] < 0.8
    assert 0.5 < network.blend[0, 0] <= 1
    assert trained.spread[2].crps_over_mae < 0.8
    assert 0.3 < trained.spread[2].spread_skill < 3


def test_a_band_that_the_network_spoils_is_left_to_ibp():
    truth, _ = scene(128, 128)
    one, network = sample(truth, None, 2), untamed(SMALL)
    wrong = replace(one, target=-averaged(network, torch.from_numpy(one.inputs), 2))
    held = split(wrong, DownscalerTraining(block=32, crop=16))
    assert blend(network, [held]) == {2: (1.0,)}
    assert not residual_of(network, held.inputs, 2).any()


@each_kind
def test_members_spread_around_the_mean_and_keep_block_means(settings):
    network, x = untamed(settings), torch.randn(1, 32, 32)
    drawn = [
        residual_of(network, x, 2, torch.from_numpy(Ensemble(9, 3).noise(m, (0, 0), 32, 0)))
        for m in range(9)
    ]
    assert all(np.abs(one.mean(axis=0)).max() < 1e-5 for one in drawn)
    assert np.std(drawn, axis=0).mean() > 0.01
    if settings.architecture == "shuffle":  # its last layer is linear
        z = torch.randn(CHANNELS, 32, 32)
        mean = (residual_of(network, x, 2, z) + residual_of(network, x, 2, -z)) / 2
        assert np.allclose(mean, residual_of(network, x, 2), atol=1e-4)


def test_members_are_judged_around_what_is_averaged_over_turns():
    truth, _ = scene(128, 128)
    network = untamed(SMALL)
    torch.nn.init.zeros_(network.noise.mix.weight)
    one = split(sample(truth, None, 2), DownscalerTraining(block=32, crop=16))
    found = around_held(one, lambda window: averaged(network, window, 2))
    wrong, missed = found - one.data.target, one.data.target
    ratio = np.abs(wrong[:, one.held]).mean() / np.abs(missed[:, one.held]).mean()
    assert spread(network, [one], 0)[2].crps_over_mae == pytest.approx(ratio, rel=1e-5)


def test_noise_is_another_at_another_time():
    one, other = (Ensemble(2, 5, time).noise(1, (0, 0), 32, 16) for time in (0, 1))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.05


def test_noise_stands_still_on_the_lattice():
    ensemble = Ensemble(2, seed=7)
    left, right = (ensemble.noise(0, (-32, at), 32, 8) for at in (0, 32))
    assert left.shape == (CHANNELS, 48, 48)
    assert np.array_equal(left[:, :, 32:], right[:, :, :16])
    assert not np.array_equal(left, ensemble.noise(1, (-32, 0), 32, 8))
    assert abs(left.mean()) < 0.05
    assert abs(left.std() - 1) < 0.05


def test_held_out_blocks_are_judged_with_what_is_around_them():
    truth, _ = scene(256, 256)
    one = split(sample(truth, None, 2), DownscalerTraining(block=32, crop=16, validation=0.3))
    network = untamed(SMALL)
    whole = residual_of(network, one.inputs, 2)
    found = around_held(one, lambda window: residual_of(network, window, 2))
    assert len(one.parts) > 2
    assert np.allclose(found[:, one.held], whole[:, one.held], atol=1e-5)
    assert not found[:, ~one.blocks].any()


@each_kind
def test_training_twice_gives_the_same_weights(settings):
    truth, _ = scene()
    how = DownscalerTraining(steps=6, every=2, block=16, batch=2, crop=16)
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        network = build(1, 0, settings)
        train(network, [sample(truth, None, 2)], how)
        states.append(network.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_held_out_blocks_are_never_seen():
    truth, _ = scene(128, 128)
    how = DownscalerTraining(steps=8, every=8, block=32, batch=2, crop=16)
    one = sample(truth, None, 2)
    found = split(one, how)
    held = found.blocks
    assert 0.1 < held.mean() < 0.4
    assert found.held.sum() < held.sum()
    assert not found.held[~held].any()
    spoiled = replace(one, target=np.where(held, 1e3 * one.target, one.target))
    states = []
    for data in (one, spoiled):
        torch.manual_seed(5)
        network = build(1, 0, SMALL)
        train(network, [data], how)
        states.append(network.state_dict())
    # The weight against ibp is what held-out pixels decide, and members are scaled by it.
    learned = [key for key in states[0] if key != "blend" and not key.startswith("noise.")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in learned)


@pytest.mark.parametrize("shape", [(256, 200), (640, 296), (128, 130)])
def test_shifted_samples_hold_out_the_same_blocks(shape):
    truth = np.random.default_rng(0).normal(size=(1, *shape))
    for factor in (2, 4):
        first, *others = (
            split(one, DownscalerTraining()) for one in copies(truth, None, factor, [(0.0,)])
        )
        assert any(len(one.corners) for one in others)
        for one in others:
            rows, cols = one.blocks.shape
            assert np.array_equal(one.blocks, first.blocks[:rows, :cols])


def test_a_field_of_many_is_coarsened_from_one_place():
    truth, _ = scene()
    for turn in range(5):
        one, *others = copies(truth, None, 2, [(0.0,), (0.45,)], turn)
        down, right = shifts(2)[turn % 4]
        same = sample(truth[:, down:, right:], None, 2)
        assert np.array_equal(one.target, same.target, equal_nan=True)
        assert len(others) == 1


def test_small_fields_are_learned_from_small_crops():
    one = split(sample(scene(96, 96)[0], None, 2), DownscalerTraining())
    assert (one.side, one.blocks.sum()) == (16, 2 * 16 * 16)
    assert len(one.corners) > 100
    how = DownscalerTraining(batch=3)
    inputs, targets = crops(build(1, 0, SMALL), one, how, np.random.default_rng(0))
    assert inputs.shape[0] == targets.shape[0] == 12
    assert inputs.shape[2:] == (16, 16)


def test_too_small_a_field_is_refused():
    truth, _ = scene(32, 32)
    with pytest.raises(ValueError, match="too few pixels"):
        train(build(1, 0, SMALL), [sample(truth, None, 2)], DownscalerTraining(steps=1))


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.45, 1.0, 2.0])
def test_a_blur_has_the_transfer_that_it_was_asked_for(sigma):
    point = np.zeros((101, 101))
    point[50, 50] = 1
    w = 2 * np.pi * np.fft.fftfreq(101)
    for axis in (0, 1):
        profile = np.fft.ifftshift(blurred(point, sigma).sum(axis=axis))
        assert np.allclose(np.fft.fft(profile).real, np.exp(-(sigma**2) * w**2 / 2), atol=5e-3)


@pytest.mark.parametrize("factor", [2, 4])
def test_copies_are_shifted_and_blurred(factor):
    truth, guide = scene()
    assert len(set(shifts(factor))) == 4
    made = copies(truth, guide, factor, [(0.0,), (0.6,)])
    assert len(made) == 5
    assert np.abs(made[4].target).mean() < np.abs(made[0].target).mean()
    alone = sample(truth[:, 1:, 1:], guide[:, 1:, 1:], 2)
    shifted = copies(truth, guide, 2, [(0.0,)])[1]
    assert np.array_equal(shifted.inputs, alone.inputs)


def test_the_point_spread_of_a_band_is_put_back_one_scale_coarser():
    assert psf_of_mtf(0.7) == 0  # a pixel's own box has 2 / pi
    sigma = psf_of_mtf(0.22)
    assert np.exp(-2 * np.pi**2 * sigma**2 / 4) * 2 / np.pi == pytest.approx(0.22)
    first = transferred((sigma, 0.0), 2, 2)[0]
    assert first == pytest.approx((sigma * 0.75**0.5, 0))
    assert first[0] ** 2 + (sigma / 2) ** 2 == pytest.approx(sigma**2)
    assert transferred((), 2, 3)[0] == (0, 0, 0)


def test_a_pair_is_learned_like_its_own_coarsening():
    truth, _ = scene()
    coarse = block_mean(truth, 2)
    alone, pair = sample(truth, None, 2), paired(coarse + 3, truth, None, 2)
    assert np.allclose(pair.target, alone.target, atol=1e-5)
