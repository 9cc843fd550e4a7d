from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from rasterworld import coordinates

from stcli.errors import InputError, UsageError
from stcli.raster.info import POOL, Held
from stcli.raster.reading.assumed import Assumed
from stcli.raster.reading.gdalsource import describe
from stcli.raster.reading.read import open_raster


def whole(raster):
    return raster.read(Window(0, 0, *raster.info.shape[::-1]))


def test_windows_give_the_pixels_of_their_place(tif, grid):
    path = tif("a.tif", coordinates(50, 70), grid())
    with open_raster(path) as raster:
        block, valid = raster.read(Window(7, 3, 20, 10))
    assert block.dtype == np.int32
    assert block.shape == (2, 10, 20)
    assert valid.all()
    np.testing.assert_array_equal(block, coordinates(50, 70)[:, 3:13, 7:27])
    assert raster.info.band_names == ("band 1", "band 2")
    assert raster.info.geobox == grid()
    assert raster.info.valid_from == "all"


def test_a_window_outside_is_a_programming_error(tif, grid):
    raster = open_raster(tif("a.tif", coordinates(5, 7), grid(5, 7)))
    for window in (Window(-1, 0, 2, 2), Window(6, 0, 2, 2), Window(0, 0, 0, 2)):
        with pytest.raises(ValueError, match="not inside"):
            raster.read(window)


def test_nodata_is_invalid_and_reads_as_zero(tif, grid):
    array = coordinates(5, 7)
    array[0, 2, 3] = array[1, 4, 4] = -9
    raster = open_raster(tif("a.tif", array, grid(5, 7), nodata=-9))
    block, valid = whole(raster)
    assert raster.info.valid_from == "nodata"
    assert sorted(zip(*np.nonzero(~valid), strict=True)) == [(2, 3), (4, 4)]
    assert (block[:, ~valid] == 0).all()
    assert (block[:, valid] == array[:, valid]).all()


@pytest.mark.parametrize("nodata", [None, float("nan"), -1.0])
def test_nan_and_infinity_never_leave_read(tif, grid, nodata):
    array = coordinates(5, 7, "float32")
    array[0, 1, 1], array[1, 2, 2], array[0, 3, 3] = np.nan, np.inf, -np.inf
    raster = open_raster(tif("a.tif", array, grid(5, 7), nodata=nodata))
    block, valid = whole(raster)
    assert raster.info.valid_from == ("nan" if nodata is None else "nodata")
    assert sorted(zip(*np.nonzero(~valid), strict=True)) == [(1, 1), (2, 2), (3, 3)]
    assert np.isfinite(block).all()


def test_a_mask_band_goes_before_nodata(tif, grid):
    array = coordinates(5, 7)
    path = tif("a.tif", array, grid(5, 7), nodata=1)  # the first row and column say nodata
    mask = np.full((5, 7), 255, np.uint8)
    mask[4, 6] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    raster = open_raster(path)
    np.testing.assert_array_equal(whole(raster)[1], mask > 0)
    assert raster.info.valid_from == "mask"


def test_a_mask_band_alone(tif, grid):
    path = tif("a.tif", coordinates(5, 7), grid(5, 7))
    mask = np.full((5, 7), 255, np.uint8)
    mask[4, 6] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    raster = open_raster(path)
    np.testing.assert_array_equal(whole(raster)[1], mask > 0)
    assert raster.info.valid_from == "mask"


def rgba(tif, grid):
    array = np.full((4, 5, 7), 9, np.uint8)
    array[3, 2, 2] = 0
    path = tif("rgba.tif", array, grid(5, 7), photometric="RGB", alpha="YES")
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    return path


def test_alpha_is_a_mask_and_no_data_band(tif, grid, caplog):
    with caplog.at_level(logging.WARNING, "stcli"):
        raster = open_raster(rgba(tif, grid))
    assert "band 4 is declared alpha" in caplog.text
    assert raster.info.count == 3
    assert raster.info.valid_from == "alpha"
    assert np.argwhere(~whole(raster)[1]).tolist() == [[2, 2]]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_alpha_is_a_mask_among_any_number_of_bands(count, dtype, tif, grid, caplog):
    """GDAL's own masks know an alpha band among two or four bands of 8 or 16 bits alone."""
    array = np.full((count, 5, 7), 9, dtype)
    array[-1] = 0.25 if dtype == "float32" else 300 if dtype != "uint8" else 255
    array[-1, 2, 2] = 0
    path = tif("last.tif", array, grid(5, 7))
    with rasterio.open(path, "r+") as dataset:
        others = [ColorInterp.gray] + [ColorInterp.undefined] * (count - 2)
        dataset.colorinterp = [*others, ColorInterp.alpha]
    raster = open_raster(path)
    assert f"band {count} is declared alpha and is used as the valid mask" in caplog.text
    assert raster.info.count == count - 1
    assert raster.info.valid_from == "alpha"
    assert np.argwhere(~whole(raster)[1]).tolist() == [[2, 2]]
    assert np.argwhere(~each(raster)[1])[:, 1:].tolist() == [[2, 2]] * (count - 1)


def test_alpha_beside_nodata_is_said_to_be_unread(tif, grid, caplog):
    array = np.full((5, 5, 7), 9, "uint16")
    array[0, 1, 1], array[4, 2, 2] = 0, 0
    path = tif("both.tif", array, grid(5, 7), nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray] * 4 + [ColorInterp.alpha]
    raster = open_raster(path)
    assert "band 5 is declared alpha and not read, because its nodata tells" in caplog.text
    assert np.argwhere(~whole(raster)[1]).tolist() == [[1, 1]]


def test_alpha_asked_for_is_data_and_masks_nothing(tif, grid, caplog):
    raster = open_raster(rgba(tif, grid), bands=(1, 4))
    block, valid = whole(raster)
    assert valid.all()
    assert block[1, 2, 2] == 0
    assert block[0, 2, 2] == 9
    assert not caplog.text


def each(raster):
    """Read a raster band by band, each with its own mask."""
    rows, cols = raster.info.shape
    return raster.read_each(Window(0, 0, cols, rows))


def test_each_band_has_its_own_valid_pixels(tif, grid):
    array = coordinates(5, 7)
    array[0, 2, 3] = array[1, 4, 4] = -9
    one = open_raster(tif("a.tif", array, grid(5, 7), nodata=-9))
    files = [tif(f"{k}.tif", array[k : k + 1], grid(5, 7), nodata=-9) for k in (0, 1)]
    for raster in (one, open_raster(files), open_raster(files[::-1], bands=(2, 1))):
        block, valid = each(raster)
        np.testing.assert_array_equal(valid, array != -9)
        np.testing.assert_array_equal(block, np.where(valid, array, 0))
        own, masks = raster.read_own(Window(0, 0, 7, 5))
        np.testing.assert_array_equal(own, block)
        np.testing.assert_array_equal(masks, valid)
        assert raster.read_own(Window(0, 0, 3, 2))[1].shape == (2, 3)


def test_each_band_under_masks_floats_and_packing(tif, grid):
    array = coordinates(5, 7, "float32")
    array[0, 1, 1], array[1, 2, 2] = np.nan, np.inf
    np.testing.assert_array_equal(
        each(open_raster(tif("f.tif", array, grid(5, 7))))[1], np.isfinite(array)
    )
    path = tif("p.tif", coordinates(5, 7, "uint16"), grid(5, 7), nodata=3)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1, 1.0), (-2.0, 0.0)
    block, valid = each(open_raster(path))
    stored = coordinates(5, 7, "uint16")
    np.testing.assert_array_equal(valid, stored != 3)
    np.testing.assert_allclose(block[0][valid[0]], (stored[0] * 0.1 - 2)[valid[0]], rtol=1e-6)
    mask = np.full((5, 7), 255, np.uint8)
    mask[4, 6] = 0
    path = tif("m.tif", coordinates(5, 7), grid(5, 7), nodata=1)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    np.testing.assert_array_equal(each(open_raster(path))[1], np.stack([mask > 0] * 2))


def test_each_band_under_alpha(tif, grid):
    path = rgba(tif, grid)
    assert np.argwhere(~each(open_raster(path))[1])[:, 1:].tolist() == [[2, 2]] * 3
    assert each(open_raster(path, bands=(1, 4)))[1].all()


@pytest.mark.parametrize("resampling", ["nearest", "bilinear"])
def test_each_band_of_a_coarser_grid(resampling, tif, grid):
    array = coordinates(4, 4, "float32")
    array[0, 1, 2], array[1, 3, 0] = np.nan, np.nan
    coarse = tif("c.tif", array, grid(4, 4, 20))
    fine = tif("f.tif", coordinates(8, 8, "float32"), grid(8, 8))
    block, valid = each(open_raster([fine, coarse], resampling=resampling))
    for band in (1, 2):
        one = open_raster([fine, coarse], bands=(1, 2 + band), resampling=resampling)
        alone, mask = one.read(Window(0, 0, 8, 8))
        np.testing.assert_array_equal(valid[1 + band], mask)
        np.testing.assert_array_equal(block[1 + band][mask], alone[1][mask])


def test_packed_bands_are_unpacked_once(tif, grid):
    path = tif("a.tif", coordinates(5, 7, "uint16"), grid(5, 7), nodata=3)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1, 1.0), (-2.0, 0.0)
        dataset.units = ("K", "")
    raster = open_raster(path)
    block, valid = whole(raster)
    stored = coordinates(5, 7, "uint16")
    assert block.dtype == raster.info.dtype == np.float32
    np.testing.assert_array_equal(valid, (stored != 3).all(0))
    np.testing.assert_allclose(block[0][valid], (stored[0] * 0.1 - 2)[valid], rtol=1e-6)
    np.testing.assert_array_equal(block[1][valid], stored[1][valid])
    assert raster.info.bands[0].units == "K"
    assert open_raster(path, bands=(2,)).info.dtype == np.uint16


def test_bands_by_number_and_name(tif, grid):
    path = tif("a.tif", coordinates(5, 7), grid(5, 7))
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("rows", "cols")
    for bands in ((2, 1), ("cols", "rows"), ("2", "1")):
        raster = open_raster(path, bands=bands)
        assert raster.info.band_names == ("cols", "rows")
        np.testing.assert_array_equal(whole(raster)[0], coordinates(5, 7)[::-1])
    for wrong in (3, 0, "x"):
        with pytest.raises(InputError, match=r"has no band .* choose among 1 to 2 or rows, cols"):
            open_raster(path, bands=(wrong,))


def test_of_many_files_a_message_names_the_first(tif, grid):
    """A stack of two years of dates filled a screen with every warning."""
    paths = [tif(f"{k}.tif", coordinates(4, 5)[:1], grid(4, 5)) for k in range(6)]
    with open_raster(paths[:4]) as four, open_raster(paths) as six:
        assert four.info.path == " + ".join(paths[:4])
        assert six.info.path == f"{paths[0]} + 5 more"
        assert six.info.origin == six.info.to_json()["path"] == " + ".join(paths)
    with pytest.raises(InputError, match=r"0.tif \+ 5 more: has no band x"):
        open_raster(paths, bands=("x",))


def test_files_on_one_grid_stack(tif, grid):
    array = coordinates(5, 7)
    paths = [tif("B02.tif", array[:1], grid(5, 7)), tif("B03.tif", array[1:], grid(5, 7))]
    raster = open_raster(paths)
    assert raster.info.band_names == ("B02", "B03")
    assert raster.info.path == " + ".join(paths)
    np.testing.assert_array_equal(whole(raster)[0], array)
    np.testing.assert_array_equal(whole(open_raster(paths, bands=("B03",)))[0], array[1:])


def test_clashing_names_get_their_stem(tif, grid):
    array = coordinates(5, 7)
    paths = [tif("a.tif", array, grid(5, 7)), tif("b.tif", array, grid(5, 7))]
    names = open_raster(paths).info.band_names
    assert names == ("a:band 1", "a:band 2", "b:band 1", "b:band 2")
    assert open_raster([paths[0], paths[0]]).info.band_names[0] == "a:band 1#1"


def test_every_thread_reads_the_same_and_pickles_read_too(tif, grid):
    array = coordinates(200, 300)
    raster = open_raster(tif("a.tif", array, grid(200, 300), tiled=True, compress="deflate"))
    raster = pickle.loads(pickle.dumps(raster))
    windows = [Window(c, r, 30, 20) for r in range(0, 200, 20) for c in range(0, 300, 30)]
    with ThreadPoolExecutor(8) as pool:
        for window, (block, valid) in zip(windows, pool.map(raster.read, windows), strict=True):
            np.testing.assert_array_equal(block, array[(slice(None), *window.toslices())])
            assert valid.all()


def test_a_relative_name_is_read_by_a_process_that_stands_elsewhere(
    tif, grid, tmp_path, monkeypatch
):
    array = coordinates(5, 7)
    tif("a.tif", array, grid(5, 7))
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(open_raster("a.tif"))
    monkeypatch.chdir("/")
    raster = pickle.loads(sent)
    assert raster.info.path == "a.tif"  # what is told stays the user's own name
    np.testing.assert_array_equal(raster.read(Window(0, 0, 7, 5))[0], array)


def handles(path: str) -> int:
    links = Path("/proc/self/fd")
    if not links.exists():
        pytest.skip("/proc/self/fd is absent")
    return sum(1 for link in links.iterdir() if link.is_symlink() and str(link.resolve()) == path)


def test_close_lets_go_of_the_handles_of_all_threads(tif, grid):
    path = str(Path(tif("a.tif", coordinates(50, 70), grid())).resolve())
    raster = open_raster(path)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: raster.read(Window(0, 0, 9, 9)), range(8)))
        assert handles(path) >= 2
        raster.close()
        assert handles(path) == 0
    assert raster.read(Window(0, 0, 1, 1))[0].tolist() == [[[1]], [[1]]]


@pytest.mark.parametrize("turn", [Affine.rotation(30), Affine.scale(1, -1)])
def test_rotated_and_south_up_grids_are_read_as_they_are(tif, grid, turn):
    geobox = GeoBox((5, 7), grid(5, 7).transform @ turn, "EPSG:32618")
    raster = open_raster(tif("a.tif", coordinates(5, 7), geobox))
    assert raster.info.geobox.transform.almost_equals(geobox.transform, 1e-9)
    np.testing.assert_array_equal(whole(raster)[0], coordinates(5, 7))


def test_no_crs_is_read_as_none_and_can_be_assumed(tif):
    geobox = GeoBox((5, 7), Affine.identity(), None)
    path = tif("a.tif", coordinates(5, 7), geobox)
    raster = open_raster(path)
    assert raster.info.geobox.crs is None
    info = open_raster(path, assumed=Assumed("EPSG:32618")).info
    assert info.geobox.crs == "EPSG:32618"


def test_assumed_crs_must_be_one_and_must_not_contradict(tif, grid):
    path = tif("a.tif", coordinates(5, 7), grid(5, 7))
    assert open_raster(path, assumed=Assumed("EPSG:32618")).info.geobox.crs == "EPSG:32618"
    with pytest.raises(InputError, match="has the CRS EPSG:32618"):
        open_raster(path, assumed=Assumed("EPSG:4326"))
    with pytest.raises(UsageError, match="not a CRS"):
        open_raster(path, assumed=Assumed("nonsense"))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "int64"])
def test_an_assumed_nodata_value_is_read_as_a_declared_one(tif, grid, dtype):
    array = coordinates(5, 7, dtype)
    array[0, 2, 3] = array[1, 4, 4] = 99
    told = whole(open_raster(tif("told.tif", array, grid(5, 7), nodata=99)))
    with open_raster(tif("a.tif", array, grid(5, 7)), assumed=Assumed(nodata=99)) as raster:
        assert (raster.info.valid_from, raster.info.bands[1].nodata) == ("assumed", 99)
        for source in (raster, pickle.loads(pickle.dumps(raster))):
            block, valid = whole(source)
            assert np.array_equal(block, told[0])
            assert np.array_equal(valid, told[1])
            assert (~valid).sum() == 2


def test_an_assumed_nodata_value_is_one_as_stored(tif, grid):
    path = tif("a.tif", coordinates(5, 7), grid(5, 7))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 0.5), (-10.0, -10.0)
    plain, taken = (whole(open_raster(path, assumed=Assumed(nodata=n))) for n in (None, 7))
    stored = (coordinates(5, 7) == 7).any(axis=0)
    assert stored.any()
    assert np.array_equal(plain[1] & ~stored, taken[1])


def test_a_band_that_tells_its_valid_pixels_keeps_them(tif, grid, caplog):
    array = coordinates(5, 7)
    own = tif("own.tif", array, grid(5, 7), nodata=1)
    plain = tif("plain.tif", array.astype("uint8"), grid(5, 7))
    with caplog.at_level(logging.WARNING):
        raster = open_raster([own, plain], assumed=Assumed(nodata=3))
    assert [band.nodata for band in raster.info.bands] == [1, 1, 3, 3]
    assert "own.tif: --assume-nodata 3 is not used, all bands tell their own" in caplog.text
    with caplog.at_level(logging.WARNING):
        assert open_raster(plain, assumed=Assumed(nodata=-9999)).info.valid_from == "all"
    assert "plain.tif: --assume-nodata -9999 is not used, no band can hold it" in caplog.text


def test_missing_file_and_unreadable_file_have_their_own_words(tmp_path):
    with pytest.raises(InputError, match=r"gone\.tif: no such file"):
        open_raster(str(tmp_path / "gone.tif"))
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(InputError, match=r"text\.tif: cannot be read as a raster"):
        open_raster(str(tmp_path / "text.tif"))
    (tmp_path / "empty.tif").touch()
    with pytest.raises(InputError, match=r"empty\.tif: cannot be read as a raster"):
        open_raster(str(tmp_path / "empty.tif"))
    with pytest.raises(InputError, match="no input"):
        open_raster([])


def test_a_truncated_file_fails_by_name_at_read(tif, grid):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 60000, (1, 512, 512)).astype("uint16")
    path = Path(tif("a.tif", array, grid(512, 512), tiled=True, compress="deflate"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.tif: .*truncated|a\.tif: cannot be read"):
        whole(open_raster(str(path)))


def test_complex_bands_are_refused(tif, grid):
    path = tif("c.tif", np.ones((1, 5, 7), "complex64"), grid(5, 7))
    with pytest.raises(InputError, match=r"c\.tif: bands are complex64"):
        open_raster(path)


def test_ground_control_points_alone_are_refused(tmp_path):
    path = str(tmp_path / "g.tif")
    points = [GroundControlPoint(r, c, 10 + c, 50 - r) for r, c in ((0, 0), (0, 6), (4, 0))]
    with rasterio.open(
        path, "w", driver="GTiff", width=7, height=5, count=1, dtype="uint8"
    ) as dataset:
        dataset.gcps = (points, rasterio.CRS.from_epsg(4326))
    with pytest.raises(InputError, match=r"g\.tif: has 3 ground control points .*gdalwarp"):
        open_raster(path)


def test_vsi_names_pass_through(tif, grid, tmp_path):
    import zipfile

    path = tif("a.tif", coordinates(5, 7), grid(5, 7))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "a.tif")
    raster = open_raster(f"/vsizip/{tmp_path}/a.zip/a.tif")
    np.testing.assert_array_equal(whole(raster)[0], coordinates(5, 7))


def test_a_geotiff_needs_neither_xarray_nor_geopandas():
    code = (
        "import sys, stcli.raster.reading.read, stcli.raster.writing.write;"
        "import stcli.raster.tables.vectors;"
        "print([m for m in ('xarray', 'geopandas', 'netCDF4') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_pipe_by_a_name_is_sent_to_stdin(tmp_path):
    """As ``<(…)`` of a shell is: GDAL says that an IFD starts elsewhere, or reads it once."""
    pipe = tmp_path / "pipe.tif"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=r"a pipe, .* only once; send it to stdin and name -"):
        open_raster(str(pipe))


@pytest.mark.real
def test_a_real_ground_control_point_scene_is_refused(real):
    with pytest.raises(InputError, match="210 ground control points"):
        open_raster(str(next(real("s1-chips").glob("*.tiff"))))


@pytest.mark.real
def test_a_real_four_band_photograph(real, caplog):
    path = str(real("chesapeake-naip-lc") / "train_image.tif")
    assert open_raster(path).info.count == 3
    assert "alpha" in caplog.text
    assert open_raster(path, bands=(1, 2, 3, 4)).info.count == 4


def many_sources(path, count=20_000):
    """Lay a file out along a row, again and again: a VRT whose text is long."""
    source = (
        "<SimpleSource><SourceFilename>{0}</SourceFilename><SourceBand>1</SourceBand>"
        '<SourceProperties RasterXSize="8" RasterYSize="8" DataType="UInt8" BlockXSize="8" '
        'BlockYSize="8"/><SrcRect xOff="0" yOff="0" xSize="8" ySize="8"/>'
        '<DstRect xOff="{1}" yOff="0" xSize="8" ySize="8"/></SimpleSource>'
    )
    one = np.full((1, 8, 8), 7, np.uint8)
    with rasterio.open(
        path.with_name("one.tif"),
        "w",
        "GTiff",
        8,
        8,
        1,
        "EPSG:32618",
        Affine(1, 0, 0, 0, -1, 0),
        "uint8",
    ) as made:
        made.write(one)
    path.write_text(
        f'<VRTDataset rasterXSize="{8 * count}" rasterYSize="8"><SRS>EPSG:32618</SRS>'
        '<GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform><VRTRasterBand dataType="Byte" band="1">'
        + "".join(source.format(path.with_name("one.tif"), 8 * k) for k in range(count))
        + "</VRTRasterBand></VRTDataset>"
    )
    return path


def one_strip_of_all(path):
    return one_strip(path, "pixel")


def one_strip_a_band(path):
    return one_strip(path, "band")


def one_strip(path, interleave):
    """Write a raster whose pixels are one packed strip, of each band or of all."""
    shape = {"height": 1500, "width": 1500, "count": 4, "blockysize": 1500}
    grid = {"crs": "EPSG:32618", "transform": Affine(1, 0, 0, 0, -1, 0)}
    noise = np.random.default_rng(0).integers(0, 4000, (4, 1500, 1500)).astype("uint16")
    noise[:, 0, 0] = 7
    packed = {"compress": "deflate", "zlevel": 1, "interleave": interleave}
    with rasterio.open(path, "w", "GTiff", dtype="uint16", **shape, **grid, **packed) as made:
        made.write(noise)
    return path


RING = (
    '<SimpleSource><SourceFilename relativeToVRT="1">one.vrt</SourceFilename>'
    "<SourceBand>1</SourceBand></SimpleSource>"
)


def one_strip_behind(path):
    """Write a VRT over a VRT over one packed strip."""
    inner = one_strip(path.with_name("strip.tif"), "pixel")
    for made in (path.with_name("inner.vrt"), path):
        rasterio.shutil.copy(inner, made, driver="VRT")
        inner = made
    return path


@pytest.mark.long
@pytest.mark.parametrize(
    "make", [many_sources, one_strip_of_all, one_strip_a_band, one_strip_behind]
)
def test_each_threads_handle_holds_no_more_than_is_counted(tmp_path, make):
    virtual = make in (many_sources, one_strip_behind)
    path = make(tmp_path / ("long.vrt" if virtual else "strip.tif"))
    code = """
import os, sys, threading
os.environ['GDAL_CACHEMAX'] = '1000000'
from rasterio.windows import Window
from stcli.engine.machine import resident
from stcli.raster.reading.read import open_raster

def look():
    seen.append(raster.read(Window(0, 0, 8, 8))[0][0, 0, 0])
    meet.wait(60)
    meet.wait(60)

raster = open_raster(sys.argv[1])
raster.read(Window(0, 0, 8, 8))
before, seen, meet = resident(), [], threading.Barrier(4)
threads = [threading.Thread(target=look) for _ in range(3)]
for thread in threads:
    thread.start()
meet.wait(60)
grown = resident() - before
meet.wait(60)
assert seen == [7, 7, 7], seen
held = raster.info.held
opened = [0, *held.opened]
more = opened[min(4, len(opened) - 1)] - opened[min(1, len(opened) - 1)]
print(grown / (3 * held.thread + more))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert 0.1 < float(ran.stdout) < 1


def test_files_behind_a_vrt_are_counted_as_often_as_they_may_be_open(tmp_path):
    one = one_strip_behind(tmp_path / "one.vrt")
    block = 4 * 1500 * 1500 * 2  # of all bands, as it came, and a band of it
    held = open_raster(str(one)).info.held
    assert held.opened[0] == held.behind[0] + sum(held.behind[1:])
    assert 1.25 * block < held.opened[0] < 2.25 * block + 100_000
    assert held.opened[2] > 2.9 * held.opened[0]
    assert len(held.opened) <= POOL
    many = sum([held] * 2 * POOL, Held())
    assert len(many.behind) == POOL
    assert many.opened == (POOL * held.behind[0],)


def test_vrts_behind_themselves_are_looked_at_once(tmp_path):
    one = one_strip_behind(tmp_path / "one.vrt")
    held = open_raster(str(one)).info.held
    inner = tmp_path / "inner.vrt"
    inner.write_text(inner.read_text().replace("</VRTRasterBand>", RING + "</VRTRasterBand>", 1))
    found = describe(rasterio.open(one), "one.vrt").held
    assert len(found.behind) == len(held.behind)
    assert found.behind[0] == held.behind[0]


def test_a_vrt_of_what_is_not_there_counts_the_rest(tmp_path):
    one = one_strip_behind(tmp_path / "one.vrt")
    (tmp_path / "strip.tif").unlink()
    (tmp_path / "inner.vrt").write_text("no raster")
    info = describe(rasterio.open(one), "one.vrt")
    assert info.held.opened == (0,)
