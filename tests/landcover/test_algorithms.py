"""The baselines: scikit-learn's results from plain arrays, on the network's windows."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from stcli.engine.tiling import TilePlan
from stcli.errors import InputError, ModelError, UsageError
from stcli.landcover.algorithms import Plan, draw, fit
from stcli.landcover.classical.features import BOXES, feature_count, window_features
from stcli.landcover.classical.forest import Forest, arrays_of
from stcli.landcover.classical.svm import Svm, fit_svm, pair_weights
from stcli.landcover.network.task import Sample, Task
from stcli.landcover.network.windows import Scene, Window, centres, cut, square
from stcli.landcover.prediction import classes, load_model
from stcli.nn.device import compute
from stcli.nn.weights import BandCard, Card, ClassCard, load_card, save_weights
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, halo, slic
from stcli.settings import (
    BandScaling,
    ForestSettings,
    NetworkSettings,
    SlicSettings,
    SvmSettings,
    TrainingSettings,
)

SCALING = BandScaling((0.0, 0.0), (1.0, 2.0))
SLIC = SlicSettings(16, 0.1, 1)
KINDS = ("network", "forest", "svm", "ensemble")


def blobs(count, spread=1.0, seed=0, pixels=400):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, count, pixels)
    centre = rng.normal(size=(count, 5))
    return (centre[truth] + rng.normal(0, spread, (pixels, 5))).astype(np.float32), truth


# --- plain arrays -------------------------------------------------------------------------------


@pytest.mark.parametrize("present", [(0, 1, 2), (1, 3)])
def test_a_forest_of_arrays_says_what_scikit_learn_says(present):
    features, truth = blobs(len(present))
    truth = np.array(present)[truth]
    model = RandomForestClassifier(20, min_samples_leaf=2, random_state=1).fit(features, truth)
    unseen, _ = blobs(len(present), 2.0, seed=1, pixels=3000)
    wanted = np.zeros((len(unseen), 4))
    wanted[:, list(present)] = model.predict_proba(unseen)
    found = Forest(arrays_of(model, 4), 5, 4).probabilities(unseen)
    assert np.allclose(found, wanted, rtol=0, atol=1e-6)
    assert len(np.unique(found.argmax(axis=1))) > 1


def test_a_pixel_on_a_threshold_goes_the_way_of_scikit_learn():
    features = np.repeat(np.float32([[0.1], [0.3], [0.7]]), 20, axis=0)
    truth = np.repeat([0, 1, 0], 20)
    model = RandomForestClassifier(5, random_state=0).fit(features, truth)
    cuts = np.concatenate([t.tree_.threshold[t.tree_.feature >= 0] for t in model.estimators_])
    near = np.float32(cuts)
    unseen = np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, 0)])
    unseen = unseen.astype(np.float32)[:, None]
    found = Forest(arrays_of(model, 2), 1, 2).probabilities(unseen)
    assert np.allclose(found, model.predict_proba(unseen), rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_decisions_of_arrays_are_those_of_scikit_learn(count):
    features, truth = blobs(count)
    state = fit_svm(features, truth, count, SvmSettings())
    x = np.clip((features - state["center"]) / state["width"], -3, 3)
    gamma = float(state["gamma"][0])
    model = SVC(C=10, gamma=gamma, decision_function_shape="ovo").fit(x, truth)
    assert pair_weights(model).shape == (len(model.support_vectors_), count * (count - 1) // 2)
    wanted = model.decision_function(x).reshape(len(x), -1)
    found = Svm(state, 5, count).decisions(features).numpy()
    assert np.allclose(found, wanted, rtol=0, atol=2e-3)  # float32 beside float64


@pytest.mark.parametrize("count", [2, 4])
def test_probabilities_of_support_vectors_are_sharp_where_classes_are_apart(count):
    features, truth = blobs(count, 0.1)
    found = Svm(fit_svm(features, truth, count, SvmSettings()), 5, count).probabilities(features)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == truth).mean() > 0.99
    muddled, truth = blobs(count, 30.0, seed=3)
    found = Svm(fit_svm(muddled, truth, count, SvmSettings()), 5, count).probabilities(muddled)
    assert found.max(axis=1).mean() < 0.75  # what is noise is not learnt by heart


def test_a_class_without_a_pixel_has_no_chance():
    features, truth = blobs(2)
    found = Svm(fit_svm(features, truth * 2, 3, SvmSettings()), 5, 3).probabilities(features)
    assert (found[:, 1] == 0).all()
    rare = np.concatenate([truth[:-1], [2]])
    found = Svm(fit_svm(features, rare, 3, SvmSettings()), 5, 3).probabilities(features)
    assert np.isfinite(found).all()


# --- features -----------------------------------------------------------------------------------


def world_window(side=32, seed=0) -> Window:
    rng = np.random.default_rng(seed)
    valid = rng.random((side, side)) < 0.9
    row, col = np.mgrid[:side, :side] // 4
    labels = np.where(valid, row * (side // 4) + col + 1, 0)
    return Window(rng.random((2, side, side)).astype(np.float32), valid, labels, (-8, 24))


def test_features_by_hand():
    window = world_window()
    found = window_features(window, SCALING, 4, window.valid)
    assert found.shape == (window.valid.sum(), feature_count(2))
    bands = np.where(window.valid, window.values / np.array([1, 2])[:, None, None] * 2 - 1, 0)
    for mine, (row, col) in zip(found, np.argwhere(window.valid), strict=True):
        a, b = window.values[1, row, col], window.values[0, row, col]
        wanted = [*bands[:, row, col], (a - b) / (a + b)]
        for side in BOXES:
            rows, cols = (slice(max(n - side // 2, 0), n + side // 2 + 1) for n in (row, col))
            inside = bands[:, rows, cols][:, window.valid[rows, cols]]
            wanted += [figure for band in inside for figure in (band.mean(), band.std())]
        segment = window.segments == window.segments[row, col]
        wanted += [figure for band in bands[:, segment] for figure in (band.mean(), band.std())]
        size = segment.sum()
        down, across = (np.ptp(at) + 1 for at in np.nonzero(segment))
        wanted += [np.log(size / 16), down / 4, across / 4, size / (down * across)]
        assert np.allclose(mine, wanted, atol=1e-5)


def test_features_of_some_pixels_are_those_of_all():
    window = world_window()
    some = window.valid.copy()
    some[:, ::3] = False
    every = np.zeros((*some.shape, feature_count(2)), dtype=np.float32)
    every[window.valid] = window_features(window, SCALING, 4, window.valid)
    assert np.array_equal(window_features(window, SCALING, 4, some), every[some])


def test_many_bands_have_no_pairs():
    rng = np.random.default_rng(0)
    few = world_window()
    many = Window(rng.random((9, 32, 32)), few.valid, few.segments, few.lattice)
    found = window_features(many, BandScaling((0.0,) * 9, (1.0,) * 9), 4, few.valid)
    assert found.shape[1] == feature_count(9) == 9 + 2 * 9 * 3 + 4
    assert np.isfinite(found).all()


def test_pairs_of_large_numbers_keep_what_float32_does_not_hold():
    values = np.stack([np.full((8, 8), 2e9), 2e9 + np.arange(64.0).reshape(8, 8)])
    square = np.ones((8, 8), np.bool_)
    window = Window(values, square, square.astype(np.int32), (0, 0))
    found = window_features(window, BandScaling((2e9,) * 2, (2e9 + 64,) * 2), 4, square)
    wanted = (values[1] - values[0]) / (values[1] + values[0])
    assert np.array_equal(found[:, 2], wanted.ravel().astype(np.float32))


@pytest.mark.parametrize("junk", [np.nan, -9999.0])
def test_values_of_nodata_are_no_feature(junk):
    clean = world_window()
    values = np.where(clean.valid, clean.values, junk)
    dirty = Window(values, clean.valid, clean.segments, (-8, 24))
    found = [window_features(each, SCALING, 4, clean.valid) for each in (clean, dirty)]
    assert np.array_equal(*found)


@pytest.mark.parametrize(("a", "b"), [(3e38, 1e38), (3e38, -3e38), (-3.4028235e38, -3.4028235e38)])
def test_pairs_of_the_largest_numbers_are_indices_still(a, b):
    clean = world_window()
    values = np.ones_like(clean.values) * np.array([b, a], np.float32)[:, None, None]
    window = Window(values, clean.valid, clean.segments, (-8, 24))
    with np.errstate(over="raise"):
        found = window_features(window, SCALING, 4, clean.valid)[:, 2]
    assert np.allclose(found, (a - b) / (abs(a) + abs(b)), rtol=1e-6)


@pytest.mark.parametrize("wild", [1e20, -3.4028235e38])
def test_a_wild_value_changes_no_feature_beyond_its_boxes_and_its_segment(wild):
    clean = world_window()
    row, col = np.argwhere(clean.valid)[40]
    values = clean.values.copy()
    values[:, row, col] = wild
    dirty = Window(values, clean.valid, clean.segments, (-8, 24))
    found = [window_features(each, SCALING, 4, clean.valid) for each in (clean, dirty)]
    down, across = np.mgrid[:32, :32]
    near = (abs(down - row) <= BOXES[-1] // 2) & (abs(across - col) <= BOXES[-1] // 2)
    near |= clean.segments == clean.segments[row, col]
    far = ~near[clean.valid]
    assert far.sum() > 400
    assert np.allclose(found[0][far], found[1][far], rtol=0, atol=1e-4)
    assert np.isfinite(found[1]).all()


# --- training and applying ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def plan() -> Plan:
    network = NetworkSettings(window=32, margin=8, local_width=4, model_width=8, state=4, layers=1)
    training = TrainingSettings(epochs=2)
    return Plan("network", network, training, ForestSettings(12, 2, 3000), SvmSettings(10, 400))


def scene_of(values, valid, origin=(0, 0)) -> Scene:
    space = LabelSpace(origin, valid.shape, SLIC.step)
    return Scene(values, valid, slic(Block(values, valid, origin), SCALING, SLIC, space), origin)


@pytest.fixture
def task(world, plan) -> Task:
    sides, origin = [], (5, -3)  # off the lattice, as rasters are: segments differ in shape
    for seed in (0, 1):
        values, valid, truth = world(seed=seed)
        scene = scene_of(values, valid, origin)
        windows = [
            cut(scene, at, plan.network) for at in centres(origin, valid.shape, plan.network)
        ]
        corners = [[w - o for w, o in zip(x.lattice, origin, strict=True)] for x in windows]
        pairs = zip(windows, corners, strict=True)
        sides.append([Sample(x, square(truth, (at[0], at[1]), 32)) for x, at in pairs])
    where = compute("cpu", threads=1)
    return Task(sides[0], sides[1], ("water", "forest", "urban"), SCALING, SLIC.step, where)


def saved(folder, fitted):
    card = Card(
        architecture=fitted.architecture,
        bands=tuple(BandCard(name=f"B{i}", low=0, high=1 + i) for i in range(2)),
        classes=tuple(
            ClassCard(value=i + 1, name=word, color="#00000" + str(i))
            for i, word in enumerate(("water", "forest", "urban"))
        ),
        resolution=(10.0, 10.0),
        segmentation=asdict(SLIC),
        network=fitted.network,
        training={},
        data={},
        metrics={},
        version="0",
        parameters=sum(a.size for a in fitted.state.values()),
    )
    save_weights(folder, fitted.state, card)
    return load_model(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_any_kind_is_trained_saved_and_applied_and_tiling_does_not_show(
    kind, task, world, plan, tmp_path
):
    fitted = fit(task, Plan(kind, plan.network, plan.training, plan.forest, plan.svm))
    matrix = fitted.matrix(task.validation, task.classes)
    assert np.trace(matrix.counts) / matrix.counts.sum() > (0.3 if kind == "network" else 0.97)
    model = saved(tmp_path / "model", fitted)
    for sample in task.validation[:3]:
        centre = np.s_[:, 8:24, 8:24]
        again, first = model.method.window(sample.window), fitted.window(sample.window)
        assert np.array_equal(again[centre], first[centre], equal_nan=True)

    values, valid, truth = world((93, 81), seed=2)
    valid[20:41, 50:] = False
    origin = (-37, 1013)
    space = LabelSpace(origin, valid.shape, SLIC.step)

    def run(size):
        result = np.full((3, *valid.shape), -1, dtype=np.float32)
        reach = model.margin + halo(model.slic)
        for tile in TilePlan(valid.shape, size, reach, model.stride, origin):
            at = tile.read.toslices()
            block, good = values[:, *at].copy(), valid[at].copy()
            segments = slic(Block(block, good, tile.lattice), model.scaling, model.slic, space)
            scene = Scene(block, good, segments, tile.lattice)
            result[:, *tile.core.toslices()] = model.probabilities(scene, tile.trim)
        return result

    whole = run(160)
    assert np.array_equal(np.isnan(whole[0]), ~valid)
    assert np.allclose(whole[:, valid].sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(run(32), whole, equal_nan=True)
    if kind != "network":
        assert (classes(whole)[valid] == truth[valid]).mean() > 0.95


@pytest.mark.parametrize("kind", ["forest", "svm"])
def test_the_same_seed_gives_the_same_arrays(kind, task, plan):
    chosen = Plan(kind, plan.network, plan.training, ForestSettings(3, 2, 200), SvmSettings(1, 90))
    first, again = fit(task, chosen), fit(task, chosen)
    assert all(np.array_equal(first.state[name], again.state[name]) for name in first.state)


def test_pixels_are_drawn_from_centres_alone_and_once(task):
    features, truth = draw(task, 8, 10**6, 0)
    assert len(features) == len(truth) == np.count_nonzero(task_truth(task))
    few = draw(task, 8, 50, 0)
    assert len(few[1]) == 50
    nothing = Task([], [], task.classes, SCALING, SLIC.step)
    with pytest.raises(InputError, match="no pixel for training"):
        draw(nothing, 8, 10, 0)


def task_truth(task):
    return np.stack([sample.truth[8:24, 8:24] for sample in task.train])


@pytest.mark.parametrize("kind", ["forest", "svm", "ensemble"])
@pytest.mark.parametrize("damage", ["missing", "shape", "outside"])
def test_arrays_that_do_not_fit_their_card_are_a_model_error(kind, damage, task, plan, tmp_path):
    brief = TrainingSettings(epochs=1)
    small = Plan(kind, plan.network, brief, ForestSettings(2, 2, 200), SvmSettings(1, 60))
    some = replace(task, train=task.train[:8], validation=task.validation[:4])
    fitted = fit(some, small)
    saved(tmp_path / "model", fitted)
    state = dict(fitted.state)
    name = "weight" if kind == "svm" else next(n for n in state if n.endswith("child"))
    if damage == "missing":
        del state[name]
    elif damage == "shape":
        state[name] = state[name][:-1]
    elif kind == "svm":
        state["vector"] = state["vector"][:, :-1]
    else:
        state[name] = state[name] + 10_000
    save_weights(tmp_path / "model", state, load_card(tmp_path / "model"))
    with pytest.raises(ModelError, match="do not fit"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (ForestSettings, {"trees": 0}, "trees: found 0, wanted >= 1"),
        (ForestSettings, {"leaf": 0}, "leaf: found 0, wanted >= 1 pixels"),
        (ForestSettings, {"pixels": 0}, "pixels: found 0, wanted >= 1"),
        (SvmSettings, {"pixels": 0}, "pixels: found 0, wanted >= 1"),
        (SvmSettings, {"penalty": 0.0}, "penalty: found 0.0, wanted > 0 and finite"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, fields, message):
    with pytest.raises(UsageError, match=message):
        kind(**fields)
