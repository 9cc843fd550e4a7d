"""``assess``: points of a plan are counted by their strata, classes of two rasters by name."""

from __future__ import annotations

import cliworld
import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import xarray
from rasterio.transform import from_origin

from stcli.raster.reading.read import open_raster
from stcli.settings import RunSettings
from stcli.workflows.job import silent
from stcli.workflows.landcover.truth import LabelSource, open_truth

SIDE = 200
PLACE = from_origin(500000, 4100000, 10, 10)


def write(path, array, names=None, **more):
    """Write one band and the names of its values."""
    how = {"driver": "GTiff", "count": 1, "crs": "EPSG:32618", "transform": PLACE, **more}
    rows, cols = array.shape
    with rasterio.open(path, "w", height=rows, width=cols, dtype=array.dtype, **how) as file:
        file.write(array, 1)
        file.update_tags(1, **{f"class_{value}": name for value, name in (names or {}).items()})
    return path


@pytest.fixture
def world(tmp_path):
    """A truth, a map that errs where it is unsure, and its doubt."""
    rng = np.random.default_rng(1)
    truth = np.where(np.mgrid[:SIDE, :SIDE][1] < SIDE // 2, 1, 2).astype(np.uint8)
    doubt = (rng.random(truth.shape) ** 3).astype(np.float32)
    mapped = np.where(rng.random(truth.shape) < 0.6 * doubt, 3 - truth, truth).astype(np.uint8)
    write(tmp_path / "map.tif", mapped, nodata=0)
    write(tmp_path / "doubt.tif", doubt)
    return tmp_path, truth, mapped


def visited(folder, truth, seed=0, points=200, doubt=True):
    """Plan points and give each its truth."""
    more = ("--uncertainty", folder / "doubt.tif") if doubt else ()
    words = ("sample-plan", folder / "map.tif", folder / "p.gpkg", "--overwrite", "-q", *more)
    cliworld.good(*words, "--points", points, "--seed", seed)
    frame = geopandas.read_file(folder / "p.gpkg", layer="points")
    rows, cols = rasterio.transform.rowcol(PLACE, frame.geometry.x, frame.geometry.y)
    return frame.assign(truth=truth[rows, cols].astype(str))


def assess(folder, frame, *more, call=cliworld.good):
    frame.to_file(folder / "seen.gpkg", layer="points", driver="GPKG")
    words = ("assess", folder / "map.tif", "--reference", folder / "seen.gpkg")
    return call(*words, "--class-column", "truth", *more)


@pytest.mark.long
def test_points_of_a_plan_tell_the_truth_of_the_whole_map(world):
    """Uneven densities do not bias: over 24 plans the mean, and how often intervals hold it."""
    folder, truth, mapped = world
    right = (truth == mapped).mean()
    found = []
    for seed in range(24):
        result = assess(folder, visited(folder, truth, seed), "--json", "-q").json["stratified"]
        assert (result["method"], result["strata"], result["sampled"]) == ("Stehman 2014", 6, 200)
        found.append(result["overall"])
        share = sum(c["proportion"]["value"] for c in result["classes"])
        assert share == pytest.approx(1)
    error = np.mean([e["standard_error"] for e in found])
    assert abs(np.mean([e["value"] for e in found]) - right) < 3 * error / np.sqrt(24)
    assert sum(e["low"] <= right <= e["high"] for e in found) >= 20  # of 24; 23 are promised


def test_a_plan_without_doubt_gives_the_numbers_of_the_strata_of_the_map(world):
    folder, truth, _ = world
    frame = visited(folder, truth, doubt=False)
    found = assess(folder, frame, "--json").json["stratified"]
    plain = assess(folder, frame[["truth", "geometry"]], "--json").json["stratified"]
    assert (found["method"], plain["method"]) == ("Stehman 2014", "Olofsson et al. 2014")
    assert found["overall"] == pytest.approx(plain["overall"])
    for one, other in zip(found["classes"], plain["classes"], strict=True):
        assert one["mapped_area"] == other["mapped_area"]
        for key in ("area", "proportion", "users", "producers"):
            assert one[key] == pytest.approx(other[key])
    text = assess(folder, frame).out
    assert "Stratified estimates from 200 points in 2 strata (Stehman 2014)" in text
    assert "producer's" in text
    assert "of 200 points, each counted once" in text


def test_points_that_were_not_reached_cost_precision_only(world):
    """Deleted, without a truth, or added by hand: those that are left stand for their stratum."""
    folder, truth, _ = world
    frame = visited(folder, truth)
    whole = assess(folder, frame, "--json").json["stratified"]["overall"]
    fewer = frame.drop(index=frame.index[::4]).reset_index(drop=True)
    fewer.loc[::5, "truth"] = None
    added = fewer[fewer["truth"].notna()].iloc[:7].assign(stratum=None)
    result = assess(folder, pandas.concat([fewer, added]), "--json")
    part = result.json["stratified"]
    assert "7 of 127 points have no stratum or no size of it and are left out" in result.err
    assert part["sampled"] == 120
    assert part["overall"]["standard_error"] > whole["standard_error"]
    assert abs(part["overall"]["value"] - whole["value"]) < 3 * whole["standard_error"]


def test_a_true_class_that_the_map_has_not_is_missed_wherever_it_lies(world):
    folder, truth, _ = world
    frame = visited(folder, truth)
    before = assess(folder, frame, "--json").json
    burnt = frame["truth"] == frame["truth"].iloc[0]
    burnt &= np.arange(len(frame)) % 3 == 0
    frame.loc[burnt, "truth"] = "burnt"
    result = assess(folder, frame, "--json")
    assert f"truth holds burnt, which the map lacks: {burnt.sum()} of {len(frame)}" in result.err
    after = result.json
    assert after["classes"] == [*before["classes"], "burnt"]
    confusion = np.array(after["confusion"])
    assert confusion[:, -1].sum() == burnt.sum() > 5
    assert confusion[-1].sum() == 0
    assert confusion.sum() == np.sum(before["confusion"])
    for key in ("accuracy", "stratified"):
        told = [part[key]["overall"] for part in (before, after)]
        value = [t["value"] if isinstance(t, dict) else t for t in told]
        assert value[1] < value[0]
    areas = {row["name"]: row for row in after["stratified"]["classes"]}
    assert areas["burnt"]["area"]["value"] > 0


def test_pixels_and_points_are_a_size_too(world):
    folder, truth, _ = world
    frame = visited(folder, truth)
    whole = assess(folder, frame, "--json").json["stratified"]
    bare = frame.drop(columns="stratum_pixels")
    found = assess(folder, bare, "--json").json["stratified"]
    assert found["overall"] == pytest.approx(whole["overall"])
    result = assess(folder, bare.iloc[1:], call=cliworld.call)  # nothing says how many there were
    assert result.code == 3
    assert (
        "pixels and 40000 are mapped, as many are wanted; a stratum lost its points" in result.err
    )


def test_a_stratum_of_another_map_does_not_hinder(world):
    """The plan of one map judges another: strata and classes have nothing to do with each other."""
    folder, truth, _ = world
    frame = visited(folder, truth)
    other = np.where(np.mgrid[:SIDE, :SIDE][0] < 20, 3 - truth, truth).astype(np.uint8)
    write(folder / "map.tif", other, nodata=0)
    found = assess(folder, frame, "--json").json["stratified"]["overall"]
    assert abs(found["value"] - 0.9) < 3 * found["standard_error"]


def test_points_whose_strata_do_not_fit_are_refused(world):
    folder, truth, _ = world
    frame = visited(folder, truth)
    unsure = (frame["value"] == 1) & (frame["stratum"] == "unsure")
    one = unsure & ~unsure.cumsum().eq(1)
    for change, message in (
        (frame[~one], "stratum 1, unsure: 1 sampled points for "),
        (frame[~unsure], "and 40000 are mapped, as many are wanted"),
        (frame.assign(stratum_pixels=frame["stop"]), "one number is wanted; points of two plans"),
        (frame.assign(stratum_pixels=0), "stratum_pixels holds 0, numbers above 0 are wanted"),
        (frame.assign(stratum_pixels="all"), "'all', pixels of a stratum as numbers are wanted"),
    ):
        result = assess(folder, change, call=cliworld.call)
        assert result.code == 3
        assert message in result.err


def test_a_column_that_is_something_elses_is_told(world):
    """A stratum without a size, or one that is empty throughout: the map's classes are taken."""
    folder, truth, _ = world
    frame = visited(folder, truth, doubt=False)
    for change, name in (
        (frame[["truth", "stratum", "geometry"]], "stratum"),
        (frame.assign(stratum=None), "pixels"),
    ):
        result = assess(folder, change, "--json")
        assert f"column {name} found, stratum and stratum_pixels or pixels wanted" in result.err
        assert result.json["stratified"]["method"] == "Olofsson et al. 2014"


# --- legends of two rasters ---------------------------------------------------------------------


def three(path, names=None, values=(1, 2, 3), dtype=np.uint8, **more):
    """Write thirds of three values."""
    thirds = np.array(values, dtype)[np.mgrid[:30, :30][1] // 10]
    return write(path, thirds, names, **more)


def test_classes_of_two_rasters_are_compared_by_name(tmp_path):
    first = three(tmp_path / "a.tif", {1: "bare", 2: "crop", 3: "water"})
    names = {1: "bare", 2: "built", 3: "crop", 4: "water"}
    other = three(tmp_path / "b.tif", names, (1, 3, 4))
    for one, two in ((first, other), (other, first)):
        result = cliworld.good("assess", one, "--reference", two, "--json")
        assert result.err == ""
        assert result.json["classes"] == ["bare", "crop", "water"]
        assert result.json["accuracy"]["overall"] == 1
    more = three(tmp_path / "c.tif", names, (1, 2, 4))
    found = cliworld.good("assess", first, "--reference", more, "--json").json
    assert found["classes"] == ["bare", "crop", "built", "water"]
    assert found["confusion"] == [[300, 0, 0, 0], [0, 0, 300, 0], [0, 0, 0, 0], [0, 0, 0, 300]]


def test_names_in_one_raster_alone_are_told(tmp_path):
    named = three(tmp_path / "a.tif", {1: "bare", 2: "crop", 3: "water"})
    plain = three(tmp_path / "b.tif")
    for one, two in ((named, plain), (plain, named)):
        result = cliworld.good("assess", one, "--reference", two, "--json")
        assert f"{plain}: has no names of classes and {named} has" in result.err
        assert result.json["classes"] == ["bare", "crop", "water"]


def test_legends_that_do_not_fit_are_refused(tmp_path):
    first = three(tmp_path / "a.tif", {1: "bare", 2: "crop", 3: "water"})
    twice = three(tmp_path / "b.tif", {1: "bare", 2: "bare", 3: "water"})
    alien = three(tmp_path / "c.tif", {1: "sol nu", 2: "culture", 3: "eau"})
    for other, message in (
        (twice, "values 1 and 2 are both named bare, a name of its own is wanted for each"),
        (alien, "classes sol nu, culture, eau found, none of those of"),
    ):
        result = cliworld.call("assess", first, "--reference", other)
        assert result.code == 3
        assert result.err.startswith(f"stcli: {other}: {message}")


# --- rasters that are no class maps -------------------------------------------------------------


def test_values_that_no_class_has_are_refused_and_none_vanishes(tmp_path):
    fine = three(tmp_path / "a.tif")
    codes = three(tmp_path / "b.tif", values=(111, 211, 512), dtype=np.int16)
    gaps = three(tmp_path / "c.tif", values=(-9999, 1, 2), dtype=np.int16)
    known = three(tmp_path / "d.tif", values=(-9999, 2, 3), dtype=np.int16, nodata=-9999)
    for path, value in ((codes, 512), (gaps, -9999)):
        words = f"{path}: values {value} found, classes from 1 to 255 wanted"
        for argv in (
            ("assess", path, "--reference", fine),
            ("assess", fine, "--reference", path),
            ("sample-plan", path, tmp_path / "p.gpkg"),
        ):
            result = cliworld.call(*argv)
            assert result.code == 3
            assert words in result.err
    assert cliworld.good("assess", fine, "--reference", known, "--json").json["confusion"] == [
        [0, 0, 0], [0, 300, 0], [0, 0, 300]
    ]  # fmt: skip
    assert cliworld.good("sample-plan", known, tmp_path / "k.gpkg", "--json").json["points"] == 100


def test_labels_with_values_that_no_class_has_are_refused(tmp_path):
    """Without names; whoever names classes says that other values are none."""
    array, profile = cliworld.scene()
    scene = cliworld.save(tmp_path / "s.tif", array, profile)
    thirds = np.array([111, 211, 512], np.int16)[np.arange(array.shape[2]) * 3 // array.shape[2]]
    labels = np.broadcast_to(thirds, array.shape[1:])[None].copy()
    labels[:, 20:] = 0  # few pixels, and soon learnt
    path = cliworld.save(tmp_path / "l.tif", labels, profile, ())
    words = ("train", "landcover", scene, "--labels", path, "--algorithm", "forest", "-o")
    result = cliworld.call(*words, tmp_path / "m")
    assert result.code == 3
    assert "values 512 found, classes from 1 to 255 wanted" in result.err
    named = ("--class-names", "111=water,211=forest", "--split", "random")
    cliworld.good(*words, tmp_path / "m", *named, "-q")


def test_a_raster_of_real_numbers_is_no_class_map_to_plan_on(tmp_path):
    path = three(tmp_path / "f.tif", dtype=np.float32)
    result = cliworld.call("sample-plan", path, tmp_path / "p.gpkg")
    assert result.code == 3
    assert f"{path}: float32 values found, integer classes wanted" in result.err


@pytest.mark.parametrize("name", ["n.nc", "two.nc", "z.zarr"])
def test_class_maps_of_netcdf_and_zarr_are_compared_by_their_names(tmp_path, name):
    """CF writes the names as words, so a blank of one file may be an underscore of the other."""
    values = np.where(np.mgrid[:20, :30][1] < 11, 1, 2).astype(np.uint8)
    one = write(tmp_path / "a.tif", values, {1: "bare soil", 2: "wood"}, nodata=0)
    other = write(tmp_path / "b.tif", 3 - values, {2: "bare soil", 1: "wood"}, nodata=0)
    given = tmp_path / name
    if name == "two.nc":
        cliworld.good("merge", one, tmp_path / "n.nc", "-q")
        with xarray.open_dataset(tmp_path / "n.nc", decode_cf=False) as cube:
            cube.assign(more=cube["a"]).to_netcdf(given)
    else:
        how = ("--of", "Zarr") if name.endswith("zarr") else ()
        cliworld.good("merge", one, given, "-q", *how)
    for pair in ((given, other), (other, given)):
        found = cliworld.good("assess", pair[0], "--reference", pair[1], "--json").json
        assert sorted(np.diag(found["confusion"])) == [220, 380], pair
        assert set(found["classes"]) <= {"bare soil", "bare_soil", "wood"}
    how = RunSettings(), silent
    with (
        open_raster(str(one)) as raster,
        open_truth(LabelSource(str(given)), raster, *how) as truth,
    ):
        assert truth.classes == ("bare_soil", "wood")
    plan = cliworld.good("sample-plan", given, tmp_path / "p.gpkg", "--points", 8, "--json").json
    assert plan["classes"] == {"bare_soil": 4, "wood": 4}


def test_names_that_are_numbers_are_the_values_of_a_raster_without_names(tmp_path):
    """A map trained with codes as labels counts classes from 1; the codes stand in the truth."""
    codes = np.repeat([[10, 20, 40]], 4, axis=0).astype(np.uint8)
    mapped = write(tmp_path / "map.tif", codes // 15 + 1, {1: "10", 2: "20", 3: "40"})
    plain = write(tmp_path / "truth.tif", codes)
    for one, other in ((mapped, plain), (plain, mapped)):
        result = cliworld.good("assess", one, "--reference", other, "--json")
        assert result.json["classes"] == ["10", "20", "40"]
        assert result.json["accuracy"]["overall"] == 1
        told = f"{plain}: has no names of classes and those of {mapped} are numbers; its values are"
        assert told in result.err


def test_several_bands_are_told_where_the_first_is_taken_for_the_classes(tmp_path):
    fine = three(tmp_path / "a.tif")
    both = cliworld.save(tmp_path / "b.tif", np.ones((2, 30, 30), np.uint8), {}, ("first", "sure"))
    with rasterio.open(fine) as one, rasterio.open(both, "r+") as file:
        file.crs, file.transform = one.crs, one.transform
    told = f"{both}: 2 bands found (first, sure), the first is taken for the classes"
    for words in ((both, "--reference", fine), (fine, "--reference", both)):
        assert told in cliworld.good("assess", *words).err


def test_a_value_0_beside_nodata_is_told_to_be_no_class(tmp_path):
    fine = three(tmp_path / "a.tif")
    from_zero = three(tmp_path / "b.tif", values=(0, 2, 3))
    told = f"{from_zero}: 300 pixels of value 0 found beside those without data, and 0 is no class"
    assert told not in cliworld.good("assess", fine, "--reference", from_zero).err
    three(from_zero, values=(0, 2, 3), nodata=255)
    assert told in cliworld.good("assess", fine, "--reference", from_zero).err
