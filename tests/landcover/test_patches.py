"""Models of patches: what is measured, what is learnt, what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.errors import InputError
from stcli.landcover.patches import Patches, PatchModel, folds, train_patches
from stcli.landcover.patchfeatures import (
    PAIRED,
    Lens,
    feature_count,
    features,
    filled,
    mean_map,
    pairs,
    pattern,
    spectrum,
)
from stcli.settings import PatchSettings


def drawn(n=60, bands=3, side=8, classes=3, seed=0):
    """Patches whose classes differ in colour and in grain."""
    generator = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    level = 200 + 60 * truth[:, None, None, None] * np.arange(1, bands + 1)[:, None, None]
    noise = generator.normal(size=(n, bands, side, side)) * (10 + 20 * truth[:, None, None, None])
    return (level + noise).astype(np.float32), truth


def test_no_feature_changes_when_a_patch_is_turned():
    values, _ = drawn(6)
    lens = Lens.fit(values, 0)
    kept = features(values, lens)
    for turned in (np.rot90(values, 1, (2, 3)), values[..., ::-1], np.rot90(values, 2, (2, 3))):
        for name, found in features(turned, lens).items():
            np.testing.assert_allclose(found, kept[name], rtol=0, atol=1e-9, err_msg=name)


def test_the_spectrum_against_a_plain_reference():
    values, _ = drawn(2, bands=2)
    found = spectrum(values, 5.0)
    first, second = np.arcsinh(values[1, 0] / 5.0), np.arcsinh(values[1, 1] / 5.0)
    wanted = []
    for channel in (first, second, first - second):
        wanted += [*np.percentile(channel, (5, 25, 50, 75, 95)), channel.mean(), channel.std()]
    np.testing.assert_allclose(found[1], wanted, atol=1e-6)


def test_the_pattern_tells_stripes_from_a_board_but_not_their_direction():
    rows, cols = np.mgrid[:8, :8]
    down, across, board = (np.where(k % 2, 100.0, 10.0) for k in (rows, cols, rows + cols))
    found = pattern(np.stack([down, across, board])[:, None], 1.0)
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)
    assert np.abs(found[0] - found[2]).max() > 1


def test_the_mean_map_does_not_know_where_the_pixels_lie_but_what_they_are():
    flat = np.full((2, 2, 8, 8), 50.0)
    flat[1] = 200.0
    lens = Lens.fit(drawn(30, bands=2)[0], 0)
    found = mean_map(flat, lens)
    assert np.abs(found[0] - found[1]).max() > 0.1
    moved = flat.copy()
    moved[0, :, 1:4, 1:4] = 90.0
    shifted = flat.copy()
    shifted[0, :, 3:6, 2:5] = 90.0
    np.testing.assert_allclose(mean_map(moved, lens), mean_map(shifted, lens), atol=1e-12)


def test_holes_take_the_medians_of_their_patch():
    values, _ = drawn(2)
    values[0, 1, 0, :3] = np.nan
    values[1, 2] = np.nan
    whole = filled(values)
    assert (whole[0, 1, 0, :3] == np.nanmedian(values[0, 1])).all()
    assert (whole[1, 2] == 0).all()
    assert (whole[1, 0] == values[1, 0]).all()


@pytest.mark.parametrize(("bands", "side"), [(1, 1), (2, 5), (4, 16), (PAIRED + 3, 4)])
def test_features_are_counted_beforehand(bands, side):
    values = np.random.default_rng(0).uniform(1, 9, (3, bands, side, side))
    found = features(values, Lens.fit(values, 0))
    assert sum(f.shape[1] for f in found.values()) == feature_count(bands, side)
    assert all(np.isfinite(f).all() for f in found.values())


def test_many_bands_make_few_contrasts():
    assert len(pairs(200)) == 2 * 200 - 3
    assert all(0 < j - i <= 2 for i, j in pairs(200))


def task(groups=None, n=60, classes=3):
    values, truth = drawn(n, classes=classes)
    return values, Patches(features(values, Lens.fit(values, 0)), truth, groups, classes)


def test_groups_stay_whole_and_every_class_is_spread():
    groups = np.arange(60) // 6
    fold = folds(task(groups)[1], PatchSettings(folds=5))
    for group in range(10):
        assert len(set(fold[groups == group])) == 1
    assert set(fold) == set(range(5))
    plain = folds(task()[1], PatchSettings(folds=5))
    assert set(np.bincount(plain)) == {12}


def test_too_few_groups_are_refused():
    with pytest.raises(InputError, match="1 groups found"):
        folds(task(np.zeros(60, int))[1], PatchSettings())


def test_an_ensemble_learns_and_is_kept_to_the_bit():
    _, patches = task()
    trained = train_patches(patches, PatchSettings(folds=3))
    assert (trained.probabilities.argmax(axis=0) == patches.truth).mean() > 0.9
    np.testing.assert_allclose(trained.probabilities.sum(axis=0), 1, atol=1e-6)
    again = PatchModel.of(trained.model.state(), trained.model.temperatures, 3)
    found = again.probabilities(patches.views)
    np.testing.assert_array_equal(found, trained.model.probabilities(patches.views))
    twice = train_patches(patches, PatchSettings(folds=3))
    np.testing.assert_array_equal(twice.probabilities, trained.probabilities)


def test_two_classes_and_one_class_missing_from_a_fold():
    groups = np.repeat(np.arange(6), 10)
    values, truth = drawn(60, classes=2)
    truth = np.where(groups == 5, 2, truth)
    views = features(values, Lens.fit(values, 0))
    trained = train_patches(Patches(views, truth, groups, 3), PatchSettings("svm", folds=3))
    assert 0 < trained.held.learnable.mean() < 1
    two = train_patches(Patches(views, np.arange(60) % 2, None, 2), PatchSettings(folds=2))
    assert (two.probabilities.argmax(axis=0) == np.arange(60) % 2).mean() > 0.9
