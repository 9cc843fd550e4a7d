"""Bad input: one sentence that names the file, the promised exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from cliworld import BANDS, LABELS, REAL, SCENE, call, good, random_model, read, save, spawn
from cliworld import scene as crop
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin
from rasterio.windows import Window

WINDOW = Window(260, 0, 96, 80)


def damaged(model, folder, change):
    shutil.copytree(model, folder)
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


@pytest.fixture(scope="module")
def box(model, tmp_path_factory):
    """A folder of inputs, good and bad; every case runs in it and must leave it as it was."""
    box = tmp_path_factory.mktemp("bad")
    array, profile = crop(WINDOW)
    save(box / "scene.tif", array, profile)
    whole = (box / "scene.tif").read_bytes()
    (box / "cut.tif").write_bytes(whole[: len(whole) // 2])
    rasterio.shutil.copy(box / "scene.tif", box / "cog.tif", driver="COG", COMPRESS="NONE")
    cog = (box / "cog.tif").read_bytes()
    (box / "late.tif").write_bytes(cog[: len(cog) // 2])  # a COG's directory is at its front
    (box / "cog.tif").unlink()
    save(box / "nocrs.tif", array, profile, crs=None)
    points = [GroundControlPoint(r, c, c / 96, -r / 80) for r in (0, 80) for c in (0, 96)]
    with rasterio.open(
        box / "gcp.tif", "w", driver="GTiff", width=96, height=80, count=4, dtype="uint16",
        gcps=points, crs="EPSG:4326",
    ) as dataset:  # fmt: skip
        dataset.write(array)
    save(box / "two.tif", array[:2], profile)
    save(box / "rgbn.tif", array, profile, names=("R", "G", "B", "N"))
    save(box / "complex.tif", array.astype("complex64"), profile)
    save(box / "empty.tif", np.zeros_like(array), profile, nodata=0)
    save(box / "other.tif", array, profile, transform=from_origin(442853, 4177480, 10, 10))
    halves = np.ones((1, 80, 96), "uint8")
    save(box / "one.tif", halves, profile, names=())
    halves[:, :, 48:] = 2
    save(box / "halves.tif", halves, profile, names=())
    save(box / "float.tif", halves.astype("float32"), profile, names=())
    save(box / "shorter.tif", halves[:, :50], profile, names=())
    save(box / "exists.tif", halves, profile, names=())
    labels = geopandas.read_file(LABELS)
    labels.set_geometry(labels.translate(1e6)).to_file(box / "far.gpkg")
    labels.assign(**{"class": "x"}).to_file(box / "one.gpkg")
    random_model(box / "model")
    damaged(model, box / "narrow", lambda card: card["network"].update(state=8))
    damaged(model, box / "window", lambda card: card["network"].update(window=8))
    damaged(model, box / "size", lambda card: card["segmentation"].update(size=1))
    damaged(model, box / "scheme", lambda card: card.update(schema="other"))
    shutil.copytree(model, box / "bits")
    weights = bytearray((box / "bits" / "weights.safetensors").read_bytes())
    weights[-3] ^= 1
    (box / "bits" / "weights.safetensors").write_bytes(weights)
    shutil.copytree(model, box / "noweights")
    (box / "noweights" / "weights.safetensors").unlink()
    (box / "file").write_text("no folder")
    return box


def content(folder: Path):
    """Every file of a folder with its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return found | {str(path.relative_to(folder)): b"" for path in folder.rglob("*/")}


TRAIN = "train landcover {raster} --labels {labels} -o {model}"


def train(raster="scene.tif", labels=LABELS, column="class", model="new", more="--epochs 1"):
    if not str(labels).endswith(".tif"):
        more = f"--class-column {column} {more}"
    words = TRAIN.format(raster=raster, labels=labels, model=model)
    return f"{words} {more}".strip()


CLASSIFY = "classify scene.tif o.tif --proba p.tif --model"
CASES = [
    # inputs
    ("segment missing.tif o.tif", 3, "missing.tif: no such file"),
    ("info missing.tif", 3, "missing.tif: no such file"),
    ("segment cut.tif o.tif", 3, "cut.tif: cannot be read"),
    ("segment late.tif o.tif", 3, "late.tif: rows 0 to 80 cannot be read"),
    ("classify late.tif o.tif --proba p.tif --model model", 3, "late.tif: rows 0 to 80 cannot"),
    ("segment gcp.tif o.tif", 3, "gcp.tif: has 4 ground control points"),
    ("segment complex.tif o.tif", 3, "complex.tif: bands are complex64, real numbers are wanted"),
    ("segment empty.tif o.tif", 3, "empty.tif: no valid pixel found"),
    ("classify empty.tif o.tif --proba p.tif --model model", 3, "empty.tif: no valid pixel found"),
    ("segment scene.tif other.tif o.tif", 3, "other.tif: its grid differs from that of scene.tif"),
    ("segment scene.tif o.tif --bidx 9", 3, "scene.tif: has no band 9; choose among 1 to 4"),
    ("segment scene.tif o.tif --bidx red", 3, "scene.tif: has no band red; choose among"),
    # labels
    (train("nocrs.tif"), 3, "labels.gpkg: labels can only be laid on a raster with a CRS"),
    (train(more="--assume-crs EPSG:4326"), 3, "scene.tif: has the CRS EPSG:32618"),
    (train("nocrs.tif", more="--assume-crs foo"), 2, "--assume-crs foo: not a CRS"),
    (train("empty.tif", "halves.tif"), 3, "empty.tif: no valid pixel found"),
    (train(labels="far.gpkg"), 3, "far.gpkg: its 137 labels lie at (14"),
    (train(labels="one.gpkg"), 3, "one.gpkg: its labels in the raster are all of one class (x)"),
    (train(labels="one.tif"), 3, "one.tif: classes found: 1; at least 2 wanted"),
    (train(labels="float.tif"), 3, "float.tif: float32 values found, integer classes"),
    (train(labels="shorter.tif"), 3, "shorter.tif: not on the grid of scene.tif"),
    (train(labels="missing.gpkg"), 3, "missing.gpkg: no such file"),
    (train(labels="missing.tif"), 3, "missing.tif: no such file"),
    (train(column="kind"), 3, "labels.gpkg: has no column kind, choose one of: class"),
    (train(labels="halves.tif", more="--block 1e9"), 3, "halves.tif: all labels lie in one block"),
    (
        f"train landcover scene.tif --labels {LABELS} -o new",
        2,
        "--class-column names the column with the class, and none is given; a class raster, which "
        "has none, is known by its suffix, such as .tif, .nc or .zarr.",
    ),
    # references
    ("assess halves.tif --reference shorter.tif", 3, "shorter.tif: not on the grid of halves.tif"),
    ("assess float.tif --reference halves.tif", 3, "float.tif: float32 values found"),
    ("assess halves.tif --reference float.tif", 3, "float.tif: float32 values"),
    ("assess empty.tif --reference halves.tif", 3, "no pixel is classified both here and in"),
    ("assess empty.tif --reference empty.tif", 3, "no pixel is classified both here and in"),
    (f"assess halves.tif --reference {LABELS}", 2, "--class-column names the column"),
    (f"assess halves.tif --reference {LABELS} --class-column class", 3, "any of 1, 2 is wanted"),
    # models
    ("classify two.tif o.tif --model model", 6, "two.tif: 2 bands (B02, B03), the model model"),
    ("classify rgbn.tif o.tif --model model", 6, "wants 4 (B02, B03, B04, B08)"),
    (f"{CLASSIFY} nothing", 6, "nothing: no card.json found"),
    (f"{CLASSIFY} file", 6, "file: no card.json found"),
    (f"{CLASSIFY} bits", 6, "weights are damaged or belong to another card"),
    (f"{CLASSIFY} noweights", 6, "weights cannot be read"),
    (f"{CLASSIFY} narrow", 6, "narrow: weights and card do not fit together"),
    (f"{CLASSIFY} window", 6, "window: weights and card do not fit together"),
    (f"{CLASSIFY} size", 6, "size: weights and card do not fit together"),
    (f"{CLASSIFY} scheme", 6, "the card is damaged or foreign at 'schema'"),
    # outputs
    ("segment scene.tif exists.tif", 4, "exists.tif: exists already; give --overwrite"),
    ("segment scene.tif nowhere/o.tif", 4, "nowhere/o.tif: there is no directory nowhere"),
    ("segment scene.tif model", 4, "model: is a directory"),
    (f"{CLASSIFY} model --uncertainty exists.tif", 4, "exists.tif: exists already"),
    (f"{CLASSIFY} model --uncertainty nowhere/u.tif", 4, "there is no directory nowhere"),
    (train(model="model"), 4, "model: a model exists; --overwrite replaces it"),
    (train(model="file"), 4, "file: is a file, a folder is wanted"),
    (train(model="nowhere/new"), 4, "nowhere/new: there is no directory nowhere"),
    ("segment scene.tif scene.tif --overwrite", 2, "scene.tif: is an input and an output too"),
    ("segment scene.tif ./scene.tif --overwrite", 2, "scene.tif: is an input and an output too"),
    ("segment scene.tif link.tif --overwrite", 2, "link.tif: is an input and an output too"),
    ("classify scene.tif o.tif --model model --proba scene.tif --overwrite", 2, "is an input and"),
    ("classify scene.tif o.tif --model model --proba ./o.tif", 2, "./o.tif: two outputs go there"),
    ("classify scene.tif - --model model --proba /vsistdout/", 2, "/vsistdout/: two outputs go"),
    # memory
    ("segment scene.tif o.tif --memory 1MB", 5, "MB, 1 MB are allowed; no tile size fits"),
    (f"{CLASSIFY} model --memory 1MB", 5, "MB, 1 MB are allowed; no tile size fits"),
    (train(labels="halves.tif", more="--memory 1MB"), 5, "MB, 1 MB are allowed"),
    # options
    ("segment scene.tif o.tif --size 1", 2, "--size: found 1, wanted >= 4 pixels"),
    ("segment scene.tif o.tif --size many", 2, "--size"),
    ("segment scene.tif o.tif --compactness nan", 2, "--compactness: found nan, wanted >= 0"),
    ("segment scene.tif o.tif --compactness inf", 2, "--compactness: found inf, wanted >= 0"),
    ("segment scene.tif o.tif --compactness 1e300", 2, "--compactness: found 1e+300, wanted >= 0"),
    ("segment scene.tif o.tif --scale 1e308", 2, "--scale: found (1e+308,), wanted numbers > 0"),
    (
        "segment scene.tif o.tif --scale 9 --shard 1/2 --tile-size 64 --dry-run",
        *(2, "--shard: not with --scale or --objects"),
    ),
    ("segment scene.tif o.tif --shape 0.5", 2, "--shape, --shape-compactness: are for merging"),
    ("segment scene.tif o.tif -b ²", 3, "scene.tif: has no band ²"),
    ("segment scene.tif o.tif -j ²", 2, "'²' is no number of jobs"),
    ("preview scene.tif o.png --bounds nan,0,1,1", 2, "'nan,0,1,1' found, 4 finite numbers"),
    ("classify scene.tif o.tif --model model --tau 5", 2, "--tau: wants --fuse score"),
    ("downscale scene.tif o.tif --limits 0,9", 2, "--limits: found --conserve add, wanted"),
    ("downscale scene.tif o.tif --members 0", 2, "--members: 0 found, 2 or more wanted"),
    (
        "batch segment scene.tif --out-dir . -- --dry-run",
        2,
        "batch: --dry-run found, which makes no whole",
    ),
    ("batch segment scene.tif --out-dir . -- --tile-size 64 --shard 1/2", 2, "batch: --shard"),
    ("segment scene.tif o.tif --iterations 0", 2, "--iterations: found 0, wanted from 1 to 1000"),
    ("segment scene.tif o.tif --iterations 999999999999", 2, "wanted from 1 to 1000"),
    ("segment scene.tif o.tif -j 999999999999", 2, "is no number of jobs; wanted 1 to 4096"),
    ("segment scene.tif o.tif --tile-size -1", 2, "--tile-size: found -1, wanted >= 0"),
    ("segment scene.tif o.tif --memory abc", 2, "'abc' is no size; wanted for example 4GB"),
    ("segment scene.tif o.tif --memory 0", 2, "--memory: found 0, wanted > 0"),
    ("segment scene.tif o.tif -j 0", 2, "'0' is no number of jobs; wanted 1 to 4096"),
    ("segment scene.tif o.tif --co X", 2, "--co: 'X' found, KEY=VALUE wanted"),
    ("segment scene.tif o.tif --bidx 3..1", 2, "--bidx: '3..1' found, a rising range"),
    ("segment scene.tif o.tif --bidx ,", 2, "--bidx: ',' found, a band's number or name"),
    ("segment scene.tif o.tif --resampling cubic", 2, "'cubic' is not one of"),
    ("segment scene.tif o.tif --wrong", 2, "No such option: --wrong"),
    ("segment scene.tif o.tif -co COMPRESS=LZW", 2, "-c, of -co; a name of several letters has"),
    ("segment scene.tif o.tif -of GTiff", 2, "No such option: -o, of -of; a name of several"),
    ("segment scene.tif o.tif -x", 2, "No such option: -x"),
    ("segment scene.tif", 2, "INPUT and OUTPUT are wanted"),
    ("classify scene.tif o.tif", 2, "Missing option '--model'"),
    ("nothing", 2, "No such command 'nothing'"),
    (train(more="--split foo"), 2, "--split: found foo, wanted blocks or random"),
    (train(more="--block -1"), 2, "--block: found -1.0, wanted > 0"),
    (train(more="--block 1e300"), 3, "all labels lie in one block"),
    (train(more="--validation 2"), 2, "--validation: found 2.0, wanted between 0 and 1"),
    (
        train(more="--block 1km --split random"),
        *(2, "--block: found --split random, wanted --split blocks."),
    ),
    (
        train(more="--validation 0.4 --folds 3"),
        *(2, "--validation: found 0.4 with --folds, wanted one of the two"),
    ),
    (
        train(labels="halves.tif", more="--class-column class"),
        *(2, "halves.tif: --class-column class found, which is for vectors, and this is a class"),
    ),
    (
        "assess halves.tif --reference halves.tif --class-column class",
        *(2, "halves.tif: --class-column class found, which is for vectors, and this is a class"),
    ),
    (
        train(more="--init model --size 50"),
        *(2, "--init: segments are the model's; leave --size and --compactness out."),
    ),
    (
        train(more="--init model --bands-noise weight"),
        *(2, "--bands-noise weight: --init brings the scaling of bands; leave it out."),
    ),
    (
        train(more="--folds 3 --patience 30"),
        *(2, "--patience: trainings with --folds run all epochs; leave it out."),
    ),
    (
        train(more="--algorithm forest --epochs 120"),
        *(2, "--epochs: is for a network, and --algorithm is forest; leave it out."),
    ),
    (
        "train landcover scene.tif --labels halves.tif -o new --algorithm svm --local-weight 1",
        *(2, "--local-weight: is for a network, and --algorithm is svm; leave it out."),
    ),
    (
        "train series nothing.csv -o new --epochs 3",
        *(2, "--epochs: is for a network, and --algorithm is ensemble; leave it out."),
    ),
    (
        train(more="--no-final-fit"),
        *(2, "--no-final-fit: only trainings with --folds have a final fit; leave it out."),
    ),
    (
        train(more="--class-names 1=a,2=b"),
        *(2, "--class-names: names values of class rasters, and all labels are vectors; leave it"),
    ),
    (train(labels="halves.tif", more="--layer a"), 2, "halves.tif: --layer a found, which is for"),
    (
        "segment scene.tif o.tif --percentiles 50",
        *(2, "--percentiles: for a table of objects, and none is written; name one with --objects"),
    ),
    (
        "segment scene.tif o.tif --no-geometry --borders b.csv",
        *(2, "--borders, --no-geometry: for a table of objects, and none is written"),
    ),
    (train(more="--epochs 0"), 2, "--epochs: found 0, wanted >= 1"),
    (train(more="--seed -1"), 2, "--seed: found -1, wanted from 0"),
    (train(more="--balance -1"), 2, "--balance: found -1.0, wanted >= 0"),
    (train(more="--local-weight 0 --global-weight 0"), 2, "wanted one above 0"),
    (
        train(labels="halves.tif", more="--class-names 300=x"),
        2,
        "--class-names: '300' found, a value from 1 to 255 wanted",
    ),
    (train(labels="halves.tif", more="--class-names 1"), 2, "'1' found, KEY=VALUE wanted"),
    (
        train(labels="halves.tif", more="--class-names 1=water,2="),
        2,
        "--class-names: '2=' found, a name after it wanted",
    ),
]


@pytest.mark.parametrize(("words", "code", "sentence"), CASES)
def test_one_sentence_the_right_code_and_nothing_left(words, code, sentence, box, monkeypatch):
    monkeypatch.chdir(box)
    if not Path("link.tif").exists():
        Path("link.tif").symlink_to("scene.tif")
    before = content(box)
    result = call(*words.split())
    told = [line for line in result.err.splitlines() if "WARNING" not in line]
    assert (result.code, len(told)) == (code, 1), result.err
    assert told[0].startswith("stcli: ")
    assert sentence in told[0]
    assert "Traceback" not in result.err
    assert "a bug" not in result.err
    assert result.out == ""
    assert content(box) == before


@pytest.mark.parametrize(
    ("words", "code"),
    [(words, code) for words, code, _ in CASES[::9] if not words.startswith("info")],
)
def test_an_error_is_json_on_stderr_when_json_is_asked(words, code, box, monkeypatch):
    monkeypatch.chdir(box)
    result = call(*words.split(), "--json")
    plain = call(*words.split())
    error = json.loads(result.err.splitlines()[-1])["error"]
    assert error["exit_code"] == result.code == code
    numbers = str.maketrans("", "", "0123456789")  # of memory: they move from call to call
    sentence = plain.err.splitlines()[-1].removeprefix("stcli: ")
    assert error["message"].translate(numbers) == sentence.translate(numbers)
    assert result.out == ""


def test_a_raster_and_json_do_not_share_stdout(scene):
    result = call("segment", scene, "-", "--json")
    assert (result.code, result.out) == (2, "")
    assert "an output goes to stdout already" in json.loads(result.err)["error"]["message"]


def test_assumed_crs_lets_a_raster_without_one_be_trained_on(box, tmp_path):
    more = "--assume-crs EPSG:32618 --algorithm forest"
    words = train(str(box / "nocrs.tif"), model=tmp_path / "new", more=more)
    labels = good(*words.split(), "--size", 25, "-q", "--json").json["card"]["data"]
    assert sum(labels["labelled_pixels"].values()) > 100


def test_overwrite_replaces_and_keeps_nothing_old(scene, model, tmp_path):
    out = tmp_path / "o.tif"
    good("classify", scene, out, "--model", model, "-q")
    assert out.with_name("o.tif.aux.xml").exists()
    good("segment", scene, out, "--overwrite", "-q")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.tif"]
    assert read(out).dtype == np.uint32


@pytest.mark.real
def test_a_real_radar_chip_with_ground_control_points_is_refused(tmp_path):
    folder = REAL / "s1-chips"
    chips = sorted(folder.glob("*.tif*")) if folder.exists() else []
    if not chips:
        pytest.skip("real data s1-chips is absent")
    refused = 0
    for chip in chips:
        with rasterio.open(chip) as dataset:
            if not (dataset.transform.is_identity and dataset.gcps[0]):
                continue
        result = call("segment", chip, tmp_path / "o.tif")
        assert result.code == 3
        assert f"{chip}: has" in result.err
        assert "ground control points" in result.err
        refused += 1
    if not refused:
        pytest.skip("real data s1-chips holds no chip with ground control points alone")


@pytest.mark.long
def test_a_file_size_limit_leaves_nothing(scene, model, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    for argv in (
        ("segment", scene, tmp_path / "o.tif"),
        ("classify", scene, tmp_path / "o.tif", "--model", model, "--proba", tmp_path / "p.tif"),
    ):
        good(*argv, "-q")  # compiles and caches the kernels, which are files too
        for path in tmp_path.iterdir():
            path.unlink()
        done = spawn(*argv, "-q", prelude=f"{limit}\n{ignore}")
        assert done.returncode == 4, done.stderr
        assert "tif: " in done.stderr
        assert "Traceback" not in done.stderr
        assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.long
def test_a_full_disk_leaves_nothing(scene, model, small_disk):
    outputs = (small_disk / "o.tif", "--proba", small_disk / "p.tif")
    for argv in (
        ("classify", scene, *outputs, "--model", model),
        train(scene, model=small_disk / "new").split(),
    ):
        result = call(*argv, "-q")
        assert result.code == 4, result.err
        assert str(small_disk) in result.err
        assert list(small_disk.iterdir()) == []


def test_bands_of_the_box_are_the_models(box):
    """The good inputs of the box are good: each refusal above is for its own reason."""
    good("classify", box / "scene.tif", box.parent / "fine.tif", "--model", box / "model", "-q")
    with rasterio.open(box / "scene.tif") as dataset:
        assert dataset.descriptions == BANDS


@pytest.mark.parametrize(
    ("verb", "name", "made", "more"),
    [
        ("segment", "o.nc", "COG", ()),
        ("segment", "o.png", "COG", ()),
        ("segment", "o.csv", "COG", ("--dry-run",)),
        ("segment", "o.vrt", "COG", ()),
        ("segment", "o.gpkg", "COG", ()),
        ("segment", "o.nc", "COG", ("--dry-run",)),
        ("segment", "o.zarr", "COG", ()),
        ("segment", "o.zarr", "GTiff", ("--of", "GTiff", "--dry-run")),
        ("segment", "o.tif", "Zarr", ("--of", "Zarr")),
        ("segment", "o.nc", "COG", ("--shard", "1/2", "--tile-size", "64")),
        ("downscale", "o.png", "COG", ("--dry-run",)),
        ("segment", "o.jp2", "GTiff", ("--of", "GTiff")),
        ("downscale", "o.img", "COG", ("--dry-run",)),
        ("preview", "o.jpg", "PNG", ()),
        ("preview", "o.tif", "PNG", ()),
    ],
)
def test_the_name_of_another_format_is_refused(verb, name, made, more, tmp_path):
    path = save(tmp_path / "scene.tif", *crop(Window(0, 0, 64, 64)))
    refused = call(verb, path, tmp_path / name, *more)
    assert refused.code == 2
    assert f"the name ends in {Path(name).suffix}, but this output is a {made}" in refused.err
    assert [file.name for file in tmp_path.iterdir()] == ["scene.tif"]


def test_a_dry_run_takes_the_name_of_a_netcdf_where_the_run_does(tmp_path):
    path = save(tmp_path / "scene.tif", *crop(Window(0, 0, 64, 64)))
    good("downscale", path, tmp_path / "fine.nc", "--dry-run")


def test_a_dry_run_sees_a_file_of_another_beside_the_output(tmp_path):
    path = save(tmp_path / "scene.tif", *crop(Window(0, 0, 64, 64)))
    (tmp_path / "o.tif.aux.xml").touch()
    refused = call("segment", path, tmp_path / "o.tif", "--dry-run")
    assert (refused.code, "o.tif.aux.xml: exists already" in refused.err) == (4, True)
    good("segment", path, tmp_path / "o.tif", "--dry-run", "--overwrite")


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (60, 3)])
def test_a_raster_too_small_to_coarsen_trains_no_downscaler(shape, tmp_path):
    path = save(tmp_path / "small.tif", *crop(Window(0, 0, shape[1], shape[0])))
    refused = call("train", "downscaler", path, "--factor", "2", "-o", tmp_path / "model")
    assert (refused.code, f"{shape[0]} rows and {shape[1]} columns found" in refused.err) == (
        3,
        True,
    )
    assert [file.name for file in tmp_path.iterdir()] == ["small.tif"]


@pytest.mark.parametrize("verb", [["segment"], ["train", "landcover"]])  # the latter loads torch
def test_a_working_directory_that_is_gone_is_told(verb, tmp_path):
    gone = tmp_path / "gone"
    prelude = (
        f"import os; os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})"
    )
    done = spawn(*verb, SCENE, tmp_path / "o.tif", "-q", prelude=prelude)
    assert (done.returncode, "the working directory is gone" in done.stderr) == (4, True)
    assert not (tmp_path / "o.tif").exists()


@pytest.mark.parametrize("found", ["-1", "nan", "inf"])
def test_a_tolerance_below_zero_is_refused(found, tmp_path):
    path = save(tmp_path / "a.tif", *crop(Window(0, 0, 8, 8)))
    refused = call("check", "agreement", path, path, "--tolerance", found)
    assert (refused.code, f"--tolerance: found {found}" in refused.err) == (2, True)


@pytest.mark.parametrize("words", [["--psd", "s.nc"], ["--dates", "2020-01-01"]])
def test_spectra_and_dates_are_refused_along_space(words, tmp_path):
    path = save(tmp_path / "a.tif", *crop(Window(0, 0, 64, 64)))
    how = ("unwhiten", path, tmp_path / "o.tif", "--along", "space", *words)
    for more in ((), ("--dry-run",)):
        refused = call(*how, *more)
        assert (refused.code, "go with --along time, --along space found" in refused.err) == (
            2,
            True,
        )
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("words", [["--share", "4"], ["--stationary"], ["--uneven", "order"]])
def test_what_belongs_to_time_is_refused_along_space(words, tmp_path):
    path = save(tmp_path / "a.tif", *crop(Window(0, 0, 64, 64)))
    refused = call("whiten", path, tmp_path / "o.tif", "--along", "space", *words)
    assert (refused.code, "--along space found" in refused.err) == (2, True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]
