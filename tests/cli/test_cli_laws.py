"""The laws, through the command line: tiling does not show, nodata does not spread, memory holds,
the same input gives the same bytes."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
from cliworld import BANDS, LABELS, NETWORK, SCENE, SLIC, good, holes, read, save, spawn
from cliworld import scene as crop
from rasterio.windows import Window

from stcli.segmentation.superpixels.slic import halo
from stcli.settings import SlicSettings

SEGMENT = ("--size", 25, "--iterations", 1)
REACH = {
    "segment": halo(SlicSettings(size=25, iterations=1)),
    "classify": halo(SLIC) + NETWORK.margin,
}
RUNS = [("100", "1"), ("100", "4"), ("256", "1"), ("256", "4"), ("0", "4")]


def verb(name, model):
    return SEGMENT if name == "segment" else ("--model", model)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Odd sides, a position off every block of the file, holes of nodata.

    Values are clipped, so that a crop, or a pixel less, has the same percentiles: `segment` scales
    by those of its raster, which is no matter of tiles.
    """
    folder = tmp_path_factory.mktemp("large")
    array, profile = crop(Window(201, 153, 389, 371))
    low, high = np.percentile(array, (10, 90), axis=(1, 2))
    array = array.clip(low[:, None, None], high[:, None, None]).round()
    array = np.where(holes(array), array, 0).astype("uint16")
    return save(folder / "large.tif", array, profile, nodata=0), array, profile


@pytest.fixture(scope="module")
def untiled(large, model, tmp_path_factory):
    """Results of the whole raster as one tile, by one worker: bands of every output."""
    folder = tmp_path_factory.mktemp("untiled")
    return {name: run(name, large[0], model, folder, "0", "1") for name in REACH}


def run(name, path, model, folder, tile_size="0", jobs="1"):
    outputs = [folder / f"{name}.tif"]
    more = []
    if name == "classify":
        outputs += [folder / "proba.tif", folder / "uncertainty.tif"]
        more = ["--proba", outputs[1], "--uncertainty", outputs[2]]
    how = ("--tile-size", tile_size, "-j", jobs, "-q", "--overwrite")
    good(name, path, outputs[0], *verb(name, model), *more, *how)
    return [read(path) for path in outputs]


@pytest.mark.parametrize("name", REACH)
@pytest.mark.parametrize(("tile_size", "jobs"), RUNS)
def test_tiles_and_workers_do_not_show(name, tile_size, jobs, large, untiled, model, tmp_path):
    found = run(name, large[0], model, tmp_path, tile_size, jobs)
    for ours, whole in zip(found, untiled[name], strict=True):
        assert ours.dtype == whole.dtype
        assert np.array_equal(ours, whole, equal_nan=ours.dtype.kind == "f")


def test_the_tile_sizes_of_the_law_do_cut(large, model, tmp_path):
    for name in REACH:
        how = (*verb(name, model), "--json", "--tile-size", "100")
        ran = good(name, large[0], tmp_path / f"{name}.tif", *how).json["run"]
        assert ran["tiles"] >= 9
        assert ran["halo"] == REACH[name] < 150


def shape_of(labels, inside):
    """Name each segment by its first pixel inside: labels are numbered by raster."""
    part = labels[inside]
    _, first, inverse = np.unique(part, return_index=True, return_inverse=True)
    return np.where(part == 0, -1, first[inverse].reshape(part.shape))


@pytest.mark.parametrize("name", REACH)
def test_a_shifted_crop_moves_nothing_inside(name, large, untiled, model, tmp_path):
    _, array, profile = large
    down, right = 37, 53
    moved = profile["transform"] @ profile["transform"].translation(right, down)
    part = np.ascontiguousarray(array[:, down:, right:])
    path = save(tmp_path / "crop.tif", part, profile, transform=moved, nodata=0)
    found, whole = run(name, path, model, tmp_path)[0][0], untiled[name][0][0]
    inside = np.s_[REACH[name] :, REACH[name] :]
    there = whole[down:, right:]
    assert found[inside].size > 200 * 150
    if name == "segment":
        assert np.array_equal(shape_of(found, inside), shape_of(there, inside))
    else:
        assert len(np.unique(found[inside])) == 4
        assert np.array_equal(found[inside], there[inside])


@pytest.mark.parametrize("name", REACH)
def test_a_nan_pixel_changes_nothing_beyond_the_reach(name, large, model, tmp_path):
    _, array, profile = large
    values = np.where(array > 0, array, np.nan).astype("float32")
    before = run(name, save(tmp_path / "before.tif", values, profile), model, tmp_path)
    row, col = 185, 195
    assert np.isfinite(values[:, row, col]).all()
    values[1, row, col] = np.nan
    after = run(name, save(tmp_path / "after.tif", values, profile), model, tmp_path)
    assert after[0][0, row, col] == 0
    assert before[0][0, row, col] > 0
    rows, cols = np.mgrid[: array.shape[1], : array.shape[2]]
    far = (abs(rows - row) > REACH[name]) | (abs(cols - col) > REACH[name])
    assert far.sum() > far.size / 3
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old[:, far], new[:, far], equal_nan=old.dtype.kind == "f")
        near = ~far & (before[0][0] > 0) & (after[0][0] > 0)
        assert np.isfinite(new[:, near].astype(float)).all()


@pytest.mark.long
def test_training_twice_gives_the_same_bytes(train, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tmp_path / name, epochs=2, seed=seed)
    for file in ("weights.safetensors", "card.json"):
        a, b, c = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert a == b
        assert a != c


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """About a thousand pixels a side: the sample scene beside itself."""
    array, profile = crop(Window(0, 0, 701, 683))
    array = np.ascontiguousarray(np.tile(array, (1, 2, 2))[:, :1003, :1017])
    return save(tmp_path_factory.mktemp("big") / "big.tif", array, profile, BANDS)


#: The high-water mark of this process alone; getrusage starts from its parent's.
PEAK = """
import atexit
def tell():
    lines = open("/proc/self/status").read().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    print("PEAK", 1024 * int(kib), file=sys.stderr)
atexit.register(tell)
"""
BUDGET = 2_000_000_000


def peak(*argv):
    """Run at a budget; return the measured peak of the process and its prediction, in bytes."""
    done = spawn(*argv, "--memory", "2GB", "--json", prelude=PEAK)
    assert done.returncode == 0, done.stderr
    measured = next(line for line in done.stderr.splitlines() if line.startswith("PEAK"))
    memory = json.loads(done.stdout)["run"]["memory"]
    assert memory["allowed"] == BUDGET
    print(argv[0], "measured", measured.split()[1], "predicted", memory["predicted"])
    return int(measured.split()[1]), memory["predicted"]


@pytest.mark.parametrize(
    "how", [(), ("--tile-size", "0", "-j", "1"), ("-j", "2", "--tile-size", "256")]
)
def test_segment_stays_below_its_prediction(how, big, tmp_path):
    measured, predicted = peak("segment", big, tmp_path / "o.tif", *how)
    assert measured <= predicted <= BUDGET


@pytest.mark.long
@pytest.mark.parametrize("how", [("--tile-size", "0", "-j", "1"), ("-j", "2")])
def test_classify_stays_below_its_prediction(how, big, model, tmp_path):
    products = ("--proba", tmp_path / "p.tif", "--uncertainty", tmp_path / "u.tif")
    measured, predicted = peak(
        "classify", big, tmp_path / "o.tif", "--model", model, *products, *how
    )
    assert measured <= predicted <= BUDGET


@pytest.mark.long
def test_training_stays_below_its_prediction(big, tmp_path):
    few = geopandas.read_file(LABELS, bbox=(442850, 4175480, 445050, 4177480))
    few.to_file(tmp_path / "few.gpkg")  # windows of full size, and few of them
    labels = ("--labels", tmp_path / "few.gpkg", "--class-column", "class")
    measured, predicted = peak(
        "train", "landcover", big, *labels, "-o", tmp_path / "model", "--epochs", 1, "-j", 2
    )
    assert measured <= predicted <= BUDGET


@pytest.mark.slow
def test_a_model_of_full_size_stays_below_its_prediction(big, tmp_path):
    labels = ("--labels", LABELS, "--class-column", "class", "--epochs", 1, "-q")
    good("train", "landcover", SCENE, *labels, "-o", tmp_path / "model")
    measured, predicted = peak(
        "classify", big, tmp_path / "o.tif", "--model", tmp_path / "model", "-j", 2
    )
    assert measured <= predicted <= BUDGET
