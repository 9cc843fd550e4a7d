"""Components by SNR and stripes: inverse, order, and what must not be touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from stcli.errors import InputError
from stcli.noise.space.mnf import Rotation, chance, project, rotation
from stcli.noise.space.stripes import FEWEST, find_stripes, striping

NAMES = ("a", "b", "c", "d")
SAMPLE = Path(__file__).parents[2] / "sample_data" / "scene.tif"


def bands(seed=0):
    """Make values of two signals in four bands, and the covariance of their noise."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(40_000, 2)) @ np.array([[30.0, 20, 10, 5], [0, 4, 8, -4]])
    root = np.diag([1.0, 2, 3, 0.5]) + 0.3
    return signal + rng.normal(size=(40_000, 4)) @ root, root.T @ root


def test_components_are_in_order_of_snr_with_white_noise():
    values, noise = bands()
    turned = rotation(NAMES, values, noise)
    assert (np.diff(turned.snr) <= 0).all()
    assert turned.snr[1] > 1
    assert turned.snr[2:] == pytest.approx([0, 0], abs=0.05)
    assert turned.forward @ noise @ turned.forward.T == pytest.approx(np.eye(4), abs=1e-10)
    components = (values - turned.mean) @ turned.forward.T
    assert np.cov(components.T) == pytest.approx(np.diag(turned.snr + 1), rel=0.02, abs=0.02)


def test_a_rotation_inverts_and_survives_as_text():
    values, noise = bands()
    turned = rotation(NAMES, values, noise)
    again = Rotation.from_text(turned.to_text())
    assert np.array_equal(again.forward, turned.forward)
    assert again.bands == NAMES
    block = values[:600].T.reshape(4, 20, 30)
    there = project(block, turned.forward, turned.mean, np.zeros(4))
    back = project(there, again.inverse, np.zeros(4), again.mean)
    assert np.abs(back - block).max() < 1e-11
    flat = (values[:600] - turned.mean) @ turned.forward.T
    assert there.reshape(4, -1) == pytest.approx(flat.T, abs=1e-9)


@pytest.mark.parametrize("text", ["{}", "[]", "x", json.dumps({"bands": ["a"], "mean": "AA"})])
def test_a_damaged_rotation_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"Expecting|bands|indices|size|padding"):
        Rotation.from_text(text)


def test_a_band_without_noise_is_named():
    values, noise = bands()
    values[:, 2], noise[2], noise[:, 2] = 7.0, 0.0, 0.0
    with pytest.raises(InputError, match="band c"):
        rotation(NAMES, values, noise)


def test_bands_without_noise_are_all_named_at_once():
    values, noise = bands()
    for band in (1, 2):
        values[:, band], noise[band], noise[:, band] = 7.0, 0.0, 0.0
    with pytest.raises(InputError, match="bands b, c: no noise found"):
        rotation(NAMES, values, noise)


@pytest.mark.parametrize(("count", "pixels"), [(400, 400), (400, 1600), (150, 1600)])
def test_noise_alone_shows_no_more_snr_than_chance_has(count, pixels):
    rng, number = np.random.default_rng(0), 60
    values, other = rng.normal(size=(pixels, number)), rng.normal(size=(count, number))
    turned = rotation(tuple(map(str, range(number))), values, other.T @ other / count)
    edge = chance(number, count, pixels)  # of infinitely many bands; of few it is a little less
    assert 0.75 * edge < turned.snr[0] < edge


def test_a_covariance_of_fewer_pixels_than_bands_tells_nothing():
    assert chance(60, 60, 10_000) == np.inf


def scene():
    rows, cols = np.mgrid[:200, :180]
    hill = 500 + 100 * np.sin(rows / 23) * np.cos(cols / 31) + cols + 80 * (rows > 2 * cols)
    return hill + np.random.default_rng(0).normal(size=hill.shape)


def steps(plane):
    """Deviation of the steps between neighbouring columns' means."""
    return np.diff(plane.mean(axis=0)).std()


def test_offsets_are_found_and_the_scene_stays():
    offset = np.random.default_rng(1).normal(size=180) * 5
    found = find_stripes(scene() + offset, 31, False)
    after = found.remove(scene() + offset, 0, 1)
    # the running median of 31 columns has a deviation of 1.25 / sqrt(31) of that of the offsets
    assert striping(scene() + offset, 31) == pytest.approx(offset.std(), rel=0.22)
    assert striping(after, 31) < 0.22 * offset.std()
    assert steps(after - scene()) < 0.2 * steps(offset[None])
    assert (after - scene()).std() < 0.5 * offset.std()  # what is broad stays with the scene
    assert steps(find_stripes(scene(), 31, False).offset[None]) < 0.3


def test_gains_are_found():
    rng = np.random.default_rng(2)
    gain, offset = 1 + 0.03 * rng.normal(size=180), 4 * rng.normal(size=180)
    striped = (scene() - 500) * gain + 500 + offset
    plain, full = (find_stripes(striped, 31, g).remove(striped, 0, 1) for g in (False, True))
    plain, full, striped = (np.diff(x - scene(), axis=1).std() for x in (plain, full, striped))
    assert full < 0.85 * plain < 0.5 * striped


def field():
    """Read a scene with roads, fields and water in it, 240 lines of 240 columns or fewer."""
    with rasterio.open(SAMPLE) as source:
        return source.read(4).astype(np.float64)[:240, :240]


def error(result, truth):
    return np.sqrt(np.mean((result - truth) ** 2)) / truth.std()


@pytest.mark.parametrize("with_gain", [False, True])
def test_a_scene_without_stripes_is_left_as_it_is(with_gain):
    for lines in (field(), field().T, field() / field().max()):
        assert error(find_stripes(lines, 31, with_gain).remove(lines, 0, 1), lines) < 0.002


def test_no_scene_is_made_worse_however_faint_its_stripes():
    rng = np.random.default_rng(8)
    for deviation, gains in ((0.01, 0), (0.05, 0), (0, 0.02), (0.05, 0.05), (0.3, 0.1)):
        gain = 1 + gains * rng.normal(size=field().shape[1])
        offset = deviation * field().std() * rng.normal(size=len(gain))
        striped = (field() - 900) * gain + 900 + offset
        for with_gain in (False, True):
            even = find_stripes(striped, 31, with_gain).remove(striped, 0, 1)
            assert error(even, field()) < 1.01 * error(striped, field())


def test_too_few_lines_tell_nothing_of_detectors():
    lines = scene()[: 2 * FEWEST - 1] + np.random.default_rng(1).normal(size=180) * 5
    assert not find_stripes(lines, 31, True).offset.any()
    assert find_stripes(lines[:1], 31, True).gain.tolist() == [1.0] * 180
    known = np.full((400, 180), np.nan)
    known[300:360] = scene()[:60] + np.random.default_rng(1).normal(size=180) * 5
    part = find_stripes(known[300:360], 31, False)
    assert np.array_equal(find_stripes(known, 31, False).offset, part.offset)
    assert part.offset.std() > 3  # rows without values are no part of the lines


def test_stripes_along_rows_and_from_a_column_on():
    offset = np.random.default_rng(1).normal(size=180) * 5
    found = find_stripes(scene() + offset, 31, False)
    whole = found.remove(scene() + offset, 0, 1)
    assert np.array_equal(found.remove((scene() + offset)[:, 40:90], 40, 1), whole[:, 40:90])
    assert np.array_equal(found.remove((scene() + offset).T[40:90], 40, 0), whole[:, 40:90].T)


def limb(deviation):
    """Make a scene that falls off towards both ends, striped by a deviation, and the stripes."""
    rng, across = np.random.default_rng(4), (np.arange(300) - 150) / 150
    stripes = deviation * rng.normal(size=300)
    return 1000 - 200 * across**2 + stripes + 3 * rng.normal(size=(200, 300)), stripes


def test_ends_of_a_scene_that_slopes_there_are_not_bent():
    lines, _ = limb(0)
    offset = find_stripes(lines, 31, False).offset
    assert np.abs(offset).max() < 1.5  # 20 where the profile is mirrored
    lines, stripes = limb(5)
    offset = find_stripes(lines, 31, False).offset
    for end in (np.s_[:15], np.s_[-15:]):
        assert np.corrcoef(offset[end], stripes[end])[0, 1] > 0.8
        assert (offset - stripes)[end].std() < 0.6 * stripes.std()


def test_columns_without_values_are_left():
    lines = scene()
    lines[:, 50] = np.nan
    found = find_stripes(lines, 31, False)
    assert np.isfinite(found.offset).all()
    assert find_stripes(np.full((9, 12), np.nan), 31, True).gain.tolist() == [1.0] * 12
    assert find_stripes(lines[:, :2], 31, False).offset.tolist() == [0, 0]
