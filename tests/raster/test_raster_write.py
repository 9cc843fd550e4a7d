from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window
from rasterworld import coordinates
from rio_cogeo import cog_validate

from stcli.errors import OutputError, UsageError
from stcli.raster.reading.read import open_raster
from stcli.raster.writing import finish, output, tiffblocks
from stcli.raster.writing.publish import withdraw
from stcli.raster.writing.write import (
    OutputBand,
    OutputSpec,
    create_raster,
    create_rasters,
    refuse_output,
)

COLOURS = {0: (0, 0, 0, 0), 1: (0, 0, 255, 255), 2: (0, 128, 0, 255)}
CATEGORIES = ("", "water", "forêt & <bois>")


def spec_of(kind, path, **changes):
    name = str(path)
    spec = {
        "classes": OutputSpec(
            name, "uint8", (OutputBand("class", COLOURS, CATEGORIES),), 0, "classes"
        ),
        "labels": OutputSpec(name, "uint32", (OutputBand("label"),), 0, "labels"),
        "continuous": OutputSpec(
            name, "float32", (OutputBand("p1"), OutputBand("p2")), math.nan, "continuous"
        ),
    }[kind]
    return replace(spec, **changes)


def array_of(spec, rows, cols):
    r, c = np.mgrid[:rows, :cols]
    array = np.stack([(r // 7 + c // 5 + k) % 3 for k in range(len(spec.bands))])
    array = array.astype(spec.dtype)
    if spec.kind == "continuous":
        array[:, 2:4, 2:4] = np.nan
    return array


def write(spec, geobox, array, step=300):
    rows, cols = array.shape[1:]
    with create_raster(spec, geobox) as writer:
        for r in range(0, rows, step):
            for c in range(0, cols, step):
                window = Window(c, r, min(step, cols - c), min(step, rows - r))
                writer.write(window, array[(slice(None), *window.toslices())])


KINDS = ("classes", "labels", "continuous")
SHAPES = ((1300, 1100), (513, 40), (3, 2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_and_the_file_is_a_valid_cog(tmp_path, grid, kind, shape):
    path = tmp_path / "out.tif"
    spec = spec_of(kind, path, tags={"TOOL": "stcli"})
    array = array_of(spec, *shape)
    write(spec, grid(*shape), array)
    valid, errors, warnings = cog_validate(str(path), strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), array)
        assert dataset.descriptions == tuple(band.name for band in spec.bands)
        assert dataset.tags()["TOOL"] == "stcli"
        assert dataset.compression.name == "zstd"
        assert dataset.block_shapes[0] == (512, 512)
        assert bool(dataset.overviews(1)) == (max(shape) > 512)
        nodata = dataset.nodata
    assert math.isnan(nodata) if kind == "continuous" else nodata == 0
    left = {"out.tif", "out.tif.aux.xml"} if kind == "classes" else {"out.tif"}
    assert {file.name for file in tmp_path.iterdir()} == left


@pytest.mark.gdal
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_second_validator_agrees(tmp_path, grid, kind, shape):
    script = Path(
        "/usr/lib/python3/dist-packages/osgeo_utils/samples/validate_cloud_optimized_geotiff.py"
    )
    if not script.exists():
        pytest.skip("GDAL's validate_cloud_optimized_geotiff.py (python3-gdal) is absent")
    spec = spec_of(kind, tmp_path / "out.tif")
    write(spec, grid(*shape), array_of(spec, *shape))
    run = subprocess.run(
        ["/usr/bin/python3", str(script), "--full-check=yes", spec.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "is a valid cloud optimized GeoTIFF" in run.stdout


@pytest.mark.gdal
def test_gdal_sees_the_legend(tmp_path, grid):
    if not shutil.which("gdalinfo"):
        pytest.skip("gdalinfo (gdal-bin) is absent")
    spec = spec_of("classes", tmp_path / "out.tif")
    write(spec, grid(40, 70), array_of(spec, 40, 70))
    run = subprocess.run(["gdalinfo", spec.path], capture_output=True, text=True, check=True)
    assert "1: water" in run.stdout
    assert "2: forêt & <bois>" in run.stdout
    assert "<F>forêt &amp; &lt;bois&gt;</F>" in run.stdout
    assert "1: 0,0,255,255" in run.stdout


def test_the_legend_is_in_the_file_and_beside_it(tmp_path, grid):
    spec = spec_of("classes", tmp_path / "out.tif")
    write(spec, grid(40, 70), array_of(spec, 40, 70))
    with rasterio.open(spec.path) as dataset:
        assert dataset.tags(1)["class_1"] == "water"
        assert dataset.tags(1)["class_2"] == "forêt & <bois>"
        assert "class_0" not in dataset.tags(1)
        colours = dataset.colormap(1)
        assert colours[1] == COLOURS[1]
        assert colours[0][3] == 0
    # GDAL's own view of the category names, which rasterio has no word for
    rasterio.shutil.copy(spec.path, tmp_path / "view.vrt", driver="VRT")
    assert "<Category>water</Category>" in (tmp_path / "view.vrt").read_text()


def test_overviews_of_classes_and_labels_hold_only_values_of_the_raster(tmp_path, grid):
    for kind in ("classes", "labels"):
        spec = spec_of(kind, tmp_path / f"{kind}.tif")
        array = array_of(spec, 1300, 1100) * (7 if kind == "labels" else 1)
        array[array == 1] = 2 if kind == "classes" else 7
        write(spec, grid(1300, 1100), array)
        with rasterio.open(spec.path, overview_level=0) as overview:
            assert set(np.unique(overview.read())) <= set(np.unique(array))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.floats(-1e7, 1e7),
    st.floats(-1e7, 1e7),
    st.floats(1e-5, 1e4),
    st.sampled_from(["EPSG:32618", "EPSG:4326", "EPSG:3035", "+proj=sinu +R=6371007.181", None]),
    st.sampled_from([0, 17.5, 90]),
    st.booleans(),
)
def test_crs_and_transform_are_kept_to_the_bit(tmp_path, x, y, step, crs, angle, south_up):
    turned = Affine.translation(x, y) @ Affine.rotation(angle)
    transform = turned @ Affine.scale(step, step if south_up else -step / 3)
    geobox = GeoBox((4, 6), transform, crs)
    spec = spec_of("labels", tmp_path / "out.tif", overwrite=True)
    write(spec, geobox, array_of(spec, 4, 6))
    with rasterio.open(spec.path) as dataset:
        assert tuple(dataset.transform) == tuple(transform)
        if crs is None:
            assert dataset.crs is None
        else:
            assert dataset.crs == rasterio.CRS.from_user_input(crs)


@pytest.mark.real
@pytest.mark.parametrize("name", ["s2-eastern-shore-l1c", "mt-masks-large", "dem-bigtujunga-30m"])
def test_a_real_grid_goes_through_unchanged(tmp_path, real, name):
    path = str(next(real(name).glob("*.tif")))
    geobox = open_raster(path).info.geobox
    spec = spec_of("labels", tmp_path / "out.tif")
    with create_raster(spec, geobox):
        pass  # never written: nodata everywhere
    with rasterio.open(path) as given_raster, rasterio.open(spec.path) as dataset:
        assert dataset.crs == given_raster.crs
        assert dataset.crs.to_wkt() == given_raster.crs.to_wkt()
        assert tuple(dataset.transform) == tuple(given_raster.transform)
        assert not dataset.read(1, window=Window(0, 0, 99, 99)).any()


def test_area_or_point_is_kept(tmp_path, grid):
    spec = spec_of("labels", tmp_path / "out.tif", tags={"AREA_OR_POINT": "Point"})
    write(spec, grid(4, 6), array_of(spec, 4, 6))
    with rasterio.open(spec.path) as dataset:
        assert dataset.tags()["AREA_OR_POINT"] == "Point"
        assert dataset.transform == grid(4, 6).transform


def test_bytes_depend_neither_on_threads_nor_on_the_order_of_blocks(tmp_path, grid, monkeypatch):
    results = []
    for threads, step in (("1", 300), ("4", 300), ("ALL_CPUS", 177)):
        monkeypatch.setenv("GDAL_NUM_THREADS", threads)
        spec = spec_of("continuous", tmp_path / "out.tif", overwrite=True)
        array = coordinates(900, 700, "float32") % 37
        write(spec, grid(900, 700), array, step)
        results.append(Path(spec.path).read_bytes())
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("driver", ["COG", "GTiff"])
def test_what_is_noted_meanwhile_is_in_the_file(tmp_path, grid, driver):
    spec = spec_of("labels", tmp_path / "out.tif", driver=driver, tags={"TOOL": "stcli"})
    with create_raster(spec, grid(70, 90)) as writer:
        writer.note("FOUND", "seven")
        writer.write(Window(0, 0, 90, 70), array_of(spec, 70, 90))
    with rasterio.open(spec.path) as dataset:
        assert dataset.tags() == {"TOOL": "stcli", "FOUND": "seven", "AREA_OR_POINT": "Area"}


def test_blocks_may_come_from_many_threads(tmp_path, grid):
    spec = spec_of("labels", tmp_path / "out.tif")
    array = coordinates(700, 900)[:1].astype("uint32")
    windows = [Window(c, r, 90, 70) for r in range(0, 700, 70) for c in range(0, 900, 90)]
    with create_raster(spec, grid(700, 900)) as writer, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda w: writer.write(w, array[(slice(None), *w.toslices())]), windows))
    with rasterio.open(spec.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), array)


def test_creation_options_are_the_user_s(tmp_path, grid):
    chosen = {"compress": "zstd", "BLOCKSIZE": "128", "OVERVIEWS": "NONE"}
    spec = spec_of("labels", tmp_path / "out.tif", creation_options=chosen)
    write(spec, grid(700, 700), array_of(spec, 700, 700))
    with rasterio.open(spec.path) as dataset:
        assert dataset.compression.name == "zstd"
        assert dataset.block_shapes == [(128, 128)]
        assert dataset.overviews(1) == []


@pytest.mark.parametrize(
    ("driver", "chosen", "words"),
    [
        ("GTiff", "COMPRES=ZSTD", "--co COMPRES: unknown to GTiff, one of its options is wanted,"),
        ("COG", "TILED=YES", "--co TILED: unknown to COG, one of its options is wanted, such as"),
        ("COG", "COMPRES=ZSTD", "such as COMPRESS"),
        ("COG", "compress=ZSDT", "--co COMPRESS=ZSDT: one of NONE, LZW, .*ZSTD, .* is wanted"),
        ("COG", "LEVEL=high", "--co LEVEL=high: a whole number is wanted"),
        ("COG", "RES=x", "--co RES=x: a number is wanted"),
        ("GTiff", "TILED=MAYBE", "--co TILED=MAYBE: YES or NO is wanted"),
        ("COG", "BLOCKSIZE=100", "--co BLOCKSIZE=100: a multiple of 16 is wanted"),
        ("GTiff", "BLOCKYSIZE=-16", "--co BLOCKYSIZE=-16: a multiple of 16 is wanted"),
        ("COG", "COMPRESS=JPEG", "JPEG: found with 1 of uint32, a band of 8 bits is wanted"),
        ("COG", "OVERVIEW_COMPRESS=WEBP", "an output of 3 or 4 bands of 8 bits is wanted"),
        ("COG", "TARGET_SRS=EPSG:4326", "--co TARGET_SRS: would change the grid or the numbers"),
        ("COG", "TILING_SCHEME=GoogleMapsCompatible", "--co TILING_SCHEME: would change the grid"),
        ("COG", "MAX_Z_ERROR=2", "--co MAX_Z_ERROR=2: for labels a codec without loss is wanted"),
    ],
)
def test_creation_options_that_gdal_would_pass_over_are_refused(
    tmp_path, grid, driver, chosen, words
):
    options = dict([chosen.split("=")])
    spec = spec_of("labels", tmp_path / "out.tif", driver=driver, creation_options=options)
    with pytest.raises(UsageError, match=words), create_raster(spec, grid()):
        raise AssertionError("no work is done")
    assert not list(tmp_path.iterdir())


def test_strips_are_of_any_height(tmp_path, grid):
    options = {"TILED": "no", "BLOCKYSIZE": "3"}
    spec = spec_of("labels", tmp_path / "out.tif", driver="GTiff", creation_options=options)
    write(spec, grid(20, 30), array_of(spec, 20, 30))
    with rasterio.open(spec.path) as dataset:
        assert dataset.block_shapes == [(3, 30)]


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_a_codec_that_writes_nothing_of_long_numbers_is_refused(tmp_path, grid, dtype):
    options = {"COMPRESS": "LERC_ZSTD"}
    spec = spec_of("labels", tmp_path / "out.tif", dtype=dtype, creation_options=options)
    with pytest.raises(UsageError, match=f"with 1 of {dtype}, a band of 32 bits is wanted"):
        refuse_output(spec)


def test_a_failure_is_not_the_disk_s_where_options_were_asked_for(tmp_path, grid):
    options = {"COMPRESS": "CCITTFAX4"}
    spec = spec_of("classes", tmp_path / "out.tif", driver="GTiff", creation_options=options)
    with pytest.raises(OutputError, match=r"Bits/sample.*check what --co asks for") as refused:
        write(spec, grid(40, 70), array_of(spec, 40, 70))
    assert "bytes are free" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_lossy_compression_is_let_through(tmp_path, grid):
    chosen = {"COMPRESS": "LERC", "MAX_Z_ERROR": "0.1"}
    spec = spec_of("continuous", tmp_path / "out.tif", creation_options=chosen)
    array = np.random.default_rng(0).random((2, 600, 600), "float32")
    write(spec, grid(600, 600), array)
    with rasterio.open(spec.path) as dataset:
        assert 0 < np.abs(dataset.read() - array).max() <= 0.1001


@pytest.mark.parametrize(
    "options",
    [{}, {"BIGTIFF": "YES"}, {"COMPRESS": "NONE"}, {"COMPRESS": "LZW"}, {"INTERLEAVE": "BAND"}],
    ids=str,
)
def test_plain_geotiff(tmp_path, grid, options):
    path = tmp_path / "out.tif"
    spec = spec_of("classes", path, driver="GTiff", creation_options=options)
    array = array_of(spec, 700, 900)
    write(spec, grid(700, 900), array)
    with rasterio.open(spec.path) as dataset:
        np.testing.assert_array_equal(dataset.read(), array)
        assert dataset.overviews(1) == []
        assert dataset.block_shapes == [(512, 512)]


def test_a_geotiff_that_outgrows_its_format_is_refused(tmp_path, grid, monkeypatch):
    monkeypatch.setattr(tiffblocks, "_CLASSIC_MOST", 1000)
    options = {"BIGTIFF": "NO", "COMPRESS": "NONE"}
    path = tmp_path / "out.tif"
    spec = spec_of("continuous", path, driver="GTiff", creation_options=options)
    with pytest.raises(OutputError, match="BIGTIFF=YES"):
        write(spec, grid(700, 900), array_of(spec, 700, 900))
    assert not list(tmp_path.iterdir())


def test_stdout(tmp_path, capfdbinary, grid):
    spec = spec_of("classes", "-")
    array = array_of(spec, 40, 70)
    write(spec, grid(40, 70), array)
    (tmp_path / "out.tif").write_bytes(capfdbinary.readouterr().out)
    with rasterio.open(tmp_path / "out.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), array)


def test_an_existing_output_is_refused_at_entry_and_overwritten_when_told(tmp_path, grid):
    spec = spec_of("classes", tmp_path / "out.tif")
    write(spec, grid(40, 70), array_of(spec, 40, 70))
    before = Path(spec.path).read_bytes()
    with pytest.raises(OutputError, match=r"out\.tif: exists already; give --overwrite"):
        write(spec, grid(40, 70), array_of(spec, 40, 70))
    assert Path(spec.path).read_bytes() == before
    (tmp_path / "out.tif.ovr").touch()
    write(spec_of("labels", spec.path, overwrite=True), grid(3, 2), np.ones((1, 3, 2), "uint32"))
    assert [file.name for file in tmp_path.iterdir()] == ["out.tif"]  # no stale legend


@pytest.mark.parametrize("suffix", [".ovr", ".msk", ".aux.xml"])
def test_a_file_of_another_beside_a_new_output_is_not_removed_unasked(tmp_path, grid, suffix):
    spec = spec_of("classes", tmp_path / "out.tif")
    companion = tmp_path / f"out.tif{suffix}"
    companion.write_text("another's")
    with pytest.raises(OutputError, match=rf"out\.tif{suffix}: exists already.*--overwrite"):
        write(spec, grid(40, 70), array_of(spec, 40, 70))
    assert [file.name for file in tmp_path.iterdir()] == [companion.name]
    assert companion.read_text() == "another's"
    write(replace(spec, overwrite=True), grid(40, 70), array_of(spec, 40, 70))
    assert {file.name for file in tmp_path.iterdir()} == {"out.tif", "out.tif.aux.xml"}
    with rasterio.open(spec.path) as dataset:
        assert dataset.overviews(1) == []


def test_an_output_that_cannot_be_is_refused_at_entry(tmp_path, grid):
    for path, words in (
        (tmp_path / "no" / "out.tif", "there is no directory"),
        (tmp_path, "is a directory"),
        ("/vsis3/bucket/out.tif", "name a local file"),
    ):
        with (
            pytest.raises(OutputError, match=words),
            create_raster(spec_of("labels", path), grid()),
        ):
            pytest.fail("the work began")
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError),
        create_raster(spec_of("labels", tmp_path / "file" / "out.tif"), grid()),
    ):
        pytest.fail("the work began")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_after_an_error_nothing_is_left(tmp_path, grid, error):
    spec = spec_of("labels", tmp_path / "out.tif")
    with pytest.raises(error), create_raster(spec, grid()) as writer:  # noqa: PT012
        writer.write(Window(0, 0, 5, 5), np.ones((1, 5, 5), "uint32"))
        assert [f.name.startswith(".out.tif.stcli-") for f in tmp_path.iterdir()] == [True]
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_linked_directory_is_taken_away_and_what_it_leads_to_stays(tmp_path):
    (tmp_path / "store" / "band").mkdir(parents=True)
    link = tmp_path / "o.zarr"
    link.symlink_to("store")
    (tmp_path / "o.zarr.aux.xml").write_text("of the output")
    withdraw(str(link))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (tmp_path / "store" / "band").is_dir()


def test_an_interrupted_overwrite_leaves_the_old_file(tmp_path, grid):
    path = tmp_path / "out.tif"
    path.write_text("old")
    spec = spec_of("labels", path, overwrite=True)
    with pytest.raises(KeyboardInterrupt), create_raster(spec, grid()):
        raise KeyboardInterrupt
    assert path.read_text() == "old"


def test_outputs_created_together_appear_together(tmp_path, grid, monkeypatch):
    specs = [spec_of(kind, tmp_path / f"{kind}.tif") for kind in KINDS]
    with create_rasters(specs, grid(9, 9)) as writers:
        for writer, spec in zip(writers, specs, strict=True):
            writer.write(Window(0, 0, 9, 9), array_of(spec, 9, 9))
    names = {"classes.tif", "classes.tif.aux.xml", "labels.tif", "continuous.tif"}
    assert {file.name for file in tmp_path.iterdir()} == names
    for file in tmp_path.iterdir():
        file.unlink()
    copy = finish._copy

    def fail(spec, source, target):
        if "continuous" in str(target):
            raise OSError("no")
        copy(spec, source, target)

    monkeypatch.setattr(finish, "_copy", fail)
    with pytest.raises(OutputError), create_rasters(specs, grid(9, 9)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_block_of_another_kind_is_a_programming_error(tmp_path, grid):
    spec = spec_of("labels", tmp_path / "out.tif")
    for block in (np.ones((1, 5, 5), "int32"), np.ones((5, 5), "uint32"), np.ones((1, 4, 5), "u4")):
        with pytest.raises(ValueError, match="a block of"), create_raster(spec, grid()) as writer:
            writer.write(Window(0, 0, 5, 5), block)


def test_blocks_lost_on_the_way_are_noticed(tmp_path, grid, monkeypatch):
    """A disk that fills while GDAL flushes: the copy succeeds and holds nodata instead."""
    copy = finish._copy

    def lose(spec, source, target):
        with rasterio.open(source, "r+") as dataset:
            dataset.write(np.zeros((1, 5, 5), "uint32"), window=Window(0, 0, 5, 5))
        copy(spec, source, target)

    monkeypatch.setattr(finish, "_copy", lose)
    spec = spec_of("labels", tmp_path / "out.tif")
    with pytest.raises(OutputError, match="read back differ"):
        write(spec, grid(50, 70), np.ones((1, 50, 70), "uint32"))
    assert list(tmp_path.iterdir()) == []


FILL = """
    import resource, sys
    import numpy as np
    from odc.geo.geobox import GeoBox
    from rasterio import Affine
    from rasterio.windows import Window
    from stcli.errors import OutputError
    from stcli.raster.writing.write import OutputBand, OutputSpec, create_raster

    path, size, limit, driver = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    grid = GeoBox((size, size), Affine(10, 0, 0, 0, -10, 0), "EPSG:32618")
    spec = OutputSpec(path, "float32", (OutputBand("x"),), None, "continuous", driver=driver)
    noise = np.random.default_rng(0).random((1, size, size), dtype="float32")
    try:
        with create_raster(spec, grid) as writer:
            for row in range(0, size, 100):
                part = noise[:, row : row + 100]
                writer.write(Window(0, row, size, part.shape[1]), part)
    except OutputError as error:
        print(error)
        sys.exit(4)
"""


def fill(folder: Path, size: int, limit: int, driver: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-c", textwrap.dedent(FILL),
            str(folder / "out.tif"), str(size), str(limit), driver,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip


@pytest.fixture
def small_disk(tmp_path):
    """Mount 3 MB of memory as a disk, or skip by name where that is not permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not permitted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# noise of n x n float32 in a spool, then a second time in the final file: 0.9 MB at 500; what
# fills the disk is the final file or its overviews at 700, the spool at 1500
@pytest.mark.parametrize(("size", "driver"), [(700, "COG"), (1500, "COG"), (700, "GTiff")])
def test_a_full_disk_leaves_nothing(small_disk, size, driver):
    run = fill(small_disk, size, 0, driver)
    assert run.returncode == 4, run.stderr
    assert "out.tif: the disk is full" in run.stdout
    assert f"{size * size * 4:,} are needed" in run.stdout
    assert list(small_disk.iterdir()) == []


def test_a_disk_just_large_enough_is_enough(small_disk):
    assert fill(small_disk, 500, 0, "COG").returncode == 0
    assert cog_validate(str(small_disk / "out.tif"), strict=True, quiet=True)[0]


@pytest.mark.parametrize("limit", [50_000, 800_000, 1_000_000])
def test_a_file_size_limit_leaves_nothing(tmp_path, limit):
    pytest.importorskip("resource")
    run = fill(tmp_path, 520, limit, "COG")
    assert run.returncode == 4, run.stdout + run.stderr
    assert "out.tif: it cannot be written" in run.stdout or "the disk is full" in run.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("driver", ["COG", "GTiff"])
@pytest.mark.parametrize(("bands", "side"), [(8, 512), (12, 256), (40, 128), (200, 128)])
def test_blocks_of_many_bands_are_smaller_and_count_as_what_they_are(
    tmp_path, grid, driver, bands, side
):
    many = tuple(OutputBand(f"b{k}") for k in range(bands))
    path = tmp_path / "many.tif"
    spec = spec_of("continuous", path, bands=many, driver=driver, threads=1)
    array = array_of(spec, 300, 520)
    write(spec, grid(300, 520), array)
    with rasterio.open(path) as made:
        assert set(made.block_shapes) == {(side, side)}
        np.testing.assert_array_equal(made.read(), array)
    assert output.block_bytes(spec) == side**2 * 4 * bands
    given = "BLOCKSIZE" if driver == "COG" else "BLOCKXSIZE"
    larger = replace(spec, creation_options={given: "1024"})
    times = 1024**2 if driver == "COG" else 1024 * side
    assert output.block_bytes(larger) == times * 4 * bands
