"""Whitening in space through the command line: white, undone, tiled."""

from __future__ import annotations

import numpy as np
import pytest
from cliworld import call, good, read, save
from test_cli_noise_space import NAMES, PROFILE, plain

from stcli.noise.space.starlet import gain, split
from stcli.settings import NoiseMapSettings, RunSettings
from stcli.workflows.job import Inputs
from stcli.workflows.noise.whiten_space import plane_names, unwhiten_space, whiten_space

SPACE = ("--along", "space", "-q")


def test_the_details_and_the_rest_sum_to_the_plane():
    plane, valid = plain()[0].astype(float), np.random.default_rng(0).random((150, 170)) > 0.2
    details, rest = split(plane, valid, 4)
    assert np.abs(sum(details) + rest - plane)[valid].max() < 1e-11


@pytest.mark.parametrize("level", [1, 2, 3])
def test_gains_of_the_starlet_are_those_of_white_noise(level):
    plane = np.random.default_rng(level).normal(size=(300, 300))
    detail = split(plane, np.ones(plane.shape, dtype=bool), level)[0][-1]
    assert detail[30:-30, 30:-30].std() == pytest.approx(gain(level), rel=0.03)


def holed():
    array = plain()
    array[:, 60:75, 40:80] = np.nan
    array[1, ::17, ::23] = np.nan
    return array


def test_unwhiten_undoes_whiten(tmp_path):
    path = save(tmp_path / "in.tif", holed(), PROFILE, NAMES, nodata=np.nan)
    good("whiten", path, tmp_path / "w.tif", *SPACE)
    good("unwhiten", tmp_path / "w.tif", tmp_path / "u.tif", *SPACE)
    back, valid = read(tmp_path / "u.tif"), np.isfinite(holed())
    assert np.array_equal(np.isfinite(back), valid)
    assert np.abs(back / holed() - 1)[valid].max() < 3e-7  # two digits of float32


def test_a_band_without_a_valid_pixel_is_named_and_comes_back_empty(tmp_path):
    array = plain()
    array[1] = np.nan
    path = save(tmp_path / "in.tif", array, PROFILE, NAMES, nodata=np.nan)
    told = good("whiten", path, tmp_path / "w.tif", *SPACE[:2], "--no-progress").err
    assert told.count("no valid pixel found in nir") == 1
    good("unwhiten", tmp_path / "w.tif", tmp_path / "u.tif", *SPACE)
    back = read(tmp_path / "u.tif")
    assert np.abs(back[0] / array[0] - 1).max() < 3e-7
    assert np.isnan(back[1]).all()


@pytest.mark.parametrize("levels", [1, 3])
def test_the_details_are_white(levels, tmp_path):
    noise = np.random.default_rng(0).normal(size=(1, 150, 170)) * np.linspace(1, 6, 170)
    path = save(tmp_path / "in.tif", noise.astype("float32"), PROFILE, ("a",))
    inputs, how = Inputs((path,)), NoiseMapSettings(levels=levels)
    done = whiten_space(inputs, str(tmp_path / "w.tif"), how, RunSettings())
    white = read(tmp_path / "w.tif")[:levels]
    for level in range(levels):
        spread = [white[level][:, part].std() for part in (np.s_[:50], np.s_[-50:])]
        assert spread == pytest.approx([1, 1], abs=0.1 * 2**level)
        assert done.report["a"]["deviation"][level] == pytest.approx(white[level].std(), rel=1e-5)
    assert done.report["a"]["kurtosis"][0] == pytest.approx(3, abs=0.3)
    unwhiten_space(Inputs((str(tmp_path / "w.tif"),)), str(tmp_path / "u.tif"), RunSettings())
    assert np.abs(read(tmp_path / "u.tif") - noise).max() < 1e-5


def test_tiles_do_not_show(tmp_path):
    path = save(tmp_path / "in.tif", holed(), PROFILE, NAMES, nodata=np.nan)
    for name, size in (("a", 0), ("b", 64)):
        good("whiten", path, tmp_path / f"{name}.tif", *SPACE, "--tile-size", size)
    assert np.array_equal(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"), equal_nan=True)


def test_what_was_not_whitened_is_refused(tmp_path):
    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    result = call("unwhiten", path, tmp_path / "u.tif", *SPACE)
    assert result.code == 3
    assert "NAME:w1" in result.err
    assert not (tmp_path / "u.tif").exists()
    assert plane_names("a", 1) == ["a:w1", "a:s1", "a:mean"]
