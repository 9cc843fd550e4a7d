"""A raster that is foreign to a model is told of: once, whatever the tiles, and no other is."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from cliworld import call, good, interrupt_at, read, save
from cliworld import scene as crop

from stcli.nn.weights import load_card
from stcli.settings import BandScaling
from stcli.workflows.unlike import tell_ranges

ARRAY, PROFILE = crop()
QUIET = ("--no-progress", "-j", "1")
UNIT = "what comes out may mean nothing here: give the raster in the unit of the training"


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """The scene as reflectance, the model's bands being counts."""
    path = tmp_path_factory.mktemp("divided") / "r.tif"
    return save(path, (ARRAY / 10_000).astype(np.float32), PROFILE, nodata=None)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The scene, a band of its upper rows in another unit."""
    values = ARRAY.astype(np.float32)
    values[1, :124] *= 100
    return save(tmp_path_factory.mktemp("half") / "i.tif", values, PROFILE, nodata=None)


def warnings(*argv):
    """Lines of a successful command that warn of a foreign raster."""
    said = good("classify", *argv, *QUIET, "--overwrite").err
    return [line for line in said.splitlines() if "was trained with" in line]


def test_a_raster_like_the_trainings_is_not_told_of(scene, model, tmp_path):
    assert warnings(scene, tmp_path / "o.tif", "--model", model) == []


@pytest.mark.parametrize("tile_size", ["0", "48", "96"])
def test_values_of_another_unit_are_told_once_whatever_the_tiles(
    divided, model, tmp_path, tile_size
):
    (said,) = warnings(divided, tmp_path / "o.tif", "--model", model, "--tile-size", tile_size)
    assert f"{divided}: 100 % of the pixels are next to 0 in all bands beside" in said
    assert f"the model {model} was trained with (B02 300 to 3500, B03 300 to 3500, B04" in said
    assert UNIT in said


@pytest.mark.parametrize("more", [("-j", "2", "--scheduler", "processes"), ("--refine", "0.9")])
def test_other_ways_to_the_map_tell_the_same(divided, model, tmp_path, more):
    argv = (divided, tmp_path / "o.tif", "--model", model, "--tile-size", "96")
    assert warnings(*argv) == warnings(*argv, *more)


def test_the_bands_that_are_far_off_are_named_with_their_share(model, tmp_path):
    values = ARRAY.astype(np.float32)
    values[1] *= 100
    path = save(tmp_path / "i.tif", values, PROFILE, nodata=None)
    (said,) = warnings(path, tmp_path / "o.tif", "--model", model)
    assert "i.tif: 100 % of B03 lie far outside what the model" in said
    assert "was trained with (B03 300 to 3500)" in said


def test_a_shard_tells_of_its_own_part(half, model, tmp_path):
    argv = (half, tmp_path / "o.tif", "--model", model, "--tile-size", "144")
    count = call("classify", *argv, "--dry-run", "--json").json["passes"][0]["tiles"]
    told = [warnings(*argv, "--shard", f"{n}/{count}") for n in range(1, count + 1)]
    assert "100 % of B03" in told[0][0]
    assert told[-1] == []


def test_a_resumed_run_tells_of_all_tiles(half, model, tmp_path, monkeypatch):
    argv = (half, tmp_path / "o.tif", "--model", model, "--tile-size", "96")
    (whole,) = warnings(half, tmp_path / "whole.tif", *argv[2:])
    assert "i.tif: 62 % of B03 lie far outside" in whole
    interrupt_at(monkeypatch, 4)
    assert call("classify", *argv, *QUIET).code == 130
    assert warnings(*argv) == [whole]


def test_pixels_of_another_size_are_told_before_the_work(model, tmp_path):
    a = PROFILE["transform"]
    fine = {**PROFILE, "transform": Affine(1, 0, a.c, 0, -1, a.f)}
    path = save(tmp_path / "fine.tif", ARRAY, fine)
    argv = (path, tmp_path / "o.tif", "--model", model)
    (said,) = warnings(*argv)
    assert f"pixels of 1 x 1 found (in units of the CRS), the model {model} was trained" in said
    assert "with 10 x 10; its accuracy does not hold here: warp the raster with gdalwarp" in said
    assert said in call("classify", *argv, "--overwrite", "--dry-run").err
    nearly = {**PROFILE, "transform": Affine(10.001, 0, a.c, 0, -10.001, a.f)}
    path = save(tmp_path / "nearly.tif", ARRAY, nearly)
    assert warnings(path, tmp_path / "o.tif", "--model", model) == []


def test_a_stack_of_dates_is_looked_at_too(divided, model, tmp_path):
    values = read(divided)
    paths = [
        save(tmp_path / f"s_2021-0{month}-01.tif", values, PROFILE, nodata=None) for month in (3, 6)
    ]
    (said,) = warnings(*paths, tmp_path / "o.tif", "--model", model, "--fuse", "score")
    assert UNIT in said


class Model:
    """A model of which only the card is asked."""

    def __init__(self, folder):
        self.folder, self.card = folder, load_card(folder)
        ends = [(band.low, band.high) for band in self.card.bands]
        self.scaling = BandScaling(*zip(*ends, strict=True))


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (300.0, 3000.0, ""),
        (0.03, 0.3, "nearly all pixels are next to 0 in all bands beside what"),
        (9000.0, 9900.0, "nearly all values of B02, B03, B04, B08 lie far outside what"),
        (3000.0, 9900.0, ""),
    ],
)
def test_a_training_that_begins_with_a_model_is_told_by_its_bands_ranges(
    model, caplog, low, high, said
):
    tell_ranges("i.tif", BandScaling((low,) * 4, (high,) * 4), Model(model))
    assert (said in caplog.text) if said else (caplog.text == "")
