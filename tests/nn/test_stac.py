"""The item beside a card is one that catalogues take."""

from __future__ import annotations

import json

import pystac
import pytest
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from stac_model.schema import MLModelExtension, MLModelProperties

from stcli.errors import ModelError
from stcli.nn.stac import item_of
from stcli.nn.weights import ITEM, BandCard, Card, ClassCard, check_item, load_card, save_weights


def card(**changes) -> Card:
    fields = {
        "architecture": "glocal-obia-mamba-1",
        "bands": (BandCard(name="B02", low=1, high=9), BandCard(name="B08", low=0, high=2)),
        "classes": (
            ClassCard(value=3, name="Wasser – größer", color="#2f6fb5"),
            ClassCard(value=7, name="bare soil", color="#1f6b3a"),
        ),
        "resolution": (10.0, 10.0),
        "segmentation": {},
        "network": {"window": 64},
        "training": {},
        "data": {},
        "metrics": {},
        "version": "0.1.0",
        "parameters": 7,
        "sha256": "ab" * 32,
    }
    return Card(**{**fields, **changes})


KINDS = (
    card(),
    card(architecture="forest-1"),
    card(architecture="stcli-upscaler-cnn", classes=()),
    card(architecture="patch-1", resolution=(8.0, 8.0)),
    card(architecture="series-1", resolution=(0.0, 0.0), network={"methods": ["svm", "forest"]}),
)


@pytest.mark.parametrize("model", KINDS, ids=lambda model: model.architecture)
def test_an_item_is_valid_by_the_core_and_by_the_extension(model):
    record = json.loads(json.dumps(item_of(model, "weights.safetensors", "card.json")))
    found = JsonSchemaSTACValidator().validate_core(record, pystac.STACObjectType.ITEM, "1.1.0")
    assert found is not None
    item = pystac.Item.from_dict(record)
    properties = MLModelProperties.model_validate(item.properties)
    assert properties.architecture == model.architecture
    assert properties.input[0].bands == ["B02", "B08"]
    assert [(s.minimum, s.maximum) for s in properties.input[0].value_scaling] == [(1, 9), (0, 2)]
    found = [c.to_dict()["value"] for c in properties.output[0].classes]
    assert found == [c.value for c in model.classes]
    assert "mlm:model" in item.assets["model"].roles
    assert MLModelExtension.ext(item, add_if_missing=True) is not None


def test_an_item_says_whose_model_it_is_and_what_it_sees():
    def facts(**changes):
        found = item_of(card(**changes), "w", "c")["properties"]
        sees, gives = found["mlm:input"][0]["input"], found["mlm:output"][0]["result"]
        task = found["mlm:tasks"][0]
        return found["mlm:framework"], task, sees["shape"], gives["dim_order"]

    plane, pixels = ["class", "height", "width"], "semantic-segmentation"
    assert facts() == ("PyTorch", pixels, [2, -1, -1], plane)
    assert facts(architecture="svm-1") == ("Scikit-learn", pixels, [2, -1, -1], plane)
    patch = facts(architecture="patch-1", resolution=(8.0, 8.0))
    assert patch == ("Scikit-learn", "scene-classification", [2, 8, 8], ["class"])
    for methods, wanted in ((["svm"], "Scikit-learn"), (["svm", "network"], "PyTorch")):
        series = facts(architecture="series-1", network={"methods": methods})
        assert series == (wanted, pixels, [-1, 2, -1, -1], plane)


def test_an_item_changed_or_of_another_model_is_found(tmp_path):
    save_weights(tmp_path, {}, card())
    written = load_card(tmp_path)
    assert check_item(tmp_path, written)
    (tmp_path / ITEM).write_text((tmp_path / ITEM).read_text().replace("B02", "B03"))
    with pytest.raises(ModelError, match="another item than the card's found"):
        check_item(tmp_path, written)
    (tmp_path / ITEM).unlink()
    assert not check_item(tmp_path, written)
