"""The noise map, shrinkage, models and statistics on planes of known noise."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.restoration import denoise_wavelet

from stcli.noise.space.models import Model
from stcli.noise.space.shrink import halo as shrink_halo
from stcli.noise.space.shrink import shrink, unbiased
from stcli.noise.space.spatial import halo, noise_map
from stcli.noise.space.statistics import (
    Sample,
    noise_covariance,
    poisson_fit,
    signal_to_noise,
    typical,
)
from stcli.settings import NoiseMapSettings, ShrinkSettings

SMALL = NoiseMapSettings(window=33)


def white(shape=(200, 220), seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def everywhere(plane):
    return np.ones(plane.shape, dtype=bool)


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym8"])
def test_white_noise_has_its_deviation_at_all_levels(wavelet):
    plane = 3 * white()
    settings = NoiseMapSettings(wavelet, levels=2, window=65)
    margin = halo(settings)
    for level, sigma in enumerate(noise_map(plane, everywhere(plane), (0, 0), settings, 0)):
        inner = sigma[margin // 2 : -margin // 2, margin // 2 : -margin // 2]
        assert np.median(inner) == pytest.approx(3, rel=0.04 * 2**level)


@pytest.mark.parametrize("value", [0.0, 0.1, 1234.567, -1e30])
def test_a_constant_plane_has_no_noise_at_all(value):
    plane, settings = np.full((200, 180), value), NoiseMapSettings(levels=2, window=9)
    margin = halo(settings)  # beyond the plane is 0
    for sigma in noise_map(plane, everywhere(plane), (0, 0), settings):
        assert (sigma[margin:-margin, margin:-margin] == 0).all()


def test_a_step_of_noise_is_seen_where_it_is():
    deviation = np.where(np.arange(220) < 110, 1.0, 5.0)
    plane = white() * deviation
    sigma = noise_map(plane, everywhere(plane), (0, 0), NoiseMapSettings(window=97))[0]
    far = np.abs(np.arange(220) - 110) > 20
    assert np.median(np.abs(sigma / deviation - 1)[20:-20, far]) < 0.06
    assert np.quantile(np.abs(sigma / deviation - 1)[20:-20, far], 0.9) < 0.2


def test_the_picture_beneath_matters_little():
    rows, cols = np.mgrid[:200, :220]
    scene = 50.0 * ((rows // 40 + cols // 40) % 2) + cols
    sigma = noise_map(scene + white(), everywhere(scene), (0, 0), NoiseMapSettings())[0]
    assert np.median(np.abs(sigma - 1)) < 0.1


def test_the_map_depends_on_pixels_within_its_halo_only():
    plane = white((260, 260))
    before = noise_map(plane, everywhere(plane), (3, 5), SMALL)[0]
    changed = plane.copy()
    changed[130, 130] = 1e3
    after = noise_map(changed, everywhere(plane), (3, 5), SMALL)[0]
    rows, cols = np.nonzero(before != after)
    away = max(np.abs(rows - 130).max(), np.abs(cols - 130).max())
    assert 0 < away <= halo(SMALL)


def test_the_map_of_a_part_is_a_part_of_the_map():
    plane, reach = white((240, 230)), halo(SMALL)
    whole = noise_map(plane, everywhere(plane), (11, 4), SMALL)[0]
    part = plane[31:, 17:]
    found = noise_map(part, everywhere(part), (11 + 31, 4 + 17), SMALL, reach)[0]
    inner = np.s_[reach:-reach, reach:-reach]
    assert found[inner].size > 1000
    assert np.array_equal(found[inner], whole[31:, 17:][inner])
    assert np.isnan(found[: reach - 1]).all()


def test_holes_neither_add_noise_nor_take_it():
    plane, valid = white((200, 200)), np.random.default_rng(1).random((200, 200)) > 0.01
    valid[50:90, 60:120] = False
    sigma = noise_map(np.where(valid, plane, 0.0), valid, (0, 0), NoiseMapSettings())[0]
    assert np.median(sigma[valid]) == pytest.approx(1, rel=0.05)


def test_too_few_pixels_are_unknown_and_no_noise_is_zero():
    plane = white((90, 90))
    valid = np.zeros(plane.shape, dtype=bool)
    valid[40:44, 40:44] = True
    assert np.isnan(noise_map(plane, valid, (0, 0), SMALL)[0]).all()
    flat = np.full((90, 90), 7.0)
    inner = noise_map(flat, everywhere(flat), (0, 0), SMALL, 20)[0][20:-20, 20:-20]
    assert np.abs(inner).max() < 1e-12


@pytest.mark.parametrize("passes", [1, 2])
def test_shrinkage_takes_noise_and_leaves_the_scene(passes):
    rows, cols = np.mgrid[:300, :300]
    scene = 10 * np.sin(rows / 25) + 10 * np.cos(cols / 30) + 20 * (cols > 150)
    noisy, settings = scene + white(scene.shape), ShrinkSettings(depth=3, passes=passes)
    one = [np.ones(scene.shape)]
    clean = shrink(noisy, everywhere(scene), one, settings)
    peer = denoise_wavelet(noisy, sigma=1, method="BayesShrink", wavelet="db4", wavelet_levels=3)
    inner = np.s_[60:-60, 60:-60]
    ours, theirs = (np.square(each - scene)[inner].mean() for each in (clean, peer))
    assert ours < theirs
    untouched = shrink(noisy, everywhere(scene), [0 * one[0]], ShrinkSettings(depth=3, passes=1))
    assert np.abs(untouched - noisy)[inner].max() < 1e-12


def test_shrinkage_depends_on_pixels_within_its_halo_only():
    settings = ShrinkSettings(depth=2, passes=2)
    reach = shrink_halo(settings, 0)
    plane = white((2 * reach + 61, 2 * reach + 61))
    middle = reach + 30
    one = [np.ones(plane.shape)]
    before = shrink(plane, everywhere(plane), one, settings)
    plane[middle, middle] += 50
    rows, cols = np.nonzero(before != shrink(plane, everywhere(plane), one, settings))
    away = max(np.abs(rows - middle).max(), np.abs(cols - middle).max())
    assert reach / 3 < away <= reach


def test_speckle_keeps_its_mean():
    rng = np.random.default_rng(0)
    values = rng.gamma(4, 1 / 4, size=(200, 200))
    dark = np.full(values.shape, np.exp(np.log(values).mean()))
    clean = unbiased(values, dark, everywhere(values))
    assert dark.mean() < 0.9
    assert clean[20:-20, 20:-20].mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("model", [Model(), Model("multiplicative")])
def test_models_invert(model):
    values = np.linspace(0.5, 900, 400)
    assert model.backward(model.forward(values)) == pytest.approx(values)


def test_the_poisson_model_makes_noise_even_and_comes_back_unbiased():
    model, rng = Model("poisson", gain=2.0, read_noise=3.0), np.random.default_rng(5)
    for mean in (20.0, 200.0, 2000.0):
        values = 2.0 * rng.poisson(mean / 2, size=200_000) + rng.normal(scale=3, size=200_000)
        z = model.forward(values)
        assert z.std() == pytest.approx(1, rel=0.03)
        assert model.backward(np.array([z.mean()]))[0] == pytest.approx(mean, rel=0.01)
        assert model.scale(np.array([mean]))[0] == pytest.approx(values.std(), rel=0.01)


def sampled(noise, local):
    sigma = np.broadcast_to(noise.std(axis=0), noise.shape)[..., None]
    extremes = local.min(axis=0), local.max(axis=0)
    return Sample(local + noise, local, noise, sigma, *extremes)


def test_gain_and_read_noise_are_found_where_there_are_any():
    rng = np.random.default_rng(2)
    local = rng.uniform(10, 1000, 60_000)
    counts = rng.normal(size=local.size) * np.sqrt(0.5 * local + 16)
    fit = poisson_fit(local, counts)
    assert fit.supported
    slopes = np.stack([local, np.ones(local.size)]) / (0.5 * local + 16)
    bounds = np.linalg.inv(slopes @ slopes.T / 2)  # Fisher's, of gain and read noise squared
    errors = np.sqrt(np.diag(bounds) / 0.37)  # a median of magnitudes wants that many more values
    assert abs(fit.gain - 0.5) < 4 * errors[0]
    assert abs(fit.read_noise**2 - 16) < 4 * errors[1]
    assert not poisson_fit(local, 5 * rng.normal(size=local.size)).supported
    assert not poisson_fit(local[:100], counts[:100]).supported


@pytest.mark.parametrize("unit", [1e-20, 1e8, 1e20])
def test_a_fit_does_not_depend_on_the_unit(unit):
    rng = np.random.default_rng(3)
    local = rng.uniform(10, 1000, 60_000)
    for counts in (np.sqrt(0.5 * local + 16), 5.0):
        noise = rng.normal(size=local.size) * counts
        one, other = poisson_fit(local, noise), poisson_fit(unit * local, unit * noise)
        assert other.supported == one.supported
        wanted = unit * np.array([one.gain, one.read_noise, one.error])
        assert [other.gain, other.read_noise, other.error] == pytest.approx(wanted, rel=1e-6)


def test_covariance_and_snr_are_those_of_the_noise():
    rng = np.random.default_rng(4)
    wanted = np.array([[4.0, 1.5], [1.5, 1.0]])
    noise = rng.multivariate_normal([0, 0], wanted, 80_000)
    local = rng.normal(scale=(20.0, 3.0), size=noise.shape)
    found = sampled(noise, local)
    assert noise_covariance(found) == pytest.approx(wanted, rel=0.05)
    assert typical(found)[:, 0] == pytest.approx([2, 1], rel=0.02)
    assert signal_to_noise(found, Model()) == pytest.approx([100, 9], rel=0.05)
