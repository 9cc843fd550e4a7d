"""Training: it learns what is plain, repeats to the byte, stops early, and refuses emptiness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stcli.errors import InputError, OutputError
from stcli.landcover.network import training
from stcli.landcover.network.training import Begin, Sample, Task, train, turn
from stcli.landcover.network.windows import Scene, Window, centres, cut, square
from stcli.nn.states import StateFile
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import Block, slic
from stcli.settings import BandScaling, SlicSettings, TrainingSettings

SLIC = SlicSettings(16, 0.1, 2)
QUICK = TrainingSettings(epochs=10, patience=10, batch=2, learning_rate=2e-2, seed=3)


def samples(world, tiny, seed) -> list[Sample]:
    values, valid, truth = world((48, 48), seed)
    scaling, space = BandScaling((0, 0), (1, 1)), LabelSpace((0, 0), (48, 48), SLIC.step)
    scene = Scene(values, valid, slic(Block(values, valid, (0, 0)), scaling, SLIC, space), (0, 0))
    found = []
    for centre in centres((0, 0), (48, 48), tiny):
        at = centre[0] - tiny.margin, centre[1] - tiny.margin
        found.append(Sample(cut(scene, centre, tiny), square(truth, at, tiny.window)))
    return found


@pytest.fixture
def task(world, tiny) -> Task:
    return Task(
        samples(world, tiny, 0),
        samples(world, tiny, 1),
        ("water", "forest", "urban"),
        BandScaling((0.0, 0.0), (1.0, 1.0)),
        SLIC.step,
    )


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- learning -----------------------------------------------------------------------------------


def test_a_plain_task_is_learnt_and_the_best_weights_are_kept(task, tiny):
    told = []
    found = train(task, tiny, QUICK, lambda *of: told.append(of))
    losses = [figures["loss"] for figures in found.history]
    assert losses[-1] < 0.6 * losses[0]
    assert found.miou > 0.9
    assert found.miou == max(figures["mIoU"] for figures in found.history)
    assert found.history[found.epoch - 1]["mIoU"] == found.miou
    assert told == [(n + 1, 10, figures) for n, figures in enumerate(found.history)]
    assert found.matrix.counts.sum() == sum((s.truth > 0).sum() for s in task.validation)
    model = training.GLocal(2, 3, tiny).eval()
    model.load_state_dict(found.state)
    assert training._validate(model, task).counts.tolist() == found.matrix.counts.tolist()


# --- repeating ----------------------------------------------------------------------------------

SHORT = replace(QUICK, epochs=2)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(task, tiny):
    torch.manual_seed(99)
    first = train(task, tiny, SHORT)
    torch.manual_seed(7)  # what others draw does not matter
    torch.rand(5)
    second = train(task, tiny, SHORT)
    assert same(first.state, second.state)
    assert first.history == second.history
    other = train(task, tiny, replace(SHORT, seed=4))
    assert not same(first.state, other.state)


def test_training_leaves_random_numbers_and_determinism_as_they_were(task, tiny):
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    train(task, tiny, replace(QUICK, epochs=1))
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.are_deterministic_algorithms_enabled()


def test_they_are_left_so_after_an_error_too(task, tiny):
    def stop(*of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(task, tiny, SHORT, stop)
    assert not torch.are_deterministic_algorithms_enabled()


# --- stopping -----------------------------------------------------------------------------------


def test_training_stops_when_validation_gets_no_better(task, tiny):
    found = train(task, tiny, replace(QUICK, epochs=50, patience=3, learning_rate=0.0))
    assert found.epoch == 1
    assert len(found.history) == 4


@pytest.mark.parametrize(
    ("side", "labels"), [("train", "none"), ("train", "zeros"), ("validation", "zeros")]
)
def test_a_side_without_labels_is_refused(task, tiny, side, labels):
    given = getattr(task, side)
    bare = [] if labels == "none" else [Sample(s.window, np.zeros_like(s.truth)) for s in given]
    with pytest.raises(InputError, match="training" if side == "train" else side):
        train(replace(task, **{side: bare}), tiny, SHORT)


# --- the loss -----------------------------------------------------------------------------------


def test_what_is_not_labelled_does_not_count(task, tiny):
    """The loss of a batch does not change with the values of truth that are 0 by being absent."""
    torch.manual_seed(0)
    model = training.GLocal(2, 3, tiny)
    loss = training._Loss(task, QUICK)
    batch = task.train[:2]
    plain = loss(model, batch)
    bare = Sample(batch[1].window, np.zeros_like(batch[1].truth))
    alone = loss(model, [batch[0], bare])
    assert torch.isfinite(alone)
    assert not torch.equal(plain, alone)


def test_a_batch_without_any_label_teaches_nothing_and_breaks_nothing(task, tiny):
    bare = [Sample(s.window, np.zeros_like(s.truth)) for s in task.train[:2]]
    model = training.GLocal(2, 3, tiny)
    assert training._Loss(task, QUICK)(model, bare) == 0


def test_balanced_weights_are_the_inverse_of_the_frequencies(task):
    count = sum(np.bincount(s.truth.ravel(), minlength=4)[1:] for s in task.train)
    share = count / count.sum()
    weight = training._Loss(task, replace(QUICK, balance=1.0)).weight.numpy()
    assert np.allclose(weight * share, (weight * share).mean(), rtol=1e-5)
    flat = training._Loss(task, replace(QUICK, balance=0.0)).weight.numpy()
    assert np.allclose(flat, 1)


def test_a_class_without_training_pixels_weighs_nothing(task):
    classes = (*task.classes, "snow")
    weight = training._Loss(replace(task, classes=classes), QUICK).weight
    assert weight[3] == 0
    assert (weight[:3] > 0).all()


def test_one_loss_alone_trains_too(task, tiny):
    for local, token in ((1.0, 0.0), (0.0, 1.0)):
        settings = replace(SHORT, local_weight=local, global_weight=token)
        found = train(task, tiny, settings)
        assert all(np.isfinite(f["loss"]) for f in found.history)
        assert all(torch.isfinite(w).all() for w in found.state.values())


def test_the_rate_warms_up_and_falls():
    rates = [training._rate(step, 200) for step in range(201)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert np.isclose(rates[-1], 0.01)


# --- the eight ways -----------------------------------------------------------------------------


@pytest.fixture
def coordinates() -> Sample:
    """Values, validity, segments and truth that all tell the same place."""
    place = np.arange(1, 37).reshape(6, 6)
    window = Window(
        np.stack([place, 100 - place]).astype(np.float32), place % 5 != 0, place * 10, (2, 3)
    )
    return Sample(window, place.astype(np.uint8))


def test_the_eight_ways_are_distinct_and_the_first_is_none(coordinates):
    turned = [turn(coordinates, way).truth.tobytes() for way in range(8)]
    assert len(set(turned)) == 8
    assert turned[0] == coordinates.truth.tobytes()


@pytest.mark.parametrize("way", range(8))
def test_a_turn_takes_everything_along(coordinates, way):
    found = turn(coordinates, way)
    place = found.truth.astype(int)
    assert np.array_equal(found.window.values, np.stack([place, 100 - place]))
    assert np.array_equal(found.window.valid, place % 5 != 0)
    assert np.array_equal(found.window.segments, place * 10)
    assert sorted(place.ravel()) == list(range(1, 37))
    neighbours = np.abs(np.diff(place, axis=1))
    assert set(neighbours.ravel()) in ({1}, {6})  # neighbours stay neighbours


# --- going on -----------------------------------------------------------------------------------


class StopError(Exception):
    """A kill, in the middle of a training."""


@pytest.mark.long
@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_training_that_was_killed_goes_on_to_the_same_bytes(task, tiny, tmp_path, after):
    settings = replace(QUICK, epochs=4)
    whole = train(task, tiny, settings)
    keep = StateFile(tmp_path / "state", "a")

    def stop(epoch, epochs, figures):
        if epoch == after:
            raise StopError

    with pytest.raises(StopError):
        train(task, tiny, settings, stop, Begin(keep=keep))
    told = []
    found = train(task, tiny, settings, lambda *of: told.append(of[0]), Begin(keep=keep))
    assert told == list(range(after + 1, 5))
    assert same(found.state, whole.state)
    assert (found.history, found.epoch) == (whole.history, whole.epoch)
    assert found.matrix.counts.tolist() == whole.matrix.counts.tolist()


def test_a_state_of_other_settings_or_a_damaged_one_is_not_taken_up(task, tiny, tmp_path):
    train(task, tiny, SHORT, begin=Begin(keep=StateFile(tmp_path / "state", "a")))
    assert StateFile(tmp_path / "state", "a").load() is not None
    assert StateFile(tmp_path / "state", "b").load() is None
    (tmp_path / "state").write_bytes(b"\x80\x04K\x01.")
    assert StateFile(tmp_path / "state", "a").load() is None


def test_a_state_that_cannot_be_written_is_an_output_error(task, tiny, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        train(task, tiny, SHORT, begin=Begin(keep=StateFile(tmp_path / "no" / "state", "a")))


def test_training_begins_with_given_weights(task, tiny):
    first = train(task, tiny, SHORT)
    frozen = replace(SHORT, learning_rate=0.0, weight_decay=0.0)
    again = train(task, tiny, frozen, begin=Begin(first.state))
    assert same(again.state, first.state)
    heads = {name: w for name, w in first.state.items() if not name.startswith(("head", "token_h"))}
    part = train(task, tiny, frozen, begin=Begin(heads))
    assert same({name: part.state[name] for name in heads}, heads)
    assert not same(part.state, first.state)


def test_without_validation_the_last_weights_are_kept(task, tiny):
    found = train(replace(task, validation=[]), tiny, replace(SHORT, epochs=3, patience=1))
    assert found.epoch == 3
    assert [set(figures) for figures in found.history] == [{"loss"}] * 3
    assert not found.matrix.counts.any()
