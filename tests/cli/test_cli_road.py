"""The road through the verbs: what each writes, prints and keeps quiet about."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import geopandas
import numpy as np
import pytest
import rasterio
from cliworld import BANDS, CLASSES, CUBE, LABELS, call, good, holes, random_model, read, save
from cliworld import scene as crop
from rasterio.features import rasterize

ARRAY, PROFILE = crop()


def geo(path):
    with rasterio.open(path) as dataset:
        return dataset.crs, tuple(dataset.transform), dataset.shape


@pytest.fixture(scope="module")
def products(scene, model, tmp_path_factory):
    """Classes, probabilities and uncertainty of a scene with holes, written once."""
    folder = tmp_path_factory.mktemp("products")
    valid = holes(ARRAY)
    holed = np.where(valid, ARRAY, 0).astype("uint16")
    path = save(folder / "holed.tif", holed, PROFILE, nodata=0)
    names = {name: str(folder / f"{name}.tif") for name in ("classes", "proba", "uncertainty")}
    result = good(
        "classify", path, names["classes"], "--model", model, "--proba", names["proba"],
        "--uncertainty", names["uncertainty"], "--json", "-j", 1,
    )  # fmt: skip
    return {**names, "input": path, "valid": valid, "result": result}


def test_info_prints_one_object_and_nothing_else(scene):
    result = good("info", scene)
    found = result.json
    assert result.err == ""
    assert found["size"] == {"rows": 200, "cols": 220}
    assert found["crs"] == "EPSG:32618"
    assert [band["name"] for band in found["bands"]] == list(BANDS)
    assert found["transform"] == list(PROFILE["transform"])[:6]


def test_segment_writes_labels_on_the_input_grid(scene, tmp_path):
    out = tmp_path / "segments.tif"
    result = good("segment", scene, out, "--size", 25, "--json", "-j", 1)
    labels = read(out)[0]
    assert geo(out) == geo(scene)
    assert labels.dtype == np.uint32
    assert labels.min() > 0
    assert result.json["segments"] == len(np.unique(labels))
    assert result.json["output"] == str(out)
    assert f"{out}: {result.json['segments']} segments" in result.err
    memory = result.json["run"]["memory"]
    terms = {name: n for name, n in memory.items() if name not in ("predicted", "allowed")}
    work = sum(terms.values()) - terms["writer"]
    finishing = sum(terms[name] for name in ("program", "gdal_cache", "kernels", "once", "writer"))
    assert max(work, finishing) == memory["predicted"] <= memory["allowed"]
    with rasterio.open(out) as dataset:
        tags = dataset.tags()
        assert dataset.nodata == 0
    assert tags["STCLI_COMMAND"].startswith(f"stcli segment {scene} {out} --size 25")
    assert tags["STCLI_INPUT"] == scene
    assert '"size": 25' in tags["STCLI_SLIC"]


def test_without_json_stdout_is_empty(scene, tmp_path):
    result = good("segment", scene, tmp_path / "segments.tif")
    assert result.out == ""
    assert "segments in" in result.err


def test_quiet_says_nothing(scene, model, tmp_path):
    for argv in (
        ("segment", scene, tmp_path / "s.tif", "-q"),
        ("classify", scene, tmp_path / "c.tif", "--model", model, "-q"),
    ):
        result = good(*argv)
        assert (result.out, result.err) == ("", "")


def test_classify_json_is_one_object_with_the_map_counted(products):
    found = products["result"].json
    mapped = read(products["classes"])[0]
    assert found["pixels"] == {n: int((mapped == v).sum()) for v, n in CLASSES.items()}
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["pixel_area"] == 100
    assert products["result"].out.count("\n") == 1


def test_classes_keep_the_grid_and_the_models_values(products):
    mapped = read(products["classes"])[0]
    valid = products["valid"]
    for name in ("classes", "proba", "uncertainty"):
        assert geo(products[name]) == geo(products["input"])
    assert set(np.unique(mapped)) == {0, *CLASSES}
    assert np.array_equal(mapped > 0, valid)
    with rasterio.open(products["classes"]) as dataset:
        assert dataset.nodata == 0
        assert np.array_equal(dataset.read_masks(1) > 0, valid)


def test_classes_carry_colours_names_and_provenance(products, model):
    with rasterio.open(products["classes"]) as dataset:
        table, tags, band = dataset.colormap(1), dataset.tags(), dataset.tags(1)
    assert table[0] == (0, 0, 0, 0)
    assert table[4] == (0x1F, 0x6B, 0x3A, 255)
    assert {k: v for k, v in band.items() if k.startswith("class_")} == {
        f"class_{value}": name for value, name in CLASSES.items()
    }
    sidecar = ET.parse(products["classes"] + ".aux.xml")
    names = [category.text or "" for category in sidecar.iter("Category")]
    assert {i: name for i, name in enumerate(names) if name} == CLASSES
    card = json.loads((model / "card.json").read_text())
    assert tags["STCLI_MODEL_SHA256"] == card["sha256"]
    assert tags["STCLI_INPUT"] == products["input"]


def test_probabilities_sum_to_one_and_are_nan_at_nodata(products):
    chances, valid = read(products["proba"]), products["valid"]
    assert chances.dtype == np.float32
    assert np.isnan(chances[:, ~valid]).all()
    assert abs(chances[:, valid].sum(axis=0) - 1).max() < 1e-5
    values = np.array(list(CLASSES))
    assert np.array_equal(
        values[chances[:, valid].argmax(axis=0)], read(products["classes"])[0][valid]
    )
    with rasterio.open(products["proba"]) as dataset:
        assert dataset.descriptions == tuple(CLASSES.values())
        assert np.isnan(dataset.nodata)


def test_uncertainty_follows_from_the_probabilities(products):
    doubt, valid = read(products["uncertainty"]), products["valid"]
    p = read(products["proba"])[:, valid].astype(np.float64)
    assert np.isnan(doubt[:, ~valid]).all()
    doubt = doubt[:, valid]
    assert doubt.min() >= -1e-6
    assert doubt.max() <= 1 + 1e-6
    best = np.sort(p, axis=0)
    entropy = -(p * np.log(p)).sum(axis=0) / np.log(len(CLASSES))
    for band, wanted in zip(doubt, (entropy, 1 - best[-1] + best[-2], 1 - best[-1]), strict=True):
        assert abs(band - wanted).max() < 1e-4
    with rasterio.open(products["uncertainty"]) as dataset:
        assert dataset.descriptions == ("entropy", "margin", "least confidence")


def nan_scene(folder, valid):
    return save(folder / "a.tif", np.where(valid, ARRAY, np.nan).astype("float32"), PROFILE)


def masked_scene(folder, valid):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = save(folder / "a.tif", ARRAY, PROFILE)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(valid)
    return path


@pytest.mark.parametrize("make", [nan_scene, masked_scene])
def test_every_kind_of_hole_gives_the_same_map(make, products, model, tmp_path):
    path = make(tmp_path, products["valid"])
    good("classify", path, tmp_path / "c.tif", "--model", model, "-q")
    assert np.array_equal(read(tmp_path / "c.tif"), read(products["classes"]))
    good("segment", path, tmp_path / "s.tif", "--size", 25, "-q")
    assert np.array_equal(read(tmp_path / "s.tif")[0] > 0, products["valid"])


def test_train_classify_assess_on_drawn_labels(scene, tmp_path):
    model = tmp_path / "model"
    result = good(
        "train", "landcover", scene, "--labels", LABELS, "--class-column", "class",
        "-o", model, "--epochs", 1, "--json", "-j", 1,
    )  # fmt: skip
    card = result.json["card"]
    assert card == json.loads((model / "card.json").read_text())
    assert [band["name"] for band in card["bands"]] == list(BANDS)
    assert [c["value"] for c in card["classes"]] == [1, 2, 3, 4, 5, 6]
    assert card["metrics"]["split"] == "blocks"
    made = sorted(p.name for p in model.iterdir())
    assert made == ["card.json", "item.json", "report.html", "weights.safetensors"]
    assert "of 137 labels lie outside" in result.err


def test_a_trained_model_classifies_better_than_chance(scene, trained, tmp_path):
    good("classify", scene, tmp_path / "c.tif", "--model", trained, "-q")
    with rasterio.open(tmp_path / "c.tif") as dataset:
        frame = geopandas.read_file(LABELS)
        names = {v: k.removeprefix("class_") for k, v in dataset.tags(1).items()}
        shapes = zip(frame.geometry, frame["class"].map(names).astype(int), strict=True)
        burnt = rasterize(shapes, dataset.shape, transform=dataset.transform, dtype="uint8")
    reference = save(tmp_path / "reference.tif", burnt[None], PROFILE, nodata=0)
    found = good("assess", tmp_path / "c.tif", "--reference", reference, "--json").json
    assert found["accuracy"]["overall"] > 0.4
    assert set(found["classes"]) <= set(frame["class"])
    assert sum(map(sum, found["confusion"])) == (burnt > 0).sum()


def test_assess_of_a_raster_counts_pixels_where_both_are_classified(tmp_path):
    truth = np.zeros((1, 40, 50), "uint8")
    truth[:, :, :20], truth[:, :, 20:45] = 1, 3
    mapped = truth.copy()
    mapped[0, :10, :10], mapped[0, 30:, :] = 3, 0
    save(tmp_path / "truth.tif", truth, PROFILE, nodata=0)
    save(tmp_path / "map.tif", mapped, PROFILE, nodata=0)
    argv = ("assess", tmp_path / "map.tif", "--reference", tmp_path / "truth.tif")
    found = good(*argv, "--json", "--tile-size", 16).json
    assert found["classes"] == ["1", "3"]
    assert found["confusion"] == [[500, 0], [100, 750]]  # rows: the map; columns: the reference
    assert found["accuracy"]["overall"] == pytest.approx(1250 / 1350)
    assert found["stratified"] is None
    text = good(*argv)
    assert "of 1350 pixels" in text.out
    assert text.err == ""


def test_assess_of_points_estimates_areas(tmp_path):
    mapped = np.full((1, 40, 50), 1, "uint8")
    mapped[:, :, 30:] = 2
    path = save(tmp_path / "map.tif", mapped, PROFILE)
    left, top = PROFILE["transform"].c, PROFILE["transform"].f
    # of class 1: three right, one wrong; of class 2: all four right
    where = [(5, 5), (10, 10), (20, 20), (25, 25), (32, 5), (35, 10), (40, 20), (45, 30)]
    truth = ["1", "1", "1", "2", "2", "2", "2", "2"]
    xy = [(left + 10 * col + 5, top - 10 * row - 5) for col, row in where]
    frame = geopandas.GeoDataFrame(
        {"kind": truth},
        geometry=geopandas.points_from_xy(*zip(*xy, strict=True)),
        crs="EPSG:32618",
    )
    frame.to_crs(4326).to_file(tmp_path / "points.gpkg")
    reference = ("--reference", tmp_path / "points.gpkg", "--class-column", "kind")
    found = good("assess", path, *reference, "--json").json
    assert found["confusion"] == [[3, 1], [0, 4]]
    assert found["area_unit"] == "ha"
    first = found["stratified"]["classes"][0]
    assert first["mapped_area"] == pytest.approx(1200 * 0.01)
    assert first["area"]["value"] == pytest.approx(1200 * 0.01 * 3 / 4)  # Olofsson et al. 2014
    assert found["stratified"]["overall"]["value"] == pytest.approx(0.6 * 0.75 + 0.4)
    assert "Stratified estimates from 8 points" in good("assess", path, *reference).out


def test_a_single_class_is_assessed_without_nan(tmp_path):
    path = save(tmp_path / "one.tif", np.ones((1, 20, 20), "uint8"), PROFILE)
    found = good("assess", path, "--reference", path, "--json").json
    assert found["accuracy"]["overall"] == 1
    assert found["accuracy"]["kappa"] is None


def test_four_files_are_the_stacked_file(scene, model, tmp_path):
    parts = [
        save(tmp_path / f"{name}.tif", ARRAY[i : i + 1], PROFILE, names=())
        for i, name in enumerate(BANDS)
    ]
    for verb, more in (("segment", ("--size", 25)), ("classify", ("--model", model))):
        good(verb, scene, tmp_path / "whole.tif", *more, "--overwrite", "-q")
        good(verb, *parts, tmp_path / "parts.tif", *more, "--overwrite", "-q")
        assert np.array_equal(read(tmp_path / "whole.tif"), read(tmp_path / "parts.tif"))


def test_bands_are_found_by_name_in_any_order_and_number(scene, model, tmp_path):
    extra = ARRAY[:1] + np.uint16(1)
    shuffled = np.concatenate([ARRAY[3:], extra, ARRAY[:3]])
    path = save(tmp_path / "a.tif", shuffled, PROFILE, names=("B08", "B01", "B02", "B03", "B04"))
    good("classify", scene, tmp_path / "right.tif", "--model", model, "-q")
    good("classify", path, tmp_path / "named.tif", "--model", model, "-q")
    assert np.array_equal(read(tmp_path / "right.tif"), read(tmp_path / "named.tif"))
    asked = call("classify", path, tmp_path / "no.tif", "--model", model, "-b", "1..4")
    assert asked.code == 6
    assert "B08, B01, B02, B03" in asked.err
    assert "B02, B03, B04, B08" in asked.err


def test_unnamed_bands_are_taken_where_they_are_chosen_one_by_one(scene, model, tmp_path):
    path = save(tmp_path / "a.tif", ARRAY, PROFILE, names=())
    assert call("classify", path, tmp_path / "no.tif", "--model", model).code == 6
    asked = call("classify", path, tmp_path / "b.tif", "--model", model, "-b", "1..4")
    assert asked.code == 0
    assert "band 1 as B02" in asked.err
    good("classify", scene, tmp_path / "right.tif", "--model", model, "-q")
    assert np.array_equal(read(tmp_path / "right.tif"), read(tmp_path / "b.tif"))


def test_bands_are_chosen_by_number_name_and_range(scene, tmp_path):
    for i, bands in enumerate((("-b", "2..3"), ("-b", "B03,B04"), ("-b", "2", "--bidx", "B04"))):
        good("segment", scene, tmp_path / f"{i}.tif", *bands, "-q")
    first = read(tmp_path / "0.tif")
    assert np.array_equal(first, read(tmp_path / "1.tif"))
    assert np.array_equal(first, read(tmp_path / "2.tif"))
    good("segment", scene, tmp_path / "all.tif", "-q")
    assert not np.array_equal(first, read(tmp_path / "all.tif"))


def test_netcdf_is_described_segmented_and_classified(tmp_path):
    found = good("info", CUBE).json
    names = [band["name"] for band in found["bands"]]
    assert found["driver"] == "netCDF"
    assert found["crs"] == "EPSG:32618"
    assert len(found["times"]) == 6
    assert len(names) == 12
    two = (names[0], names[6])
    good("segment", CUBE, tmp_path / "s.tif", "-b", two[0], "-b", two[1], "--size", 25, "-q")
    assert tuple(geo(tmp_path / "s.tif")[1])[:6] == tuple(found["transform"])
    assert read(tmp_path / "s.tif").min() > 0  # the first date is clear
    model = random_model(tmp_path / "model", names=two, low=0.0, high=0.5)
    good("classify", CUBE, tmp_path / "c.tif", "--model", model, "-q")
    mapped = read(tmp_path / "c.tif")[0]
    assert mapped.shape == (96, 96)
    assert set(np.unique(mapped)) <= set(CLASSES)


def test_nodata_of_netcdf_stays_nodata(tmp_path):
    names = [band["name"] for band in good("info", CUBE).json["bands"]]
    good("segment", CUBE, tmp_path / "s.tif", "-b", names[2], "--size", 25, "-q")
    labels = read(tmp_path / "s.tif")[0]
    assert 0 < (labels == 0).sum() < labels.size / 2
