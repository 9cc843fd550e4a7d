"""Measures of a fine raster: against scikit-image, and on fields whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.metrics import (
    fair_crps,
    median_block_ratio,
    quality,
    spectral_error,
    spectrum,
    spread_skill,
    ssim,
)


def fields(rows=96, cols=80):
    rng = np.random.default_rng(0)
    truth = rng.normal(100, 10, (rows, cols))
    return truth + rng.normal(1, 3, truth.shape), truth


@pytest.mark.parametrize("level", [1e6, 1e9, 1e12])
def test_structure_on_a_high_level_is_that_of_the_same_field_below(level):
    fine, truth = fields()
    span = float(np.ptp(truth))
    low, high = (ssim(fine + at, truth + at, span) for at in (1e4, level))
    assert high == pytest.approx(low, abs=1e-4)  # brightness, which alone differs, is nearly 1


def test_against_scikit_image():
    fine, truth = fields()
    low, high = np.percentile(truth, (1, 99))
    found = quality(fine, truth, block_mean(truth, 2), 2)
    theirs = structural_similarity(truth, fine, data_range=high - low)
    assert found.ssim == pytest.approx(theirs, abs=1e-9)
    theirs = peak_signal_noise_ratio(truth, fine, data_range=high - low)
    assert found.psnr == pytest.approx(theirs)
    assert found.rmse == pytest.approx(np.sqrt(((fine - truth) ** 2).mean()))
    assert found.mae == pytest.approx(np.abs(fine - truth).mean())
    assert found.bias == pytest.approx((fine - truth).mean())


def test_the_truth_itself_is_without_fault():
    _, truth = fields()
    found = quality(truth, truth, block_mean(truth, 2), 2)
    assert (found.rmse, found.mae, found.bias, found.psnr) == (0, 0, 0, None)
    assert found.ssim == pytest.approx(1)
    assert found.spectral_error == 0
    assert found.mass_violation < 1e-12


def test_blocks_with_gaps_in_the_truth_violate_nothing():
    fine, whole = fields()
    truth = whole.copy()
    truth[10:13, 20:45] = np.nan
    coarse = block_mean(truth, 2)
    assert quality(whole, truth, coarse, 2).mass_violation < 1e-12
    assert quality(fine, truth, coarse, 2).mass_violation > 1e-3


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_beside_a_constant_truth_no_spectrum_is_right(value):
    fine, truth = fields()
    assert spectral_error(fine, np.full_like(truth, value)) is None
    assert spectral_error(fine, value + 1e-9 * (1 + value) * truth) is not None


def test_halved_power_is_three_decibels():
    _, truth = fields()
    weaker = (truth - truth.mean()) / np.sqrt(2)
    assert spectral_error(weaker, truth) == pytest.approx(10 * np.log10(2))


def test_a_wave_stands_at_its_frequency():
    row, col = np.mgrid[:128, :128]
    wave = np.sin(2 * np.pi * (3 * row + 4 * col) / 128)
    frequency, power = spectrum(wave, np.ones(wave.shape, bool))
    assert frequency[power.argmax()] * 128 == 5


def test_a_row_too_low_for_a_spectrum_is_not_cut_into_windows(monkeypatch):
    monkeypatch.setattr(np.fft, "rfft2", lambda part: pytest.fail("a window was transformed"))
    assert spectrum(np.ones((7, 1000)), np.ones((7, 1000), bool)) is None


@pytest.mark.parametrize("side", [64, 63])
def test_the_spectrum_is_the_mean_over_all_directions(side):
    field = fields(side, side)[1] + 30 * np.sin(np.arange(side) / 3)
    known = np.ones(field.shape, bool)
    _, power = spectrum(field, known)
    taper = np.hanning(side + 2)[1:-1]
    whole = np.abs(np.fft.fft2((field - field.mean()) * taper * taper[:, None])) ** 2
    at = np.fft.fftfreq(side) * side
    ring = np.rint(np.hypot(at[:, None], at)).astype(int)
    assert power == pytest.approx([whole[ring == r].mean() for r in range(1, side // 2 + 1)])
    assert spectrum(field.T, known)[1] == pytest.approx(power)


def test_gaps_do_not_count():
    fine, truth = fields(300, 300)
    fine[100, 120] = truth[200, 7] = np.nan
    wild = truth.copy()
    wild[100, 120] = 1e9
    coarse = block_mean(truth, 2)
    assert quality(fine, wild, coarse, 2) == quality(fine, truth, coarse, 2)
    holes = np.full_like(truth, np.nan)
    holes[:20] = truth[:20]
    found = quality(fine, holes, coarse, 2)
    assert found.spectral_error is None
    assert found.ssim is not None
    assert set(quality(fine, np.full_like(truth, np.nan), coarse, 2).to_json().values()) == {None}
    assert ssim(fine[:5], truth[:5], 10.0) is None


def test_the_median_block_ignores_a_few_bad_ones():
    fine, truth = fields(160, 160)
    peer = truth + 2 * (fine - truth)
    fine[:16, :16] += 1e6
    assert median_block_ratio(fine, peer, truth, 2) == pytest.approx(0.5)
    assert median_block_ratio(fine[:9], peer[:9], truth[:9], 2) is None


def test_fair_crps_against_its_formula():
    rng = np.random.default_rng(1)
    members, truth = rng.normal(size=(5, 6, 7)), rng.normal(size=(6, 7))
    apart = np.abs(members[:, None] - members[None]).sum(axis=(0, 1))
    plain = np.abs(members - truth).mean(axis=0) - apart / (2 * 5 * 4)
    assert np.allclose(fair_crps(members, truth), plain, atol=1e-12)
    members[2, 0, 0] = np.nan
    assert np.isnan(fair_crps(members, truth)[0, 0])


def test_the_right_spread_has_the_best_crps_and_a_skill_of_one():
    rng = np.random.default_rng(2)
    truth, members = rng.normal(size=40000), rng.normal(size=(4, 40000))
    scores = [fair_crps(share * members, truth).mean() for share in (0.6, 1.0, 1.6)]
    assert scores[1] == min(scores)
    assert scores[1] == pytest.approx(1 / np.sqrt(np.pi), abs=0.01)  # of a normal, its own spread
    assert spread_skill(members, truth) == pytest.approx(1, abs=0.02)
    assert spread_skill(0.5 * members, truth) < 0.7


def test_spread_counts_where_the_truth_is_known():
    rng = np.random.default_rng(0)
    members, truth = rng.normal(0, 1, (8, 60, 60)), rng.normal(0, 1, (60, 60))
    members[:, :, 30:] *= 50
    truth[:, 30:] = np.nan
    known = members[:, :, :30], truth[:, :30]
    assert spread_skill(members, truth) == pytest.approx(spread_skill(*known))
