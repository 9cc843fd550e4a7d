"""Log powers smoothed in time: predictions leave cells out, mixtures take what predicts best."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import trim_mean

from stcli.noise.time.smoothing import CLIP, TRIM, Smoother, mix, predict

TIMES = 600
FAMILY = (Smoother(7, 0), Smoother(13, 1), Smoother(25, 3, True), Smoother(97, 3, True))


def noise(seed=0, scale=0.2):
    return scale * np.random.default_rng(seed).normal(size=(1, TIMES))


@pytest.mark.parametrize("smoother", FAMILY)
def test_a_cell_and_its_guard_have_no_say(smoother):
    y = 0.2 * (-1.0) ** np.arange(TIMES)[None]
    before = predict(y, (smoother,))[0].values
    y[0, 300] = 0
    moved = np.nonzero(before != predict(y, (smoother,))[0].values)[1]
    assert moved.size
    assert np.abs(moved - 300).min() > smoother.guard


def test_a_parabola_is_followed_without_error():
    x = (np.arange(TIMES) - 300.0) / 300
    found = predict((2 - 3 * x**2)[None], (Smoother(49, 6, True),))[0].values
    assert found[0, 200:400] == pytest.approx(2 - 3 * x[200:400] ** 2, abs=1e-9)


@pytest.mark.parametrize("smoother", [Smoother(25, 3), Smoother(49, 6, True)])
def test_cells_tell_the_noise_of_a_prediction(smoother):
    rng, series = np.random.default_rng(3), 400
    found = predict(rng.normal(size=(series, TIMES)), (smoother,))[0]
    # what is left of the noise once cells are clipped, and means trimmed: by scipy's
    drawn = np.clip(rng.normal(size=(18, 200_000)), -CLIP, CLIP)
    wanted = drawn.var() if smoother.parabola else 18 * trim_mean(drawn, TRIM, axis=0).var()
    used = found.values[:, 50:-50]
    # five standard errors of a variance of so many values, those of a window counted as one
    error = np.sqrt(2 * smoother.width / used.size)
    assert used.var() * found.cells == pytest.approx(wanted, rel=5 * error)


@pytest.mark.parametrize("seed", range(5))
def test_chance_is_no_evidence(seed):
    found = mix(noise(seed), predict(noise(seed), FAMILY))
    assert found.errors[0] < 4


def test_bursts_and_slow_change_are_followed_where_each_is():
    t = np.arange(TIMES)
    truth = np.where((t >= 100) & (t < 130), 2.0, 0.0) + np.where(t > 300, np.sin(t / 50.0), 0)
    y = truth[None] + noise()
    found = mix(y, predict(y, FAMILY))
    error = found.change[0] - (truth - np.median(truth))
    error -= np.median(error)
    assert found.errors[0] > 20
    assert np.sqrt(np.mean(error[200:290] ** 2)) < 0.08
    assert np.sqrt(np.mean(error[350:550] ** 2)) < 0.08
    assert np.abs(error[103:127]).max() < 0.35


def test_too_few_times_predict_nothing():
    assert predict(noise()[:, :12], FAMILY) == []


def test_a_mixture_is_that_of_the_formula():
    y = noise(7)
    y[0, 200:260] += 0.5
    y[0, 100] += 20  # beyond both bounds of a loss
    found = predict(y, FAMILY)
    mixed = mix(y, found)
    row, level = y[0], trim_mean(y[0], TRIM)
    variance = (1.4826 * np.median(np.abs(np.diff(row)))) ** 2 / 2
    values = [np.full(TIMES, level), *(p.values[0] for p in found)]
    losses = [(row - v) ** 2 / variance for v in values]
    for t in (40, 98, 103, 110, 199, 230, 500):
        near = [u for u in range(t - 25, t + 26) if abs(u - t) > 3]
        weights = np.exp([-np.minimum(loss[near], 9).sum() / 2 for loss in losses])
        wanted = np.average([v[t] for v in values], weights=weights) - level
        assert mixed.change[0, t] == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    calm, *others = (np.minimum(loss, 36).sum() for loss in losses)
    shares = [TIMES / p.cells for p in found]
    evidence = [
        (calm - other + share) / np.sqrt(8 * share)
        for other, share in zip(others, shares, strict=True)
    ]
    assert mixed.errors[0] == pytest.approx(max(evidence), rel=1e-9)


def test_an_outlier_counts_as_if_it_stood_at_the_edge_of_the_noise():
    """However far out: neither it nor a farther one moves a parabola more."""
    near, far = noise(), noise()
    near[0, 300], far[0, 300] = 1e3, 1e6
    one, other = (predict(y, (FAMILY[0], FAMILY[3]))[1].values for y in (near, far))
    np.testing.assert_array_equal(one, other)
