"""``segment``: what its own options do, and rasters that are hard for it."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from cliworld import BANDS, call, good, holes, read, save, scene

SMALL = ("--size", "25", "--iterations", "2")


def same_segments(a, b):
    """Tell whether two labellings are one up to renumbering."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def test_square_metres_are_pixels_on_the_ground(scene, tmp_path):
    good("segment", scene, tmp_path / "px.tif", "--size", 25, "--iterations", 2)
    ground = ("--size", 2500, "--size-unit", "m2", "--iterations", 2)  # pixels of 10 m
    good("segment", scene, tmp_path / "m2.tif", *ground)
    assert np.array_equal(read(tmp_path / "px.tif"), read(tmp_path / "m2.tif"))


def test_feet_are_not_metres(tmp_path):
    array, profile = scene_of(60)
    feet = save(tmp_path / "feet.tif", array, profile, crs="EPSG:2263")  # US survey feet
    metres = save(tmp_path / "metres.tif", array, profile)
    good("segment", feet, tmp_path / "a.tif", "--size", 400, "--size-unit", "m2")
    area = 400 / (1200 / 3937) ** 2
    good("segment", metres, tmp_path / "b.tif", "--size", round(area), "--size-unit", "m2")
    assert np.array_equal(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"))


@pytest.mark.parametrize(
    ("crs", "says"), [("EPSG:4326", "WGS 84, not projected, found"), (None, "no CRS found")]
)
def test_square_metres_need_a_projected_crs(tmp_path, crs, says):
    array, profile = scene_of(30)
    path = save(tmp_path / "scene.tif", array, profile, crs=crs)
    result = call("segment", path, tmp_path / "o.tif", "--size", 900, "--size-unit", "m2")
    assert result.code == 3
    assert says in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "o.tif").exists()


def scene_of(side):
    """A square of the scene."""
    array, profile = scene()
    return array[:, :side, :side], profile


def test_the_scaling_of_another_segmentation_makes_crops_agree(scene, tmp_path):
    good("segment", scene, tmp_path / "whole.tif", *SMALL)
    with rasterio.open(scene) as dataset:
        window = rasterio.windows.Window(20, 15, 180, 170)
        array, profile = dataset.read(window=window), dataset.profile
        profile.update(transform=dataset.window_transform(window), tiled=False)
    crop = save(tmp_path / "crop.tif", array, profile)
    given = ("--scaling", tmp_path / "whole.tif", *SMALL)
    good("segment", crop, tmp_path / "part.tif", *given)
    inside = slice(65, -65)  # the halo of 2 rounds and a step of 5
    whole = read(tmp_path / "whole.tif")[0, 15:185, 20:200]
    assert same_segments(read(tmp_path / "part.tif")[0, inside, inside], whole[inside, inside])
    good("segment", crop, tmp_path / "own.tif", *SMALL)
    assert not same_segments(read(tmp_path / "own.tif")[0, inside, inside], whole[inside, inside])


def test_merging_takes_the_scaling_that_is_given(scene, tmp_path):
    how = (*SMALL, "--shape", 0)  # bands four times as wide cost a quarter
    narrow = ("--scaling", "0:4096", "--compactness", 0.125, "--scale", "16,32")
    wide = ("--scaling", "0:16384", "--compactness", 0.03125, "--scale", "8,16")
    good("segment", scene, tmp_path / "narrow.tif", *how, *narrow)
    good("segment", scene, tmp_path / "wide.tif", *how, *wide)
    found = read(tmp_path / "narrow.tif")
    assert np.array_equal(found, read(tmp_path / "wide.tif"))
    assert len(np.unique(found[0])) > len(np.unique(found[1])) > 10


def test_a_scaling_is_given_once_or_for_each_band(scene, tmp_path):
    good("segment", scene, tmp_path / "one.tif", "--scaling", "300:3500", *SMALL)
    good("segment", scene, tmp_path / "all.tif", "--scaling", ",".join(["300:3500"] * 4), *SMALL)
    assert np.array_equal(read(tmp_path / "one.tif"), read(tmp_path / "all.tif"))
    with rasterio.open(tmp_path / "one.tif") as dataset:
        assert dataset.tags()["STCLI_SCALING"] == ",".join(["300.0:3500.0"] * 4)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ("--scaling 1:1", 2, "--scaling: '1:1' found, LOW:HIGH,... rising and finite wanted"),
        ("--scaling 0:nan", 2, "rising and finite wanted"),
        ("--scaling 5", 2, "rising and finite wanted"),
        ("--scaling 0:1,0:1", 2, "--scaling: 2 pairs found, one or 4 wanted"),
        ("--scaling nowhere.tif", 3, "nowhere.tif: no such file"),
        ("--scaling SCENE", 3, "no scaling found, a label raster that stcli segment wrote"),
        ("--size 99999999", 2, "--size: 99999999 pixels found, at most 44000 wanted"),
        ("--size 0", 2, "--size: found 0, wanted >= 4 pixels"),
        ("--size 3 --size-unit m2", 2, "--size: 3 m2 found, at least 4 pixels wanted, 400 m2"),
        ("--compactness firm", 2, "'firm' is no compactness"),
        ("--min-size 1.5", 2, "--min-size: found 1.5, wanted between 0 and 1"),
    ],
)
def test_bad_wishes_are_refused_in_a_sentence(scene, tmp_path, options, code, says):
    words = options.replace("SCENE", scene).split()
    result = call("segment", scene, tmp_path / "o.tif", *words)
    assert result.code == code
    assert says in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "o.tif").exists()


def test_auto_compactness_tiled_is_untiled(tmp_path):
    array, profile = scene()
    array = np.where(holes(array), array, 0)
    path = save(tmp_path / "scene.tif", array, profile, nodata=0)
    auto = ("--compactness", "auto", *SMALL)
    good("segment", path, tmp_path / "a.tif", *auto, "--tile-size", 0, "-j", 2)
    good("segment", path, tmp_path / "b.tif", *auto, "--tile-size", 64, "-j", 2)
    assert np.array_equal(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"))


def test_the_smallest_size_is_a_share_of_the_mean(scene, tmp_path):
    small = []
    for share in (0, 0.5):
        good("segment", scene, tmp_path / f"{share}.tif", "--min-size", share, *SMALL)
        counts = np.unique(read(tmp_path / f"{share}.tif"), return_counts=True)[1]
        small.append((counts < 12).mean())
    assert small[1] < 0.05 < small[0]


def test_three_hundred_bands(tmp_path):
    array, profile = scene_of(40)
    many = np.tile(array, (75, 1, 1))
    path = save(tmp_path / "many.tif", many, profile, BANDS)
    good("segment", path, tmp_path / "o.tif", *SMALL, "--scaling", "300:3500")
    four = save(tmp_path / "four.tif", array, profile)
    good("segment", four, tmp_path / "p.tif", *SMALL, "--scaling", "300:3500")
    assert np.mean(read(tmp_path / "o.tif") == read(tmp_path / "p.tif")) > 0.99


@pytest.mark.parametrize("shape", [(1, 90), (90, 1), (1, 1)])
def test_one_row_one_column_one_pixel(tmp_path, shape):
    _, profile = scene()
    values = np.arange(2 * shape[0] * shape[1], dtype=np.uint16).reshape(2, *shape)
    path = save(tmp_path / "scene.tif", values, profile)
    good("segment", path, tmp_path / "o.tif", "--size", 4)
    assert (read(tmp_path / "o.tif") > 0).all()


def test_constant_bands_give_the_lattice(tmp_path):
    _, profile = scene()
    path = save(tmp_path / "scene.tif", np.full((3, 40, 50), 7, dtype=np.float32), profile)
    good("segment", path, tmp_path / "o.tif", *SMALL)
    assert 80 <= len(np.unique(read(tmp_path / "o.tif"))) <= 110


def large(side):
    """The scene again and again, up to a size, and darker to the right."""
    array, profile = scene()
    times = [-(-side // n) for n in array.shape[1:]]
    dark = np.linspace(1.2, 0.8, side)
    return (np.tile(array, (1, *times))[:, :side, :side] * dark).astype(array.dtype), profile


LAYOUTS = {
    "tiles of 256": {"tiled": True, "blockxsize": 256, "blockysize": 256},
    "strips of one row": {"blockysize": 1},
    "strips of 300 rows": {"blockysize": 300},
    "one strip": {"blockysize": 1000},
    "band after band": {"tiled": True, "blockxsize": 64, "blockysize": 48, "interleave": "band"},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_how_a_file_is_laid_out_does_not_show(layout, tmp_path):
    """A tile is read by whole rows of the file's blocks; one held whole is shared by threads."""
    values, profile = large(700)
    values[:, 350:, :120] = 0
    plain, other = tmp_path / "plain.tif", tmp_path / "other.tif"
    save(plain, values, profile, nodata=0)
    save(other, values, profile, nodata=0, **layout)
    how = ("--size", "50", "--iterations", "3", "-q")
    good("segment", plain, tmp_path / "whole.tif", *how, "--tile-size", "0", "-j", "2")
    expected = read(tmp_path / "whole.tif")
    assert (expected == 0).any()
    for size in ("0", "192"):
        out = tmp_path / f"{size}.tif"
        good("segment", other, out, *how, "--tile-size", size, "-j", "1")
        assert np.array_equal(read(out), expected)


def test_a_vrt_is_read_by_whole_tiles(tmp_path):
    values, profile = large(500)
    save(tmp_path / "scene.tif", values, profile)
    rasterio.shutil.copy(tmp_path / "scene.tif", tmp_path / "scene.vrt", driver="VRT")
    how = ("--size", "50", "--iterations", "3", "-q", "-j", "1", "--tile-size", "192")
    for name in ("tif", "vrt"):
        good("segment", tmp_path / f"scene.{name}", tmp_path / f"{name}.labels.tif", *how)
    found = [read(tmp_path / f"{name}.labels.tif") for name in ("tif", "vrt")]
    assert np.array_equal(*found)


def test_where_a_tile_that_is_shared_by_threads_does_not_fit_one_does_it(tmp_path):
    path = tmp_path / "scene.tif"
    save(path, *large(3000))
    words = ("segment", path, tmp_path / "o.tif", "--tile-size", "0", "--dry-run", "--json")

    def predicted(*more):
        return good(*words, *more).json["passes"][-1]["memory"]["predicted"]

    alone, shared = (predicted("--memory", "20GB", "-j", jobs) for jobs in "12")
    assert alone < shared
    between = (alone + shared) // 2
    assert predicted("--memory", f"{between // 1_000_000}MB", "-j", "2") < between


@pytest.mark.parametrize("size", ["0", "64"])
def test_islands_are_counted_once_however_many_tiles_they_lie_in(size, tmp_path):
    values, profile = large(200)
    values[:, np.random.default_rng(3).random(values.shape[1:]) < 0.5] = 0
    values[:, 60:70] = values[:, :, 60:70] = 0
    values[:, 64] = values[:, :, 64] = 700  # islands that cross tiles
    path = save(tmp_path / "scene.tif", values, profile, nodata=0)
    how = ("--size", "25", "--iterations", "2", "--tile-size", size, "-j", "2", "--json")
    told = good("segment", path, tmp_path / "o.tif", *how).json
    labels = np.unique(read(tmp_path / "o.tif"))
    assert told["segments"] == len(labels) - 1
    assert (labels > 41 * 41).sum() > 100
