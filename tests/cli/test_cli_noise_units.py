"""Units of bands through the verbs of noise."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from stcli.cli.app import main

UNITS = ("K", None, "mm")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("units") / "scene.tif"
    x = np.random.default_rng(0).normal(100, 3, size=(3, 40, 48)).astype("float32")
    profile = {"count": 3, "height": 40, "width": 48, "dtype": "float32", "crs": "EPSG:32618"}
    with rasterio.open(path, "w", transform=rasterio.Affine.scale(10, -10), **profile) as file:
        file.write(x)
        file.units = UNITS
    return path


def run(*words):
    assert main([*map(str, words), "-q", "--overwrite"]) == 0


def units(path):
    with rasterio.open(path) as file:
        return file.units


@pytest.mark.parametrize("words", [("noise",), ("denoise",), ("destripe",)])
def test_values_in_the_unit_of_their_band_say_so(words, scene, tmp_path):
    run(*words, scene, tmp_path / "o.tif")
    assert units(tmp_path / "o.tif") == UNITS


def test_maps_of_levels_are_in_the_unit_of_their_band_and_shares_have_none(scene, tmp_path):
    run("noise", scene, tmp_path / "o.tif", "--levels", 2)
    assert units(tmp_path / "o.tif") == ("K", "K", None, None, "mm", "mm")
    run("noise", scene, tmp_path / "o.tif", "--model", "multiplicative")
    assert units(tmp_path / "o.tif") == ("1", "1", "1")


@pytest.mark.parametrize(
    ("forth", "back"),
    [
        (("mnf",), ("mnf", "--inverse")),
        (("whiten", "--along", "space"), ("unwhiten", "--along", "space")),
    ],
)
def test_units_come_back_with_the_bands(forth, back, scene, tmp_path):
    run(*forth, scene, tmp_path / "o.tif")
    run(*back, tmp_path / "o.tif", tmp_path / "b.tif")
    assert units(tmp_path / "b.tif") == UNITS
