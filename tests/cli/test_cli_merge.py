"""Rasters laid side by side: each band by itself, and every valid value kept."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from cliworld import call, good, turned
from rasterio import Affine
from rasterio.windows import Window

from stcli.raster.reading.mosaic import Mosaic
from stcli.raster.reading.read import open_raster
from stcli.workflows.deposit import Deposit

#: Rows and columns of each raster.
SHAPE = (30, 50)


def write(path, array, left=0, nodata=None, top=0, **more):
    """Write (band, row, col) or one band; the first pixel lies so many from the corner."""
    array = array.reshape(-1, *array.shape[-2:])
    profile = {
        "driver": "GTiff",
        "count": len(array),
        "height": array.shape[1],
        "width": array.shape[2],
        "dtype": array.dtype,
        "crs": "EPSG:32618",
        "transform": Affine(10, 0, 440000 + 10 * left, 0, -10, 4180000 - 10 * top),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **{**profile, **more}) as dataset:
        dataset.write(array)
    return str(path)


def bands(path):
    """Read bands (band, row, col) of any format as floats, NaN where a band is not valid."""
    with open_raster(str(path)) as raster:
        rows, cols = raster.info.shape
        block, valid = raster.read_each(Window(0, 0, cols, rows))
    return np.where(valid, block, np.nan)


def declared(path):
    """Give the nodata value that a GeoTIFF declares."""
    with rasterio.open(path) as dataset:
        return dataset.nodata


# --- bands by themselves ------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """Two rasters of two bands, float32 with holes of each band's own; they overlap by 20."""
    rng = np.random.default_rng(3)
    paths, arrays = [], []
    for n in range(2):
        array = rng.normal(100 * (n + 1), 1, (2, *SHAPE)).astype("float32")
        array[rng.random(array.shape) < 0.3] = -9999
        paths.append(write(tmp_path / f"{n}.tif", array, 30 * n, -9999))
        arrays.append(np.where(array == -9999, np.nan, array))
    return paths, arrays


def laid(arrays, order):
    """Lay the arrays of `pair` out pixel by pixel: the slow reference."""
    found = np.full((2, SHAPE[0], SHAPE[1] + 30), np.nan)
    for n in order:
        here = found[..., 30 * n : 30 * n + SHAPE[1]]
        for at in np.ndindex(here.shape):
            here[at] = arrays[n][at] if np.isnan(here[at]) else here[at]
    return found


@pytest.mark.parametrize("name", ["o.tif", "o.nc", "o.zarr"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_band_is_that_of_the_first_raster_in_which_it_is_valid(pair, tmp_path, name, order):
    paths, arrays = pair
    how = ("--of", "Zarr") if name.endswith("zarr") else ()
    for tiles in (("-j", 1), ("--tile-size", 17, "-j", 2), ("--tile-size", 0)):
        out = tmp_path / name
        good("merge", *(paths[n] for n in order), out, *how, *tiles, "--overwrite", "-q")
        np.testing.assert_array_equal(bands(out), laid(arrays, order))


def test_a_zarr_with_gaps_in_one_band_becomes_a_raster_with_the_same(pair, tmp_path):
    paths, arrays = pair
    good("merge", paths[0], tmp_path / "z.zarr", "--of", "Zarr", "-q")
    good("merge", tmp_path / "z.zarr", tmp_path / "o.tif", "-q")
    np.testing.assert_array_equal(bands(tmp_path / "o.tif"), arrays[0])


def test_a_band_alone_in_a_tile_is_not_lost(tmp_path):
    array = np.full((2, 8, 8), -1, "int16")
    array[1] = 5
    path = write(tmp_path / "one.tif", array, nodata=-1)
    good("merge", path, tmp_path / "o.tif", "-q")
    with rasterio.open(tmp_path / "o.tif") as found:
        np.testing.assert_array_equal(found.read(), array)


def test_a_mosaic_is_read_with_one_mask_for_all_bands_too(pair):
    paths, arrays = pair
    with Mosaic([open_raster(path) for path in paths]) as mosaic:
        block, valid = mosaic.read(Window(0, 0, 80, 30))
    wanted = laid(arrays, (0, 1))
    np.testing.assert_array_equal(valid, ~np.isnan(wanted).any(axis=0))
    np.testing.assert_array_equal(block, np.where(valid, wanted, 0))


# --- the nodata value ---------------------------------------------------------------------------


def ones(value, shape=SHAPE, dtype="uint8"):
    """Give one value everywhere."""
    return np.full(shape, value, dtype)


@pytest.mark.parametrize("name", ["o.tif", "o.nc", "o.zarr"])
def test_nothing_is_nodata_where_none_is_declared_and_rasters_lie_everywhere(tmp_path, name):
    rng = np.random.default_rng(5)
    left, right = (rng.integers(0, 2, (600, 310)).astype("uint8") for _ in range(2))
    paths = write(tmp_path / "a.tif", left), write(tmp_path / "b.tif", right, 310)
    how = ("--of", "Zarr") if name.endswith("zarr") else ()
    good("merge", *paths, tmp_path / name, *how, "-q")
    np.testing.assert_array_equal(bands(tmp_path / name)[0], np.hstack([left, right]))
    if name == "o.tif":
        assert declared(tmp_path / name) is None
        with rasterio.open(tmp_path / name, overview_level=0) as overview:
            assert overview.read_masks(1).all()


def test_nothing_is_nodata_where_declared_values_differ_and_all_is_valid(tmp_path):
    one = write(tmp_path / "a.tif", ones(0), nodata=255)
    two = write(tmp_path / "b.tif", ones(255), 50, nodata=0)
    good("merge", one, two, tmp_path / "o.tif", "-q")
    found = bands(tmp_path / "o.tif")[0]
    np.testing.assert_array_equal(found, np.hstack([ones(0), ones(255)]))
    assert declared(tmp_path / "o.tif") is None


#: Of two rasters: values, nodata values, data type; and the output's nodata, 5 columns apart.
GAPS = {
    "agreed": ((1, 2), (9, 9), "uint8", 9),
    "first": ((1, 2), (255, 9), "uint8", 255),
    "second": ((1, 255), (255, 9), "uint8", 9),
    "second, for the first has none": ((1, 2), (None, 9), "uint8", 9),
    "zero": ((255, 1), (None, 255), "int16", 0),
    "zero without any": ((1, 2), (None, None), "uint8", 0),
    "largest": ((0, 2), (None, None), "uint8", 255),
    "smallest": ((0, 2), (None, None), "int16", -32768),
    "largest of signed": ((0, -32768), (None, None), "int16", 32767),
    "smallest of 64 bits": ((0, 2), (None, None), "int64", -(2**53)),
    "none of these": ((0, 255), (7.5, 300), "int32", 300),
    "NaN": ((0, 2), (-9, 8), "float32", np.nan),
    "NaN without any": ((0, 2), (None, None), "float32", np.nan),
    "not one that files can declare": ((0, 2), (-(2**63), -(2**63)), "int64", -(2**53)),
    "agreed of floats": ((0, 2), (-9, -9), "float32", -9),
    "too large for floats": ((0, 2), (1e300, 1e300), "float32", np.nan),
}


@pytest.mark.long
@pytest.mark.parametrize(("values", "nodata", "dtype", "wanted"), GAPS.values(), ids=GAPS)
def test_a_gap_gets_a_value_that_no_valid_pixel_has(tmp_path, values, nodata, dtype, wanted):
    arrays = [ones(value, dtype=dtype) for value in values]
    paths = []
    for n, (array, declares) in enumerate(zip(arrays, nodata, strict=True)):
        xml = f"<NoDataValue>{declares}</NoDataValue>" if declares is not None else ""
        paths.append(virtual(tmp_path / f"{n}.vrt", array, 55 * n, xml))
    for tiles in ((), ("--tile-size", 16, "-j", 2), ("--tile-size", 0, "--scheduler", "serial")):
        good("merge", *paths, tmp_path / "o.tif", *tiles, "--overwrite", "-q")
        found = bands(tmp_path / "o.tif")[0]
        np.testing.assert_equal(declared(tmp_path / "o.tif"), wanted)
        np.testing.assert_array_equal(found[:, :50], arrays[0])
        assert np.isnan(found[:, 50:55]).all()
        np.testing.assert_array_equal(found[:, 55:], arrays[1])


def virtual(path, array, left, xml):
    """Write a raster behind a VRT that declares what no GeoTIFF of its type could."""
    file = write(path.with_suffix(".tif"), array, left)
    rasterio.shutil.copy(file, path, driver="VRT")
    text = path.read_text()
    first = text.index(">", text.index("<VRTRasterBand")) + 1
    path.write_text(text[:first] + xml + text[first:])
    return str(path)


def test_bands_and_masks_that_do_not_agree_are_looked_at(tmp_path):
    array = np.stack([ones(255), ones(3)])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "a.tif", array, nodata=255)
        with rasterio.open(path, "r+") as dataset:
            mask = np.full(SHAPE, 255, "uint8")
            mask[0] = 0
            dataset.write_mask(mask)
    good("merge", path, tmp_path / "o.tif", "-q")
    assert declared(tmp_path / "o.tif") == 0
    wanted = array.astype(float)
    wanted[:, 0] = np.nan
    np.testing.assert_array_equal(bands(tmp_path / "o.tif"), wanted)


def test_a_mask_that_hides_nothing_leaves_no_nodata(tmp_path):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "a.tif", ones(0))
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.full(SHAPE, 255, "uint8"))
    good("merge", path, tmp_path / "o.tif", "-q")
    assert declared(tmp_path / "o.tif") is None


def test_a_gap_inside_is_one_too(tmp_path):
    where = ((0, 0), (0, 10), (10, 0))
    paths = [
        write(tmp_path / f"{n}.tif", ones(n, (10, 10)), left, top=top)
        for n, (top, left) in enumerate(where)
    ]
    good("merge", *paths, tmp_path / "o.tif", "-q")
    found = bands(tmp_path / "o.tif")[0]
    assert np.isnan(found[10:, 10:]).all()
    assert np.isnan(found).sum() == 100
    last = write(tmp_path / "3.tif", ones(3, (10, 10)), 10, top=10)
    good("merge", *paths, last, tmp_path / "o.tif", "--overwrite", "-q")
    assert not np.isnan(bands(tmp_path / "o.tif")).any()


@pytest.mark.parametrize("name", ["o.tif", "o.nc"])
def test_where_every_value_is_taken_it_is_refused_and_nothing_is_left(tmp_path, name):
    array = ones(0)
    array[0, :2] = 255, 9
    one, two = write(tmp_path / "a.tif", array), write(tmp_path / "b.tif", ones(1), 60, nodata=9)
    result = call("merge", one, two, tmp_path / name)
    assert result.code == 3
    assert (
        f"{one} and 1 more: valid pixels or classes have each of 9, 0, 255, and nodata needs a "
        "value that none has; give all of them such a value with gdalwarp -dstnodata, and a type "
        "that has one with -ot if theirs has none" in result.err
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif"]


@pytest.mark.parametrize("name", ["o.tif", "o.nc"])
def test_an_output_that_exists_is_refused_before_pixels_are_looked_at(tmp_path, monkeypatch, name):
    paths = write(tmp_path / "a.tif", ones(0)), write(tmp_path / "b.tif", ones(1), 60)
    (tmp_path / name).write_bytes(b"mine")
    monkeypatch.setattr("stcli.workflows.files.mosaic.nodata_of", lambda *_: pytest.fail("looked"))
    result = call("merge", *paths, tmp_path / name)
    assert (result.code, (tmp_path / name).read_bytes()) == (4, b"mine")


# --- what values mean ---------------------------------------------------------------------------

BLUE, GREEN = (0, 0, 250, 255), (0, 250, 0, 255)


def classes(path, names, left=0, colours=None, dtype="uint8"):
    """Write a class raster of the values named, 0 its nodata."""
    values = np.resize(np.array(sorted(names) or [1], dtype), SHAPE)
    write(path, values, left, 0)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(1, **{f"class_{value}": name for value, name in names.items()})
        dataset.set_band_description(1, "class")
        if colours:
            dataset.write_colormap(1, colours)
    return str(path)


def test_names_and_colours_of_classes_are_carried_over(tmp_path):
    one = classes(tmp_path / "a.tif", {1: "bare soil", 4: "wood"}, colours={1: BLUE, 4: GREEN})
    two = classes(tmp_path / "b.tif", {4: "wood", 6: "ice"}, 50, {4: BLUE, 6: BLUE})
    good("merge", one, two, tmp_path / "o.tif", "-q")
    with rasterio.open(tmp_path / "o.tif") as found:
        assert found.tags(1) == {"class_1": "bare soil", "class_4": "wood", "class_6": "ice"}
        assert found.descriptions == ("class",)
        assert [found.colormap(1)[value] for value in (1, 4)] == [BLUE, GREEN]
        pixels = found.read(1)
    for path, half in ((one, pixels[:, :50]), (two, pixels[:, 50:])):
        with rasterio.open(path) as given:
            np.testing.assert_array_equal(half, given.read(1))
    assert "<Category>bare soil</Category>" in (tmp_path / "o.tif.aux.xml").read_text()


def test_coarser_levels_of_classes_hold_the_most_frequent(tmp_path):
    array = ones(1, (1040, 8))
    array[::2, ::2] = 2
    path = write(tmp_path / "a.tif", array, nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(1, class_1="wood", class_2="ice")
    good("merge", path, tmp_path / "o.tif", "-q")
    with rasterio.open(tmp_path / "o.tif", overview_level=0) as overview:
        assert (overview.read(1) == 1).all()


def test_names_come_from_zarr_and_netcdf_too(tmp_path):
    one = classes(tmp_path / "a.tif", {1: "bare soil", 4: "wood"})
    good("merge", one, tmp_path / "z.zarr", "--of", "Zarr", "-q")
    good("merge", one, tmp_path / "n.nc", "-q")
    for given in ("z.zarr", "n.nc"):
        good("merge", one, tmp_path / given, tmp_path / "o.tif", "--overwrite", "-q")
        with rasterio.open(tmp_path / "o.tif") as found:
            assert found.tags(1) == {"class_1": "bare soil", "class_4": "wood"}
        good("merge", tmp_path / given, tmp_path / "o.tif", "--overwrite", "-q")
        with rasterio.open(tmp_path / "o.tif") as found:
            assert found.tags(1) == {"class_1": "bare_soil", "class_4": "wood"}


@pytest.mark.parametrize(
    ("names", "found", "before"),
    [
        ({4: "ice"}, (4, "ice"), (4, "wood")),
        ({6: "wood"}, (6, "wood"), (4, "wood")),
    ],
)
def test_class_maps_that_mean_different_things_are_not_mixed(tmp_path, names, found, before):
    one = classes(tmp_path / "a.tif", {1: "water", 4: "wood"})
    two = classes(tmp_path / "b.tif", names, 50)
    result = call("merge", one, two, tmp_path / "o.tif")
    assert result.code == 3
    assert (
        f"{two}: value {found[0]} is named {found[1]}, and in {one} value {before[0]} is named "
        f"{before[1]}, one name for a value and one value for a name is wanted; recode or rename "
        "the classes of one of them"
    ) in result.err
    assert not (tmp_path / "o.tif").exists()


def test_class_maps_without_names_beside_others_are_warned_of(tmp_path):
    one = classes(tmp_path / "a.tif", {1: "water", 4: "wood"})
    bare = [classes(tmp_path / f"{n}.tif", {}, 50 * n) for n in (1, 2)]
    result = good("merge", one, *bare, tmp_path / "o.tif")
    words = "and 1 more: no names of classes found, and {} has some; the values are taken for the"
    assert f"{bare[0]} {words.format(one)} same" in result.err


def test_a_value_with_a_name_does_not_become_nodata(tmp_path):
    one = classes(tmp_path / "a.tif", {3: "wood", 255: "unsure"})
    array = ones(3)
    array[0] = 0
    two, three = write(tmp_path / "b.tif", array, 60, 255), write(tmp_path / "c.tif", ones(9), 120)
    result = call("merge", two, one, three, tmp_path / "o.tif", "-q")
    assert "valid pixels or classes have each of 255, 0, and nodata needs" in result.err


@pytest.mark.parametrize("name", ["o.tif", "o.nc"])
def test_a_merge_that_was_killed_as_it_tidied_up_is_ended_by_the_same_command(
    name, tmp_path, monkeypatch
):
    def killed(deposit, keep):
        deposit.journal.close()
        deposit.lock.release()

    argv = ("merge", write(tmp_path / "a.tif", ones(1)), tmp_path / name, "-q")
    with monkeypatch.context() as patched:
        patched.setattr(Deposit, "close", killed)
        good(*argv)
    assert (tmp_path / f".{name}.stcli").exists()
    good(*argv)
    assert not (tmp_path / f".{name}.stcli").exists()
    assert call(*argv).code == 4


def test_the_provenance_lists_all_inputs(tmp_path):
    paths = [write(tmp_path / f"{n}.tif", ones(n), 50 * n) for n in range(3)]
    good("merge", *paths, tmp_path / "o.tif", "-q")
    (found,) = good("info", "--provenance", tmp_path / "o.tif").json["files"]
    assert [entry["path"] for entry in found["inputs"]] == paths


def named(path, left, *names):
    """Write a raster whose bands have these names."""
    write(path, np.zeros((len(names), *SHAPE), "uint8") + 1, left)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
    return path


def test_bands_in_another_order_are_refused(tmp_path):
    one = named(tmp_path / "a.tif", 0, "B02", "B03", "B04")
    two = named(tmp_path / "b.tif", 50, "B02", "B04", "B03")
    result = call("merge", one, two, tmp_path / "o.tif", "-q")
    words = f"{two}: band 2 is B04, which is band 3 of {one}; put its bands into that order first"
    assert result.code == 3
    assert words in result.err


def test_bands_of_other_names_are_warned_of_and_bands_without_a_name_are_not(tmp_path):
    one = named(tmp_path / "a.tif", 0, "B02", "B03")
    apart, some = named(tmp_path / "b.tif", 50, "R", "G"), named(tmp_path / "c.tif", 50, "B02", "G")
    nameless = named(tmp_path / "d.tif", 50, None, None)
    words = "band 1 is named B02 and R, and 1 more are named apart; the first raster's names"
    assert words in good("merge", one, apart, tmp_path / "1.tif").err
    words = "band 2 is named B03 and G; the first raster's names are taken, is it the same"
    assert words in good("merge", one, some, tmp_path / "2.tif").err
    assert "named" not in good("merge", one, nameless, tmp_path / "3.tif").err
    assert "named" not in good("merge", one, one, tmp_path / "4.tif").err


def test_a_single_band_that_is_named_after_its_file_is_not_warned_of(tmp_path):
    one, two = named(tmp_path / "a.tif", 0, "north"), named(tmp_path / "b.tif", 50, "south")
    assert "named" not in good("merge", one, two, tmp_path / "o.tif").err


@pytest.mark.parametrize("name", ["o.tif", "o.nc", "o.zarr"])
def test_units_that_all_have_are_kept_and_others_are_warned_of(tmp_path, name):
    def measured(stem, left, *units):
        path = write(tmp_path / stem, np.zeros((2, *SHAPE), "float32"), left)
        with rasterio.open(path, "r+") as dataset:
            dataset.units = units
        return path

    how = ("--of", "Zarr") if name.endswith("zarr") else ()
    one, two = measured("a.tif", 0, "K", "K"), measured("b.tif", 50, "K", "K")
    assert "has the units" not in good("merge", one, two, tmp_path / name, *how).err
    with open_raster(str(tmp_path / name)) as found:
        assert [band.units for band in found.info.bands] == ["K", "K"]
    two = measured("b.tif", 50, "K", "degC")
    result = good("merge", one, two, tmp_path / name, *how, "--overwrite")
    words = "band 2 has the units K and degC, so that the output has none; is it the same variable?"
    assert words in result.err
    with open_raster(str(tmp_path / name)) as found:
        assert found.info.bands[1].units in (None, "1")


@pytest.mark.parametrize("how", [(), ("--of", "GTiff", "--co", "COMPRESS=LZMA"), ("--of", "Zarr")])
def test_a_crs_that_no_geotiff_holds_is_kept(how, tmp_path):
    source = turned(tmp_path / "turned.nc")
    target = tmp_path / ("o.zarr" if "Zarr" in how else "o.tif")
    good("merge", source, target, *how, "-q")
    good("check", "georef", target, "--like", source, "-q")


def test_names_of_classes_lie_beside_what_gdal_says_there(tmp_path):
    """A profile without GeoTIFF's own tags puts the grid beside the file, too."""
    source = write(tmp_path / "a.tif", np.ones((3, 4), "uint8"))
    with rasterio.open(source, "r+") as dataset:
        dataset.update_tags(1, class_1="water")
    good("merge", source, tmp_path / "o.tif", "--of", "GTiff", "--co", "PROFILE=BASELINE", "-q")
    good("check", "georef", tmp_path / "o.tif", "--like", source, "-q")
    assert "water" in (tmp_path / "o.tif.aux.xml").read_text()


@pytest.mark.parametrize("name", ["o.tif", "o.nc"])
def test_the_same_command_gives_the_same_bytes(pair, tmp_path, name):
    runs = []
    for _ in range(3):
        good("merge", *pair[0], tmp_path / name, "-q", "--overwrite", "--tile-size", 16, "-j", 2)
        runs.append((tmp_path / name).read_bytes())
    assert runs[1:] == runs[:1] * 2
