from __future__ import annotations

import logging

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import Affine
from shapely.geometry import LineString, MultiPoint, Point, Polygon, box

from stcli.errors import InputError
from stcli.raster.tables import vectors
from stcli.raster.tables.classnames import sorted_names
from stcli.raster.tables.vectors import Labels, burn, read_labels, sample_points

ROWS, COLS = 60, 80


@pytest.fixture
def raster(grid):
    return grid(ROWS, COLS)


def area(row, col, height, width):
    """Make a polygon from pixel rows and columns of the raster."""
    x, y = 500000 + 10 * col, 4000000 - 10 * row
    return box(x, y - 10 * height, x + 10 * width, y)


@pytest.fixture
def file(tmp_path):
    """Write features to a vector file in any format and CRS."""

    def write(shapes, column, name="labels.gpkg", crs="EPSG:32618"):
        frame = geopandas.GeoDataFrame({"kind": column}, geometry=shapes, crs="EPSG:32618")
        frame = frame.to_crs(crs) if crs else frame.set_crs(None, allow_override=True)
        path = str(tmp_path / name)
        if name.endswith("parquet"):
            frame.to_parquet(path)
        else:
            frame.to_file(path, engine="pyogrio")
        return path

    return write


TWO = [area(2, 3, 10, 20), area(30, 40, 5, 6)]


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb", "a.parquet", "a.shp"])
@pytest.mark.parametrize("crs", ["EPSG:32618", "EPSG:4326"])
def test_every_format_and_crs_burns_the_same_pixels(file, raster, name, crs):
    labels = read_labels(file(TWO, ["water", "crop"], name, crs), raster, class_column="kind")
    assert labels.classes == ("crop", "water")
    expected = np.zeros((ROWS, COLS), np.uint8)
    expected[2:12, 3:23], expected[30:35, 40:46] = 2, 1
    np.testing.assert_array_equal(burn(labels, raster), expected)


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        ([10, 9], ("9", "10")),
        (["10", "9"], ("9", "10")),
        (["b10", "b9"], ("b10", "b9")),
        ([2.0, 1.0], ("1", "2")),
        ([1.5, 0.5], ("0.5", "1.5")),
    ],
)
def test_classes_are_sorted_as_numbers_if_they_all_are(file, raster, column, classes):
    assert read_labels(file(TWO, column), raster, class_column="kind").classes == classes


def test_given_classes_fix_the_values(file, raster):
    path = file(TWO, ["water", "crop"])
    legend = {1: "water", 4: "town", 7: "crop"}
    labels = read_labels(path, raster, class_column="kind", legend=legend)
    assert labels.frame["value"].tolist() == [1, 3]
    with pytest.raises(InputError, match="kind holds crop, water, any of moor, town is wanted"):
        read_labels(path, raster, class_column="kind", legend={1: "moor", 2: "town"})
    one = file(TWO[:1], ["water"], "one.gpkg")
    assert len(read_labels(one, raster, class_column="kind", legend={1: "water"}).frame) == 1


def test_labels_name_the_classes_of_a_legend_by_word_or_all_by_value(file, raster, caplog):
    legend = {1: "bare_soil", 4: "built up", 7: "crop"}
    for number, (column, values, told) in enumerate(
        (
            (["bare soil", "built_up"], [1, 2], ""),
            ([7, 4], [3, 2], "its labels are numbers and are taken for the map's values"),
        )
    ):
        caplog.clear()
        path = file(TWO, column, f"{number}.gpkg")
        labels = read_labels(path, raster, class_column="kind", legend=legend)
        assert labels.frame["value"].tolist() == values
        assert told in caplog.text
        assert bool(told) == bool(caplog.text)
    names = {1: "2", 2: "1", 3: "4"}  # names that are numbers are names
    labels = read_labels(file(TWO, [1, 2], "n.gpkg"), raster, class_column="kind", legend=names)
    assert labels.frame["value"].tolist() == [2, 1]
    path, names = file(TWO, [1, 2], "m.gpkg"), {1: "2", 2: "x"}
    labels = read_labels(path, raster, class_column="kind", legend=names)
    assert (labels.classes, labels.frame["value"].tolist()) == (("2", "x", "1"), [3, 1])
    assert "m.gpkg: kind holds 1, which the map lacks: 1 of 2 features" in caplog.text


def test_features_without_a_class_or_outside_are_left_out_with_a_word(file, raster, caplog):
    shapes = [*TWO, area(1, 1, 1, 1), area(500, 500, 1, 1)]
    with caplog.at_level(logging.WARNING, "stcli"):
        labels = read_labels(file(shapes, [1, 2, None, 3]), raster, class_column="kind")
    assert labels.classes == ("1", "2")
    assert "1 of 4 features have no class" in caplog.text
    assert "1 of 3 labels lie outside" in caplog.text


def test_a_class_of_no_letters_is_none(file, raster, caplog):
    shapes = [*TWO, area(1, 1, 1, 1), area(2, 2, 1, 1)]
    with caplog.at_level(logging.WARNING, "stcli"):
        labels = read_labels(file(shapes, ["a", "b", "", " "]), raster, class_column="kind")
    assert labels.classes == ("a", "b")
    assert "2 of 4 features have no class" in caplog.text


def test_spaces_around_a_class_are_no_part_of_it(file, raster):
    shapes = [*TWO, area(1, 1, 1, 1)]
    labels = read_labels(file(shapes, ["crop", "crop ", " water"]), raster, class_column="kind")
    assert labels.classes == ("crop", "water")


def test_bad_labels_are_refused_by_name(file, raster, tmp_path):
    good = file(TWO, ["a", "b"])

    def refused(words, path=good, geobox=raster, column="kind"):
        with pytest.raises(InputError, match=words):
            read_labels(path, geobox, class_column=column)

    refused("has no column nope, choose one of: kind", column="nope")
    refused(r"gone\.gpkg: no such file", path=str(tmp_path / "gone.gpkg"))
    (tmp_path / "text.gpkg").write_text("hello")
    refused(r"text\.gpkg: cannot be read as vectors", path=str(tmp_path / "text.gpkg"))
    (tmp_path / "text.parquet").write_text("hello")
    refused(r"text\.parquet: cannot be read as vectors", path=str(tmp_path / "text.parquet"))
    refused("all of one class", path=file(TWO, ["a", "a"], "one.gpkg"))
    refused("has no CRS", path=file(TWO, ["a", "b"], "nocrs.gpkg", None))
    refused("raster with a CRS", geobox=GeoBox(raster.shape, raster.transform, None))
    far = file([area(500, 500, 1, 1)] * 2, ["a", "b"], "far.gpkg")
    refused(r"lie at \(505000, 3994990.*none is in the raster at \(500000", path=far)
    many = file([area(1, 1, 1, 1)] * 256, range(256), "many.gpkg")
    refused("256 classes, at most 255", path=many)


def test_of_several_layers_one_is_to_be_named(file, raster):
    path = file(TWO, ["water", "crop"])
    frame = geopandas.GeoDataFrame({"kind": ["x", "y"]}, geometry=TWO, crs="EPSG:32618")
    table = frame.drop(columns="geometry")
    pyogrio.write_dataframe(table, path, layer="styles")  # a table is no layer to choose
    assert read_labels(path, raster, class_column="kind").classes == ("crop", "water")
    frame.to_file(path, layer="other", engine="pyogrio")
    words = r"labels\.gpkg: has 2 layers \(labels, other\); name the one with --layer"
    with pytest.raises(InputError, match=words):
        read_labels(path, raster, class_column="kind")
    chosen = read_labels(path, raster, class_column="kind", layer="other")
    assert chosen.classes == ("x", "y")


def test_a_layer_that_is_not_there_is_told_with_those_that_are(file, raster, tmp_path):
    path = file(TWO, ["water", "crop"])
    geopandas.read_file(path).to_file(path, layer="other", driver="GPKG")
    with pytest.raises(InputError, match="has no layer foo, choose one of: labels, other"):
        read_labels(path, raster, class_column="kind", layer="foo")


def test_labels_without_features_or_classes_are_refused_by_what_they_lack(file, raster, tmp_path):
    path = file(TWO, ["water", "crop"])
    geopandas.read_file(path)[:0].to_file(tmp_path / "empty.gpkg")
    with pytest.raises(InputError, match=r"empty.gpkg: holds no features, labels with a class"):
        read_labels(str(tmp_path / "empty.gpkg"), raster, class_column="kind")
    with pytest.raises(InputError, match="none of its 2 features has a kind and a geometry"):
        read_labels(file(TWO, ["", " "], "blank.gpkg"), raster, class_column="kind")


def labels_of(shapes, values, geobox):
    frame = geopandas.GeoDataFrame({"value": values}, geometry=shapes, crs=geobox.crs)
    return Labels("x", frame, tuple(map(str, range(1, 10))), geobox)


def window_of(geobox, row, col, rows, cols):
    return GeoBox((rows, cols), geobox.transform @ Affine.translation(col, row), geobox.crs)


def test_the_later_feature_wins(raster):
    shapes = [area(0, 0, 10, 10), area(5, 5, 10, 10)]
    assert burn(labels_of(shapes, [2, 1], raster), raster)[7, 7] == 1
    assert burn(labels_of(shapes[::-1], [1, 2], raster), raster)[7, 7] == 2


# quarter pixels put edges and corners exactly on centres, where rounding would decide
places = st.tuples(st.integers(-40, COLS * 4 + 40), st.integers(-40, ROWS * 4 + 40))
shapes = st.lists(places, min_size=1, max_size=6, unique=True)
grids = st.sampled_from(
    [
        (Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32618"),
        (Affine(1e-4, 0, -75.1234, 0, -1e-4, 40.4321), "EPSG:4326"),
        (Affine(1 / 3, 0, 1 / 7, 0, 1 / 3, 1e6 / 7), "EPSG:3857"),
        (Affine.translation(5e5, 4e6) @ Affine.rotation(33) @ Affine.scale(7, -7), "EPSG:32618"),
    ]
)


def shape_of(points, transform):
    coords = [transform @ (c / 4, r / 4) for c, r in points]
    if len(coords) == 1:
        return Point(coords[0])
    return LineString(coords) if len(coords) == 2 else Polygon(coords)


@settings(max_examples=150, deadline=None)
@given(st.lists(shapes, min_size=1, max_size=5), grids, st.data())
def test_burning_does_not_depend_on_the_window(features, chosen, data):
    transform, crs = chosen
    whole = GeoBox((ROWS, COLS), transform, crs)
    geometries = [shape_of(points, transform) for points in features]
    labels = labels_of(geometries, range(1, len(geometries) + 1), whole)
    burned = burn(labels, whole)
    for _ in range(4):
        row, col = data.draw(st.integers(0, ROWS - 1)), data.draw(st.integers(0, COLS - 1))
        rows = data.draw(st.integers(1, ROWS - row))
        cols = data.draw(st.integers(1, COLS - col))
        part = burn(labels, window_of(whole, row, col, rows, cols))
        np.testing.assert_array_equal(part, burned[row : row + rows, col : col + cols])


def test_wide_rasters_are_burnt_some_rows_at_a_time(raster, monkeypatch):
    """A strip is as wide as the raster, however few columns are wanted of it."""
    seen = []
    whole = rasterio.features.rasterize

    def watched(features, out):
        seen.append(out.shape)
        return whole(features, out=out)

    width = raster.shape[1]
    labels = labels_of([area(1, 2, 9, 5), area(4, 4, 3, 3)], [1, 2], raster)
    window = window_of(raster, 0, 3, 12, 4)
    burned = burn(labels, window)
    monkeypatch.setattr(rasterio.features, "rasterize", watched)
    monkeypatch.setattr(vectors, "_STRIP", 3 * width + 1)
    np.testing.assert_array_equal(burn(labels, window), burned)
    assert seen == [(3, width)] * 4
    seen.clear()
    monkeypatch.setattr(vectors, "_STRIP", 1)
    np.testing.assert_array_equal(burn(labels, window), burned)
    assert set(seen) == {(1, width)}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.floats(0, COLS), st.floats(0, ROWS)), min_size=3, max_size=6))
def test_polygons_take_the_pixels_whose_centres_they_contain(raster, points):
    polygon = Polygon([raster.transform @ p for p in points])
    if not polygon.is_valid or polygon.area < 1:
        return
    burned = burn(labels_of([polygon], [1], raster), raster) > 0
    c, r = np.meshgrid(np.arange(COLS) + 0.5, np.arange(ROWS) + 0.5)
    x, y = raster.transform @ (c, r)
    near_edge = shapely.distance(shapely.points(x, y), polygon.exterior) < 1e-4
    np.testing.assert_array_equal(
        burned[~near_edge], shapely.contains_xy(polygon, x, y)[~near_edge]
    )


def test_a_window_of_another_grid_is_a_programming_error(raster, grid):
    labels = labels_of(TWO, [1, 2], raster)
    with pytest.raises(ValueError, match="not a crop"):
        burn(labels, grid(x=500005.0))


def test_points_and_their_pixels(raster, grid):
    points = [Point(500000 + 35, 4000000 - 25), MultiPoint([(500000, 4000000), (500799, 3999401)])]
    labels = labels_of([*points, Point(0, 0)], [1, 2, 3], raster)
    rows, cols, values, features = sample_points(labels, raster)
    assert rows.tolist() == [2, 0, 59]
    assert cols.tolist() == [3, 0, 79]
    assert values.tolist() == [1, 2, 2]
    assert features.tolist() == [0, 1, 1]
    burned = burn(labels, raster)
    assert (burned[rows, cols] == values).all()
    assert (burned > 0).sum() == 3
    with pytest.raises(InputError, match="Polygon features, only points"):
        sample_points(labels_of(TWO, [1, 2], raster), raster)


def test_names_of_one_number_have_one_order_too():
    """What comes out of a set comes in another order each time a program runs."""
    for names in (["1", "01", "2", "001"], ["01", "2", "001", "1"]):
        assert sorted_names(names) == ["001", "01", "1", "2"]
    assert sorted_names(["10", "9", "b"]) == ["10", "9", "b"]
