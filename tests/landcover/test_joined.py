"""Several methods joined: whose temperatures they take, and which samples have a say in them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from stcli.errors import InputError
from stcli.landcover.accuracy.tempering import FLOOR, choose, temper, temperature
from stcli.landcover.joined import Held, Joined, hold_out, settle


@dataclass
class Fixed:
    """A method that says the same of a sample whatever it was trained on: (K, n)."""

    found: np.ndarray
    own: dict[str, np.ndarray] = field(default_factory=dict)

    def probabilities(self, looked):
        return self.found[:, looked]

    def state(self):
        return self.own


@pytest.fixture(scope="module")
def folded(drawn):
    """Two methods that lie by 3 and by 1/2, on three folds; the second fold's lie by more."""
    fold = np.arange(600) % 3
    honest, truth = drawn(600, 4)
    each = {}
    for name, sharper in (("loud", 3.0), ("shy", 0.5)):
        lying = honest ** np.where(fold == 1, 2 * sharper, sharper)
        each[name] = lying / lying.sum(axis=0)
    return Held(each, fold, np.ones(600, bool)), truth


def tempered(p, value):
    softer = np.maximum(p, FLOOR) ** (1 / value)
    return softer / softer.sum(axis=0)


def test_methods_are_tempered_each_by_its_own_and_have_equal_say(folded):
    found = folded[0].each
    model = Joined({n: Fixed(p) for n, p in found.items()}, {"loud": 3.0, "shy": 0.5}, range(4), 4)
    wanted = (tempered(found["loud"], 3) + tempered(found["shy"], 0.5)) / 2
    got = model.probabilities(lambda name: np.arange(600))
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_classes_that_a_training_lacked_have_no_share():
    two = np.array([[0.25, 1.0], [0.75, 0.0]])
    model = Joined({"a": Fixed(two)}, {"a": 1.0}, np.array([0, 2]), 4)
    wanted = np.array([[0.25, 1], [0, 0], [0.75, 0], [0, 0]])
    np.testing.assert_array_equal(model.each(lambda name: [0, 1])["a"], wanted)


def test_arrays_are_named_after_their_method():
    members = {name: Fixed(np.ones((1, 1)), {"bias": np.full(2, k)}) for k, name in enumerate("ab")}
    state = Joined(members, {}, np.arange(1), 1).state()
    assert {name: array.tolist() for name, array in state.items()} == {
        "a.bias": [0, 0],
        "b.bias": [1, 1],
    }


FOLD = np.array([4, 4, 7, 7, 7, 9])


def numbered(truth, drilled):
    """Give a training that remembers what it was given, and says which it was: 0.1, 0.2, …."""

    def train(chosen):
        drilled.append(chosen.tolist())
        seen = np.unique(truth[chosen])
        said = np.full((len(seen), len(truth)), len(drilled) / 10)
        return Joined({"a": Fixed(said)}, {"a": 1.0}, seen, 3)

    return train


def shown(chosen):
    return lambda name: np.flatnonzero(chosen)


def test_folds_are_looked_at_by_models_of_the_others():
    drilled, told = [], []
    truth = np.array([0, 1, 0, 1, 2, 0])
    held = hold_out(truth, FOLD, numbered(truth, drilled), shown, lambda *of: told.append(of))
    assert drilled == [(k != FOLD).tolist() for k in (4, 7, 9)]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert held.learnable.tolist() == [True, True, True, True, False, True]
    assert held.each["a"][0].tolist() == [0.1, 0.1, 0.2, 0.2, 0.2, 0.3]
    assert held.each["a"][2].tolist() == [0.1, 0.1, 0, 0, 0, 0.3]


def test_classes_of_one_fold_each_are_refused():
    truth = np.array([0, 0, 1, 1, 1, 2])
    with pytest.raises(InputError, match="each class lies in one fold alone"):
        hold_out(truth, FOLD, numbered(truth, []), shown, lambda *of: None)


def test_temperatures_of_a_fold_come_from_the_others(folded):
    held, truth = folded
    joined = held.probabilities(truth)
    for k in range(3):
        here = held.fold == k
        parts = [
            tempered(p[:, here], temperature(p[:, ~here], truth[~here])) for p in held.each.values()
        ]
        np.testing.assert_allclose(joined[:, here], np.mean(parts, axis=0), rtol=1e-9)


def test_a_model_takes_the_temperatures_of_what_was_held_out(folded):
    held, truth = folded
    model = Joined({}, {"loud": 1.0, "shy": 1.0}, np.arange(4), 4)
    trained = settle(model, held, truth)
    wanted = {name: temperature(p, truth) for name, p in held.each.items()}
    assert trained.model.temperatures == wanted
    assert wanted["loud"] > 2 > 1 > wanted["shy"]


def test_samples_of_classes_that_their_fold_alone_has_say_nothing(folded):
    """A third of them more, which no training could know: all that is fitted stays as it is."""
    held, truth = folded
    more = np.full((4, 200), [[0.01], [0.01], [0.97], [0.01]])
    each = {name: np.concatenate([p, more], axis=1) for name, p in held.each.items()}
    learnable = np.repeat([True, False], [600, 200])
    mixed = Held(each, np.append(held.fold, np.arange(200) % 3), learnable)
    model = Joined({}, {"loud": 1.0, "shy": 1.0}, np.arange(4), 4)
    alone, beside = (
        settle(model, held, truth),
        settle(model, mixed, np.append(truth, np.zeros(200, truth.dtype))),
    )
    assert beside.model.temperatures == alone.model.temperatures
    assert beside.calibration == alone.calibration
    np.testing.assert_array_equal(beside.probabilities[:, :600], alone.probabilities)
    assert beside.probabilities.shape == (4, 800)


def test_the_probabilities_told_are_calibrated_by_the_other_folds(folded):
    held, truth = folded
    model = Joined({}, {"loud": 1.0, "shy": 1.0}, np.arange(4), 4)
    told, raw = settle(model, held, truth).probabilities, held.probabilities(truth)
    for k in range(3):
        here = held.fold == k
        chosen = choose(raw[:, ~here], truth[~here], held.fold[~here])
        np.testing.assert_array_equal(told[:, here], temper(raw[:, here], *chosen))
    assert np.abs(told - raw).max() > 0.01
