"""Patches through the command line: stacks and tables, rows and rasters, what is refused."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import rasterio
from cliworld import call, good, read, save
from rasterio.crs import CRS
from rasterio.transform import from_origin

from stcli.landcover.accuracy.tempering import temper
from stcli.landcover.patches.patches import shown
from stcli.landcover.patches.patchfeatures import features
from stcli.landcover.patches.patchmodel import load_patch_model

SIDE, ROWS, COLS = 6, 8, 9
PROFILE = {"crs": CRS.from_epsg(32654), "transform": from_origin(3000, 9000, 10, 10)}
CLASSES = ("water", "field", "town")


def stack():
    """A raster of 8 × 9 patches of three classes, and their classes (row, col)."""
    generator = np.random.default_rng(0)
    truth = generator.integers(3, size=(ROWS, COLS))
    level = np.kron(truth, np.ones((SIDE, SIDE)))
    bands = [200 + 150 * level, 500 - 90 * level]
    values = np.stack(bands) + generator.normal(size=(2, *level.shape)) * (5 + 15 * level)
    return values.astype(np.float32), truth


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """Give a folder with a stack and its labels, as a raster and as a table; and a model of it."""
    folder = tmp_path_factory.mktemp("patches")
    values, truth = stack()
    save(folder / "stack.tif", values, PROFILE, ("red", "nir"))
    save(folder / "labels.tif", truth[None].astype("uint8"), {}, ("class",))
    rows = [f"{CLASSES[k]},{n // 8}" for n, k in enumerate(truth.ravel())]
    (folder / "labels.csv").write_text("class,group\n" + "\n".join(rows) + "\n")
    words = ("--patch", SIDE, "--labels", folder / "labels.csv", "-o", folder / "model", "--json")
    made = good("train", "patches", folder / "stack.tif", *words, "-q")
    (folder / "said.json").write_text(made.out)
    return folder


def test_the_card_says_how_it_was_validated(patches):
    card = json.loads((patches / "said.json").read_text())["card"]
    assert card["architecture"] == "patch-1"
    assert [c["name"] for c in card["classes"]] == sorted(CLASSES)
    assert card["metrics"]["split"] == "groups"
    assert card["metrics"]["folds"]["mean"] > 0.9
    assert len(card["metrics"]["folds"]["each"]) == 5
    assert 0 <= card["calibration"]["ece_after"] < 0.2
    assert card["data"]["patches"] == {
        name: int((stack()[1] == k).sum())
        for k, name in sorted(enumerate(CLASSES), key=lambda c: c[1])
    }


def test_rows_for_a_stack(patches, tmp_path):
    words = ("--model", patches / "model", "--coverage", 0.9, "-q")
    good("classify-patches", patches / "stack.tif", tmp_path / "out.csv", *words)
    good("classify-patches", patches / "stack.tif", tmp_path / "out.json", *words)
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    found = [CLASSES.index(row["class"]) for row in rows]
    assert np.mean(found == stack()[1].ravel()) > 0.95
    assert (rows[10]["input"], rows[10]["x"], rows[10]["y"]) == ("2,2", "3090.0", "8910.0")
    for row, other in zip(rows, json.loads((tmp_path / "out.json").read_text()), strict=True):
        chances = {name: float(row[f"p_{name}"]) for name in CLASSES}
        assert sum(chances.values()) == pytest.approx(1, abs=3e-6)
        assert max(chances, key=chances.get) == row["class"] == other["class"]
        assert row["class"] in row["set"].split("|")


def test_patches_of_another_unit_are_told(patches, tmp_path):
    values, _ = stack()
    other = save(tmp_path / "other.tif", values / 10_000, PROFILE, ("red", "nir"))
    words = (tmp_path / "o.csv", "--model", patches / "model")
    assert "was trained with about" in good("classify-patches", other, *words).err
    made = good("classify-patches", patches / "stack.tif", *words, "--overwrite")
    assert "trained with" not in made.err


def test_a_raster_for_a_stack(patches, tmp_path):
    out = tmp_path / "out.tif"
    good("classify-patches", patches / "stack.tif", out, "--model", patches / "model", "-q")
    with rasterio.open(out) as dataset:
        assert dataset.transform == from_origin(3000, 9000, 60, 60)
        assert dataset.crs == PROFILE["crs"]
        assert dataset.tags(1)["class_2"] == "town"
    values = {sorted(CLASSES).index(name) + 1: k for k, name in enumerate(CLASSES)}
    found = np.vectorize(values.get)(read(out)[0])
    assert np.mean(found == stack()[1]) > 0.95


def test_a_table_of_rasters_gives_what_the_stack_gives(patches, tmp_path):
    values, truth = stack()
    lines = ["input,class,group"]
    for n, k in enumerate(truth.ravel()):
        row, col = divmod(n, COLS)
        part = values[:, row * SIDE : (row + 1) * SIDE, col * SIDE : (col + 1) * SIDE]
        at = from_origin(3000 + 60 * col, 9000 - 60 * row, 10, 10)
        save(tmp_path / f"{n}.tif", part, {**PROFILE, "transform": at}, ("red", "nir"))
        lines.append(f"{n}.tif,{CLASSES[k]},{n // 8}")
    (tmp_path / "patches.csv").write_text("\n".join(lines) + "\n")
    good("train", "patches", tmp_path / "patches.csv", "-o", tmp_path / "model", "-q")
    for name in ("weights.safetensors",):
        assert (tmp_path / "model" / name).read_bytes() == (patches / "model" / name).read_bytes()
    words = ("--model", tmp_path / "model", "-q")
    good("classify-patches", tmp_path / "patches.csv", tmp_path / "a.csv", *words)
    good("classify-patches", patches / "stack.tif", tmp_path / "b.csv", *words)
    a, b = (list(csv.DictReader((tmp_path / f"{name}.csv").open())) for name in "ab")
    assert [{**row, "input": ""} for row in a] == [{**row, "input": ""} for row in b]
    refused = call("classify-patches", tmp_path / "patches.csv", tmp_path / "c.tif", *words)
    assert (refused.code, "make up no raster" in refused.err) == (2, True)
    save(tmp_path / "3.tif", values[:1, :SIDE, :SIDE], PROFILE, ("red",))
    refused = call("classify-patches", tmp_path / "patches.csv", tmp_path / "c.csv", *words)
    assert refused.code == 3
    assert "3.tif has 6 rows, 6 columns and the bands red; 6 rows and columns and" in refused.err


def test_a_patch_without_values_gets_no_class(patches, tmp_path):
    values, _ = stack()
    values[:, :SIDE, :SIDE] = np.nan
    values[:, SIDE : SIDE + 2, :3] = np.nan
    save(tmp_path / "in.tif", values, PROFILE, ("red", "nir"), nodata=np.nan)
    words = ("--model", patches / "model", "-q", "--json")
    said = good("classify-patches", tmp_path / "in.tif", tmp_path / "out.tif", *words).json
    assert said["without_values"] == 1
    assert np.flatnonzero(read(tmp_path / "out.tif")[0] == 0).tolist() == [0]
    (made,) = good("info", "--provenance", tmp_path / "out.tif").json["files"]
    known = good("model", "verify", patches / "model", "--json").json
    assert made["settings"]["model_digest"] == known["digest"]
    mixed = call("classify-patches", tmp_path / "in.tif", "-", *words)
    assert (mixed.code, "--json: stdout takes an output already" in mixed.err) == (2, True)
    good("classify-patches", tmp_path / "in.tif", tmp_path / "out.csv", *words)
    first = next(csv.DictReader((tmp_path / "out.csv").open()))
    assert (first["class"], first["p_town"]) == ("", "")


def test_labels_as_a_raster_keep_zero_and_warn_of_random_folds(patches, tmp_path):
    words = ("--patch", SIDE, "--labels", patches / "labels.tif", "-o", tmp_path / "m")
    names = ("--class-names", "0=water,1=field,2=town", "--algorithm", "svm")
    made = good("train", "patches", patches / "stack.tif", *words, *names, "--no-progress")
    assert "which flatters" in made.err
    assert "RANDOM folds" in made.err
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    assert [c["name"] for c in card["classes"]] == list(CLASSES)


def test_blocks_of_places_hold_out_neighbours(patches, tmp_path):
    words = ("--patch", SIDE, "--labels", patches / "labels.tif", "-o", tmp_path / "m", "-q")
    good("train", "patches", patches / "stack.tif", *words, "--block", 180, "--algorithm", "svm")
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    assert card["metrics"]["split"] == "blocks"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--patch", 0, "--labels", "labels.tif"), 2, "--patch: found 0, wanted >= 1"),
        (("--patch", -8, "--labels", "labels.tif"), 2, "--patch: found -8, wanted >= 1"),
        (("--labels", "labels.tif"), 3, "a raster found; --patch says how many pixels a patch is"),
        (("--patch", 5, "--labels", "labels.tif"), 3, "multiples of the patches' side of 5"),
        (("--patch", SIDE), 2, "--labels names"),
        (("--patch", SIDE, "--labels", "short.csv"), 3, "2 labels found, 72 wanted"),
        (("--patch", SIDE, "--labels", "none.csv"), 3, "none.csv: cannot be read"),
        (("--patch", SIDE, "--labels", "empty.csv"), 3, "no row found, one for each patch is"),
        (("--patch", SIDE, "--labels", "kind.csv"), 3, "the columns kind found, 'class' wanted."),
        (("--patch", SIDE, "--labels", "one.csv"), 3, "1 classes found (a), 2 to 255 wanted."),
        (
            ("--patch", SIDE, "--labels", "rare.csv"),
            3,
            "patches: 1 patches of the rarest class found, at least two are wanted for the folds.",
        ),
        (
            ("--patch", SIDE, "--labels", "apart.csv"),
            3,
            "patches: 1 class found in a training part, at least two are wanted; label more groups",
        ),
        (
            ("--patch", SIDE, "--labels", "alone.csv", "--block", 180),
            2,
            "--block given and a column group found, which holds patches together already; leave",
        ),
        (
            ("--patch", SIDE, "--labels", "alone.csv"),
            3,
            "--folds: each class lies in one fold alone, so that no sample held out was of a class",
        ),
        (("--patch", SIDE, "--labels", "labels.tif", "--folds", 1), 2, "--folds"),
        (("--patch", SIDE, "--labels", "labels.tif", "--memory", "100MB"), 5, "memory"),
    ],
)
def test_what_cannot_be_learnt_is_refused(patches, tmp_path, words, code, said):
    folder = shutil.copytree(patches, tmp_path / "in")
    count = ROWS * COLS
    for name, rows in {
        "short": ["class", "a", "b"],
        "empty": ["class"],
        "kind": ["kind", *"ab"],
        "one": ["class", *"a" * count],
        "rare": ["class", *"a" * (count - 1), "b"],
        "apart": ["class,group", *["a,1"] * (count - 9), *["b,2"] * 9],
        "alone": ["class,group", *["a,1"] * 9, *["b,2"] * 9, *["c,3"] * (count - 18)],
    }.items():
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    given = [folder / w if str(w).endswith((".tif", ".csv")) else w for w in words]
    result = call("train", "patches", folder / "stack.tif", *given, "-o", tmp_path / "m", "-q")
    assert (result.code, said in result.err) == (code, True), result.err
    assert not (tmp_path / "m").exists()


def test_a_model_of_patches_shows_their_side_and_no_pixel(patches):
    shown = good("model", "show", patches / "model").out
    assert f"\npatch: {SIDE} x {SIDE}\n" in shown
    assert "pixel" not in shown


def test_what_does_not_fit_the_model_is_refused(patches, tmp_path):
    out, words = tmp_path / "out.csv", ("--model", patches / "model", "-q")
    save(tmp_path / "other.tif", stack()[0], PROFILE, ("red", "blue"))
    assert call("classify-patches", tmp_path / "other.tif", out, *words).code == 6
    side = call("classify-patches", patches / "stack.tif", out, "--patch", 3, *words)
    assert side.code == 6
    assert "stack.tif: patches of 3 px and 2 bands (red, nir), the model" in side.err
    assert "wants 6 px and 2 (red, nir)." in side.err
    sure = call("classify-patches", patches / "stack.tif", out, "--coverage", 0.5, *words)
    assert (sure.code, "the model knows 0.8" in sure.err) == (6, True)
    assert call("classify", patches / "stack.tif", tmp_path / "o.tif", *words).code == 6
    named = call("classify-patches", patches / "stack.tif", tmp_path / "o.doc", *words)
    assert (named.code, "o.doc: .csv, .json or .tif wanted, or -" in named.err) == (2, True)
    assert [p.name for p in tmp_path.iterdir()] == ["other.tif"]


@pytest.mark.parametrize("growth", [{}, {"growth": 0.2}])
def test_a_card_without_growth_is_read_and_one_with_it_applied(patches, tmp_path, growth):
    model = shutil.copytree(patches / "model", tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    card["calibration"] = {"temperature": 2.0, **growth}
    (model / "card.json").write_text(json.dumps(card))
    values = stack()[0][:, :SIDE, : 5 * SIDE].reshape(2, SIDE, 5, SIDE).transpose(2, 0, 1, 3)
    found = load_patch_model(model)
    plain = found.model.probabilities(shown(features(values, found.lens)))
    wanted = temper(plain, 2.0, growth.get("growth", 0.0))
    np.testing.assert_allclose(found.probabilities(values), wanted, atol=1e-12)


def test_a_damaged_model_is_refused(patches, tmp_path):
    model = shutil.copytree(patches / "model", tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    card["network"]["temperatures"]["strange"] = 1.0
    (model / "card.json").write_text(json.dumps(card))
    out = tmp_path / "out.csv"
    result = call("classify-patches", patches / "stack.tif", out, "--model", model, "-q")
    assert (result.code, "do not fit together" in result.err) == (6, True)
    assert not out.exists()


@pytest.mark.parametrize("end", ["", "\n\n"])
def test_patches_without_a_class_are_told_and_keep_their_place(patches, tmp_path, end):
    """A column alone has empty lines for them; those at the end of the file are nobody's."""
    _, truth = stack()
    rows = [CLASSES[k] for k in truth.ravel()]
    rows[3] = rows[10] = rows[-1] = ""
    (tmp_path / "l.csv").write_text("class\n" + "\n".join(rows) + "\n" + end)
    words = ("--patch", SIDE, "--labels", tmp_path / "l.csv", "-o", tmp_path / "m")
    made = good("train", "patches", patches / "stack.tif", *words, "--no-progress")
    assert "l.csv: 3 of 72 patches have no class and are left out" in made.err
    found = json.loads((tmp_path / "m" / "card.json").read_text())["data"]["patches"]
    assert found == {name: rows.count(name) for name in sorted(CLASSES)}


def test_fewer_folds_than_wanted_are_told(patches, tmp_path):
    words = ("--patch", SIDE, "--labels", patches / "labels.csv", "-o", tmp_path / "m")
    made = good("train", "patches", patches / "stack.tif", *words, "--folds", 40, "--no-progress")
    assert "--folds: 40 wanted and 9 groups found; 9 folds are drawn" in made.err


def test_the_spread_over_folds_is_that_of_a_sample(patches, tmp_path):
    lines = (patches / "labels.csv").read_text().splitlines()
    lines[1] = {"water": "town", "town": "water", "field": "town"}[lines[1][:-2]] + lines[1][-2:]
    (tmp_path / "wrong.csv").write_text("\n".join(lines) + "\n")  # one label that is not so
    words = ("--patch", SIDE, "--labels", tmp_path / "wrong.csv", "-o", tmp_path / "m", "--json")
    made = good("train", "patches", patches / "stack.tif", *words, "--algorithm", "svm", "-q")
    folds = made.json["card"]["metrics"]["folds"]
    assert folds["std"] == pytest.approx(np.std(folds["each"], ddof=1))
    assert folds["std"] > 0


def test_one_patch_is_one(patches, tmp_path):
    save(tmp_path / "one.tif", stack()[0][:, :SIDE, :SIDE], PROFILE, ("red", "nir"))
    words = ("--model", patches / "model", "--no-progress")
    said = good("classify-patches", tmp_path / "one.tif", tmp_path / "o.csv", *words).err
    assert "classified 1 patch in" in said
    both = call("classify-patches", tmp_path / "one.tif", "-", *words, "--json")
    assert (both.code, "stdout takes an output already" in both.err) == (2, True)


def test_small_batches_change_no_result(patches, tmp_path, monkeypatch):
    words = ("--patch", SIDE, "--labels", patches / "labels.csv", "-q")
    for size in (1, 5):
        monkeypatch.setattr(
            "stcli.workflows.landcover.train_patches.batch_size", lambda *a, n=size: n
        )
        model = tmp_path / str(size)
        good("train", "patches", patches / "stack.tif", *words, "-o", model)
        good("classify-patches", patches / "stack.tif", model / "o.csv", "--model", model, "-q")
    monkeypatch.undo()
    whole = ("--model", patches / "model", "-q")
    good("classify-patches", patches / "stack.tif", tmp_path / "o.csv", *whole)
    for model in (tmp_path / "1", tmp_path / "5"):
        assert (model / "o.csv").read_bytes() == (tmp_path / "o.csv").read_bytes()
        weights = [f / "weights.safetensors" for f in (model, patches / "model")]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_what_does_not_fit_the_memory_is_told_in_patches(patches, tmp_path):
    rows = [CLASSES[k] if n < 12 else "" for n, k in enumerate(stack()[1].ravel())]
    (tmp_path / "l.csv").write_text("class\n" + "\n".join(rows) + "\n")
    words = ("--patch", SIDE, "--labels", tmp_path / "l.csv", "-o", tmp_path / "m", "-q")
    refused = call("train", "patches", patches / "stack.tif", *words, "--memory", "50MB")
    assert refused.code == 5
    assert "memory: 12 patches of 6 px and 2 bands need" in refused.err
    assert "MB even one at a time, 50 MB are allowed" in refused.err
    words = (tmp_path / "o.csv", "--model", patches / "model", "-q")
    refused = call("classify-patches", patches / "stack.tif", *words, "--memory", "50MB")
    assert (refused.code, "memory: 72 patches of 6 px and" in refused.err) == (5, True)
    assert [p.name for p in tmp_path.iterdir()] == ["l.csv"]


def test_a_batch_without_a_valid_pixel_trains_nothing(patches, tmp_path, monkeypatch):
    monkeypatch.setattr("stcli.workflows.landcover.train_patches.batch_size", lambda *arguments: 1)
    values, _ = stack()
    values[:, :SIDE, :SIDE] = np.nan
    save(tmp_path / "in.tif", values, PROFILE, ("red", "nir"), nodata=np.nan)
    words = ("--patch", SIDE, "--labels", patches / "labels.csv", "-o", tmp_path / "m", "-q")
    good("train", "patches", tmp_path / "in.tif", *words, "--algorithm", "svm")
    assert json.loads((tmp_path / "m" / "card.json").read_text())["data"]["without_values"] == 1


@pytest.mark.parametrize(
    ("out", "more", "said"),
    [
        ("o.tif", ("--coverage", 0.9), "o.tif: a raster holds no sets; --coverage wants .csv, "),
        ("o.csv", ("--co", "COMPRESS=FOO"), "o.csv: --co is for rasters; leave it out, or write"),
        ("-", ("--co", "COMPRESS=LZW"), "-: --co is for rasters; leave it out, or write .tif."),
    ],
)
def test_options_without_effect_are_refused_before_any_work(tmp_path, out, more, said):
    """Before the model and the patches, which are not there, are looked for."""
    out = out if out == "-" else tmp_path / out
    words = (tmp_path / "none.tif", out, "--model", tmp_path / "none", "-q", *more)
    refused = call("classify-patches", *words)
    assert (refused.code, said in refused.err) == (2, True), refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def files(tmp_path):
    """Write twelve rasters of 6 px, and give what writes a table of them, or of lines."""
    values, _ = stack()
    for n in range(12):
        part = values[:, :SIDE, n % COLS * SIDE :][..., :SIDE]
        save(tmp_path / f"{n}.tif", part, PROFILE, ("red", "nir"))

    def write(lines, head="input,class,group"):
        path = tmp_path / "p.csv"
        path.write_text(head + "\n" + "\n".join(lines) + "\n")
        return path

    return write, [f"{n}.tif,{'ab'[n % 2]},{n // 2}" for n in range(12)]


def test_a_side_beside_rasters_is_theirs_or_refused(files, patches, tmp_path):
    write, lines = files
    path, model = write(lines), ("--model", patches / "model", "-q")
    words = ("train", "patches", path, "--algorithm", "svm", "--folds", 2, "-q", "-o")
    refused = call(*words, tmp_path / "m", "--patch", 16)
    assert refused.code == 2
    assert "p.csv: --patch 16 given, its rasters are of 6 px; leave it out." in refused.err
    refused = call("classify-patches", path, tmp_path / "o.csv", *model, "--patch", 16)
    assert (refused.code, "--patch 16 given, its rasters are of 6" in refused.err) == (2, True)
    good(*words, tmp_path / "m", "--patch", SIDE)
    good("classify-patches", path, tmp_path / "o.csv", *model)


def test_rasters_of_another_side_than_the_models_are_told(files, patches, tmp_path):
    write, lines = files
    save(tmp_path / "0.tif", stack()[0][:, :4, :4], PROFILE, ("red", "nir"))
    words = (write(lines[:1]), tmp_path / "o.csv", "--model", patches / "model", "-q")
    refused = call("classify-patches", *words)
    assert (refused.code, "patches of 4 px and 2 bands (red, nir), the" in refused.err) == (6, True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",a,1", "p.csv: line 6 has no input; each row wants one."),
        ('" ",a,1', "p.csv: line 6 has no input; each row wants one."),
        ("3.tif,a,", "p.csv: line 6 has no group; each row wants one."),
    ],
)
def test_an_empty_cell_is_told_by_its_line(files, tmp_path, line, said):
    write, lines = files
    lines[3:4] = ["", line]
    refused = call("train", "patches", write(lines), "-o", tmp_path / "m", "-q")
    assert (refused.code, said in refused.err) == (3, True), refused.err


def test_a_patch_without_a_class_needs_no_group(files, tmp_path):
    write, lines = files
    lines[3] = "3.tif,,"
    words = ("-o", tmp_path / "m", "--algorithm", "svm", "--folds", 2, "--no-progress")
    assert "1 of 12 patches have no class" in good("train", "patches", write(lines), *words).err


def test_an_empty_cell_of_parquet_is_told_by_its_row(patches, tmp_path):
    import pandas as pd

    table = pd.DataFrame({"class": ["a", "b"] * 36, "group": ["1", None] * 36})
    table.to_parquet(tmp_path / "l.parquet")
    words = ("--patch", SIDE, "--labels", tmp_path / "l.parquet", "-o", tmp_path / "m", "-q")
    refused = call("train", "patches", patches / "stack.tif", *words)
    assert (refused.code, "l.parquet: row 2 has no group; each" in refused.err) == (3, True)


def test_many_bands_are_told_in_few_words(patches, tmp_path):
    many = np.ones((9, SIDE, SIDE), "float32")
    save(tmp_path / "many.tif", many, PROFILE, [f"b{k}" for k in range(9)])
    words = (tmp_path / "o.csv", "--model", patches / "model", "-q")
    refused = call("classify-patches", tmp_path / "many.tif", *words)
    assert "6 px and 9 bands (b0, b1, b2, b3 and 5 more), the model" in refused.err
