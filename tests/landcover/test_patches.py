"""Models of patches: what is measured, what is learnt, what is kept."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stcli.errors import InputError
from stcli.landcover.patches.patches import Patches, fit, folds, model_of, shown, train_patches
from stcli.landcover.patches.patchfeatures import (
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
from stcli.landcover.patches.patchmodel import (
    PatchClassifier,
    most_at_once,
    patch_bytes,
    training_bytes,
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
    again = model_of(trained.model.state(), trained.model.temperatures, 3)
    found = again.probabilities(shown(patches.views))
    np.testing.assert_array_equal(found, trained.model.probabilities(shown(patches.views)))
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


@pytest.mark.parametrize(("bands", "side"), [(1, 1), (3, 6), (13, 16), (20, 5)])
def test_no_feature_depends_on_the_patches_beside_to_the_bit(bands, side):
    values, _ = drawn(30, bands, side)
    values[3, 0, 0, 0] = np.nan
    lens = Lens.fit(values, 0)
    whole = features(values, lens)
    for size in (1, 2, 7, 16):
        parts = [features(values[k : k + size], lens) for k in range(0, len(values), size)]
        for name, found in whole.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), found)


@pytest.mark.long
@pytest.mark.parametrize(("bands", "classes"), [(1, 2), (4, 10)])
def test_no_probability_depends_on_the_patches_beside_to_the_bit(bands, classes):
    values, truth = drawn(130, bands, 8, classes)
    lens = Lens.fit(values, 0)
    task = Patches(features(values, lens), truth, None, classes)
    trained = fit(task, np.arange(len(truth)), PatchSettings())
    calibration = SimpleNamespace(temperature=1.7, growth=0.1)
    model = PatchClassifier(Path("m"), SimpleNamespace(calibration=calibration), trained, lens)
    whole = model.probabilities(values)
    np.testing.assert_allclose(whole.sum(axis=0), 1)
    for size in (1, 5, 48, 64, 129):
        parts = [model.probabilities(values[k : k + size]) for k in range(0, 130, size)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_a_lens_is_fitted_as_on_all_pixels_at_once():
    """Patch by patch, but with the sums of one large array."""
    values, _ = drawn(20, 1)
    lens = Lens.fit(values, 0)
    bands = np.pad(np.arcsinh(values[:, 0] / lens.unit), ((0, 0), (1, 1), (1, 1)), mode="edge")
    down, up, right, left = (
        bands[:, 2:, 1:-1],
        bands[:, :-2, 1:-1],
        bands[:, 1:-1, 2:],
        bands[:, 1:-1, :-2],
    )
    inner = bands[:, 1:-1, 1:-1]
    apart = up + down + left + right - 4 * inner
    seen = np.stack([inner, np.hypot(down - up, right - left) / 2, apart], axis=-1).reshape(-1, 3)
    np.testing.assert_array_equal(lens.mean, seen.mean(axis=0))
    np.testing.assert_array_equal(lens.spread, seen.std(axis=0))


def traced(work):
    """Give the bytes that `work` holds at its peak."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    ("n", "bands", "side"),
    [(200, 1, 2), (64, 4, 16), (4, 13, 64), (1, 13, 64), (2, 4, 128), (4, 200, 16), (50, 200, 1)],
)
def test_measuring_takes_the_memory_that_is_said(n, bands, side):
    values, _ = drawn(n, bands, side)
    values[:, 0, 0, 0] = np.nan
    lens = Lens.fit(np.nan_to_num(values), 0)
    said = n * patch_bytes(bands, side)
    found = traced(lambda: features(values.copy(), lens))
    assert found <= said
    if side >= 64:
        assert said <= 1.5 * found


@pytest.mark.parametrize(("n", "classes", "settings"), [(300, 30, 2), (600, 2, 2), (300, 4, 5)])
def test_training_takes_no_more_memory_than_is_said(n, classes, settings):
    """On noise, of which all patches are support vectors; libsvm's own 200 MB are not traced."""
    generator = np.random.default_rng(0)
    widths = {"spectrum": 7, "pattern": 4, "pixels": 600}
    views = {name: generator.normal(size=(n, width)) for name, width in widths.items()}
    task = Patches(views, np.arange(n) % classes, None, classes)
    found = traced(lambda: train_patches(task, PatchSettings(folds=settings)))
    own = sum(view.nbytes for view in views.values())
    assert found + own <= training_bytes(n, 1, 2, classes) - 200_000_000


@pytest.mark.parametrize(
    ("patches", "side", "most"),
    [(20, 64, 16), (3, 64, 3), (1000, 6, 256), (1000, 32, 64), (20, 1000, 1)],
)
def test_a_batch_is_no_larger_than_is_of_use(patches, side, most):
    assert most_at_once(patches, side) == most
