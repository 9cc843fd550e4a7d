"""Means of similar pixels: against the plain sum, their halo, holes, and unknown noise."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.noise.space.similar import MOST, NEAR, SPACE, halo, shared, similar_mean
from stcli.settings import SimilarSettings

SMALL = SimilarSettings(search=5, around=3, strength=1.5)


def scene(shape=(2, 24, 27), seed=0):
    """Make bands with a step, noise of deviation 1, and a noise map that varies: 0.5 to 1.5."""
    rng = np.random.default_rng(seed)
    step = 4.0 * (np.arange(shape[2]) > 12)
    planes = rng.normal(size=shape) + step
    return planes, rng.uniform(0.5, 1.5, size=shape)


def plainly(planes, values, valid, sigmas, p, settings):
    """Sum as the equations say, for one pixel."""
    reach, half = settings.search // 2, settings.around // 2
    total, weight = np.zeros(len(planes)), 0.0
    for a in range(-reach, reach + 1):
        for b in range(-reach, reach + 1):
            q = (p[0] + a, p[1] + b)
            far = max(abs(a), abs(b)) > NEAR
            if not valid[q] or (far and (a % 2 or b % 2)):
                continue
            here, there = (
                np.s_[:, x[0] - half : x[0] + half + 1, x[1] - half : x[1] + half + 1]
                for x in (p, q)
            )
            noise = 2 * (settings.strength * sigmas[here]) ** 2
            u = ((planes[here] - planes[there]) ** 2 / noise).mean()
            w = np.exp(-(a**2 + b**2) / (2 * (SPACE * reach) ** 2)) / (1 + u) ** 1.5
            w *= 4 if far else 1
            total, weight = total + w * values[:, q[0], q[1]], weight + w
    return total / weight


def test_the_mean_is_the_plain_sum():
    planes, sigmas = scene()
    values, valid = np.exp(planes), np.random.default_rng(1).random(planes.shape[1:]) > 0.1
    found = similar_mean(planes, values, valid, sigmas, SMALL)
    for p in ((3, 3), (10, 12), (20, 23)):
        assert found[:, p[0], p[1]] == pytest.approx(
            plainly(planes, values, valid, sigmas, p, SMALL), rel=1e-12
        )


def test_far_away_every_other_row_and_column_counts_for_four():
    planes, sigmas = scene((1, 30, 30))
    valid, wide = np.ones(planes.shape[1:], bool), SimilarSettings(search=19, around=3)
    found = similar_mean(planes, planes, valid, sigmas, wide)
    assert found[0, 14, 15] == pytest.approx(
        plainly(planes, planes, valid, sigmas, (14, 15), wide)[0], rel=1e-12
    )


def test_noise_that_neighbours_share_is_taken_for_more_than_its_map_says():
    assert shared(1.0, 1.0) == shared(1.0, 2.0) == 1.0
    assert shared(0.1, 0.3) == pytest.approx(1.5)
    assert shared(0.1, 1.0) == MOST
    assert shared(np.nan, 1.0) == shared(1.0, np.nan) == shared(0.0, 1.0) == 1.0


def test_a_part_is_a_part_of_the_whole():
    planes, sigmas = scene()
    valid, reach = np.ones(planes.shape[1:], bool), halo(SMALL, 0)
    whole = similar_mean(planes, planes, valid, sigmas, SMALL)
    cut = np.s_[:, 5:21, 4:25]
    part = similar_mean(planes[cut], planes[cut], valid[cut[1:]], sigmas[cut], SMALL)
    inner = np.s_[:, reach:-reach, reach:-reach]
    assert np.array_equal(part[inner], whole[cut][inner])


def test_it_depends_on_pixels_within_its_halo_only():
    planes, _ = scene((1, 31, 31))
    valid, one = np.ones(planes.shape[1:], bool), np.ones(planes.shape)
    before = similar_mean(planes, planes, valid, one, SMALL)
    planes[0, 15, 15] += 2
    after = similar_mean(planes, planes, valid, one, SMALL)
    rows, cols = np.nonzero((before != after)[0])
    assert max(np.abs(rows - 15).max(), np.abs(cols - 15).max()) == halo(SMALL, 0)


def test_noise_goes_and_a_step_stays():
    planes, _ = scene((1, 80, 27))
    truth = np.broadcast_to(4.0 * (np.arange(27) > 12), planes.shape)
    wide = SimilarSettings(search=11, strength=1)
    one, valid = np.ones(planes.shape), np.ones(planes.shape[1:], bool)
    inner = similar_mean(planes, planes, valid, one, wide)[:, 6:-6, 6:-6] - truth[:, 6:-6, 6:-6]
    assert inner.std() < 0.45


def test_a_band_without_known_noise_stays_and_has_no_say():
    planes, sigmas = scene()
    sigmas[1] = 0
    valid = np.ones(planes.shape[1:], bool)
    found = similar_mean(planes, planes, valid, sigmas, SMALL)
    assert np.array_equal(found[1], planes[1])
    alone = similar_mean(planes[:1], planes[:1], valid, sigmas[:1], SMALL)
    assert np.allclose(found[0], alone[0], rtol=1e-13)


def apart(shape, seed=1):
    """Make valid masks of each band: holes that are there in one band, or in all."""
    valid = np.random.default_rng(seed).random(shape) > 0.1
    valid[0, 8:14, 8:20] = False
    valid[:, 16:19, 3:9] = False
    return valid


def own(planes, values, valid, sigmas, p, settings):
    """Sum as `plainly`, with a valid mask for each band."""
    reach, half = settings.search // 2, settings.around // 2
    total, weight = np.zeros(len(planes)), np.zeros(len(planes))
    for a in range(-reach, reach + 1):
        for b in range(-reach, reach + 1):
            q, u = (p[0] + a, p[1] + b), 0.0
            for k in np.ndindex(settings.around, settings.around):
                here, there = ((x[0] + k[0] - half, x[1] + k[1] - half) for x in (p, q))
                noise = 2 * (settings.strength * sigmas[:, *here]) ** 2
                one = (planes[:, *here] - planes[:, *there]) ** 2 / noise
                both = valid[:, *here] & valid[:, *there]
                u += (one[both] if both.any() else one).mean() / settings.around**2
            w = np.exp(-(a**2 + b**2) / (2 * (SPACE * reach) ** 2)) / (1 + u) ** 1.5
            total += np.where(valid[:, *q], w * values[:, *q], 0)
            weight += np.where(valid[:, *q], w, 0)
    return total / np.where(weight > 0, weight, np.nan)


def test_bands_with_holes_of_their_own_are_the_plain_sum():
    planes, sigmas = scene()
    values, valid = np.exp(planes), apart(planes.shape)
    found = similar_mean(planes, values, valid, sigmas, SMALL)
    for p in ((3, 3), (10, 12), (15, 7), (20, 23)):
        wanted = own(planes, values, valid, sigmas, p, SMALL)
        known = np.isfinite(wanted)
        assert found[:, *p][known] == pytest.approx(wanted[known], rel=1e-12)


def test_masks_that_are_alike_are_one_mask_to_the_bit():
    planes, sigmas = scene()
    sigmas[1, 3:9, 3:9] = 0
    sigmas[:, 12:15, 12:15] = 0
    valid = apart(planes.shape)[0]
    one = similar_mean(planes, planes, valid, sigmas, SMALL)
    each = similar_mean(planes, planes, np.stack([valid, valid]), sigmas, SMALL)
    assert np.array_equal(one, each)


def test_what_a_band_holds_where_it_is_invalid_changes_nothing():
    planes, sigmas = scene()
    valid = apart(planes.shape)
    valid[1] = True  # so that any two pixels have a band in common
    other = np.where(valid, planes, 1e6)
    found, changed = (similar_mean(p, p, valid, sigmas, SMALL) for p in (planes, other))
    inner = np.s_[:, 3:-3, 3:-3]
    assert np.array_equal(found[inner][valid[inner]], changed[inner][valid[inner]])
