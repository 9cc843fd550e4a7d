"""Refinement of the unsure: against a plain reference, and cut apart what is apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stcli.errors import ModelError, UsageError
from stcli.landcover import architectures
from stcli.landcover.network.windows import Scene, Window, by_windows, cut, turned, turned_back
from stcli.landcover.prediction import load_model
from stcli.landcover.refinement import VIEWS, Changes, View
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, slic
from stcli.settings import DecisionSettings, SlicSettings
from stcli.workflows.landcover.refining import Resegmenting

ORIGIN = (-9, 1013)


@pytest.fixture
def model(save_model):
    return load_model(save_model(slic=SlicSettings(16, 0.1, 1), calibration={"temperature": 1.5}))


@pytest.fixture
def made(model, world):
    """Scene, core and first answer; a hole and speckles of no data."""
    values, valid, _ = world((70, 61))
    valid[20:35, 30:44] = False
    return prepared(model, np.where(valid, values, 0), valid, ORIGIN)


def prepared(model, values, valid, origin):
    space = LabelSpace(origin, valid.shape, model.slic.step)
    block = Block(values, valid, origin)
    scene = Scene(values, valid, slic(block, model.scaling, model.slic, space), origin)
    core = (slice(0, valid.shape[0]), slice(0, valid.shape[1]))
    return scene, core, model.probabilities(scene, core), Resegmenting(model, block, space)


def middling(made):
    """A confidence that some segments have and some have not."""
    return float(np.nanquantile(made[2].max(axis=0), 0.4))


def refined(model, made):
    scene, core, first, again = made
    below = middling(made)
    return model.refinement(below).refine(scene, core, first, again)


def plain(model, made, below):
    """The same in a plain way: every view of the whole scene, then pieces one by one."""
    scene, core, first, again = made
    looks = [first]
    for view in VIEWS:
        seen = replace(scene, segments=again(view))

        class Turned:
            grid, classes = model.method.grid, model.method.classes

            @staticmethod
            def window(window, way=view.way):
                w = Window(
                    *(turned(a, way) for a in (window.values, window.valid, window.segments)),
                    window.lattice,
                )
                return turned_back(model.method.window(w), way)

        method = replace(model, method=Turned)
        looks.append(method._calibrated(by_windows(seen, core, Turned)))
    result, votes = first.copy(), np.zeros(first.shape[1:])
    rows, cols = np.indices(first.shape[1:])
    side = model.stride
    centre = np.stack([(rows + ORIGIN[0]) // side, (cols + ORIGIN[1]) // side, scene.segments])
    keys = centre.reshape(3, -1).T
    for key in np.unique(keys[scene.valid.ravel()], axis=0):
        mine = (keys == key).all(axis=1).reshape(rows.shape) & scene.valid
        if first[:, mine].max(axis=0).astype(float).mean() >= below:
            continue
        mean = np.mean([look[:, mine] for look in looks], axis=0)
        said = [look[:, mine].sum(axis=1).argmax() for look in looks]
        agree = said.count(mean.sum(axis=1).argmax())
        votes[mine] = agree
        result[:, mine] += agree / len(looks) * (mean - first[:, mine])
    return result, votes


def test_only_unsure_pieces_change_and_as_a_plain_reference_says(model, made):
    first, valid = made[2], made[0].valid
    found = refined(model, made)
    wanted, votes = plain(model, made, middling(made))
    assert np.allclose(found.probabilities[:, valid], wanted[:, valid], atol=2e-6)
    assert np.isnan(found.probabilities[:, ~valid]).all()
    doubt = np.where(votes > 0, 1 - votes / (len(VIEWS) + 1), 0)
    assert np.allclose(found.disagreement[valid], doubt[valid], atol=1e-6)
    assert np.isnan(found.disagreement[~valid]).all()

    sure = valid & (votes == 0)
    assert np.array_equal(found.probabilities[:, sure], first[:, sure])
    changes = found.changes
    assert 0 < changes.looked == np.count_nonzero(votes) < valid.sum()
    assert changes.votes == votes.sum()
    assert 0 < changes.settled == (2 * votes > len(VIEWS) + 1).sum() < changes.looked
    old, new = (p[:, valid].argmax(axis=0) for p in (first, found.probabilities))
    assert changes.classes.sum() == (old != new).sum() > 0
    for a in range(3):
        for b in range(3):
            assert changes.classes[a, b] == (0 if a == b else ((old == a) & (new == b)).sum())


def test_where_all_is_sure_nothing_is_looked_at_again(model, made):
    scene, core, first, _ = made

    def never(view: View):
        raise AssertionError(view)

    found = model.refinement(1e-3).refine(scene, core, first, never)
    assert np.array_equal(found.probabilities, first, equal_nan=True)
    assert found.changes.to_list() == Changes.none(3).to_list()


def test_what_is_cut_apart_stays_apart(model, world):
    """A side of a split, the other side not valid, is refined as if nothing else were there."""
    values, valid, _ = world((64, 96))
    left = valid & (np.arange(96) < 41)
    whole = prepared(model, np.where(left, values, 0), left, ORIGIN)
    alone = prepared(
        model, np.where(left, values, 0)[:, :, :41].copy(), left[:, :41].copy(), ORIGIN
    )
    one, two = refined(model, whole), refined(model, alone)
    assert np.array_equal(one.probabilities[:, :, :41], two.probabilities, equal_nan=True)
    assert one.changes.to_list() == two.changes.to_list()
    assert one.changes.looked > 0


@pytest.mark.parametrize("way", range(8))
def test_a_turn_is_undone(way):
    array = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(turned_back(turned(array, way), way), array)
    if way:
        assert not np.array_equal(turned(array, way).ravel(), array.ravel())


def test_views_differ_in_seeds_and_turns_and_keep_the_halo(model, made):
    again = made[3]
    labels = [made[0].segments, *(again(view) for view in VIEWS)]
    for n, one in enumerate(labels):
        assert np.array_equal(one > 0, made[0].valid)
        for other in labels[:n]:
            borders = [np.diff(each, axis=1) != 0 for each in (one, other)]
            assert (borders[0] != borders[1]).any()
    assert len({view.way for view in VIEWS} | {0}) == len(VIEWS) + 1


def test_changes_are_joined_and_kept_as_numbers():
    one = Changes(5, 3, 11, np.array([[0, 2], [1, 0]]))
    both = one + Changes.of(one.to_list())
    assert both.to_list() == [10, 6, 22, 0, 4, 2, 0]


def test_a_model_of_series_is_refused(model):
    card = model.card.model_copy(update={"architecture": architectures.SERIES})
    series = replace(model, card=card)
    with pytest.raises(ModelError, match="a model of series; --refine wants one of one date"):
        series.refinement(0.5)


@pytest.mark.parametrize("below", [0, 1.5, -1])
def test_confidences_that_are_none_are_refused(below):
    with pytest.raises(UsageError, match=r"--refine: found .* wanted above 0 and at most 1"):
        DecisionSettings(refine=below)


def test_windows_of_a_view_see_the_same_pixels(model, made):
    scene = made[0]
    first = cut(scene, (0, 1008), model.method.grid)
    other = cut(replace(scene, segments=made[3](VIEWS[0])), (0, 1008), model.method.grid)
    assert np.array_equal(first.values, other.values)
    assert np.array_equal(first.valid, other.valid)
    assert not np.array_equal(first.segments, other.segments)
