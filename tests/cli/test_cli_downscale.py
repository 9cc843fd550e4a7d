"""`downscale`, `conserve` and `check agreement` through the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from cliworld import call, good, read, save, spawn
from rasterio import Affine
from test_cli_laws import PEAK

from stcli.downscaling.coarsen import block_mean

UTM = {"driver": "GTiff", "crs": "EPSG:32618", "transform": Affine(20, 0, 435720, 0, -20, 4179460)}
NAN = float("nan")


def values(rows, cols, bands=2, seed=0):
    """Make float32 bands that vary smoothly and in detail."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    smooth = 1000 + 300 * np.sin(row / 9) * np.cos(col / 13)
    return (smooth + rng.normal(0, 40, (bands, rows, cols))).astype("float32")


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    """Odd sides, holes of their own in each band."""
    array = values(327, 211)
    rng = np.random.default_rng(1)
    array[rng.random(array.shape) < 0.01] = np.nan
    array[0, 150:190, 40:180] = np.nan
    array[1, :, :9] = np.nan
    path = tmp_path_factory.mktemp("coarse") / "coarse.tif"
    return save(path, array, UTM, ("red", "nir"), nodata=NAN), array


def agrees(fine, coarse, tolerance=1e-6):
    return call("check", "agreement", fine, coarse, "--tolerance", tolerance).code == 0


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "ibp"])
@pytest.mark.parametrize("factor", [2, 4])
def test_the_grid_is_divided_and_block_means_are_kept(method, factor, coarse, tmp_path):
    path, array = coarse
    fine = tmp_path / "fine.tif"
    found = good("downscale", path, fine, "--factor", factor, "--method", method, "--json").json
    assert (found["method"], found["factor"], found["conserve"]) == (method, factor, "add")
    with rasterio.open(fine) as dataset:
        assert dataset.transform == UTM["transform"] @ Affine.scale(1 / factor)
        assert dataset.shape == (factor * 327, factor * 211)
        assert dataset.descriptions == ("red", "nir")
        tags = dataset.tags()
        block = dataset.read()
    wanted = {"STCLI_METHOD": method, "STCLI_FACTOR": str(factor), "STCLI_CONSERVE": "add"}
    assert wanted.items() <= tags.items()
    assert np.allclose(block_mean(block, factor), array, rtol=1e-6, equal_nan=True)
    gaps = np.isnan(array).repeat(factor, 1).repeat(factor, 2)
    assert np.array_equal(np.isnan(block), gaps)
    assert found["residual"] <= 1e-6
    assert agrees(fine, path)


def test_bands_keep_their_units(tmp_path):
    path = save(tmp_path / "coarse.tif", values(24, 20), UTM, ("t2m", "orog"))
    with rasterio.open(path, "r+") as dataset:
        dataset.units = ("K", "m")
    fine, agreeing = tmp_path / "fine.tif", tmp_path / "agreeing.tif"
    good("downscale", path, fine)
    good("conserve", fine, path, agreeing)
    for made in (fine, agreeing):
        with rasterio.open(made) as dataset:
            assert dataset.units == ("K", "m")


def test_it_says_which_method_ran(coarse, tmp_path):
    said = good("downscale", coarse[0], tmp_path / "o.tif")
    assert "by ibp" in said.err
    assert said.out == ""
    assert good("downscale", coarse[0], tmp_path / "p.tif", "-q").err == ""


@pytest.mark.parametrize("method", ["cubic", "ibp"])
def test_tiles_and_workers_do_not_show(method, coarse, tmp_path):
    how = ("downscale", coarse[0], "--method", method, "-q", "--overwrite")
    whole = tmp_path / "whole.tif"
    good(*how, whole, "--tile-size", 0, "-j", 1)
    for tile_size, jobs in ((64, 1), (150, 4)):
        part = tmp_path / "part.tif"
        said = good(*how[:-2], "--overwrite", part, "--tile-size", tile_size, "-j", jobs, "--json")
        assert said.json["run"]["tiles"] >= 6
        assert np.array_equal(read(part), read(whole), equal_nan=True)


def test_a_method_that_does_not_conserve_is_told(coarse, tmp_path):
    fine = tmp_path / "fine.tif"
    good("downscale", coarse[0], fine, "--method", "cubic", "--conserve", "none")
    found = call("check", "agreement", fine, coarse[0], "--json")
    assert found.code == 7
    report = found.json
    assert not report["valid"]
    assert report["residual"] > 1e-4
    means = block_mean(read(fine), 2)
    largest = np.nanmax(np.abs(means - coarse[1]), axis=(1, 2))
    assert [band["largest"] for band in report["bands"]] == pytest.approx(largest.tolist())
    out = tmp_path / "agreeing.tif"
    before = good("conserve", fine, coarse[0], out, "--json").json
    assert before["residual"] == report["residual"]
    assert max(band["relative"] for band in before["after"]) < 1e-6
    assert agrees(out, coarse[0])


def test_mult_keeps_what_is_not_negative_so(tmp_path):
    rain = np.maximum(values(40, 30, 1) - 1000, 0)
    path = save(tmp_path / "rain.tif", rain, UTM, ("rain",), nodata=NAN)
    good("downscale", path, tmp_path / "fine.tif", "--conserve", "mult")
    fine = read(tmp_path / "fine.tif")
    assert fine.min() >= 0
    assert agrees(tmp_path / "fine.tif", path)
    good("downscale", path, tmp_path / "add.tif")
    assert read(tmp_path / "add.tif").min() < 0


def test_scadd_keeps_within_limits(tmp_path):
    share = np.random.default_rng(2).uniform(0, 1, (1, 30, 40)).astype("float32")
    share[0, :5, :5], share[0, 9, 9] = 1, 0
    path = save(tmp_path / "share.tif", share, UTM, ("share",))
    more = ("--conserve", "scadd", "--limits", "0,1")
    good("downscale", path, tmp_path / "fine.tif", *more)
    fine = read(tmp_path / "fine.tif")
    assert (fine.min(), fine.max()) == (0, 1)
    assert agrees(tmp_path / "fine.tif", path)


def test_scadd_takes_values_at_limits_that_float32_rounds(tmp_path):
    share = np.random.default_rng(2).uniform(0, 0.1, (1, 30, 40)).astype("float32")
    share[0, :5, :5] = 0.1  # as float32 a little more than the limit
    path = save(tmp_path / "share.tif", share, UTM, ("share",))
    more, fine = ("--conserve", "scadd", "--limits", "0,0.1"), tmp_path / "fine.tif"
    good("downscale", path, fine, *more)
    good("conserve", fine, path, tmp_path / "agreeing.tif", *more)
    assert read(fine).max() == np.float32(0.1)
    assert agrees(fine, path)
    assert agrees(tmp_path / "agreeing.tif", path)


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--factor", 1), 2, "from 2 to 16"),
        (("--conserve", "scadd"), 2, "--limits"),
        (("--conserve", "scadd", "--limits", "5,1"), 2, "LOW below HIGH"),
        (("--conserve", "scadd", "--limits", "0,1"), 3, "0 to 1 are wanted"),
        (("--method", "magic"), 2, "magic"),
    ],
)
def test_wrong_options_leave_nothing(more, code, said, coarse, tmp_path):
    found = call("downscale", coarse[0], tmp_path / "o.tif", *more)
    assert found.code == code
    assert said in found.err
    assert not list(tmp_path.iterdir())


def test_negative_values_are_refused_for_mult(tmp_path):
    path = save(tmp_path / "cold.tif", values(9, 9) - 1200, UTM)
    found = call("downscale", path, tmp_path / "o.tif", "--conserve", "mult")
    assert found.code == 3
    assert "none below 0 is wanted for mult" in found.err
    assert not (tmp_path / "o.tif").exists()


def test_all_nodata_is_refused(tmp_path):
    path = save(tmp_path / "void.tif", np.full((1, 9, 9), np.nan, "float32"), UTM, nodata=NAN)
    found = call("downscale", path, tmp_path / "o.tif")
    assert found.code == 3
    assert "no valid pixel" in found.err
    assert not (tmp_path / "o.tif").exists()


def test_one_pixel_becomes_a_block_of_it(tmp_path):
    path = save(tmp_path / "one.tif", np.array([[[7]]], "uint8"), UTM)
    good("downscale", path, tmp_path / "o.tif", "--factor", 4)
    assert read(tmp_path / "o.tif").tolist() == [[[7.0] * 4] * 4]


@pytest.mark.parametrize("crs", [None, "EPSG:32618"])
def test_rotated_grids_and_grids_without_a_crs_keep_their_transform(crs, tmp_path):
    turned = UTM["transform"] @ Affine.rotation(30)
    path = save(tmp_path / "turned.tif", values(12, 17), UTM, crs=crs, transform=turned)
    good("downscale", path, tmp_path / "o.tif")
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert dataset.crs == crs
        assert dataset.transform == turned @ Affine.scale(0.5)
    assert agrees(tmp_path / "o.tif", path)


# --- conserve and check on anyone's rasters -------------------------------------------------------


def offset_pair(tmp_path, right=1, down=1, shape=(41, 51)):
    """Save a fine raster whose corner lies inside a coarse pixel, as Sentinel-2's grids do."""
    fine, step = values(*shape, bands=1), UTM["transform"]
    half = step @ Affine.scale(0.5) @ Affine.translation(right, down)
    coarse = values(23, 20, 1, seed=7)
    return (
        save(tmp_path / "fine.tif", fine, UTM, ("B8A",), transform=half),
        save(tmp_path / "coarse.tif", coarse, UTM, ("B8A",)),
        fine[0],
        coarse[0],
    )


def test_blocks_that_are_not_whole_are_left_as_they_are(tmp_path):
    fine, coarse, y, x = offset_pair(tmp_path)
    good("conserve", fine, coarse, tmp_path / "o.tif", "--tile-size", 16, "-j", 2)
    found = read(tmp_path / "o.tif")[0]
    inner = np.s_[1:41, 1:39]
    assert np.allclose(block_mean(found[inner], 2), x[1:21, 1:20], rtol=1e-6)
    assert np.array_equal(found[0], y[0])
    assert np.array_equal(found[:, 0], y[:, 0])
    assert np.array_equal(found[:, 39:], y[:, 39:])
    report = good("check", "agreement", tmp_path / "o.tif", coarse, "--json").json
    assert report["bands"][0]["blocks"] == 20 * 19


def test_blocks_that_the_fine_raster_lacks_do_not_agree(tmp_path):
    x = values(10, 12)
    y = x.repeat(4, 1).repeat(4, 2)
    y[1, :4, :8] = np.nan
    y[0, 20, 20] = np.nan  # its block has others
    quarter = UTM["transform"] @ Affine.scale(0.25)
    coarse = save(tmp_path / "coarse.tif", x, UTM, ("red", "nir"))
    fine = save(tmp_path / "fine.tif", y, UTM, ("red", "nir"), transform=quarter, nodata=NAN)
    for more in ((), ("--tile-size", 8, "-j", 2)):
        found = call("check", "agreement", fine, coarse, "--json", *more)
        assert (found.code, found.json["valid"]) == (7, False)
        assert [band["missing"] for band in found.json["bands"]] == [0, 2]
        assert "no value in 2 blocks that have one" in found.err
    said = good("conserve", fine, coarse, tmp_path / "o.tif").err
    assert "; 2 blocks with a value there have none" in said
    x[1, 0, :2] = np.nan
    save(coarse, x, UTM, ("red", "nir"), nodata=NAN)
    assert agrees(fine, coarse)
    part = save(
        tmp_path / "part.tif",
        y[:, 8:],
        UTM,
        ("red", "nir"),
        transform=quarter @ Affine.translation(0, 8),
        nodata=NAN,
    )
    assert agrees(part, coarse)


def test_what_conserves_says_its_factor(tmp_path):
    truth = values(64, 64, 1)
    half = UTM["transform"] @ Affine.scale(0.5)
    fine = save(tmp_path / "fine.tif", truth, UTM, ("red",), transform=half)
    coarse = save(tmp_path / "coarse.tif", block_mean(truth, 2).astype("float32"), UTM, ("red",))
    good("conserve", fine, coarse, tmp_path / "o.tif")
    found = good("assess-downscaling", tmp_path / "o.tif", fine, "--json").json
    assert found["factor"] == 2


def test_conserving_does_not_depend_on_tiles(tmp_path):
    fine, coarse, *_ = offset_pair(tmp_path)
    for name, more in {"a": ("--tile-size", 0), "b": ("--tile-size", 7, "-j", 3)}.items():
        good("conserve", fine, coarse, tmp_path / f"{name}.tif", "-q", *more)
    assert np.array_equal(read(tmp_path / "a.tif"), read(tmp_path / "b.tif"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crs": "EPSG:32619"}, "does not nest"),
        ({"transform": Affine(25, 0, 435720, 0, -20, 4179460)}, "does not nest"),
        ({"transform": Affine(20, 0, 435723, 0, -20, 4179460)}, "does not nest"),
        ({"transform": Affine(20, 0, 0, 0, -20, 4179460)}, "wholly outside"),
        ({"transform": Affine(10, 0, 435730, 0, -10, 4179450)}, "the very grid"),
        ({"transform": Affine(20, 0, 435730, 0, -10, 4179450)}, "as many of both"),
    ],
)
def test_grids_that_do_not_belong_together_are_refused(changes, said, tmp_path):
    fine, _, y, _ = offset_pair(tmp_path, shape=(40, 40))
    other = save(tmp_path / "other.tif", y[None, :40, :40], UTM, **changes)
    for argv in (
        ("check", "agreement", fine, other),
        ("conserve", fine, other, tmp_path / "o.tif"),
    ):
        found = call(*argv)
        assert found.code == 3
        assert said in found.err
    assert not (tmp_path / "o.tif").exists()


def test_other_bands_and_units_are_refused(tmp_path):
    fine, coarse, *_ = offset_pair(tmp_path)
    two = save(tmp_path / "two.tif", values(23, 20), UTM)
    assert "2 bands found, 1 wanted" in call("check", "agreement", fine, two).err
    for path, unit in ((fine, "K"), (coarse, "degC")):
        with rasterio.open(path, "r+") as dataset:
            dataset.units = (unit,)
    found = call("check", "agreement", fine, coarse)
    assert found.code == 3
    assert "is in degC, K wanted" in found.err


def test_nothing_to_compare_is_refused(tmp_path):
    fine, _, _, x = offset_pair(tmp_path)
    void = save(tmp_path / "void.tif", np.full_like(x, np.nan)[None], UTM, nodata=NAN)
    found = call("check", "agreement", fine, void)
    assert found.code == 3
    assert "one at least is wanted" in found.err


@pytest.mark.long
@pytest.mark.parametrize("how", [("--tile-size", 0, "-j", 1), ("-j", 2, "--tile-size", 128)])
def test_memory_stays_below_its_prediction(how, tmp_path):
    big = save(tmp_path / "big.tif", values(401, 433, 2), UTM)
    fine = tmp_path / "fine.tif"
    for argv in (
        ("downscale", big, fine, "--factor", "4", *how),
        ("conserve", fine, big, tmp_path / "o.tif", *how),
    ):
        done = spawn(*argv, "--memory", "4GB", "--json", prelude=PEAK)
        assert done.returncode == 0, done.stderr
        line = next(line for line in done.stderr.splitlines() if line.startswith("PEAK"))
        memory = json.loads(done.stdout)["run"]["memory"]
        print(argv[0], "measured", line.split()[1], "predicted", memory["predicted"])
        assert int(line.split()[1]) <= memory["predicted"]


# --- assess-downscaling ---------------------------------------------------------------------------


@pytest.fixture
def rebuilt(tmp_path):
    """Save a truth, its block means, and what `downscale` makes of them."""
    truth = values(128, 144)
    half = UTM["transform"] @ Affine.scale(0.5)
    names = ("red", "nir")
    path = save(tmp_path / "truth.tif", truth, UTM, names, transform=half)
    small = save(tmp_path / "small.tif", block_mean(truth, 2).astype("float32"), UTM, names)
    good("downscale", small, tmp_path / "fine.tif", "-q")
    return tmp_path / "fine.tif", path, truth


def test_assessing_measures_beside_cubic_and_ibp(rebuilt):
    fine, path, truth = rebuilt
    found = good("assess-downscaling", fine, path, "--json").json
    assert (found["factor"], found["margin"]) == (2, 8)
    assert [band["band"] for band in found["bands"]] == ["red", "nir"]
    error = (read(fine) - truth)[:, 16:-16, 16:-16].astype("float64")
    for band, wrong in zip(found["bands"], error, strict=True):
        assert band["rmse"] == pytest.approx(np.sqrt((wrong**2).mean()))
        assert band["rmse_over_ibp"] == pytest.approx(1, abs=1e-5)
        assert band["median_block_over_ibp"] == pytest.approx(1, abs=1e-5)
        assert set(band["peers"]) == {"cubic", "ibp"}
        assert band["mass_violation"] < 1e-6 < band["peers"]["cubic"]["mass_violation"]
    said = good("assess-downscaling", fine, path).out
    assert "spectral error" in said
    assert said.count("ibp") == 3


def test_peers_are_assessed_on_the_pixels_that_the_fine_raster_has(rebuilt, tmp_path):
    fine, path, truth = rebuilt
    rough = truth.copy()
    rough[:, :, 71:] += 500 * np.random.default_rng(3).normal(size=rough[:, :, 71:].shape)
    half = {**UTM, "transform": UTM["transform"] @ Affine.scale(0.5)}
    path = save(tmp_path / "rough.tif", rough.astype("float32"), half, ("red", "nir"))
    part = truth + np.float32(3)
    part[:, :, 71:] = np.nan
    fine = save(tmp_path / "part.tif", part, half, ("red", "nir"), nodata=NAN)
    how = ("--factor", 2, "--json")
    found = good("assess-downscaling", fine, path, *how).json["bands"]
    for band in found:
        assert band["rmse"] == pytest.approx(3, rel=1e-3)
        assert band["peers"]["ibp"]["rmse"] < 60
        assert band["peers"]["ibp"]["mass_violation"] < 1e-6


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [((), 2, "--factor is wanted"), (("--factor", 4, "--margin", 16), 3, "another --margin")],
)
def test_assessing_what_cannot_be(more, code, said, rebuilt):
    found = call("assess-downscaling", rebuilt[1], rebuilt[1], *more)
    assert found.code == code
    assert said in found.err
    other = call("assess-downscaling", rebuilt[0].with_name("small.tif"), rebuilt[1])
    assert other.code == 3
    assert "one grid is wanted" in other.err


def test_a_band_without_a_value_keeps_none_from_being_assessed(rebuilt, tmp_path):
    fine, path, truth = rebuilt
    half = {**UTM, "transform": UTM["transform"] @ Affine.scale(0.5)}
    names, void = ("red", "nir"), np.full_like(truth, np.nan)
    empty = save(tmp_path / "void.tif", void, half, names, nodata=NAN)
    void[0] = truth[0]
    part = save(tmp_path / "part.tif", void, half, names, nodata=NAN)
    red, nir = good("assess-downscaling", fine, part, "--json").json["bands"]
    assert red == good("assess-downscaling", fine, path, "--json").json["bands"][0]
    assert {nir[key] for key in ("rmse", "bias", "ssim", "rmse_over_ibp")} == {None}
    assert set(nir["peers"]["ibp"].values()) == {None}
    assert good("assess-downscaling", fine, part).out.count("nir") == 3
    found = call("assess-downscaling", fine, empty, "--json")
    said = f"no pixel off the margin with a value there and in {empty} found"
    assert (found.code, said in found.err) == (3, True)


def test_a_truth_in_another_unit_is_refused(rebuilt):
    fine, truth, _ = rebuilt
    for path, unit in ((fine, "K"), (truth, "degC")):
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            dataset.units = (unit, unit)
    found = call("assess-downscaling", fine, truth)
    assert (found.code, "band red is in degC, K wanted" in found.err) == (3, True)
    with rasterio.open(truth, "r+") as dataset:
        dataset.units = ("kelvin", "Kelvin")
    good("assess-downscaling", fine, truth)
