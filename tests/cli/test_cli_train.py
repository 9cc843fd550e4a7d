"""Training: folds, many scenes, mixed labels, given weights, and going on after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import shapely
from cliworld import LABELS, NETWORK, call, save, scene
from rasterio.features import rasterize
from rasterio.windows import Window

from stcli.cli.parsing import parse_side
from stcli.errors import InputError, ModelError, OutputError, UsageError
from stcli.settings import RunSettings, SlicSettings, TrainingSettings
from stcli.workflows.job import Assumed, Inputs
from stcli.workflows.landcover.kept_training import KeptTraining
from stcli.workflows.landcover.samples import Recipe
from stcli.workflows.landcover.scenes import (
    LabelledScene,
    MixedTruth,
    joined_legend,
    opened,
    read_scenes,
)
from stcli.workflows.landcover.survey import block_side
from stcli.workflows.landcover.train_landcover import Ears, Fitting, train_landcover
from stcli.workflows.landcover.truth import LabelSource

SLIC = SlicSettings(size=36, iterations=1)
QUICK = TrainingSettings(epochs=2)
DRAWN = LabelSource(str(LABELS), "class")


def fit(scenes, folder, training=QUICK, fitting=Fitting(), ears=Ears()):
    recipe = Recipe(SLIC, NETWORK, training)
    return train_landcover(scenes, folder, recipe, RunSettings(jobs=1), fitting, ears)


@pytest.fixture
def one(scene_path):
    return [LabelledScene(Inputs((scene_path,)), (DRAWN,))]


@pytest.fixture
def scene_path(world):
    return str(world / "scene.tif")


@pytest.fixture(scope="session")
def folded(world):
    """Give a model trained in three folds."""
    scenes = [LabelledScene(Inputs((str(world / "scene.tif"),)), (DRAWN,))]
    training = replace(QUICK, folds=3, block=200.0, block_unit="m")
    return fit(scenes, world / "folded", training)


# --- folds --------------------------------------------------------------------------------------


def test_folds_hold_out_each_labelled_pixel_once(folded):
    metrics, data = folded.card.metrics, folded.card.data
    labelled = sum(data["labelled_pixels"].values())
    assert metrics["validation"]["total"] == labelled
    assert [fold["fold"] for fold in metrics["folds"]] == [1, 2, 3]
    assert sum(fold["labelled"] for fold in metrics["folds"]) == labelled
    each = [fold["overall"] for fold in metrics["folds"]]
    together = metrics["out_of_fold"]["overall"]
    assert together["mean"] == pytest.approx(np.mean(each))
    assert together["std"] == pytest.approx(np.std(each, ddof=1))
    assert data["blocks"]["side_px"] == 20
    held = [tuple(block) for blocks in data["blocks"]["held"].values() for block in blocks]
    assert len(held) == len(set(held))


def test_folds_calibrate_and_train_once_more_on_everything(folded):
    assert list(folded.outcome.curves) == ["fold 1", "fold 2", "fold 3", "final fit"]
    assert all(len(curve) == 2 for curve in folded.outcome.curves.values())
    fitted = folded.card.calibration
    assert fitted.temperature > 0
    assert 0 <= fitted.ece_after <= 1
    assert fitted.conformal["0.8"] >= fitted.conformal["0.95"]
    assert set(fitted.conformal) == set(fitted.coverage_found)


def test_a_class_of_one_block_is_named_as_unlearnable(world, tmp_path):
    profile = scene()[1]
    labels = np.zeros((1, 200, 220), np.uint8)
    labels[0, 10:190:9, 10:200:9] = 1 + np.arange(22) % 2
    labels[0, 12:18, 12:18] = 3  # in one block only
    source = LabelSource(save(tmp_path / "labels.tif", labels, profile, nodata=0))
    scenes = [LabelledScene(Inputs((str(world / "scene.tif"),)), (source,))]
    training = replace(QUICK, folds=2, final_fit=False, epochs=1, block=400.0)
    model = fit(scenes, tmp_path / "model", training)
    (fold,) = [f for f in model.card.metrics["folds"] if f["unlearnable"]]
    assert fold["unlearnable"] == ["3"]
    assert any("3 could not have been learnt" in note for note in model.notes)
    right = fold["overall"] * fold["labelled"]
    assert fold["learnable_overall"] == pytest.approx(right / (fold["labelled"] - 36))
    assert list(model.outcome.curves) == ["fold 1", "fold 2"]


def test_a_class_that_labels_no_pixel_is_told(scene_path, tmp_path, caplog):
    """Polygons that hold no centre of a pixel."""
    frame = geopandas.read_file(LABELS)
    small = frame["class"] == "water"
    centres = frame.geometry[small].centroid
    x, y = (each // 10 * 10 + 1 for each in (centres.x, centres.y))
    frame.loc[small, "geometry"] = geopandas.points_from_xy(x, y, crs=frame.crs).buffer(0.5)
    frame.to_file(tmp_path / "labels.gpkg")
    source = LabelSource(str(tmp_path / "labels.gpkg"), "class")
    recipe = Recipe(SLIC, NETWORK, QUICK, "forest")
    scenes = [LabelledScene(Inputs((scene_path,)), (source,))]
    card = train_landcover(scenes, tmp_path / "model", recipe, RunSettings(jobs=1)).card
    assert card.data["labelled_pixels"]["water"] == 0
    assert "no valid pixel is labelled water; a polygon labels the pixels whose" in caplog.text


@pytest.mark.parametrize("algorithm", ["svm", "forest", "network"])
@pytest.mark.parametrize("folds", [0, 2])
def test_a_training_on_one_class_is_refused(algorithm, folds, world, tmp_path):
    labels = np.zeros((1, 200, 220), np.uint8)
    labels[0, 12:18, 12:18], labels[0, 180:186, 180:186] = 1, 2  # a block each
    source = LabelSource(save(tmp_path / "labels.tif", labels, scene()[1], nodata=0))
    scenes = [LabelledScene(Inputs((str(world / "scene.tif"),)), (source,))]
    recipe = Recipe(SLIC, NETWORK, replace(QUICK, block=400.0, folds=folds), algorithm)
    told = "the labels leave one class, [12], for training, two or more are wanted; label each"
    with pytest.raises(InputError, match=told):
        train_landcover(scenes, tmp_path / "model", recipe, RunSettings(jobs=1))


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (np.s_[10:190:9, 10:200:9], "3: not validated, for none of its labels is held out; label"),
        (np.s_[92:98, 92:98], "3: not learnt, for all of its labels are held out; label"),
    ],
)
def test_classes_on_one_side_of_a_split_are_named(places, said, world, tmp_path):
    labels = np.zeros((1, 200, 220), np.uint8)
    labels[0][places] = 1 + np.arange(labels[0][places].shape[1]) % 2
    labels[0, 12:18, 12:18] = 3  # in one block only
    source = LabelSource(save(tmp_path / "labels.tif", labels, scene()[1], nodata=0))
    scenes = [LabelledScene(Inputs((str(world / "scene.tif"),)), (source,))]
    model = fit(scenes, tmp_path / "model", replace(QUICK, epochs=1, block=400.0))
    assert any(note.startswith(said) for note in model.notes), model.notes


def test_more_folds_than_blocks_are_refused(one, tmp_path):
    with pytest.raises(InputError, match="choose a smaller --block"):
        fit(one, tmp_path / "model", replace(QUICK, folds=9, block=1e5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "wanted"), [("1km", (1000, "m")), ("500m", (500, "m")), ("0.25", (0.25, "crs"))]
)
def test_a_block_has_a_unit(text, wanted):
    assert parse_side(text) == wanted


@pytest.mark.parametrize("text", ["", "km", "1 mile", "one"])
def test_a_block_without_a_number_is_refused(text):
    with pytest.raises(UsageError, match=r"found, a length such as 500m, 1km or 0\.1 wanted"):
        parse_side(text)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"folds": 1}, "--folds: found 1, wanted >= 2."),
        ({"folds": 3, "split": "random"}, "--folds: found --split random, wanted --split blocks."),
        ({"block_unit": "mile"}, "--block: found mile, wanted a unit of m or none."),
    ],
)
def test_settings_of_folds_that_cannot_be_are_refused(changed, said):
    with pytest.raises(UsageError) as found:
        TrainingSettings(**changed)
    assert str(found.value) == said


def test_metres_are_not_measured_without_a_crs(tmp_path):
    array, profile = scene()
    path = save(tmp_path / "bare.tif", array, profile, crs=None)
    with Inputs((path,)).open() as raster:
        assert block_side(raster, 50.0) == 5
        with pytest.raises(InputError, match="has no CRS, in which --block in metres could be mea"):
            block_side(raster, 50.0, "m")


def test_the_report_stands_alone_and_shows_what_was_measured(folded):
    text = (folded.folder / "report.html").read_text()
    assert text.count("<img") == text.count("data:image/png;base64,") == 5
    assert "http" not in text
    assert "<script" not in text
    for heading in ("How it learnt", "Classes", "Folds", "How sure it may be", "Maps"):
        assert f"<h2>{heading}</h2>" in text
    for fold in folded.card.metrics["folds"]:
        assert f">{fold['overall']:.4g}<" in text


# --- going on after a kill ----------------------------------------------------------------------


@pytest.mark.long
def test_a_training_killed_again_and_again_goes_on_to_the_same_bytes(folded, one, tmp_path):
    training = replace(QUICK, folds=3, block=200.0, block_unit="m")
    heard = []
    for after in (1, 5, 8):  # in a fold, at the beginning of another, in the final fit

        def stop(epoch, epochs, values, after=after):
            heard.append((epoch, epochs))
            if epoch == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(one, tmp_path / "model", training, ears=Ears(figures=stop))
        assert not (tmp_path / "model").exists()
        assert heard == [(n, 8) for n in range(1, after + 1)]
    found = fit(one, tmp_path / "model", training, ears=Ears(figures=lambda *of: heard.append(of)))
    assert len(heard) == 8
    assert found.card.sha256 == folded.card.sha256
    assert found.card.metrics == folded.card.metrics
    assert found.card.calibration == folded.card.calibration
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_another_assumed_crs_begins_anew(tmp_path):
    array, profile = scene()
    bare = save(tmp_path / "bare.tif", array, profile, crs=None)
    zones = ("EPSG:32618", "EPSG:32617")
    left, _, right, top = rasterio.open(bare).bounds
    halves = [shapely.box(x, top - 1500, x + 800, top) for x in (left, right - 800)]
    drawn = [
        geopandas.GeoDataFrame({"class": ["a", "b"]}, geometry=halves, crs=zone).to_crs(4326)
        for zone in zones
    ]
    pandas.concat(drawn).to_file(tmp_path / "labels.gpkg")
    source, heard = LabelSource(str(tmp_path / "labels.gpkg"), "class"), []

    def stop(epoch, epochs, values):
        heard.append(epoch)
        raise KeyboardInterrupt

    for zone in zones:
        scenes = [LabelledScene(Inputs((bare,), assumed=Assumed(zone)), (source,))]
        with pytest.raises(KeyboardInterrupt):
            fit(scenes, tmp_path / "model", QUICK, ears=Ears(figures=stop))
    assert heard == [1, 1]


@pytest.mark.long
@pytest.mark.parametrize("changed", [{"seed": 1}, None])
def test_other_settings_begin_anew_and_so_does_no_resume(one, tmp_path, changed):
    def stop(epoch, epochs, values):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(one, tmp_path / "model", QUICK, ears=Ears(figures=stop))
    heard = []
    ears = Ears(figures=lambda epoch, *of: heard.append(epoch))
    training = replace(QUICK, **(changed or {}))
    fit(one, tmp_path / "model", training, Fitting(resume=changed is not None), ears)
    assert heard == [1, 2]


# --- many scenes --------------------------------------------------------------------------------


@pytest.fixture
def sides(tmp_path):
    """Write the small scene as two files, and a manifest of them."""
    array, profile = scene()
    made = []
    for name, first in (("west", 0), ("east", 110)):
        transform = rasterio.windows.transform(Window(first, 0, 110, 200), profile["transform"])
        part = np.ascontiguousarray(array[:, :, first : first + 110])
        made.append(save(tmp_path / f"{name}.tif", part, profile, transform=transform))
    rows = [f"{Path(path).name},{LABELS},class" for path in made]
    (tmp_path / "scenes.csv").write_text("\n".join(["input,labels,class_column", *rows]))
    return made


@pytest.mark.long
def test_two_halves_are_surveyed_as_the_whole(sides, one, tmp_path, world):
    scenes = read_scenes(str(tmp_path / "scenes.csv"), Inputs(()), None)
    assert [s.inputs.paths[0] for s in scenes] == sides
    training = replace(QUICK, epochs=1, block=400.0)
    halves = fit(scenes, tmp_path / "halves", training).card
    whole = fit(one, tmp_path / "whole", training).card
    assert [c.name for c in halves.classes] == [c.name for c in whole.classes]
    assert halves.data["labelled_pixels"] == whole.data["labelled_pixels"]
    assert halves.data["blocks"] == whole.data["blocks"]
    assert [len(s["inputs"]) for s in halves.data["scenes"]] == [1, 1]


@pytest.mark.parametrize(("more", "told"), [({3: "c", 9: "d"}, True), ({}, False)])
def test_names_of_values_that_no_label_has_are_told(more, told, scene_path, tmp_path, caplog):
    labels = np.ones((1, 200, 220), np.uint8)
    labels[0, :, :100] = 2
    path = save(tmp_path / "labels.tif", labels, scene()[1])
    scenes = [
        LabelledScene(Inputs((scene_path,)), (LabelSource(path, names={1: "a", 2: "b"} | more),))
    ]
    with opened(scenes, RunSettings(jobs=1), lambda *of: None) as rooms:
        assert rooms[0].truth.classes == ("a", "b")
    said = "--class-names: 3=c, 9=d found in no class raster of labels"
    assert (said in caplog.text, "--class-names" in caplog.text) == (told, told)


@pytest.mark.parametrize(
    ("declared", "names", "told"),
    [({}, None, True), ({"nodata": 0}, None, False), ({}, {1: "a", 2: "b"}, False)],
)
def test_zeros_that_nothing_declares_are_told_not_to_be_learnt(
    declared, names, told, scene_path, tmp_path, caplog
):
    """Masks for networks have their first class there."""
    labels = np.ones((1, 200, 220), np.uint8)
    labels[0, :, :100], labels[0, :50] = 2, 0
    path = save(tmp_path / "masks.tif", labels, scene()[1], **declared)
    scenes = [LabelledScene(Inputs((scene_path,)), (LabelSource(path, names=names),))]
    with opened(scenes, RunSettings(jobs=1), lambda *of: None) as rooms:
        assert len(rooms[0].truth.classes) == 2
    said = "masks.tif: 11000 pixels of value 0 are taken for not labelled; if 0 is a class, give"
    assert (said in caplog.text) is told


@pytest.mark.parametrize(("far", "told"), [(0, True), (5e4, False)])
def test_scenes_of_one_place_in_two_crss_are_told(scene_path, tmp_path, caplog, far, told):
    array, profile = scene()
    with rasterio.open(scene_path) as file:
        corners = rasterio.warp.transform_bounds(file.crs, "EPSG:32617", *file.bounds)
    place = rasterio.transform.from_origin(corners[0] + far, corners[3], 10, 10)
    other = save(tmp_path / "other.tif", array, profile, crs="EPSG:32617", transform=place)
    scenes = [LabelledScene(Inputs((p,)), (LabelSource(p),)) for p in (scene_path, other)]
    labels = np.ones((1, 200, 220), np.uint8)
    for k, grid in enumerate(({}, {"crs": "EPSG:32617", "transform": place})):
        labels[0, :, :100] = 2
        truth = save(tmp_path / f"labels{k}.tif", labels, profile, **grid)
        scenes[k] = replace(scenes[k], labels=(LabelSource(truth),))
    with opened(scenes, RunSettings(jobs=1), lambda *of: None):
        pass
    assert (
        "overlap on the ground in different CRSs, whose blocks are not the " in caplog.text
    ) == told


def test_scenes_of_other_bands_or_pixels_are_refused_by_name(sides, tmp_path):
    array, profile = scene()
    profile["transform"] = profile["transform"] * profile["transform"].scale(2)
    coarse = save(tmp_path / "coarse.tif", array, profile)
    scenes = [LabelledScene(Inputs((path,)), (DRAWN,)) for path in (sides[0], coarse)]
    with pytest.raises(InputError, match=r"coarse.tif: pixels of 20 x 20 found.*west.tif has 10"):
        fit(scenes, tmp_path / "model")
    scenes[1] = LabelledScene(Inputs((sides[1],), bands=(1, 2)), (DRAWN,))
    with pytest.raises(InputError, match=r"east.tif: bands B02, B03 found"):
        fit(scenes, tmp_path / "model")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("a.tif", "are wanted, or --manifest"),
        ("a.tif b.tif --labels l.gpkg --pair", "2 inputs and 1 --labels found"),
        ("a.tif --manifest s.csv", "leave them out"),
    ],
)
def test_unclear_scenes_are_refused(words, said, tmp_path):
    found = call("train", "landcover", *words.split(), "-o", tmp_path / "model")
    assert found.code == 2
    assert said in found.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input,truth\na,b\n", "columns input, truth found"),
        ("input,input,labels\na,b,c\n", "columns input, input, labels found"),
        ("input,labels\n", "no row found, at least one is wanted."),
        ("input,labels\na,\n", "line 2 has no labels; fill it in."),
        ("input,labels\na,b,c\n", "line 2 has more cells than the header's 2; quote a cell"),
        (None, "cannot be read as CSV"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, text, said):
    path = tmp_path / "scenes.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_scenes(str(path), Inputs(()), None)


def test_a_column_of_a_class_raster_in_a_manifest_is_refused(tmp_path):
    path = tmp_path / "scenes.csv"
    path.write_text("input,labels,class_column\na.tif,halves.tif,class\n")
    save(tmp_path / "halves.tif", *scene())
    with pytest.raises(UsageError, match=r"halves.tif: --class-column class found"):
        read_scenes(str(path), Inputs(()), None)


# --- mixed labels -------------------------------------------------------------------------------


def test_polygons_points_and_a_raster_label_one_scene(scene_path, tmp_path):
    frame = geopandas.read_file(LABELS)
    profile = scene()[1]
    burnt = rasterize(
        [(g, 1 + (c == "water")) for g, c in zip(frame.geometry, frame["class"], strict=True)],
        (200, 220),
        transform=profile["transform"],
        dtype="uint8",
    )
    burnt[:, 110:] = 0
    with rasterio.open(
        tmp_path / "raster.tif", "w", **{**profile, "count": 1, "nodata": 0, "dtype": "uint8"}
    ) as dataset:
        dataset.write(burnt[None])
    points = frame.assign(geometry=frame.representative_point())
    points.to_file(tmp_path / "points.gpkg")
    sources = (
        LabelSource(str(tmp_path / "points.gpkg"), "class"),
        LabelSource(str(tmp_path / "raster.tif"), names={1: "land", 2: "water"}),
    )
    scenes = [LabelledScene(Inputs((scene_path,)), sources)]
    with opened(scenes, RunSettings(jobs=1), lambda *of: None) as (room,):
        found = room.truth.read(Window(0, 0, 220, 200))
        names = dict(enumerate(room.truth.classes, start=1))
        assert room.truth.values[:2] == (1, 2)
    assert names[1] == "land"
    assert names[2] == "water"
    drawn = found > 2
    assert 0 < drawn.sum() < 137  # points of other classes than those of the raster
    assert np.array_equal(found[:, :110][~drawn[:, :110]] > 0, burnt[:, :110][~drawn[:, :110]] > 0)


class Given:
    """Labels by hand."""

    def __init__(self, classes, values, labels=None):
        self.classes, self.values, self.labels = classes, values, labels

    def read(self, window):
        return self.labels


def test_the_first_source_counts_where_two_overlap():
    first = Given(("b", "c"), (1, 2), np.array([[0, 1, 2]], np.uint8))
    second = Given(("a", "b"), (1, 2), np.array([[1, 1, 0]], np.uint8))
    mixed = MixedTruth([first, second], {"a": 1, "b": 2, "c": 3})
    assert mixed.read(None).tolist() == [[1, 2, 3]]


def test_legends_are_joined_by_name():
    raster, drawn = LabelSource("r.tif"), LabelSource("d.gpkg", "class")
    legend = joined_legend(
        [drawn, raster], [Given(("corn", "water"), (1, 2)), Given(("water", "town"), (1, 4))]
    )
    assert legend == {"water": 1, "corn": 2, "town": 4}
    with pytest.raises(InputError, match="value 1 is town here and water"):
        joined_legend([raster, raster], [Given(("water",), (1,)), Given(("town",), (1,))])
    many = [Given(tuple(f"{letter}{n}" for n in range(200)), range(1, 201)) for letter in "ab"]
    with pytest.raises(InputError, match="more than 255 classes in all labels together"):
        joined_legend([drawn, drawn], many)


def test_codes_of_drawn_classes_are_their_values_where_a_map_can_hold_them(caplog):
    raster, drawn = LabelSource("r.tif"), LabelSource("d.gpkg", "code")

    def of(*classes):
        return Given(classes, tuple(range(1, len(classes) + 1)))

    assert joined_legend([drawn], [of("1", "2", "10")]) == {"1": 1, "2": 2, "10": 10}
    assert joined_legend([drawn, drawn], [of("1", "90"), of("10")]) == {"1": 1, "10": 10, "90": 90}
    assert joined_legend([drawn], [of("forest", "water")]) == {"forest": 1, "water": 2}
    assert not caplog.text
    assert joined_legend([drawn], [of("0", "1")]) == {"0": 1, "1": 2}
    assert "d.gpkg: its classes are numbers that a map cannot hold as they are" in caplog.text
    assert "in maps 0 has the value 1, 1 has the value 2, and is named by its number" in caplog.text
    assert joined_legend([drawn], [of("111", "231", "512")]) == {"111": 1, "231": 2, "512": 3}
    assert joined_legend([drawn], [of("01", "1")]) == {"01": 1, "1": 2}
    caplog.clear()
    legend = joined_legend([raster, drawn], [Given(("water",), (2,)), of("1", "2")])
    assert legend == {"1": 1, "water": 2, "2": 3}
    assert "1 has the value 1, 2 has the value 3" in caplog.text


@pytest.mark.long
def test_a_training_whose_report_finds_no_room_goes_on_from_its_states(one, tmp_path, monkeypatch):
    def full(*words):
        raise OutputError("report.html: cannot be written (No space left on device)")

    epochs = []
    ears = Ears(figures=lambda epoch, *more: epochs.append(epoch))
    with monkeypatch.context() as patched:
        patched.setattr("stcli.workflows.landcover.train_landcover.write_report", full)
        with pytest.raises(OutputError, match="No space"):
            fit(one, tmp_path / "model", QUICK)
    assert [path.name for path in tmp_path.iterdir()] == [".model.training"]
    with monkeypatch.context() as patched:  # killed as it tidies up: the model is there
        patched.setattr(KeptTraining, "__exit__", lambda kept, *error: kept._lock.release())
        made = fit(one, tmp_path / "model", QUICK, ears=ears)
    assert len(epochs) < QUICK.epochs
    assert len(list(tmp_path.iterdir())) == 2
    assert fit(one, tmp_path / "model", QUICK, ears=ears).card == made.card
    assert len(epochs) < QUICK.epochs
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with pytest.raises(OutputError, match="a model exists"):
        fit(one, tmp_path / "model", QUICK)


# --- other algorithms ---------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["forest", "svm"])
def test_folds_and_calibration_take_any_algorithm(one, tmp_path, algorithm, scene_path):
    training = replace(QUICK, folds=2, block=200.0, final_fit=False)
    recipe = Recipe(SLIC, NETWORK, training, algorithm)
    found = train_landcover(one, tmp_path / "model", recipe, RunSettings(jobs=1))
    metrics = found.card.metrics
    assert metrics["epoch"] == 0
    assert sum(fold["labelled"] for fold in metrics["folds"]) == metrics["validation"]["total"]
    assert metrics["validation"]["overall"] > 0.3
    assert found.card.calibration.temperature > 0
    assert "learns in one step" in (tmp_path / "model" / "report.html").read_text()
    done = call("classify", scene_path, tmp_path / "map.tif", "--model", tmp_path / "model", "-q")
    assert done.code == 0, done.err


# --- given weights ------------------------------------------------------------------------------


@pytest.mark.long
def test_a_training_begins_with_a_models_weights(trained, one, tmp_path):
    still = TrainingSettings(epochs=1, learning_rate=0.0, weight_decay=0.0)
    found = fit(one, tmp_path / "model", still, Fitting(init=Path(trained)))
    assert read_bytes(tmp_path / "model") == read_bytes(trained)
    assert found.card.data["init"]["model"] == Path(trained).name
    assert found.notes == ()


def test_the_command_line_takes_given_weights_and_their_segments(trained, scene_path, tmp_path):
    words = ("train", "landcover", scene_path, "--labels", LABELS, "--class-column", "class")
    words = (*words, "--epochs", 1, "-j", 1, "-q", "--init", trained, "-o", tmp_path / "model")
    for more in (("--size", 100), ("--compactness", 0.1)):  # the defaults, yet asked for
        assert call(*words, *more).code == 2
    done = call(*words, "--json")
    assert done.code == 0, done.err
    assert done.json["card"]["segmentation"]["size"] == SLIC.size
    assert done.json["card"]["data"]["init"]["model"] == Path(trained).name


def test_other_classes_get_a_head_of_their_own(trained, scene_path, tmp_path):
    labels = np.zeros((1, 200, 220), np.uint8)
    labels[0, 10:190:9, 10:200:9] = 1 + np.arange(22) % 2
    source = LabelSource(save(tmp_path / "labels.tif", labels, scene()[1], nodata=0))
    scenes = [LabelledScene(Inputs((scene_path,)), (source,))]
    found = fit(scenes, tmp_path / "model", replace(QUICK, epochs=1), Fitting(init=Path(trained)))
    assert any("the head is made anew" in note for note in found.notes)
    assert len(found.card.classes) == 2


def test_only_a_network_begins_with_given_weights(trained, one, tmp_path):
    recipe = Recipe(SLIC, NETWORK, QUICK, "forest")
    with pytest.raises(UsageError, match="--init: begins a network, and --algorithm is forest"):
        train_landcover(one, tmp_path / "m", recipe, RunSettings(jobs=1), Fitting(init=trained))


def test_other_bands_are_refused_for_given_weights(trained, scene_path, tmp_path):
    scenes = [LabelledScene(Inputs((scene_path,), bands=(1, 2)), (DRAWN,))]
    with pytest.raises(ModelError, match="2 bands"):
        fit(scenes, tmp_path / "model", QUICK, Fitting(init=Path(trained)))


def read_bytes(folder):
    """The weights as bytes."""
    return (Path(folder) / "weights.safetensors").read_bytes()
