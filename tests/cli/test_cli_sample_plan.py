"""``sample-plan``: the same points for every tiling, spread over classes and doubt, and a path."""

from __future__ import annotations

import cliworld
import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from stcli.landcover.accuracy.fieldplan import allocate
from stcli.landcover.accuracy.route import length, route


@pytest.fixture
def world(tmp_path):
    """Give a class raster of three classes, one rare, and its doubt."""
    rng = np.random.default_rng(3)
    classes = rng.choice([0, 2, 5], (160, 220), p=[0.1, 0.6, 0.3]).astype(np.uint8)
    classes[10:12, 10:12] = 9
    doubt = rng.random((3, *classes.shape)).astype(np.float32)
    common = {"driver": "GTiff", "height": 160, "width": 220, "crs": "EPSG:32654"}
    common["transform"] = from_origin(400000, 4000000, 10, 10)
    with rasterio.open(tmp_path / "c.tif", "w", count=1, dtype="uint8", nodata=0, **common) as out:
        out.write(classes, 1)
        out.update_tags(1, class_2="water", class_5="forest", class_9="bare soil")
    with rasterio.open(tmp_path / "u.tif", "w", count=3, dtype="float32", **common) as out:
        out.write(doubt)
    return tmp_path, classes, doubt[0]


def plan(folder, name, *more):
    words = ("sample-plan", folder / "c.tif", folder / name, "--uncertainty", folder / "u.tif")
    found = cliworld.good(*words, "--points", 60, "--json", *more).json
    layers = [geopandas.read_file(folder / name, layer=layer) for layer in ("points", "path")]
    return found, *layers


def test_points_lie_on_their_class_and_tiling_does_not_show(world):
    folder, classes, doubt = world
    found, points, path = plan(folder, "p.gpkg")
    assert found["points"] == len(points) == 60
    shared = found["classes"]
    assert shared["bare soil"] == 4  # all that there are
    assert abs(shared["forest"] - shared["water"]) <= 2  # one a class and band of doubt
    cols = ((points.geometry.x - 400000) / 10 - 0.5).round().astype(int)
    rows = ((4000000 - points.geometry.y) / 10 - 0.5).round().astype(int)
    assert (classes[rows, cols] == points["value"]).all()
    assert np.allclose(doubt[rows, cols], points["doubt"])
    share = points[points["class"] == "water"]["stratum"].value_counts()
    assert share["unsure"] > share["doubtful"] > share["sure"] > 0
    total = points.groupby(["value", "stratum"])["pixels"].sum().sum()
    assert np.isclose(total, (classes > 0).sum())  # the points stand for the whole map
    assert np.allclose(path.geometry[0].coords, np.stack([points.geometry.x, points.geometry.y], 1))
    assert np.isclose(path["metres"][0], path.geometry[0].length, rtol=2e-3)
    assert np.isclose(found["metres"], path["metres"][0])

    _, again, _ = plan(folder, "t.gpkg", "--tile-size", 48, "-j", 2)
    assert again.equals(points)
    first = (folder / "p.gpkg").read_bytes()
    plan(folder, "p.gpkg", "--overwrite")
    assert (folder / "p.gpkg").read_bytes() == first  # no time of day in it
    _, other, _ = plan(folder, "s.gpkg", "--seed", 1)
    assert not other.geometry.equals(points.geometry)


def test_a_grid_that_was_written_with_other_last_digits_is_the_same(world):
    folder, *_ = world
    _, points, _ = plan(folder, "p.gpkg")
    side = 10 * (1 + 1e-14)
    with rasterio.open(folder / "u.tif", "r+") as file:
        file.transform = from_origin(400000, 4000000, side, side)
    _, again, _ = plan(folder, "o.gpkg")
    assert again.equals(points)


def test_a_plan_that_cannot_be_is_refused(world):
    folder, _, doubt = world
    words = ("sample-plan", folder / "c.tif")
    with rasterio.open(folder / "u.tif") as file:
        profile = file.profile | {"count": 1}
    with rasterio.open(folder / "less.tif", "w", **profile | {"height": 159}) as file:
        file.write(doubt[:159], 1)
    with rasterio.open(folder / "beyond.tif", "w", **profile) as file:
        file.write(np.where(doubt > 0.999, np.float32(1.5), doubt), 1)
    for more, code, message in (
        (("x.gpkg", "--points", 0), 2, "--points: found 0, wanted 1 to 2000"),
        (("x.gpkg", "--seed", -1), 2, "--seed: found -1, wanted from 0 to 2**63 - 1"),
        (("x.shp",), 2, "a plan has two layers, a GeoPackage (.gpkg) is wanted"),
        (("x.gpkg", "--uncertainty", cliworld.SCENE), 3, "uint16 values found, doubt as a real"),
        (("x.gpkg", "--uncertainty", folder / "less.tif"), 3, "not on the grid of"),
        (("x.gpkg", "--uncertainty", folder / "less.tif"), 3, "(sizes of 159 x 220 and 160"),
        (("x.gpkg", "--uncertainty", folder / "beyond.tif"), 3, "a doubt of 1.5 found, 0 to 1"),
    ):
        result = cliworld.call(*words, folder / more[0], *more[1:])
        assert result.code == code
        assert message in result.err
        assert not (folder / more[0]).exists()
    with rasterio.open(folder / "c.tif", "r+") as file:
        file.write(np.zeros((160, 220), np.uint8), 1)
    result = cliworld.call(*words, folder / "x.gpkg")
    assert result.code == 3
    assert "no classified pixel found, at least one is wanted" in result.err


def test_points_are_shared_out_to_the_last():
    count = np.zeros(9, np.int64)
    count[3:6], count[6] = (1000, 2, 1000), 50
    taken = allocate(count, 40)
    assert taken.sum() == 40
    assert (taken <= count).all()
    assert taken[4] == 2
    assert taken[5] > taken[3]
    assert allocate(count, 10**4).tolist() == count.tolist()


def test_each_class_gets_two_points_if_there_are_as_many():
    """A class of all bands of doubt as well as one of a single band."""
    count = np.zeros(9, np.int64)
    count[3:6], count[6] = 1000, 50
    assert allocate(count, 4).reshape(3, 3).sum(axis=1).tolist() == [0, 2, 2]
    assert allocate(count, 24).reshape(3, 3).tolist() == [[0, 0, 0], [2, 4, 6], [12, 0, 0]]


def test_each_stratum_of_a_class_gets_two_points_first():
    count = np.array([1000, 1000, 1000, 1000, 1, 1000])
    assert allocate(count, 12).tolist() == [2, 2, 2, 2, 1, 3]
    drawn = np.array([allocate(count, points) for points in range(80)])
    assert (np.diff(drawn, axis=0) >= 0).all()  # more points are those of fewer, and others


def test_a_class_of_one_point_is_told(world):
    folder, _, _ = world
    words = ("sample-plan", folder / "c.tif", folder / "few.gpkg", "--points")
    assert "fewer than 2 points for" in cliworld.call(*words, 1).err
    assert "fewer than" not in cliworld.call(*words, 200, "--overwrite").err


def test_fewer_pixels_than_points_are_told(world, tmp_path):
    folder, _, _ = world
    with rasterio.open(folder / "c.tif") as file:
        part, profile = file.read(1, window=((0, 8), (0, 8))), file.profile
    path = cliworld.save(tmp_path / "few.tif", part[None], profile, ())
    found = cliworld.good("sample-plan", path, tmp_path / "few.gpkg", "--points", 100, "--json")
    count = int(np.count_nonzero(part))
    assert found.json["points"] == count
    assert f"few.tif: 100 points wanted and {count} pixels of a class found; all of" in found.err


def test_without_a_crs_the_path_has_no_length(world, tmp_path):
    """Units of a raster without a CRS, pixels mostly, were told as metres."""
    folder, classes, _ = world
    with rasterio.open(folder / "c.tif") as file:
        profile = {**file.profile, "crs": None}
    path = cliworld.save(tmp_path / "bare.tif", classes[None], profile, ())
    found = cliworld.good("sample-plan", path, tmp_path / "p.gpkg", "--points", 20, "--json")
    assert found.json["points"] == 20
    assert found.json["metres"] is None
    assert "p.gpkg: 20 points, no CRS" in found.err
    assert "km" not in found.err.split("p.gpkg: 20 points")[1]
    line = geopandas.read_file(tmp_path / "p.gpkg", layer="path")
    assert line["metres"].isna().all()


def test_a_path_is_short():
    """On a grid the shortest open path has one step a point; and never longer than it began."""
    row, col = np.mgrid[:6, :7]
    grid = np.stack([col.ravel(), row.ravel()], axis=1).astype(float)
    mixed = grid[np.random.default_rng(0).permutation(len(grid))]
    order = route(mixed)
    assert sorted(order) == list(range(42))
    assert length(mixed, order) <= 1.05 * 41
    around = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], axis=1)
    shuffled = circle[np.random.default_rng(1).permutation(30)]
    step = np.hypot(*(circle[1] - circle[0]))
    assert np.isclose(length(shuffled, route(shuffled)), 29 * step)
    assert route(grid[:1]).tolist() == [0]
