"""Weights on disk: the same bytes twice, and nothing damaged or foreign is read."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from stcli.errors import ModelError, OutputError
from stcli.nn.weights import (
    CARD,
    ITEM,
    WEIGHTS,
    Arrays,
    BandCard,
    CalibrationCard,
    Card,
    ClassCard,
    load_card,
    load_weights,
    save_weights,
)

CLASSES = (
    ClassCard(value=3, name="Wasser – größer", color="#2f6fb5"),
    ClassCard(value=7, name="forest", color="#1f6b3a"),
)


def card(**changes) -> Card:
    fields = {
        "architecture": "test",
        "bands": (BandCard(name="B02", low=0.1, high=1 / 3), BandCard(name="B08", low=-1, high=2)),
        "classes": CLASSES,
        "resolution": (10.0, 10.0),
        "segmentation": {"size": 100, "compactness": 0.1},
        "network": {"window": 64},
        "training": {"seed": 1},
        "data": {"inputs": ["a.tif"]},
        "metrics": {"mIoU": 0.5, "per_class": [0.25, 0.75]},
        "version": "0.1.0",
        "parameters": 7,
    }
    return Card(**{**fields, **changes})


def state() -> Arrays:
    g = np.random.default_rng(1)
    return {
        "z.weight": g.normal(size=(3, 5)).astype(np.float32),
        "a.bias": np.array([1.5, float("inf"), -0.0], dtype=np.float32),
        "turned": g.normal(size=(4, 6)).astype(np.float32).T,
        "empty": np.zeros((0, 2), dtype=np.float32),
        "number": np.array(2.5),
    }


@pytest.fixture
def model(tmp_path) -> Path:
    save_weights(tmp_path / "model", state(), card())
    return tmp_path / "model"


# --- round trip ---------------------------------------------------------------------------------


def test_weights_and_card_come_back(model):
    found = load_card(model)
    assert found.model_copy(update={"sha256": ""}) == card()
    weights = load_weights(model, found)
    assert weights.keys() == state().keys()
    for name, array in state().items():
        assert (weights[name].dtype, weights[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(weights[name], array)
    assert found.sha256 == hashlib.sha256((model / WEIGHTS).read_bytes()).hexdigest()


def test_the_same_weights_are_the_same_bytes_twice(model, tmp_path):
    """In any order of the state; and what was loaded is written as it was."""
    again, third = tmp_path / "again", tmp_path / "deep" / "third"
    save_weights(again, dict(reversed(state().items())), card())
    loaded = load_card(model)
    save_weights(third, load_weights(model, loaded), loaded)
    for name in (WEIGHTS, ITEM, CARD):
        assert (again / name).read_bytes() == (model / name).read_bytes()
        assert (third / name).read_bytes() == (model / name).read_bytes()


def test_the_folder_holds_three_files_and_no_rest(model):
    assert sorted(p.name for p in model.iterdir()) == [CARD, ITEM, WEIGHTS]


def test_the_card_is_readable_json_in_plain_letters(model):
    text = (model / CARD).read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert "größer" in text
    assert json.loads(text)["schema"] == "stcli-card-1"


def test_a_model_is_replaced_whole(model):
    save_weights(model, {"other": np.ones(2)}, card(parameters=2))
    found = load_card(model)
    assert found.parameters == 2
    assert list(load_weights(model, found)) == ["other"]


@pytest.mark.parametrize("flushed", [0, 1, 2])
def test_an_old_model_stays_until_all_of_the_new_one_is_on_the_disk(flushed, model, monkeypatch):
    before, flush = {path.name: path.read_bytes() for path in model.iterdir()}, os.fsync
    calls = []

    def full(descriptor):
        if len(calls) == flushed:
            raise OSError(28, "No space left on device")
        calls.append(descriptor)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="cannot be written"):
        save_weights(model, {"other": np.ones(2)}, card(parameters=2))
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_new_weights_without_their_card_are_refused(model):
    """A job killed between the two files."""
    old = (model / CARD).read_bytes()
    save_weights(model, {"other": np.ones(2)}, card())
    (model / CARD).write_bytes(old)
    with pytest.raises(ModelError, match="checksum"):
        load_weights(model, load_card(model))


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file") as caught:
        save_weights(tmp_path / "file" / "model", state(), card())
    assert caught.value.exit_code == 4


def test_a_report_that_cannot_be_written_leaves_no_model_or_the_old_one(model, tmp_path):
    def full(card):
        raise OutputError("report.html: cannot be written (No space left on device)")

    before = {path.name: path.read_bytes() for path in model.iterdir()}
    for folder in (model, tmp_path / "new"):
        with pytest.raises(OutputError, match="report"):
            save_weights(folder, {"other": np.ones(2)}, card(parameters=2), full)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert not (tmp_path / "new").exists()


# --- damage -------------------------------------------------------------------------------------


def refused(model: Path, path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_weights(model, load_card(model))
    assert caught.value.exit_code == 6
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("at", [0, 8, 40, -1])
def test_one_flipped_bit_is_found(model, at):
    content = bytearray((model / WEIGHTS).read_bytes())
    content[at] ^= 1
    (model / WEIGHTS).write_bytes(content)
    assert "checksum" in refused(model, model / WEIGHTS)


def test_numbers_of_an_unknown_kind_are_refused(model):
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    content = len(header).to_bytes(8, "little") + header + b"\0\0"
    (model / WEIGHTS).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    with pytest.raises(ModelError, match="numbers of a kind that is not known here"):
        load_weights(model, load_card(model).model_copy(update={"sha256": sha256}))


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_truncated_weights_are_found(model, keep):
    (model / WEIGHTS).write_bytes((model / WEIGHTS).read_bytes()[:keep])
    refused(model, model / WEIGHTS)


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_a_missing_file_is_named(model, name):
    (model / name).unlink()
    assert name in refused(model, model)


def test_a_card_written_before_there_was_calibration_is_read(model):
    fields = json.loads((model / CARD).read_text())
    del fields["calibration"]
    (model / CARD).write_text(json.dumps(fields))
    assert load_card(model) == load_card(model).model_copy(update={"calibration": None})
    load_weights(model, load_card(model))


def test_a_missing_folder_is_named(tmp_path):
    assert CARD in refused(tmp_path / "nowhere", tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 1, 30, -3])
def test_a_truncated_card_is_found(model, keep):
    text = (model / CARD).read_bytes()
    (model / CARD).write_bytes(text[:keep])
    refused(model, model / CARD)


@pytest.mark.parametrize(
    "text",
    [b"{}", b"[]", b"null", b'{"type": "FeatureCollection", "features": []}', b"\xff\x00\xfe"],
)
def test_foreign_json_is_refused(model, text):
    (model / CARD).write_bytes(text)
    refused(model, model / CARD)


def edited(model: Path, **changes) -> None:
    fields = json.loads((model / CARD).read_text())
    fields.update(changes)
    (model / CARD).write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("surprise", 1),
        ("schema", "stcli-card-2"),
        ("classes", [{"value": 0, "name": "none", "color": "#000000"}]),
        ("classes", [{"value": 256, "name": "far", "color": "#000000"}]),
        ("classes", [{"value": 1, "name": "red", "color": "red"}]),
        ("bands", [{"name": "B02", "low": 0, "high": 1, "unit": "K"}]),
        ("bands", "B02"),
        ("calibration", {"temperature": 0}),
        ("calibration", {"temperature": 1, "method": "guess"}),
    ],
)
def test_a_card_with_a_wrong_or_unknown_field_is_refused_by_name(model, field, value):
    edited(model, **{field: value})
    assert f"'{field}" in refused(model, model / CARD)


@pytest.mark.parametrize("text", ["", "not json {", "[1, 2]"])
def test_what_is_no_json_object_is_no_card(model, text):
    (model / CARD).write_text(text)
    told = refused(model, model / CARD)
    assert "holds no card (" in told
    assert "), the JSON object that stcli train writes is wanted; fetch the model anew, or" in told


def test_a_card_is_checked_when_it_is_made_and_cannot_be_changed():
    with pytest.raises(ValidationError):
        card(surprise=1)
    with pytest.raises(ValidationError):
        card().version = "2"


# --- never a pickle -----------------------------------------------------------------------------


class Trap:
    """What a pickle may do when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_refused_without_running_it(model, tmp_path):
    trap = tmp_path / "sprung"
    (model / WEIGHTS).write_bytes(pickle.dumps(Trap(str(trap))))
    refused(model, model / WEIGHTS)
    assert not trap.exists()


@pytest.mark.parametrize("content", ["pickle", "torch", "noise"])
def test_what_is_no_safetensors_is_refused_even_with_the_right_checksum(model, tmp_path, content):
    trap = tmp_path / "sprung"
    if content == "pickle":
        (model / WEIGHTS).write_bytes(pickle.dumps(Trap(str(trap))))
    elif content == "torch":
        torch.save(state(), model / WEIGHTS)
    else:
        (model / WEIGHTS).write_bytes(b"\x10" * 5)
    edited(model, sha256=hashlib.sha256((model / WEIGHTS).read_bytes()).hexdigest())
    refused(model, model / WEIGHTS)
    assert not trap.exists()


# --- digest -------------------------------------------------------------------------------------

CALIBRATED = CalibrationCard(temperature=1.5, conformal={"0.9": 0.4})
RESULTS = {
    "architecture": "other",
    "bands": (BandCard(name="B02", low=0.2, high=1 / 3), BandCard(name="B08", low=-1, high=2)),
    "classes": CLASSES[:1],
    "segmentation": {"size": 100, "compactness": 0.2},
    "network": {"window": 128},
    "sha256": "ab" * 32,
    "calibration": CALIBRATED,
}
HISTORY = {
    "resolution": (20.0, 20.0),
    "training": {"seed": 2},
    "data": {},
    "metrics": {},
    "version": "0.2.0",
    "parameters": 8,
}


def test_every_field_of_a_card_is_said_to_change_results_or_not_to():
    assert set(RESULTS) | set(HISTORY) | {"schema_"} == set(Card.model_fields)


@pytest.mark.parametrize("field", RESULTS)
def test_the_digest_changes_with_what_changes_a_result(field):
    assert card(**{field: RESULTS[field]}).digest != card().digest


@pytest.mark.parametrize("field", HISTORY)
def test_the_digest_is_the_same_whatever_the_history(field):
    assert card(**{field: HISTORY[field]}).digest == card().digest


@pytest.mark.parametrize("change", [{"temperature": 2}, {"growth": 0.5}, {"conformal": {}}])
def test_the_digest_changes_with_the_calibration(change):
    other = CALIBRATED.model_copy(update=change)
    assert card(calibration=other).digest != card(calibration=CALIBRATED).digest


def test_figures_of_a_calibration_leave_the_digest():
    other = CALIBRATED.model_copy(update={"ece_after": 0.1, "coverage_found": {"0.9": 0.8}})
    assert card(calibration=other).digest == card(calibration=CALIBRATED).digest


def test_the_digest_lasts_on_disk(tmp_path):
    saved = save_weights(tmp_path / "model", state(), card(calibration=CALIBRATED))
    assert load_card(tmp_path / "model").marks == saved.marks
