"""The network on stacks of dates: superpixels of a composite, a scan over each one's dates."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from cliworld import NETWORK, call, good, read, save
from test_cli_laws import peak

from stcli.errors import ModelError
from stcli.landcover.dates import composite
from stcli.segmentation.superpixels.slic import halo
from stcli.settings import RunSettings, SlicSettings, TrainingSettings
from stcli.workflows.job import Inputs
from stcli.workflows.landcover.dated import Dating
from stcli.workflows.landcover.samples import Recipe
from stcli.workflows.landcover.scenes import LabelledScene
from stcli.workflows.landcover.train_landcover import Fitting, train_landcover
from stcli.workflows.landcover.training_stacks import as_stacks
from stcli.workflows.landcover.truth import LabelSource

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
SLIC = SlicSettings(size=36, iterations=1)
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


def scene_of(paths, labels, dating=None):
    return LabelledScene(Inputs(tuple(map(str, paths))), (LabelSource(labels),), dating)


def trained(paths, labels, folder, epochs=6, stacked=True, init=None):
    """Train a small network through the workflow."""
    training = TrainingSettings(epochs=epochs, learning_rate=1e-2, block=480.0)
    network = replace(NETWORK, date_width=8, date_state=4, date_layers=1)
    recipe = Recipe(SLIC, network, training)
    stacks = [paths] if isinstance(paths[0], str) else paths
    scenes = [scene_of(each, labels, Dating() if stacked else None) for each in stacks]
    return train_landcover(scenes, folder, recipe, RunSettings(jobs=1), Fitting(init=init))


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


@pytest.mark.long
def test_the_course_tells_what_the_composite_cannot(whole, stack, labels, tmp_path):
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


def test_the_order_of_files_is_no_matter(stack, made, whole, tmp_path):
    found = classified([*stack[3:], *stack[:3]], made.folder, tmp_path)
    assert np.array_equal(found[1], whole[1], equal_nan=True)


def test_a_crop_moves_nothing_inside(stack, made, whole, tmp_path):
    top, left = 7, 13
    reach = halo(SLIC) + NETWORK.margin
    assert reach < 100
    profile = {**PROFILE, "transform": PROFILE["transform"] @ Affine.translation(left, top)}
    paths = [
        save(tmp_path / Path(path).name, read(path)[:, top:, left:], profile, NAMES)
        for path in stack
    ]
    _, proba = classified(paths, made.folder, tmp_path)
    inside = (slice(None), slice(top + reach, None), slice(left + reach, None))
    assert np.array_equal(proba[:, reach:, reach:], whole[1][inside], equal_nan=True)


def test_a_netcdf_gives_the_same_as_files(stack, made, whole, tmp_path):
    import xarray as xr

    a, values = PROFILE["transform"], cells()
    places = {
        axis: (
            axis,
            first + step * (np.arange(count) + 0.5),
            {"standard_name": f"projection_{axis}_coordinate", "units": "m"},
        )
        for axis, first, step, count in (("y", a.f, a.e, SHAPE[0]), ("x", a.c, a.a, SHAPE[1]))
    }
    data = {
        name: (("time", "y", "x"), np.where(values[:, b] < 0, np.nan, values[:, b]))
        for b, name in enumerate(NAMES)
    }
    coords = {"time": np.array(DATES, dtype="datetime64[ns]"), **places}
    xr.Dataset(data, coords).to_netcdf(tmp_path / "stack.nc")
    how = ("--assume-crs", "EPSG:32631")
    found = classified([tmp_path / "stack.nc"], made.folder, tmp_path, *how)
    assert np.array_equal(found[1], whole[1], equal_nan=True)


@pytest.mark.slow
def test_processes_give_the_same(stack, made, whole, tmp_path):
    how = ("--tile-size", 96, "-j", 2, "--scheduler", "processes")
    assert np.array_equal(classified(stack, made.folder, tmp_path, *how)[0], whole[0])


def test_what_runs_in_other_processes_comes_back_as_it_was(stack, made):
    from stcli.landcover.prediction import load_model
    from stcli.raster.reading.read import open_raster
    from stcli.workflows.landcover.classify_stack import Stacking, StackStep, look_of
    from stcli.workflows.landcover.dated import dates_used
    from stcli.workflows.landcover.products import Products

    with open_raster(stack) as raster:
        look = look_of(raster, load_model(made.folder), Stacking())
        again = pickle.loads(pickle.dumps(StackStep(look, Products("o.tif")))).look
    assert (type(again), dates_used(again.stack)) == (type(look), DATES)


def test_other_dates_and_clouds_as_a_mask_will_do(made, whole, tmp_path):
    """Five dates, each four days later, with clouds as values and a mask beside them."""
    days = np.array(DATES, dtype="datetime64[D]") + 4
    sky, values = clear(), cells()
    paths = []
    for k in (0, 1, 3, 4, 5):
        bands = np.stack([*np.where(sky[k], values[k], 0.95), np.where(sky[k], 4, 9)])
        where = tmp_path / f"m_{days[k]}.tif"
        paths.append(save(where, bands.astype("float32"), PROFILE, (*NAMES, "SCL")))
    how = ("--mask-band", "SCL", "--clear", "4,5")
    found, _ = classified(paths, made.folder, tmp_path, *how)
    assert right(found) > 0.8


def test_a_mask_that_training_heeded_is_missed(labels, tmp_path):
    sky, values = clear(), cells()
    paths = []
    for k, day in enumerate(DATES[:2]):
        bands = np.stack([*values[k], np.where(sky[k], 4, 9)]).astype("float32")
        paths.append(save(tmp_path / f"m_{day}.tif", bands, PROFILE, (*NAMES, "SCL")))
    network = replace(NETWORK, date_width=8, date_state=4, date_layers=1)
    recipe = Recipe(SLIC, network, TrainingSettings(epochs=1, block=480.0))
    scenes = [scene_of(paths, labels, Dating(mask_band="SCL", clear=(4.0, 5.0)))]
    model = train_landcover(scenes, tmp_path / "model", recipe, RunSettings(jobs=1))
    assert model.card.data["scenes"][0]["mask"] == ["SCL", 4.0, 5.0]
    words = ("classify", *paths, tmp_path / "o.tif", "--model", model.folder, "--dry-run")
    told = "SCL marked clear pixels (4, 5) in the model's training and is there, but no --mask-"
    assert told in good(*words).err
    assert told not in good(*words, "--mask-band", "SCL", "--clear", "4").err


# --- training -----------------------------------------------------------------------------------


def test_the_card_says_what_was_learnt_from(made, stack):
    card = made.card
    assert card.architecture == "glocal-obia-mamba-series-1"
    assert [band.name for band in card.bands] == list(NAMES)
    assert card.data["scenes"][0]["dates"] == list(DATES)
    assert any("a stack of 6 dates of RED, NIR, SWIR" in note for note in made.notes)


@pytest.fixture
def small(stack, labels, tmp_path):
    """A corner of three dates of the stack, and its labels."""

    def corner(path, profile, names):
        return save(tmp_path / Path(path).name, read(path)[:, :101, :97], profile, names)

    known = corner(labels, {**PROFILE, "nodata": 0}, ("class",))
    return [corner(path, PROFILE, NAMES) for path in stack[:3]], known


@pytest.mark.long
def test_training_is_repeatable_and_a_killed_one_goes_on(small, tmp_path, monkeypatch):
    from stcli.landcover.network import training

    at_once = trained(*small, tmp_path / "a", epochs=2)
    epoch = training._Run._epoch

    def killed(run):
        if run.history:
            raise KeyboardInterrupt
        epoch(run)

    monkeypatch.setattr(training._Run, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(*small, tmp_path / "b", epochs=2)
    monkeypatch.setattr(training._Run, "_epoch", epoch)
    taken_up = trained(*small, tmp_path / "b", epochs=2)
    assert taken_up.card.sha256 == at_once.card.sha256


def test_scenes_may_have_dates_of_their_own(small, tmp_path):
    paths, labels = small
    both = trained([paths[:2], paths], labels, tmp_path / "both", epochs=1)
    assert [len(scene["dates"]) for scene in both.card.data["scenes"]] == [2, 3]


def test_a_model_to_begin_with_is_one_of_stacks(small, made, model, tmp_path):
    begun = trained(*small, tmp_path / "i", epochs=1, init=made.folder)
    assert begun.card.data["init"]["sha256"] == made.card.sha256
    with pytest.raises(ModelError, match="--init wants 'glocal-obia-mamba-series-1'"):
        trained(*small, tmp_path / "j", epochs=1, init=model)


def test_a_stack_is_known_by_its_dates_and_may_be_bands(stack, labels, caplog):
    odd = save(Path(labels).parent / "o_2021-06-01.tif", read(stack[0])[:2], PROFILE, NAMES)
    digits = [
        save(Path(labels).parent / name, read(stack[0]), PROFILE, NAMES)
        for name in ("x_12345678.tif", "y_20219931.tif")
    ]
    for paths, series, algorithm, found in (
        (stack, None, "network", True),
        (stack, True, "network", True),
        (stack, False, "network", False),
        (stack, None, "forest", False),
        (stack[:1], None, "network", False),
        ((stack[0], odd), None, "network", False),
        (digits, None, "network", False),
    ):
        scenes = as_stacks([scene_of(paths, labels)], Dating(), series, algorithm)
        assert (scenes[0].dating is not None) == found
    assert "no stack of dates: its bands are taken as they are" in caplog.text


def test_what_makes_no_training_stack_is_refused(stack, labels, tmp_path):
    how = ("--labels", labels, "-o", tmp_path / "m", "-q")
    plain = save(tmp_path / "plain.tif", read(stack[0]), PROFILE, NAMES)
    for words, code, told in (
        ((*stack, "--series", "--algorithm", "svm"), 2, "takes a stack's dates as bands; leave"),
        (
            (*stack, "--no-series", "--mask-band", "SCL", "--clear", "4"),
            2,
            "--dates, --mask-band: are for a stack of dates; leave out --no-series.",
        ),
        ((*stack, "--bands-noise", "drop"), 2, "--bands-noise: is for scenes of one date; a stack"),
        (
            (stack[0], "--series"),
            3,
            "s_2021-03-04.tif: a stack of 1 date found, at least two dates are wanted; give more "
            "files, or --no-series.",
        ),
        ((plain, "--series"), 3, "plain.tif: band RED has no date; give --dates"),
    ):
        refused = call("train", "landcover", *words, *how)
        assert (refused.code, told in refused.err) == (code, True), refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["plain.tif"]


# --- models and rasters that do not fit ---------------------------------------------------------


def test_a_model_of_stacks_refuses_one_date_and_what_is_not_its_own(
    stack, made, model, scene, tmp_path
):
    out, folder = tmp_path / "o.tif", made.folder
    for words, code, told in (
        ((scene, out), 6, f"no date found, the model {folder} wants a stack of at least two; give"),
        ((stack[0], out), 6, "1 date found, the model "),
        ((*stack, out, "--season", "2021-03-01"), 2, "is a network of stacks, which takes all"),
        ((*stack, out, "--fuse", "score"), 6, f"{folder}: a model of several dates found, which f"),
        ((*stack, out, "--refine", "0.7"), 2, "--refine: is for a raster of one date; a stack"),
    ):
        refused = call("classify", *words, "--model", folder)
        assert (refused.code, told in refused.err) == (code, True), refused.err
    one = call("classify", *stack, out, "--model", model)  # of one date, of other bands
    assert (one.code, "the model" in one.err) == (6, True), one.err
    assert not list(tmp_path.iterdir())


def test_a_plan_of_a_stack_is_told_and_nothing_done(stack, made, tmp_path):
    how = ("--model", made.folder, "--dry-run", "--json")
    plan = good("classify", *stack, tmp_path / "o.tif", *how)
    assert plan.json["passes"][0]["stage"] == "classify"
    assert not list(tmp_path.iterdir())


# --- memory -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """The stack thrice beside and below itself."""
    folder = tmp_path_factory.mktemp("big")
    pairs = zip(DATES, np.tile(cells(), (1, 1, 3, 3)), strict=True)
    return [save(folder / f"b_{day}.tif", v, PROFILE, NAMES) for day, v in pairs]


@pytest.mark.long
@pytest.mark.parametrize(
    "how",
    [("-j", "2"), pytest.param(("--tile-size", "0", "-j", "1"), marks=pytest.mark.slow)],
    ids=" ".join,
)
def test_classifying_stays_below_its_prediction(how, big, made, tmp_path):
    measured, predicted = peak("classify", *big, tmp_path / "o.tif", "--model", made.folder, *how)
    assert measured <= predicted


@pytest.mark.slow
def test_training_stays_below_its_prediction(stack, labels, tmp_path):
    how = ("--labels", labels, "--epochs", 1, "-o", tmp_path / "m", "--block", 480, "-j", 2)
    measured, predicted = peak("train", "landcover", *stack[:3], *how)
    assert measured <= predicted
