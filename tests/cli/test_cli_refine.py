"""``classify --refine``: what it changes is told, tiling does not show, a kill changes nothing."""

from __future__ import annotations

import pickle

import cliworld
import numpy as np
import pytest

from stcli.landcover.prediction import load_model
from stcli.segmentation.space import LabelSpace
from stcli.settings import DecisionSettings
from stcli.workflows.landcover.classify import ClassifyStep
from stcli.workflows.landcover.products import Products

VALUES = list(cliworld.CLASSES)


def run(scene, model, folder, *more, below="0.9"):
    names = [str(folder / f"{name}.tif") for name in ("map", "proba", "unc")]
    refine = ("--refine", below) if below else ()
    result = cliworld.call(
        "classify", scene, names[0], "--model", model, "--proba", names[1],
        "--uncertainty", names[2], *refine, "--json", "--no-progress", "--overwrite", *more,
    )  # fmt: skip
    assert result.code == 0, result.err
    return result, [cliworld.read(name) for name in names]


@pytest.fixture(scope="module")
def plain(scene, model, tmp_path_factory):
    return run(scene, model, tmp_path_factory.mktemp("plain"), below=None)


@pytest.fixture(scope="module")
def whole(scene, model, tmp_path_factory):
    return run(scene, model, tmp_path_factory.mktemp("whole"), "--tile-size", "0")


def test_what_changed_is_told_and_only_the_unsure_change(plain, whole):
    (first, (before, chances, _)), (result, (after, refined, doubt)) = plain, whole
    assert first.json["refined"] is None
    found = result.json["refined"]
    known = np.isfinite(chances[0])
    touched = known & (chances != refined).any(axis=0)
    assert 0 < found["settled"] <= touched.sum() <= found["looked"] < known.sum()
    assert np.allclose(found["share"], found["looked"] / known.sum())
    assert 0 < found["agreement"] <= 1
    moved = before[0] != after[0]
    assert found["changed"] == moved.sum() > 0
    assert not moved[~touched].any()
    pairs = {(c["from"], c["to"]): c["pixels"] for c in found["changes"]}
    names = dict(zip(VALUES, cliworld.CLASSES.values(), strict=True))
    for old in VALUES:
        for new in VALUES:
            number = int(((before[0] == old) & (after[0] == new) & moved).sum())
            assert pairs.get((names[old], names[new]), 0) == number
    assert [c["pixels"] for c in found["changes"]] == sorted(pairs.values(), reverse=True)
    assert f"{found['changed']} pixels changed class" in result.err
    assert doubt.shape[0] == 4
    assert set(np.round(np.unique(doubt[3][known]) * 5).astype(int)) <= {0, 1, 2, 3, 4}
    assert found["looked"] >= (doubt[3][known] > 0).sum() > 0
    agreed = 1 - doubt[3][touched].mean(dtype=float)
    assert np.isclose(agreed, found["agreement"], atol=0.02)  # untouched pixels of a looked are few
    assert sum(result.json["pixels"].values()) == known.sum()


@pytest.mark.parametrize("how", [("48", "1"), ("96", "2")], ids=" ".join)
def test_tiles_do_not_show(how, scene, model, whole, tmp_path):
    result, found = run(scene, model, tmp_path, "--tile-size", how[0], "-j", how[1])
    assert result.json["refined"] == whole[0].json["refined"]
    for one, other in zip(found, whole[1], strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def test_a_killed_run_goes_on_and_tells_the_same(scene, model, whole, tmp_path, monkeypatch):
    out = tmp_path / "map.tif"
    argv = (
        "classify", scene, out, "--model", model, "--refine", "0.9", "--tile-size", "96",
        "-j", "1", "--json", "--no-progress",
    )  # fmt: skip
    cliworld.interrupt_at(monkeypatch, 8)
    assert cliworld.call(*argv).code == 130
    result = cliworld.good(*argv)
    assert "were finished already" in result.err
    assert result.json["refined"] == whole[0].json["refined"]
    assert np.array_equal(cliworld.read(out), whole[1][0])


@pytest.mark.parametrize("below", ["0", "1.5"])
def test_a_confidence_that_is_none_is_wrong_usage(below, scene, model, tmp_path):
    words = ("classify", scene, tmp_path / "c.tif", "--model", model, "--refine", below)
    result = cliworld.call(*words)
    assert result.code == 2
    assert f"--refine: found {float(below)}, wanted above 0 and at most 1" in result.err
    assert not list(tmp_path.iterdir())


def test_a_stack_is_refused(scene, model, tmp_path):
    words = ("classify", scene, tmp_path / "c.tif", "--model", model, "--refine", "0.5")
    result = cliworld.call(*words, "--fuse", "score")
    assert result.code == 2
    assert "--refine: is for a raster of one date; a stack of dates was given." in result.err
    assert not list(tmp_path.iterdir())


def test_a_plan_counts_what_looking_again_takes(scene, model, tmp_path):
    words = ("classify", scene, tmp_path / "c.tif", "--model", model, "--dry-run", "--json")
    words = (*words, "--tile-size", "96", "-j", "1")
    less, more = (cliworld.good(*words, *w).json for w in ((), ("--refine", "0.5")))
    less, more = (plan["passes"][0]["memory"] for plan in (less, more))
    assert less["workers"] + less["window"] + less["read"] < (
        more["workers"] + more["window"] + more["read"]
    )


def test_a_step_that_travels_refines_too(model):
    products = Products("c.tif", decision=DecisionSettings(refine=0.5))
    step = ClassifyStep(load_model(model), LabelSpace((0, 0), (9, 9), 5), products)
    arrived = pickle.loads(pickle.dumps(step))
    assert arrived.products.decision.refine == 0.5
