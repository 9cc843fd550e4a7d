"""``classify``: prediction sets of a chosen coverage, and an "unsure" of its own."""

from __future__ import annotations

import json
import shutil

import cliworld
import numpy as np
import pytest
import rasterio

from stcli.nn.weights import CARD

CALIBRATION = {
    "temperature": 1.5,
    "ece_before": 0.1,
    "ece_after": 0.02,
    "conformal": {"0.8": 0.4, "0.9": 0.25},
    "coverage_found": {"0.8": 0.8, "0.9": 0.9},
}


@pytest.fixture(scope="module")
def calibrated(model, tmp_path_factory):
    """Give the small model with a calibration in its card."""
    folder = tmp_path_factory.mktemp("calibrated") / "model"
    shutil.copytree(model, folder)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"calibration": CALIBRATION}))
    return folder


def test_a_least_confidence_of_a_model_without_calibration_is_told(
    scene, model, calibrated, tmp_path
):
    argv = ("classify", scene, tmp_path / "o.tif", "--min-confidence", "0.5", "--overwrite")
    said = cliworld.good(*argv, "--model", model).err
    assert said.count(f"{model}: no calibration found, so --min-confidence 0.5 goes by prob") == 1
    assert "no calibration" not in cliworld.good(*argv, "--model", calibrated).err


def read(path):
    with rasterio.open(path) as found:
        return found.read()


def test_sets_and_unsure_agree_with_the_probabilities_and_tiling_does_not_show(
    scene, calibrated, tmp_path
):
    def run(*more):
        names = [str(tmp_path / f"{name}.tif") for name in ("classes", "proba", "sets")]
        result = cliworld.good(
            "classify", scene, names[0], "--model", calibrated, "--proba", names[1],
            "--sets", names[2], "--coverage", "0.9", "--min-confidence", "0.5", "--json",
            "--overwrite", *more,
        )  # fmt: skip
        return result.json, [read(name) for name in names]

    found, (classes, proba, sets) = run()
    known = np.isfinite(proba[0])
    assert (sets[:, ~known] == 255).all()
    in_set, size = sets[:-1] == 1, sets[-1]
    best = proba.argmax(axis=0)
    wanted = (proba >= 0.25) | (np.arange(3)[:, None, None] == best)
    assert np.array_equal(in_set[:, known], wanted[:, known])
    assert np.array_equal(size[known], in_set.sum(axis=0)[known])
    assert len(np.unique(size[known])) > 1
    with rasterio.open(tmp_path / "sets.tif") as described:
        assert described.descriptions == (*cliworld.CLASSES.values(), "set size")

    unsure = known & (proba.max(axis=0) < 0.5)
    assert 0 < unsure.sum() < known.sum()
    assert np.array_equal(classes[0] == 8, unsure)  # above the largest value, 7
    values = np.array(list(cliworld.CLASSES))
    assert np.array_equal(classes[0][known & ~unsure], values[best[known & ~unsure]])
    assert found["pixels"]["unsure"] == unsure.sum()
    with rasterio.open(tmp_path / "classes.tif") as legend:
        assert legend.colormap(1)[8][:3] == (157, 157, 157)

    _, tiled = run("--tile-size", "48", "-j", "1")
    for one, two in zip(tiled, (classes, proba, sets), strict=True):
        assert np.array_equal(one, two, equal_nan=True)


def test_what_a_model_cannot_promise_is_refused_by_name(scene, model, calibrated, tmp_path):
    words = ("classify", scene, tmp_path / "c.tif", "--sets", tmp_path / "s.tif")
    result = cliworld.call(*words, "--model", model, "--coverage", "0.9")
    assert result.code == 6
    assert "no calibration" in result.err
    assert str(model) in result.err
    result = cliworld.call(*words, "--model", calibrated, "--coverage", "0.97")
    assert result.code == 6
    assert "--coverage 0.97 found, the model is calibrated for 0.8, 0.9." in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--coverage", "0.9"), "--coverage and --sets: one without the other found"),
        (("--sets", "s.tif"), "--coverage and --sets: one without the other found"),
        (("--coverage", "1.5", "--sets", "s.tif"), "--coverage: found 1.5, wanted between 0 and 1"),
        (("--min-confidence", "0"), "--min-confidence: found 0.0, wanted above 0 and at most 1"),
        (("--min-confidence", "2"), "--min-confidence: found 2.0, wanted above 0 and at most 1"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(scene, calibrated, tmp_path, words, message):
    result = cliworld.call("classify", scene, tmp_path / "c.tif", "--model", calibrated, *words)
    assert result.code == 2
    assert message in result.err
    assert not list(tmp_path.iterdir())
