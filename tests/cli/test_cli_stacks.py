"""The network on stacks of dates: superpixels of a composite, a scan over each one's dates."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from cliworld import NETWORK, call, good, read, save
from test_cli_laws import peak

from stcli.settings import RunSettings, SlicSettings, TrainingSettings

#: Uneven dates; the three classes have the same values in another order, so that neither the
#: median nor the deviation of a whole series tells them apart.
DATES = ("2021-03-04", "2021-04-21", "2021-05-09", "2021-07-02", "2021-08-30", "2021-10-11")
LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
ORDERS = ((0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 4, 5, 1, 0, 3))
NAMES = ("RED", "NIR", "SWIR")
SHAPE = (197, 203)
PROFILE = {
    "driver": "GTiff",
    "crs": "EPSG:32631",
    "transform": Affine(10, 0, 500_030, 0, -10, 5_000_050),
    "nodata": -1,
}
#: By how much of the pixels the scan over dates must beat the composite alone; set beforehand.
MARGIN = 0.3


def truth():
    """Classes (row, col) from 1, in fields of 24 pixels."""
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]] // 24
    return (1 + (row * 5 + col * 7 + row * col) % 3).astype(np.uint8)


def clear():
    """Pixels (date, row, col) without a cloud; a corner is under clouds on every date.

    Clouds are drawn for each date alone: what they take from a composite says nothing of a class.
    """
    drawn = np.random.default_rng(5).random((len(DATES), 40, 40)) > 0.2
    sky = drawn.repeat(6, axis=1).repeat(6, axis=2)[:, : SHAPE[0], : SHAPE[1]]
    sky[:, :20, :25] = False
    return sky


def cells():
    """Values (date, band, row, col); -1 under clouds."""
    rng = np.random.default_rng(4)
    courses = np.stack([LEVELS[list(order)] for order in ORDERS])[truth() - 1]
    weights = np.array([1.0, 0.6, -0.4])[:, None, None]
    values = 0.6 + courses.transpose(2, 0, 1)[:, None] * weights
    values = values + rng.normal(0, 0.02, (len(DATES), 3, *SHAPE))
    return np.where(clear()[:, None], values, -1).astype(np.float32)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """One GeoTIFF a date."""
    folder = tmp_path_factory.mktemp("stack")
    pairs = zip(DATES, cells(), strict=True)
    return [save(folder / f"s_{day}.tif", v, PROFILE, NAMES) for day, v in pairs]


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """A class raster that knows every other row."""
    known = truth()
    known[::2] = 0
    profile = {**PROFILE, "nodata": 0}
    return save(tmp_path_factory.mktemp("labels") / "labels.tif", known[None], profile, ("class",))


def trained(paths, labels, folder, epochs=12, stacked=True):
    """Train a small network through the workflow."""
    from stcli.workflows.dated import Dating
    from stcli.workflows.job import Inputs
    from stcli.workflows.samples import Recipe
    from stcli.workflows.scenes import LabelledScene
    from stcli.workflows.train_landcover import train_landcover
    from stcli.workflows.truth import LabelSource

    training = TrainingSettings(epochs=epochs, learning_rate=1e-2, block=480.0)
    network = replace(NETWORK, date_width=8, date_state=4, date_layers=1)
    recipe = Recipe(SlicSettings(size=36, iterations=1), network, training)
    dating = Dating() if stacked else None
    scene = LabelledScene(Inputs(tuple(map(str, paths))), (LabelSource(labels),), dating)
    return train_landcover([scene], folder, recipe, RunSettings(jobs=1))


@pytest.fixture(scope="module")
def made(stack, labels, tmp_path_factory):
    return trained(stack, labels, tmp_path_factory.mktemp("made") / "model")


def classified(paths, model, folder, *more):
    out, proba = folder / "classes.tif", folder / "proba.tif"
    good("classify", *paths, out, "--model", model, "--proba", proba, "-q", "--overwrite", *more)
    return read(out)[0], read(proba)


@pytest.fixture(scope="module")
def whole(stack, made, tmp_path_factory):
    return classified(
        stack, made.folder, tmp_path_factory.mktemp("whole"), "--tile-size", 0, "-j", 1
    )


def right(found):
    seen = found > 0
    return float((found == truth())[seen].mean())


def test_the_course_tells_what_the_composite_cannot(whole, stack, labels, tmp_path):
    from stcli.landcover.dates import composite

    values = np.concatenate([np.where(v < 0, np.nan, v) for v in cells()])
    one = np.where(clear().any(axis=0), composite(values, 3), -1)
    names = [f"{word} {name}" for word in ("median", "deviation") for name in NAMES]
    path = save(tmp_path / "composite.tif", one, PROFILE, names)
    alone = trained([path], labels, tmp_path / "model", stacked=False)
    found, _ = classified([path], alone.folder, tmp_path)
    print("series", right(whole[0]), "composite", right(found))
    assert right(whole[0]) > right(found) + MARGIN


def test_what_is_cloudy_on_all_dates_is_nodata(whole):
    found, proba = whole
    seen = clear().any(axis=0)
    assert not seen[:20, :25].any()
    assert np.array_equal(found > 0, seen)
    assert np.array_equal(np.isnan(proba[0]), ~seen)


@pytest.mark.parametrize("how", [("48", "1"), ("96", "2")], ids=" ".join)
def test_tiles_and_jobs_do_not_show(how, stack, made, whole, tmp_path):
    found = classified(stack, made.folder, tmp_path, "--tile-size", how[0], "-j", how[1])
    assert np.array_equal(found[0], whole[0])
    assert np.array_equal(found[1], whole[1], equal_nan=True)
