"""``mnf`` and ``destripe`` through the command line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cliworld import good, read, save
from test_cli_noise_space import PROFILE, plain, refused

SAMPLE = Path(__file__).parents[2] / "sample_data" / "scene.tif"

NAMES = ("a", "b", "c")


def three():
    """Make three bands with a hole of nodata: two of one scene, one of both."""
    array = plain()
    array = np.concatenate([array, 0.4 * array[:1] + 0.3 * array[1:] + plain(3)[:1] / 50])
    array[:, 60:75, 40:80] = np.nan
    return array


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Write the bands and their components."""
    folder = tmp_path_factory.mktemp("bands")
    path = save(folder / "in.tif", three(), PROFILE, NAMES, nodata=np.nan)
    done = good("mnf", path, folder / "mnf.tif", "--json")
    return path, folder / "mnf.tif", done.json


def test_components_have_names_order_and_white_noise(world, tmp_path):
    with rasterio.open(world[1]) as dataset:
        assert dataset.descriptions == ("MNF 1", "MNF 2", "MNF 3")
    snr = [-99 if s is None else s for s in world[2]["snr_db"]]
    assert snr == sorted(snr, reverse=True)
    found = good("noise", world[1], tmp_path / "n.tif", "--json").json["bands"]
    assert [band["sigma"] for band in found] == pytest.approx([1, 1, 1], rel=0.05)


def test_the_inverse_returns_the_input(world, tmp_path):
    good("mnf", world[1], tmp_path / "back.tif", "--inverse", "-q")
    back = read(tmp_path / "back.tif")
    assert np.array_equal(np.isfinite(back), np.isfinite(three()))
    assert np.nanmax(np.abs(back / three() - 1)) < 1e-6
    with rasterio.open(tmp_path / "back.tif") as dataset:
        assert dataset.descriptions == NAMES


def test_fewer_components_give_a_smoother_input(world, tmp_path):
    good("mnf", world[0], tmp_path / "one.tif", "--components", 1, "-q")
    good("mnf", tmp_path / "one.tif", tmp_path / "a.tif", "--inverse", "-q")
    good("mnf", world[1], tmp_path / "b.tif", "--inverse", "--components", 1, "-q")
    a, b = read(tmp_path / "a.tif"), read(tmp_path / "b.tif")
    assert a.shape == three().shape
    assert np.nanmax(np.abs(a - b)) < 1e-3
    noisy, less = (np.nanstd(np.diff(x[1], axis=1)) for x in (three(), a))
    assert less < 0.6 * noisy


@pytest.mark.parametrize("verb", [("mnf",), ("destripe",), ("destripe", "--gain")])
def test_tiles_do_not_show(verb, world, tmp_path):
    for name, size in (("a", 0), ("b", 64)):
        good(*verb, world[0], tmp_path / f"{name}.tif", "--tile-size", size, "-q")
    a, b = read(tmp_path / "a.tif"), read(tmp_path / "b.tif")
    assert np.array_equal(a, b, equal_nan=True)
    assert np.array_equal(np.isfinite(a[0]), np.isfinite(three()[0]))


@pytest.mark.parametrize("way", ["columns", "rows"])
def test_stripes_go(way, tmp_path):
    side = 170 if way == "columns" else 150
    offset = 8 * np.random.default_rng(5).normal(size=side)
    array = plain() + (offset if way == "columns" else offset[:, None])
    path = save(tmp_path / "in.tif", array.astype("float32"), PROFILE)
    done = good("destripe", path, tmp_path / "o.tif", "--stripes", way, "--json").json
    for band in done["bands"]:
        assert band["after"] < 0.22 * band["before"]  # the trend's own scatter, 1.25 / sqrt(31)
    left = (read(tmp_path / "o.tif") - plain())[0].mean(axis=0 if way == "columns" else 1)
    assert np.diff(left).std() < 0.2 * np.diff(offset).std()


def test_a_scene_without_stripes_is_said_to_have_none(tmp_path):
    flat = save(tmp_path / "in.tif", np.full((1, 40, 50), 7, "uint8"), PROFILE)
    done = good("destripe", flat, tmp_path / "flat.tif", "--no-progress")
    assert "no stripes that all parts of the lines share; left as it is" in done.err
    good("destripe", SAMPLE, tmp_path / "o.tif", "--gain", "--no-progress")
    assert np.allclose(read(tmp_path / "o.tif"), read(SAMPLE), rtol=0.01)


def test_bands_have_stripes_and_holes_of_their_own(tmp_path):
    array = plain() + np.random.default_rng(0).normal(size=170).astype("float32") * 20
    array[0, 20:70, 30:40] = np.nan
    array = np.concatenate([array, np.full_like(array[:1], np.nan)])
    path = save(tmp_path / "in.tif", array, PROFILE, NAMES, nodata=np.nan)
    told = good("destripe", path, tmp_path / "all.tif", "--no-progress", "--tile-size", 64).err
    assert told.count("no valid pixel found in c") == 1
    even = read(tmp_path / "all.tif")
    assert np.array_equal(np.isnan(even), np.isnan(array))
    for band in (1, 2):
        good("destripe", path, tmp_path / "one.tif", "-q", "-b", band, "--overwrite")
        assert np.array_equal(even[band - 1], read(tmp_path / "one.tif")[0], equal_nan=True)


def test_bad_input_is_refused_in_a_sentence(world, tmp_path):
    out = tmp_path / "o.tif"
    flat = three()
    flat[1] = 7
    flat = save(tmp_path / "f.tif", flat, PROFILE, NAMES, nodata=np.nan)
    refused(tmp_path, 3, "band b", "mnf", flat, out)
    unnamed = save(tmp_path / "u.tif", np.full((2, 20, 20), 7, "uint8"), PROFILE, ())
    refused(tmp_path, 3, "u.tif: bands 1, 2: no noise", "mnf", unnamed, out)
    gone = three()
    gone[1] = np.nan
    gone = save(tmp_path / "g.tif", gone, PROFILE, NAMES, nodata=np.nan)
    refused(tmp_path, 3, "no valid pixel found in b, and a pixel is valid where", "mnf", gone, out)
    refused(tmp_path, 3, "no rotation", "mnf", flat, out, "--inverse")
    refused(tmp_path, 2, "--components", "mnf", flat, out, "--components", 4)
    refused(tmp_path, 6, "MNF 1", "mnf", world[1], out, "--inverse", "-b", "2,1")
    refused(tmp_path, 2, "--span", "destripe", flat, out, "--span", 10)
    empty = save(tmp_path / "e.tif", np.zeros((1, 20, 20), "float32"), PROFILE, nodata=0)
    for verb in ("mnf", "destripe"):
        refused(tmp_path, 3, "no valid pixel", verb, empty, out)


def many(side, count=40):
    """Make many bands of white noise."""
    return np.random.default_rng(0).normal(100, 3, (count, side, side)).astype("float32")


def test_few_pixels_for_many_bands_are_refused_or_told(tmp_path):
    few = save(tmp_path / "few.tif", many(12), PROFILE)
    words = (
        "pixels found that tell the noise of all bands together, more than 160 are wanted for 40"
    )
    refused(tmp_path, 3, words, "mnf", few, tmp_path / "o.tif")
    more = save(tmp_path / "more.tif", many(24), PROFILE)
    done = good("mnf", more, tmp_path / "o.tif", "--json")
    told = re.search(r"few for the noise of 40 bands: .* below ([\d.]+) dB may be noise", done.err)
    assert 0 < done.json["snr_db"][0] < float(told[1])
    enough = save(tmp_path / "enough.tif", many(96, 10), PROFILE)
    assert "few for" not in good("mnf", enough, tmp_path / "p.tif").err


def test_one_pixel_and_one_row_are_destriped_to_themselves(tmp_path):
    for k, shape in enumerate([(1, 1, 1), (1, 1, 40)]):
        path = save(tmp_path / f"{k}.tif", np.full(shape, 7, "uint8"), PROFILE)
        good("destripe", path, tmp_path / f"o{k}.tif", "-q")
        assert (read(tmp_path / f"o{k}.tif") == 7).all()
