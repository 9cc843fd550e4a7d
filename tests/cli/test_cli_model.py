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

from stcli.nn.weights import CARD, ITEM, WEIGHTS


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
