"""`train downscaler`, and `downscale` with a model or a guide, through the command line."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import xarray as xr
from cliworld import call, good, read, save, spawn
from rasterio import Affine
from test_cli_downscale import UTM, agrees, values
from test_cli_laws import PEAK

from stcli.settings import DownscalerTraining, RunSettings, UpscalerSettings

NAN = float("nan")
NETWORK = UpscalerSettings(width=8, blocks=1, window=32, margin=16)
MODEL = {"members": "plain"}
QUICK = DownscalerTraining(steps=4, every=2, block=32, batch=2, crop=16)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Save bands with gaps, and finer guides that end a row before them."""
    folder = tmp_path_factory.mktemp("learned")
    fine = values(300, 262, seed=4)
    coarse = values(150, 131)
    coarse[0] = fine[0].reshape(150, 2, 131, 2).mean((1, 3))
    coarse[1] = np.random.default_rng(6).normal(1000, 40, (150, 131))  # no guide knows it
    coarse[0, 30:44, 50:90] = np.nan
    coarse[1, np.random.default_rng(3).random((150, 131)) < 0.01] = np.nan
    half = UTM["transform"] @ Affine.scale(0.5)
    fine = fine[:, :299]
    return {
        "coarse": save(folder / "coarse.tif", coarse, UTM, ("B05", "B11"), nodata=NAN),
        "guide": save(folder / "guide.tif", fine, UTM, ("B02", "B03"), transform=half),
        "folder": folder,
    }


@pytest.fixture(scope="module")
def models(files):
    """Train a plain model, a guided one and a latent one, each for a moment."""
    from dataclasses import replace

    from stcli.workflows.downscaling.train_downscaler import Given, train_downscaler
    from stcli.workflows.job import Inputs

    def kept(network, splits):  # after so few steps blending would leave all of it to ibp
        return {s: (0.9,) * len(network.unit) for s in network.factors}

    found = {}
    patch = pytest.MonkeyPatch()
    patch.setattr("stcli.downscaling.training.blend", kept)
    for name, guide, network in (
        ("plain", None, replace(NETWORK, factors=(2, 4))),
        ("guided", Inputs((files["guide"],)), NETWORK),
        ("latent", None, replace(NETWORK, architecture="latent")),
    ):
        folder = files["folder"] / name
        inputs = Inputs((files["coarse"],))
        train_downscaler(Given(inputs, guide), folder, network, QUICK, RunSettings(jobs=1))
        found[name] = folder
    patch.undo()
    return found


def members_agree(fine, coarse):
    """Check an ensemble's bands: mean, deviation, members, each of which keeps block means."""
    fine, coarse = fine.astype(float).reshape(2, 5, *fine.shape[1:]), read(coarse)
    members = fine[:, 2:]
    assert np.allclose(fine[:, 0], members.mean(axis=1), rtol=1e-6, equal_nan=True)
    assert np.allclose(
        fine[:, 1], members.std(axis=1, ddof=1), rtol=1e-3, atol=1e-4, equal_nan=True
    )
    assert np.nanmin(fine[:, 1]) > 0
    rows, cols = coarse.shape[1:]
    means = members.reshape(2, 3, rows, 2, cols, 2).mean((3, 5))
    assert np.nanmax(np.abs(means / coarse[:, None] - 1)) < 1e-6
    assert np.array_equal(np.isnan(means), np.isnan(coarse)[:, None].repeat(3, 1))


def run(files, out, *more):
    return good("downscale", files["coarse"], out, "--overwrite", "-q", *more)


@pytest.mark.long
@pytest.mark.parametrize("name", ["plain", "guided", "latent", "linear", "members"])
def test_tiles_do_not_show_and_block_means_are_kept(name, files, models, tmp_path):
    more = [] if name == "linear" else ["--model", models[MODEL.get(name, name)]]
    if name in ("guided", "linear"):
        more += ["--guide", files["guide"]]
    if name == "members":
        more += ["--members", 3, "--seed", 4]
    run(files, tmp_path / "whole.tif", *more, "--tile-size", 0, "-j", 1)
    said = run(files, tmp_path / "tiled.tif", *more, "--tile-size", 32, "-j", 2, "--json").json
    assert said["run"]["tiles"] >= 20
    whole, tiled = read(tmp_path / "whole.tif"), read(tmp_path / "tiled.tif")
    assert np.array_equal(whole, tiled, equal_nan=True)
    assert agrees(tmp_path / "whole.tif", files["coarse"])
    if name == "members":
        members_agree(whole, files["coarse"])
        return
    gaps = np.isnan(read(files["coarse"])).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(np.isnan(whole), gaps)
    run(files, tmp_path / "ibp.tif")
    assert not np.array_equal(whole, read(tmp_path / "ibp.tif"), equal_nan=True)
    words = {
        "plain": "shuffle network",
        "linear": "ibp with a linear guide (ibp alone for B11: no better there)",
        "guided": "with a guide",
    }
    assert words.get(name, name) in said["method"]


@pytest.mark.parametrize("name", ["o.tif", "o.nc"])
def test_the_output_says_which_model_and_guide_made_it(name, files, models, tmp_path):
    run(files, tmp_path / name, "--model", models["guided"], "--guide", files["guide"])
    (found,) = good("info", "--provenance", tmp_path / name).json["files"]
    verified = good("model", "verify", models["guided"], "--json").json
    for word in ("sha256", "digest"):
        assert found["settings"][f"model_{word}"] == verified[word]
    assert "guides: B02, B03\n" in good("model", "show", models["guided"]).out
    assert found["settings"]["guide"] == files["guide"]


def test_both_heads_of_a_model_work(files, models, tmp_path):
    run(files, tmp_path / "four.tif", "--model", models["plain"], "--factor", 4)
    assert read(tmp_path / "four.tif").shape == (2, 600, 524)
    assert agrees(tmp_path / "four.tif", files["coarse"])


@pytest.mark.parametrize(
    ("name", "more", "code", "said"),
    [
        ("latent", ("--factor", "4"), 6, "the model has 2"),
        ("plain", ("--factor", "3"), 2, "2 or 4 for a model"),
        ("plain", ("-b", "B11,B05"), 6, "wants B05, B11; choose and order them."),
        ("plain", ("-b", "1"), 6, "wants B05, B11"),
        ("guided", (), 6, "wants the guide B02, B03; give --guide."),
        ("plain", ("--method", "cubic"), 2, "go together"),
        (None, ("--method", "latent"), 2, "go together"),
        (None, ("--members", "4"), 2, "no --model found"),
        (None, ("--force",), 2, "--force: no --model found, one is wanted; leave it out."),
        ("plain", ("--members", "1"), 2, "--members: 1 found, 2 or more wanted"),
        ("plain", ("--seed", "1"), 2, "--seed: no --members found, which it is for; leave it out."),
        ("plain", ("--members", "2", "--seed", "-1"), 2, "--seed: found -1, wanted from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(name, more, code, said, files, models, tmp_path):
    model = () if name is None else ("--model", models[name])
    found = call("downscale", files["coarse"], tmp_path / "o.tif", *model, *more)
    assert found.code == code, found.err
    assert said in found.err
    assert not list(tmp_path.iterdir())


def test_the_only_band_of_a_file_needs_no_name(files, models, tmp_path):
    one = values(96, 98)[:1]
    hill = save(tmp_path / "hill.tif", one, UTM, ())
    few = ("--steps", 2, "--width", 8, "--blocks", 1, "-q")
    good("train", "downscaler", hill, "-o", tmp_path / "model", *few)
    how = ("--model", tmp_path / "model", "--force")
    good("downscale", hill, tmp_path / "fine.tif", *how, "-q")
    vale = save(tmp_path / "vale.tif", one, UTM, ())
    said = good("downscale", vale, tmp_path / "same.tif", *how).err
    assert "vale.tif: its band has no name, it is taken for hill" in said
    assert np.array_equal(read(tmp_path / "fine.tif"), read(tmp_path / "same.tif"))
    named = save(tmp_path / "named.tif", one, UTM, ("dell",))
    found = call("downscale", named, tmp_path / "o.tif", *how)
    assert (found.code, "bands dell found" in found.err) == (6, True)


def test_a_guide_that_a_model_does_not_take_is_refused(files, models, tmp_path):
    how = ("--model", models["plain"], "--guide", files["guide"])
    found = call("downscale", files["coarse"], tmp_path / "o.tif", *how)
    assert found.code == 6
    assert f"takes no guide, {files['guide']} found; leave out --guide" in found.err
    assert not list(tmp_path.iterdir())


def test_members_are_scored(files, models, tmp_path):
    fine, truth = tmp_path / "o.tif", tmp_path / "truth.tif"
    run(files, fine, "--model", models["plain"], "--members", 4)
    run(files, truth)
    found = good("assess-downscaling", fine, truth, "--json").json["bands"]
    assert [band["band"] for band in found] == ["B05", "B11"]
    assert all(band["members"] == 4 and band["crps"] > 0 for band in found)
    assert all(0 < band["spread_skill"] < np.inf for band in found)
    assert "spread skill" in good("assess-downscaling", fine, truth).out
    other = call("assess-downscaling", fine, fine)
    assert (other.code, "wanted as in" in other.err) == (3, True)
    with rasterio.open(fine, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as renamed:
        renamed.set_band_description(4, "other")
    other = call("assess-downscaling", fine, truth)
    assert (other.code, "as downscale writes them" in other.err) == (3, True)


def test_members_without_an_error_have_no_spread_over_it(tmp_path):
    names = ("v", "v_std", "v_m1", "v_m2")
    dry = np.zeros((4, 48, 40), "float32")
    fine, truth = tmp_path / "fine.tif", save(tmp_path / "truth.tif", dry[:1], UTM, names[:1])
    with rasterio.open(save(fine, dry, UTM, names), "r+") as dataset:
        dataset.update_tags(STCLI_MEMBERS="2", STCLI_FACTOR="2")
    band = good("assess-downscaling", fine, truth, "--margin", 2, "--json").json["bands"][0]
    assert (band["rmse"], band["crps"], band["spread_skill"]) == (0, 0, None)


def test_members_of_a_netcdf_are_variables(files, models, tmp_path):
    run(files, tmp_path / "o.nc", "--model", models["plain"], "--members", 4)
    run(files, tmp_path / "o.tif", "--model", models["plain"], "--members", 4)
    ends = ("", "_std", "_m1", "_m2", "_m3", "_m4")
    with xr.open_dataset(tmp_path / "o.nc") as found:
        names = [f"{band}{end}" for band in ("B05", "B11") for end in ends]
        assert [name for name in found.data_vars if name != "crs"] == names
        assert found.B05_m3.long_name == "B05 m3"
        values = np.stack([found[name].values for name in names])
    assert np.array_equal(values, read(tmp_path / "o.tif"), equal_nan=True)
    run(files, tmp_path / "truth.tif")
    scored = [
        good("assess-downscaling", tmp_path / name, tmp_path / "truth.tif", "--json").json["bands"]
        for name in ("o.nc", "o.tif")
    ]
    assert scored[0] == scored[1]


def test_guides_that_do_not_fit_are_refused(files, models, tmp_path):
    how = ("downscale", files["coarse"], tmp_path / "o.tif")
    found = call(*how, "--guide", files["guide"], "--factor", 4)
    assert (found.code, "spans 2" in found.err) == (3, True)
    found = call(*how, "--guide", files["guide"], "--method", "cubic")
    assert (found.code, "ibp or a model" in found.err) == (2, True)
    one = ("--guide", files["guide"], "--model", models["guided"])
    shutil.copy(files["guide"], tmp_path / "other.tif")
    assert call(*how, *one).code == 0
    found = call(*how, "--guide", files["coarse"], "--model", models["guided"], "--overwrite")
    assert (found.code, "the very grid" in found.err) == (3, True)


def test_other_units_than_the_model_s_are_refused(files, models, tmp_path):
    folder, warm = tmp_path / "m", tmp_path / "warm.tif"
    shutil.copytree(models["plain"], folder)
    facts = json.loads((folder / "card.json").read_text())
    facts["data"]["units"] = ["K", "K"]
    (folder / "card.json").write_text(json.dumps(facts))
    shutil.copy(files["coarse"], warm)
    with rasterio.open(warm, "r+") as dataset:
        dataset.units = ("K", "degC")
    found = call("downscale", warm, tmp_path / "o.tif", "--model", folder)
    assert (found.code, "B11 is in degC" in found.err) == (6, True), found.err
    assert not (tmp_path / "o.tif").exists()


def test_a_raster_too_small_to_judge_a_guide_says_so(tmp_path):
    fine = values(40, 40)
    double = UTM["transform"] @ Affine.scale(2)
    small = fine.reshape(2, 20, 2, 20, 2).mean((2, 4))
    coarse = save(tmp_path / "coarse.tif", small, UTM, transform=double)
    guide = save(tmp_path / "guide.tif", fine, UTM)
    said = good("downscale", coarse, tmp_path / "o.tif", "--guide", guide, "--json").json
    assert said["method"] == "ibp (the linear guide is no better)"


def test_a_model_that_lost_to_ibp_is_used_by_force_only(files, models, tmp_path):
    folder = tmp_path / "lost"
    shutil.copytree(models["latent"], folder)
    card = folder / "card.json"
    facts = json.loads(card.read_text())
    facts["metrics"]["rmse_over_ibp"] = {"2": 1.25}
    card.write_text(json.dumps(facts))
    how = ("downscale", files["coarse"], tmp_path / "o.tif", "--model", folder)
    found = call(*how)
    assert found.code == 6
    assert "lost: its error on held-out blocks was 1.250 of ibp's, below 1 is wanted" in found.err
    assert not (tmp_path / "o.tif").exists()
    good(*how, "--force")


def test_a_card_that_does_not_fit_is_refused(files, models, tmp_path):
    how = ("downscale", files["coarse"], tmp_path / "o.tif", "--model", tmp_path / "m")
    for key, value, said in (
        ("network", {"blocks": 2}, "m: weights and card do not match ("),
        ("data", {"units": ["K", "K"]}, "m wants K; convert it."),
    ):
        shutil.copytree(models["plain"], tmp_path / "m", dirs_exist_ok=True)
        card = json.loads((tmp_path / "m" / "card.json").read_text())
        card[key].update(value)
        (tmp_path / "m" / "card.json").write_text(json.dumps(card))
        with rasterio.open(files["coarse"], "r+") as dataset:
            dataset.units = ("degC", "degC")
        found = call(*how)
        with rasterio.open(files["coarse"], "r+") as dataset:
            dataset.units = ("", "")
        assert (found.code, said in found.err) == (6, True), found.err


def test_factors_that_cannot_be_validated_are_refused(files, tmp_path, monkeypatch):
    trained = SimpleNamespace(ratios={})
    monkeypatch.setattr(
        "stcli.workflows.downscaling.train_downscaler.train", lambda *arguments: trained
    )
    how = ("--steps", 1, "--width", 8, "--blocks", 1)
    found = call("train", "downscaler", files["coarse"], "-o", tmp_path / "n", *how)
    assert found.code == 3
    assert "coarse.tif: too few valid pixels to validate every factor; a larger raster" in found.err


def test_a_band_without_a_value_cannot_be_learned_and_is_named(tmp_path):
    array = values(96, 98)
    array[1] = np.nan
    path = save(tmp_path / "half.tif", array, UTM, ("B05", "B11"), nodata=NAN)
    found = call("train", "downscaler", path, "-o", tmp_path / "n", "--steps", 1)
    said = "half.tif: no valid pixel found in B11, and a pixel is valid where all bands are"
    assert (found.code, said in found.err) == (3, True)


def test_another_kind_of_model_is_refused(files, model, tmp_path):
    found = call("downscale", files["coarse"], tmp_path / "o.tif", "--model", model)
    assert found.code == 6
    assert "an upscaler is wanted" in found.err


def test_a_model_of_an_older_kind_is_refused(files, models, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(models["plain"], folder)
    card = folder / "card.json"
    card.write_text(card.read_text().replace("stcli-upscaler-3", "stcli-upscaler-2"))
    found = call("downscale", files["coarse"], tmp_path / "o.tif", "--model", folder)
    assert found.code == 6
    assert "holds stcli-upscaler-2, stcli-upscaler-3 is wanted; train it again" in found.err


@pytest.mark.long
def test_training_by_the_command_line(files, tmp_path):
    fine = save(tmp_path / "fine.tif", values(260, 256), UTM, ("B05", "B11"))
    how = ("train", "downscaler", fine, "-o", tmp_path / "m", "--steps", 2, "--width", 8)
    how = (*how, "--mtf", "0.3,0.2")
    found = good(*how, "--blocks", 1, "--factor", "2,4", "--json")
    card = found.json["card"]
    assert set(card["metrics"]["rmse_over_ibp"]) == {"2", "4"}
    assert set(card["metrics"]["bands_over_ibp"]["2"]) == {"B05", "B11"}
    assert set(card["metrics"]["members"]["4"]) == {"crps_over_mae", "spread_skill"}
    assert len(card["training"]["psf"]) == 2
    assert "of ibp's on held-out blocks" in found.err
    page = (tmp_path / "m" / "report.html").read_text()
    assert all(f"Factor {s}</h2>" in page for s in (2, 4))
    assert page.count("data:image/png") == 1 + 2 * 2 * 2  # a curve; two figures a band and factor
    assert 'src="http' not in page
    shown = good("model", "show", tmp_path / "m").out
    assert "factors: 2, 4\ntrained on: fine.tif\n" in shown
    for s, ratio in card["metrics"]["rmse_over_ibp"].items():
        assert f"error over ibp's, factor {s}: {ratio:.3f}\n" in shown
    again = call(*how)
    assert again.code == 4
    for more, code, said in (
        (("--factor", "3"), 2, "2, 4 or 2,4"),
        (("--factor", "2,4", "--guide", files["guide"]), 2, "one factor"),
        (("--mtf", "0.3", "--psf", "0.4"), 2, "--psf: found beside --mtf, one of them is wanted"),
        (("--psf", "5"), 2, "--psf: found (5.0,), wanted from 0 to 3 pixels"),
        (("--mtf", "1.3"), 2, "above 0 and up to 1"),
        (("--psf", "0.1,0.2,0.3"), 2, "--mtf, --psf: 3 values found, 1 or 2 wanted, one for"),
    ):
        wrong = call("train", "downscaler", fine, "-o", tmp_path / "n", *more)
        assert (wrong.code, said in wrong.err) == (code, True), wrong.err
    tiny = save(tmp_path / "tiny.tif", values(20, 20), UTM)
    wrong = call("train", "downscaler", tiny, "-o", tmp_path / "n")
    assert wrong.code == 3
    assert "too few pixels" in wrong.err
    assert not (tmp_path / "n").exists()


def test_pairs_of_two_sources_teach_what_blocks_hold(tmp_path):
    fine = values(256, 256)
    half = UTM["transform"] @ Affine.scale(2)
    coarse = fine.reshape(2, 128, 2, 128, 2).mean((2, 4)) + 25  # the other source is brighter
    paths = {
        "fine": save(tmp_path / "fine.tif", fine, UTM, ("a", "b")),
        "coarse": save(tmp_path / "coarse.tif", coarse, UTM, ("a", "b"), transform=half),
    }
    how = ("-o", tmp_path / "m", "--steps", 2, "--width", 8, "--blocks", 1)
    pair = ("--coarse", paths["coarse"], "--fine", paths["fine"])
    card = good("train", "downscaler", *pair, *how, "--json").json["card"]
    assert card["resolution"] == [2 * UTM["transform"].a] * 2
    for argv, code, said in (
        (("--coarse", paths["coarse"]), 2, "INPUT, --coarse, --fine: INPUT alone or both"),
        ((paths["fine"], *pair), 2, "both options"),
        ((*pair, "--transfer"), 2, "say how to coarsen"),
        ((*pair, "--factor", "2,4"), 2, "one factor"),
        ((*pair, "--factor", "4"), 3, "spans 2"),
    ):
        wrong = call("train", "downscaler", *argv, "-o", tmp_path / "n")
        assert (wrong.code, said in wrong.err) == (code, True), wrong.err


@pytest.mark.long
@pytest.mark.parametrize("name", ["guided", "linear"])
def test_memory_stays_below_its_prediction(name, files, models, tmp_path):
    big = save(tmp_path / "big.tif", values(401, 433), UTM, ("B05", "B11"))
    half = UTM["transform"] @ Affine.scale(0.5)
    guide = save(tmp_path / "guide.tif", values(802, 866), UTM, ("B02", "B03"), transform=half)
    more = [] if name == "linear" else ["--model", models[name]]
    argv = ("downscale", big, tmp_path / "o.tif", "--guide", guide, *more, "--memory", "4GB")
    done = spawn(*argv, "--tile-size", 0, "-j", 1, "--json", prelude=PEAK)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("PEAK"))
    predicted = json.loads(done.stdout)["run"]["memory"]["predicted"]
    print(name, "measured", line.split()[1], "predicted", predicted)
    assert int(line.split()[1]) <= predicted


@pytest.mark.long
@pytest.mark.parametrize("more", [(), ("--tile-size", 32, "-j", 2)])
def test_values_in_another_unit_are_warned_of(more, files, models, tmp_path):
    array = read(files["coarse"])
    for name, factor, said in (("same", 1, None), ("share", 1e-4, "next to 0"), ("big", 50, "far")):
        path = save(tmp_path / f"{name}.tif", array * np.float32(factor), UTM, ("B05", "B11"))
        how = ("--model", models["plain"], "--force", "--overwrite", *more)
        err = good("downscale", path, tmp_path / "o.tif", *how).err
        assert ("give the raster in the unit of the training" in err) == (said is not None)
        assert said is None or said in err


def test_a_guide_in_another_unit_is_warned_of(files, models, tmp_path):
    array, half = read(files["guide"]), UTM["transform"] @ Affine.scale(0.5)
    for factor, said in ((1, None), (1e-4, "share.tif: 100 % of the pixels are next to 0")):
        path = save(
            tmp_path / "share.tif",
            array * np.float32(factor),
            UTM,
            ("B02", "B03"),
            transform=half,
        )
        how = ("--model", models["guided"], "--guide", path, "--force", "--overwrite")
        err = good("downscale", files["coarse"], tmp_path / "o.tif", *how).err
        assert ("give the raster in the unit of the training" in err) == (said is not None)
        assert said is None or said in err
