"""``model show`` and ``model verify``: what is whole is said, what is not is refused unexecuted."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil

import cliworld
import pytest
import torch

from stcli.errors import ModelError
from stcli.landcover.prediction import load_model
from stcli.nn.weights import CARD, ITEM, WEIGHTS
from stcli.workflows.landcover.classify import ClassifyStep
from stcli.workflows.landcover.products import Products


@pytest.fixture
def folder(model, tmp_path):
    """Give a copy of the small model that a test may damage."""
    shutil.copytree(model, tmp_path / "model")
    return tmp_path / "model"


class Trap:
    """What a pickle may do when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_show_tells_bands_classes_and_checksum(folder):
    shown = cliworld.good("model", "show", folder).out
    card = cliworld.good("model", "show", folder, "--json").json["card"]
    assert card["sha256"] in shown
    for name in (*cliworld.BANDS, *cliworld.CLASSES.values()):
        assert name in shown


def test_a_whole_model_is_verified(folder):
    found = cliworld.good("model", "verify", folder, "--json").json
    assert (found["applied_by"], found["item"]) == ("classify", True)
    assert found["parameters"] > 1000
    assert "whole" in cliworld.good("model", "verify", folder).out


def test_the_model_of_the_sample_data_is_verified_though_it_has_no_item():
    found = cliworld.good("model", "verify", cliworld.ROOT / "sample_data" / "model", "--json").json
    assert not found["item"]


def test_what_catalogues_read_is_told_where_it_is_missing(folder):
    (folder / ITEM).unlink()
    assert "whole, without the item.json" in cliworld.good("model", "verify", folder).out


def edited(folder, **changes):
    """Change fields of a card as an editor would."""
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, **changes}))


def bands(folder, **changes):
    """Return a card's bands, the second of them changed."""
    found = json.loads((folder / CARD).read_text())["bands"]
    return [found[0], {**found[1], **changes}, *found[2:]]


@pytest.mark.parametrize("ends", [{"low": float("nan")}, {"low": 9.0, "high": 9.0}])
def test_a_band_that_scales_to_nothing_is_refused(folder, scene, tmp_path, ends):
    edited(folder, bands=bands(folder, **ends))
    refused(folder, folder / CARD)
    result = cliworld.call("classify", scene, tmp_path / "o.tif", "--model", folder)
    assert result.code == 6
    assert "band B03 has low" in result.err
    assert "rise are wanted; the card is damaged, train the model again." in result.err


@pytest.mark.parametrize("field", ["value", "name"])
def test_two_classes_of_one_value_or_name_are_refused(folder, field):
    classes = json.loads((folder / CARD).read_text())["classes"]
    edited(folder, classes=[{**c, field: classes[0][field]} for c in classes])
    refused(folder, folder / CARD)
    said = cliworld.call("model", "verify", folder).err
    assert f"two classes have the {field} {classes[0][field]}, each its own is wanted" in said


SHARD = ("--tile-size", "112", "-j", "1", "-q")


def test_shards_of_one_models_weights_with_two_calibrations_are_not_joined(
    folder, scene, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    argv = ("classify", scene, "o.tif", "--model", folder, *SHARD)
    cliworld.good(*argv, "--shard", "1/2")
    edited(folder, calibration={"temperature": 2.0})
    cliworld.good(*argv, "--shard", "2/2")
    result = cliworld.call("merge", "o.tif.shard-1-of-2", "o.tif.shard-2-of-2", "o.tif")
    assert result.code == 3
    assert "is of another job" in result.err
    edited(folder, calibration={"temperature": 2.0, "ece_after": 0.5})  # says, and does nothing
    cliworld.good(*argv, "--shard", "1/2", "--overwrite")
    cliworld.good("merge", "o.tif.shard-1-of-2", "o.tif.shard-2-of-2", "o.tif")


def test_finished_tiles_of_another_calibration_are_not_taken_up(
    folder, scene, tmp_path, monkeypatch
):
    argv = ("classify", scene, tmp_path / "o.tif", "--model", folder, *SHARD[:-1])
    cliworld.interrupt_at(monkeypatch, 3)
    assert "2 tiles are kept" in cliworld.call(*argv).err
    edited(folder, bands=bands(folder, low=250.0))
    said = cliworld.good(*argv).err
    assert "were finished already" not in said


def test_a_worker_refuses_the_weights_under_another_card(folder):
    """What is pickled names the model by its digest."""
    step = ClassifyStep(load_model(folder), None, Products("o.tif"))
    packed = pickle.dumps(step)
    assert pickle.loads(packed).model.card == step.model.card
    edited(folder, segmentation={"size": 36, "iterations": 1})
    with pytest.raises(ModelError, match="the model has changed since the run began"):
        pickle.loads(packed)


def refused(folder, path):
    for words in (("model", "verify", folder), ("model", "verify", folder, "--json")):
        result = cliworld.call(*words)
        assert result.code == 6, result.err
        assert str(path) in result.err
        assert "Traceback" not in result.err
        assert result.out == ""


@pytest.mark.parametrize("name", [CARD, WEIGHTS, ITEM])
def test_a_flipped_bit_in_any_file_is_found(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    refused(folder, folder)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize("forged", [False, True])
def test_a_pickle_is_refused_and_not_run(folder, tmp_path, kind, forged):
    """Even where the card was forged to bear its checksum."""
    trap = tmp_path / "sprung"
    if kind == "pickle":
        (folder / WEIGHTS).write_bytes(pickle.dumps(Trap(str(trap))))
    else:
        torch.save({"weight": Trap(str(trap))}, folder / WEIGHTS)
    if forged:
        card = json.loads((folder / CARD).read_text())
        card["sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        (folder / CARD).write_text(json.dumps(card))
        (folder / ITEM).unlink()
    refused(folder, folder / WEIGHTS)
    assert not trap.exists()


def test_a_file_and_a_foreign_folder_are_no_models(tmp_path):
    torch.save({}, tmp_path / "model.pt")
    refused(tmp_path / "model.pt", tmp_path / "model.pt")
    refused(tmp_path, tmp_path)
    (tmp_path / CARD).write_text('{"model_type": "segformer"}')
    refused(tmp_path, tmp_path / CARD)
    assert cliworld.call("model", "show", tmp_path).code == 6
