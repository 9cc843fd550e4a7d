"""The noise of many bands: measured where it is known, weighed, tiled."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from stcli.errors import InputError, UsageError
from stcli.noise.space.bands import CLEAR, band_noise, clarity, weights
from stcli.settings import BandScaling, RunSettings
from stcli.workflows.job import Inputs, silent
from stcli.workflows.landcover.bandnoise import (
    Clarity,
    Heed,
    measure_clarity,
    weighted,
    without_noisy,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cliworld import good

BANDS, ROWS, COLS = 24, 90, 110


def cube(seed=0):
    """Three materials with smooth spectra on a chequered ground, and noise of known deviations."""
    generator = np.random.default_rng(seed)
    line = np.linspace(0, 1, BANDS)
    spectra = np.stack([100 + 80 * np.sin(3 * line + k) + 30 * k * line for k in range(3)])
    ground = generator.integers(3, size=(ROWS // 10, COLS // 10)).repeat(10, 0).repeat(10, 1)
    shade = 1 + 0.1 * generator.normal(size=(ROWS, COLS))
    noise = np.where(np.arange(BANDS) % 8 == 3, 40.0, 1.0 + line)
    clean = spectra[ground].transpose(2, 0, 1) * shade
    return clean + noise[:, None, None] * generator.normal(size=clean.shape), noise


def test_the_noise_is_found_in_spite_of_the_ground():
    values, noise = cube()
    differences = (values[:, :, 1:] - values[:, :, :-1]).reshape(BANDS, -1).T
    found = band_noise(differences)
    # explained by one side alone, as 2 x - y, a band takes on the noise of both: sqrt(1 + 4 + 1)
    most = np.where(np.isin(np.arange(BANDS), (0, 1, BANDS - 2, BANDS - 1)), 2.5, 1.6)
    np.testing.assert_array_less(np.abs(np.log(found / noise)), np.log(most))
    assert set(np.argsort(found)[-3:]) == {3, 11, 19}


def test_weights_grow_with_clarity_and_end_at_one():
    found = weights(np.array([0.0, 1.0, 5.0, CLEAR, 100.0, np.inf]))
    np.testing.assert_allclose(found, [1e-3, 0.1, 0.5, 1, 1, 1])
    ratio = clarity(np.array([0.0, 2.0, 2.0]), np.array([0.0, 0.0, 1.0]))
    np.testing.assert_array_equal(ratio, [0, np.inf, 2])


@pytest.fixture
def path(tmp_path):
    """Write the cube, with a hole, without a CRS."""
    values = cube()[0].astype("float32")
    values[:, 20:31, 40:53] = -1
    how = {"driver": "GTiff", "width": COLS, "height": ROWS, "dtype": "float32", "nodata": -1}
    with rasterio.open(tmp_path / "cube.tif", "w", count=BANDS, **how) as dataset:
        dataset.write(values)
    return str(tmp_path / "cube.tif")


def test_tiling_does_not_show(path):
    found = []
    for tile, jobs in ((0, 1), (64, 1), (37, 2)):
        with Inputs((path,)).open() as raster:
            found.append(measure_clarity(raster, RunSettings(tile, jobs=jobs), silent).ratio)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_noisy_bands_weigh_less_or_are_left_out_and_are_named(path, caplog):
    with Inputs((path,)).open() as raster:
        found = measure_clarity(raster, RunSettings(), silent)
    assert found.noisy == ("band 4", "band 12", "band 20")
    with caplog.at_level(logging.WARNING, "stcli"):
        scaling = weighted(BandScaling((0.0,) * BANDS, (200.0,) * BANDS), found)
        kept = without_noisy(Inputs((path,)), found).bands
    assert caplog.text.count("band 4, band 12, band 20") == 2
    width = np.subtract(scaling.high, scaling.low)
    assert np.add(scaling.high, scaling.low) == pytest.approx(200)
    assert width[3] > 3 * 200
    assert width[0] == pytest.approx(200)
    assert len(kept) == BANDS - 3
    assert found.to_json()["band 4"] < 3


def test_few_bands_and_nothing_but_noise_are_refused(path):
    with (
        Inputs((path,), bands=tuple(range(1, 9))).open() as raster,
        pytest.raises(InputError, match="at least 16 wanted"),
    ):
        measure_clarity(raster, RunSettings(), silent)
    with rasterio.open(path) as dataset:
        profile, values = dataset.profile, dataset.read()
    values[:, :, ::2] = profile["nodata"]
    comb = str(Path(path).with_name("comb.tif"))
    with rasterio.open(comb, "w", **profile) as dataset:
        dataset.write(values)
    with (
        Inputs((comb,)).open() as raster,
        pytest.raises(InputError, match=r"comb\.tif: no two valid pixels beside each other found"),
    ):
        measure_clarity(raster, RunSettings(), silent)
    with pytest.raises(UsageError, match="bands-noise drop: every band is mostly noise; use"):
        without_noisy(Inputs((path,)), Clarity(("a", "b"), np.array([1.0, 2.0])))


@pytest.fixture
def blanked(path):
    """Write the cube with two bands that hold nodata alone, as sensors' water bands are written."""
    with rasterio.open(path) as dataset:
        profile, values = dataset.profile, dataset.read()
    values[6:8] = profile["nodata"]
    with rasterio.open(Path(path).with_name("blanked.tif"), "w", **profile) as dataset:
        dataset.write(values)
    return Inputs((dataset.name,))


def test_empty_bands_are_left_out_or_named(blanked, caplog):
    caplog.set_level(logging.WARNING, "stcli")
    heed = Heed.of(blanked, "drop", RunSettings(), silent)
    assert "blanked.tif: no valid pixel found in band 7, band 8; left out" in caplog.text
    kept = heed.inputs(blanked).bands
    assert not {"band 7", "band 8"} & set(kept)
    assert len(kept) == BANDS - 2 - 3
    with pytest.raises(InputError, match="no valid pixel found in band 7, band 8, and a pixel is"):
        Heed.of(blanked, "weight", RunSettings(), silent)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["weight", "drop"])
def test_a_training_heeds_the_noise_without_a_crs_and_its_map_needs_no_more(path, tmp_path, mode):
    rows, cols = np.mgrid[:ROWS, :COLS]
    truth = (1 + (rows // 18 + cols // 22) % 3).astype("uint8")
    how = {"driver": "GTiff", "width": COLS, "height": ROWS, "dtype": "uint8", "count": 1}
    with rasterio.open(tmp_path / "labels.tif", "w", **how) as dataset:
        dataset.write(truth, 1)
    words = ("--labels", tmp_path / "labels.tif", "-o", tmp_path / "model", "-q")
    how = ("--bands-noise", mode, "--block", 18, "--epochs", 1, "--size", 25)
    good("train", "landcover", path, *words, *how)
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["data"]["bands_clarity"]["band 4"] < 3
    assert card["training"]["bands_noise"] == mode
    bands = {band["name"]: band["high"] - band["low"] for band in card["bands"]}
    assert ("band 4" in bands) == (mode == "weight")
    if mode == "weight":
        assert bands["band 4"] > 2 * bands["band 5"]
    good("classify", path, tmp_path / "map.tif", "--model", tmp_path / "model", "-q")
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert (dataset.read(1)[20:31, 40:53] == 0).all()
        assert dataset.crs is None
