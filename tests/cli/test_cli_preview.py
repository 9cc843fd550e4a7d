"""Pictures: what is drawn, in which colours, at which size, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import rasterio
import xarray as xr
from cliworld import BANDS, CLASSES, COLORS, CUBE, call, good, save, spawn
from cliworld import scene as crop
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio.transform import from_origin
from rasterio.windows import Window

from stcli.raster.pictures.picture import (
    colour_labels,
    displayed,
    north_on_picture,
    outline,
    stretch,
)

ARRAY, PROFILE = crop(Window(260, 0, 120, 80))
BLANK = (225, 225, 225)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def rgb(text):
    return tuple(bytes.fromhex(text[1:]))


def test_three_bands_are_true_colour_stretched(tmp_path):
    path = save(tmp_path / "a.tif", ARRAY, PROFILE)
    result = good("preview", path, tmp_path / "a.png", "--longest", 120, "--json").json
    drawn = pixels(tmp_path / "a.png")
    assert (result["width"], result["height"]) == (drawn.shape[1], drawn.shape[0])
    assert result["shows"] == "continuous"
    for channel, name in enumerate(("B04", "B03", "B02")):
        band = ARRAY[BANDS.index(name)].astype(float)
        low, high = np.percentile(band, (2, 98))
        assert result["stretch"][channel] == pytest.approx([low, high])
        wanted = np.round(255 * np.clip((band - low) / (high - low), 0, 1))
        assert np.array_equal(drawn[:80, :120, channel], wanted)
    assert (drawn[82:] == 255).mean() > 0.5  # paper, with a scale bar on it
    assert (drawn[82:] < 60).any()


def test_classes_have_their_colours_and_a_legend(scene, model, tmp_path):
    good("classify", scene, tmp_path / "c.tif", "--model", model, "-q")
    good("preview", tmp_path / "c.tif", tmp_path / "c.png", "--longest", 220, "-q")
    with rasterio.open(tmp_path / "c.tif") as dataset:
        values = dataset.read(1)
    drawn = pixels(tmp_path / "c.png")
    found = {value for value in CLASSES if (values == value).any()}
    for value in found:
        assert (drawn[:200, :220][values == value] == rgb(COLORS[value])).all()
    key = {tuple(colour) for colour in drawn[:, 225:].reshape(-1, 3)}
    assert {rgb(COLORS[value]) for value in found} <= key


def test_classes_of_a_netcdf_are_named_in_the_colours_that_they_are_drawn_in(tmp_path):
    path = tmp_path / "c.nc"
    flags = {"flag_values": np.array([3, 7], np.uint8), "flag_meanings": "water bare_soil"}
    grid = {"y": ("y", [15.0, 5.0], {"units": "m"}), "x": ("x", [5.0, 15.0], {"units": "m"})}
    values = np.array([[3, 7], [7, 3]], np.uint8)
    xr.Dataset({"map": (("y", "x"), values, flags)}, grid).to_netcdf(path)
    shown = good("preview", path, tmp_path / "c.png", "--assume-crs", "EPSG:32618", "--json").json
    assert shown["shows"] == "classes"
    drawn = pixels(tmp_path / "c.png")
    water, soil = drawn[5, 5], drawn[5, drawn.shape[0] // 2 + 5]
    assert not np.array_equal(water, soil)
    side = (drawn == 255).all(axis=2).all(axis=0).argmax()  # white from the picture's end on
    key = {tuple(colour) for colour in drawn[:, side:].reshape(-1, 3)}
    assert {tuple(water), tuple(soil)} <= key


def test_outlines_follow_the_segments(tmp_path):
    path = save(tmp_path / "a.tif", ARRAY, PROFILE)
    labels = np.ones((1, 80, 120), "uint32")
    labels[:, :, 60:] = 2
    segments = save(tmp_path / "s.tif", labels, PROFILE, names=(), nodata=0)
    how = ("--longest", 120, "-q", "--overwrite")
    good("preview", path, tmp_path / "a.png", *how)
    good("preview", path, tmp_path / "b.png", "--outlines", segments, *how)
    plain, drawn = (pixels(tmp_path / name)[:80, :120].astype(int) for name in ("a.png", "b.png"))
    changed = (plain != drawn).any(-1)
    assert changed[:, 59].all()
    assert not np.delete(changed, 59, axis=1).any()
    assert (drawn[:, 59, 0] > drawn[:, 59, 2]).all()  # yellow


def test_nodata_is_blank_and_bounds_zoom(tmp_path):
    holed = ARRAY[:1].astype("float32")
    holed[:, :40] = np.nan
    path = save(tmp_path / "a.tif", holed, PROFILE)
    left, top = PROFILE["transform"].c, PROFILE["transform"].f
    bounds = f"{left},{top - 800},{left + 600},{top}"
    good("preview", path, tmp_path / "a.png", "--longest", 80, "--bounds", bounds, "-q")
    drawn = pixels(tmp_path / "a.png")[:80, :60]
    assert (drawn[:40] == BLANK).all()
    assert (drawn[40:] != BLANK).any()
    outside = call("preview", path, tmp_path / "b.png", "--bounds", "0,0,1,1")
    assert outside.code == 2
    assert "--bounds: 0,0,1,1 found" in outside.err


def test_labels_netcdf_and_stdout(scene, tmp_path):
    good("segment", scene, tmp_path / "s.tif", "-q")
    assert (
        good("preview", tmp_path / "s.tif", tmp_path / "s.png", "--json").json["shows"] == "labels"
    )
    good("preview", CUBE, tmp_path / "n.png", "-b", 1, "-q")
    assert pixels(tmp_path / "n.png").shape[0] > 1000
    done = spawn("preview", CUBE, "-", "-b", 1, "-q", "--longest", 96, text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert Image.open(io.BytesIO(done.stdout)).format == "PNG"


BAD = [
    (("missing.tif", "o.png"), 3, "missing.tif: no such file"),
    (("a.tif", "exists.png"), 4, "exists.png: exists already"),
    (("a.tif", "nowhere/o.png"), 4, "there is no directory nowhere"),
    (("a.tif", "a.tif"), 2, "is an input and an output too"),
    (("a.tif", "o.png", "--stretch", "98,2"), 2, "two rising percentiles"),
    (("a.tif", "o.png", "--stretch", "2"), 2, "--stretch: 1 numbers found, 2 wanted"),
    (("a.tif", "o.png", "--bounds", "x"), 2, "--bounds: 'x' found, 4 numbers wanted"),
    (("a.tif", "o.png", "--longest", "1"), 2, "--longest: found 1, wanted from 16"),
    (("a.tif", "o.png", "-b", "1,2"), 2, "--bidx: 2 bands found, one or three wanted"),
    (("a.tif", "o.png", "--outlines", "other.tif"), 3, "other.tif: not on the grid of a.tif"),
]


@pytest.mark.parametrize(("argv", "code", "sentence"), BAD)
def test_bad_input_is_one_sentence(argv, code, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("a.tif", ARRAY, PROFILE)
    save("other.tif", ARRAY[:1, :40], PROFILE)
    (tmp_path / "exists.png").touch()
    before = sorted(tmp_path.iterdir())
    result = call("preview", *argv)
    assert (result.code, result.out) == (code, ""), result.err
    assert sentence in result.err
    assert sorted(tmp_path.iterdir()) == before


def test_proportions_are_those_of_the_ground():
    degrees = GeoBox((100, 100), from_origin(10, 60.5, 0.01, 0.01), "EPSG:4326")
    rows, cols = displayed(degrees, 1000)
    assert rows == 1000
    assert cols == pytest.approx(1000 * np.cos(np.radians(60)), abs=2)
    metres = GeoBox((50, 100), from_origin(0, 0, 10, 10), "EPSG:32618")
    assert displayed(metres, 1000) == (500, 1000)


def test_north_points_to_rising_y():
    t = from_origin(0, 0, 10, 10)
    grids = {
        (0.0, -1.0): t,
        (0.0, 1.0): t @ t.scale(1, -1),
        (-1.0, 0.0): t @ t.rotation(90),
    }
    for wanted, transform in grids.items():
        box = GeoBox((10, 10), transform, "EPSG:32618")
        x, y = transform @ (5, 5)
        col, row = ~transform @ (x, y + 10)
        assert north_on_picture(box) == pytest.approx(wanted, abs=1e-9)
        assert np.hypot(col - 5, row - 5) == pytest.approx(1)
        assert (col - 5, row - 5) == pytest.approx(wanted, abs=1e-9)


def test_constant_and_empty_rasters_are_drawn():
    block, valid = np.full((1, 5, 6), 7.0), np.ones((5, 6), bool)
    assert len(np.unique(stretch(block, valid, (2, 98))[0].reshape(-1, 3), axis=0)) == 1
    drawn, ends = stretch(block, ~valid, (2, 98))
    assert (drawn == BLANK).all()
    assert ends == [(0.0, 1.0)]


def test_neighbouring_labels_differ_in_colour():
    labels = np.arange(1, 10_001).reshape(100, 100)
    drawn = colour_labels(labels, np.ones(labels.shape, bool)).astype(int)
    apart = np.abs(np.diff(drawn, axis=1)).sum(-1)
    assert (apart < 10).mean() < 0.01
    assert (outline(drawn.astype("uint8"), np.ones((100, 100))) == drawn).all()
