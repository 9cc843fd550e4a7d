"""Spatial noise through the command line: maps, denoising, laws and bad input."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cliworld import call, good, read, save
from matplotlib.figure import Figure
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter
from test_cli_laws import peak

from stcli.raster.pictures import plots
from stcli.raster.writing import draft

ROWS, COLS = 150, 170
PROFILE = {
    "driver": "GTiff",
    "crs": "EPSG:32631",
    "transform": from_origin(500_130, 5_000_070, 10, 10),
}
NAMES = ("red", "nir")
MAP = ("--window", 17)
VERBS = {
    "noise": MAP,
    "noise levels": (*MAP, "--levels", 2),
    "denoise": (*MAP, "--depth", 2, "--passes", 1),
    "denoise twice": (*MAP, "--depth", 1),
    "denoise global": (*MAP, "--depth", 2, "--noise", "global"),
    "denoise speckle": (*MAP, "--method", "wavelet", "--depth", 2, "--model", "multiplicative"),
    "denoise similar": (*MAP, "--search", 9, "--model", "multiplicative"),
    "denoise alike": (*MAP, "--method", "similar", "--search", 17, "--noise", "global"),
}


def plain(seed=0):
    """Make two bands of a smooth scene with noise of deviation 2 and 5: (band, row, col)."""
    rows, cols = np.mgrid[:ROWS, :COLS]
    scene = 200 + 40 * np.sin(rows / 30) + 30 * np.cos(cols / 25)
    noise = np.random.default_rng(seed).normal(size=(2, ROWS, COLS))
    return (scene + noise * np.array([2.0, 5.0])[:, None, None]).astype("float32")


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    """Write the scene with holes of nodata."""
    array = plain()
    array[:, 60:75, 40:80] = np.nan
    array[1, np.random.default_rng(1).random((ROWS, COLS)) > 0.995] = np.nan
    path = tmp_path_factory.mktemp("holed") / "holed.tif"
    return save(path, array, PROFILE, NAMES, nodata=np.nan), array


def run(name, path, target, *more):
    return good(name.split()[0], path, target, *VERBS[name], *more, "-q", "--overwrite")


@pytest.mark.parametrize("name", VERBS)
def test_tiles_and_workers_do_not_show(name, holed, tmp_path):
    run(name, holed[0], tmp_path / "a.tif", "--tile-size", 0, "-j", 1)
    run(name, holed[0], tmp_path / "b.tif", "--tile-size", 64, "-j", 2)
    whole, tiled = read(tmp_path / "a.tif"), read(tmp_path / "b.tif")
    assert np.isfinite(whole).sum() > 0.9 * whole.size
    assert np.array_equal(whole, tiled, equal_nan=True)


@pytest.mark.parametrize("name", VERBS)
def test_nodata_stays_and_spreads_no_further(name, holed, tmp_path):
    run(name, holed[0], tmp_path / "a.tif")
    found = np.isfinite(read(tmp_path / "a.tif"))
    levels = len(found) // len(NAMES)
    assert np.array_equal(found, np.repeat(np.isfinite(holed[1]), levels, axis=0))


@pytest.mark.parametrize("name", ["noise levels", "denoise", "denoise speckle"])
def test_a_band_among_others_is_what_it_is_alone(name, holed, tmp_path):
    run(name, holed[0], tmp_path / "all.tif")
    for band in (1, 2):
        run(name, holed[0], tmp_path / "one.tif", "-b", band)
        alone = read(tmp_path / "one.tif")
        among = read(tmp_path / "all.tif")[(band - 1) * len(alone) : band * len(alone)]
        assert np.array_equal(among, alone, equal_nan=True)


@pytest.mark.parametrize("name", VERBS)
def test_a_band_without_a_valid_pixel_is_named_and_costs_no_other(name, tmp_path):
    array = plain()
    alone = save(tmp_path / "one.tif", array[:1], PROFILE, NAMES[:1])
    array[1] = np.nan
    path = save(tmp_path / "in.tif", array, PROFILE, NAMES, nodata=np.nan)
    how = (*VERBS[name], "--json", "--no-progress")
    done = good(name.split()[0], path, tmp_path / "a.tif", *how)
    assert done.err.count("no valid pixel found in nir") == 1
    assert "is unknown" not in done.err
    run(name, alone, tmp_path / "b.tif")
    both, one = read(tmp_path / "a.tif"), read(tmp_path / "b.tif")
    assert np.array_equal(both[: len(one)], one)
    assert np.isnan(both[len(one) :]).all()
    assert done.json["bands"][1]["sigma"] is None


def test_what_bands_have_not_in_common_has_no_covariance(tmp_path):
    array = plain()
    array[0, : ROWS // 2] = array[1, ROWS // 2 :] = np.nan
    path = save(tmp_path / "in.tif", array, PROFILE, NAMES, nodata=np.nan)
    found = good("noise", path, tmp_path / "n.tif", "--json").json
    assert [band["sigma"] for band in found["bands"]] == pytest.approx([2, 5], rel=0.1)
    assert found["correlation"][0] == [pytest.approx(1), None]


def test_counts_beside_an_empty_band_keep_their_model(tmp_path):
    mean = np.broadcast_to(np.linspace(20, 2000, COLS), (ROWS, COLS))
    counts = np.random.default_rng(0).poisson(mean).astype("float32")
    array = np.stack([counts, np.full_like(counts, np.nan)])
    path = save(tmp_path / "in.tif", array, PROFILE, NAMES, nodata=np.nan)
    done = good("noise", path, tmp_path / "n.tif", "--json", "--model", "poisson").json["bands"]
    assert done[0]["poisson"]["gain"] == pytest.approx(1, rel=0.1)
    assert done[1]["poisson"] is None


def test_the_map_and_the_table_tell_the_noise(tmp_path):
    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    done = good("noise", path, tmp_path / "n.tif", "--json", "--plot", tmp_path / "n.png")
    assert [band["band"] for band in done.json["bands"]] == list(NAMES)
    for band, wanted in zip(done.json["bands"], (2, 5), strict=True):
        assert band["sigma"] == pytest.approx(wanted, rel=0.05)
        assert band["poisson"] is None
    assert done.json["correlation"][0][1] == pytest.approx(0, abs=0.05)
    with rasterio.open(tmp_path / "n.tif") as dataset:
        assert dataset.descriptions == ("sigma red", "sigma nir")
        assert np.median(dataset.read(2)) == pytest.approx(5, rel=0.05)
    assert (tmp_path / "n.png").read_bytes()[:4] == b"\x89PNG"
    table = good("noise", path, tmp_path / "n2.tif", "-q").out
    assert table.splitlines()[0].startswith("band")
    assert len(table.splitlines()) == 3


def test_counts_show_their_gain(tmp_path):
    rng = np.random.default_rng(0)
    mean = np.broadcast_to(np.linspace(20, 2000, COLS), (ROWS, COLS))
    counts = (3 * rng.poisson(mean / 3))[None].astype("uint16")
    path = save(tmp_path / "in.tif", counts, PROFILE)
    done = good("noise", path, tmp_path / "n.tif", "--json", "--model", "poisson")
    assert done.json["bands"][0]["poisson"]["gain"] == pytest.approx(3, rel=0.08)
    sigma = read(tmp_path / "n.tif")[0]
    assert np.median(sigma / np.sqrt(3 * mean)) == pytest.approx(1, rel=0.06)
    good("denoise", path, tmp_path / "d.tif", "--model", "poisson", "--depth", 3)
    clean = read(tmp_path / "d.tif")[0]
    assert np.abs(clean - mean).std() < 0.5 * (counts[0] - mean).std()
    assert clean.mean() == pytest.approx(mean.mean(), rel=0.01)


def test_denoising_brings_the_scene_back(tmp_path):
    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    other = plain(seed=7)
    done = good("denoise", path, tmp_path / "d.tif", "--json", "--depth", 3)
    clean = read(tmp_path / "d.tif")
    for band, wanted in enumerate((2.0, 5.0)):
        before = (plain()[band] - other[band]).std() / np.sqrt(2)
        after = np.sqrt(max(0.0, (clean[band] - other[band]).var() - wanted**2))
        assert after < 0.45 * before
        assert done.json["bands"][band]["removed"] == pytest.approx(wanted, rel=0.1)
        assert abs(done.json["bands"][band]["bias"]) < 0.1
    assert done.json["kept"] == 0


@pytest.mark.parametrize("how", [(), ("--model", "multiplicative", "--method", "wavelet")])
def test_beside_a_wide_hole_the_mean_stays(how, tmp_path):
    rng = np.random.default_rng(6)
    array = (100 + 20 * np.sin(np.mgrid[:120, :130][0] / 20) + rng.normal(0, 3, (120, 130)))[None]
    array[:, :, 60:] = np.nan
    path = save(tmp_path / "in.tif", array.astype("float32"), PROFILE)
    good("denoise", path, tmp_path / "d.tif", *how, "-q")
    change = (array - read(tmp_path / "d.tif"))[0, :, 50:60]
    assert abs(change.mean()) < 0.3  # a tenth of the noise


def test_a_noise_file_does_what_the_local_map_does(tmp_path):
    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    good("noise", path, tmp_path / "n.tif", *MAP)
    for name, noise in (("local", "local"), ("file", tmp_path / "n.tif")):
        good("denoise", path, tmp_path / f"{name}.tif", *MAP, "--noise", noise, "--depth", 2)
    local, file = read(tmp_path / "local.tif"), read(tmp_path / "file.tif")
    inner = np.s_[:, 40:-40, 40:-40]
    assert np.abs(local - file)[inner].max() < 0.02


def test_the_noise_of_a_band_is_found_in_a_map_of_more(tmp_path):
    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    good("noise", path, tmp_path / "n.tif", *MAP, "--levels", 2)
    how = (*MAP, "--levels", 2, "--noise", tmp_path / "n.tif", "--depth", 2, "-q")
    good("denoise", path, tmp_path / "both.tif", *how)
    good("denoise", path, tmp_path / "one.tif", *how, "-b", NAMES[1])
    assert np.array_equal(read(tmp_path / "one.tif")[0], read(tmp_path / "both.tif")[1])


@pytest.mark.parametrize("how", [(), ("--method", "wavelet", "--wavelet", "haar")])
def test_speckle_goes_and_the_mean_stays(how, tmp_path):
    rng = np.random.default_rng(3)
    mean = 50.0 * (1 + (np.mgrid[:ROWS, :COLS][1] > 80))
    speckled = (mean * rng.gamma(4, 1 / 4, (ROWS, COLS)))[None].astype("float32")
    path = save(tmp_path / "in.tif", speckled, PROFILE)
    good("denoise", path, tmp_path / "d.tif", "--model", "multiplicative", *how)
    clean = read(tmp_path / "d.tif")[0]
    assert np.std(np.log(clean / mean)) < 0.4 * np.std(np.log(speckled[0] / mean))
    for half in (np.s_[:, :75], np.s_[:, 86:]):
        assert 10 * np.log10(clean[half].mean() / mean[half].mean()) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("verb", ["noise", "denoise"])
def test_a_constant_band_has_no_noise(verb, tmp_path):
    path = save(tmp_path / "in.tif", np.full((1, 30, 40), 7, dtype="uint8"), PROFILE)
    assert "unknown" not in good(verb, path, tmp_path / "o.tif").err
    wanted = 0 if verb == "noise" else 7
    assert np.abs(read(tmp_path / "o.tif") - wanted).max() < 1e-5


FLAT = pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 90), (2, 90, 1)])


@pytest.mark.long
@FLAT
def test_the_noise_of_one_row_or_column_is_unknown(shape, tmp_path):
    array = np.random.default_rng(4).normal(100, 3, shape).astype("float32")
    path = save(tmp_path / "in.tif", array, PROFILE)
    made = good("noise", path, tmp_path / "n.tif", "--json")
    assert "its noise is unknown: measuring it wants several rows" in made.err
    assert {row["sigma"] for row in made.json["bands"]} == {None}
    assert made.json["covariance"] == [[None, None], [None, None]]
    assert np.isnan(read(tmp_path / "n.tif")).all()
    for how in ("local", "global", tmp_path / "n.tif"):
        made = good("denoise", path, tmp_path / "d.tif", "--noise", how, "--overwrite", "--json")
        assert "its noise is unknown" in made.err
        assert "noise unknown, removed" in made.err
        assert (made.json["kept"], made.json["bands"][0]["sigma"]) == (array.size, None)
        assert np.allclose(read(tmp_path / "d.tif"), array, rtol=1e-6)


@FLAT
def test_what_measures_by_noise_refuses_one_row_or_column(shape, tmp_path):
    array = np.random.default_rng(4).normal(100, 3, shape).astype("float32")
    path = save(tmp_path / "in.tif", array, PROFILE)
    refused(tmp_path, 3, "its noise is unknown", "mnf", path, tmp_path / "o.tif")
    space = ("whiten", path, tmp_path / "o.tif", "--along", "space")
    refused(tmp_path, 3, "its noise is unknown", *space)


@pytest.mark.long
def test_the_level_of_a_scene_shows_in_no_map_beside_a_wide_hole(tmp_path):
    noise = np.random.default_rng(0).normal(size=(1, 250, 260))
    noise[:, 70:190, 60:200] = np.nan
    maps = []
    for level, size in ((0, 0), (10_000, 0), (10_000, 64)):
        path = save(tmp_path / f"{level}.tif", noise + level, PROFILE, nodata=np.nan)
        out = tmp_path / f"n{level}-{size}.tif"
        good("noise", path, out, "--levels", 4, "--window", 17, "--tile-size", size, "-q")
        maps.append(read(out))
    assert np.nanmax(np.abs(maps[1] - maps[0])) < 1e-9
    assert np.array_equal(maps[1], maps[2], equal_nan=True)


def refused(tmp_path, code, words, *argv):
    """Insist on an exit code, one sentence with some words, and on no output."""
    before = set(tmp_path.iterdir())
    result = call(*argv)
    assert result.code == code, result.err
    assert words in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("verb", ["noise", "denoise"])
def test_bad_input_is_refused_in_a_sentence(verb, tmp_path):
    empty = save(tmp_path / "e.tif", np.zeros((1, 20, 20), "float32"), PROFILE, nodata=0)
    negative = save(tmp_path / "m.tif", -plain(), PROFILE, NAMES)
    out = tmp_path / "o.tif"
    refused(tmp_path, 3, "no valid pixel", verb, empty, out)
    speckle = (verb, negative, out, "--model", "multiplicative")
    refused(tmp_path, 3, "where 0 means no data, give --assume-nodata 0", *speckle)
    refused(tmp_path, 3, "does not grow", verb, negative, out, "--model", "poisson")
    refused(tmp_path, 2, "--window", verb, negative, out, "--window", 10)
    refused(tmp_path, 2, "--levels", verb, negative, out, "--levels", 0)
    refused(tmp_path, 5, "--memory", verb, negative, out, "--memory", "1MB")
    refused(tmp_path, 2, "is an input", verb, negative, negative)


def test_denoise_refuses_another_wavelet_and_another_noise(tmp_path):
    path, out = save(tmp_path / "in.tif", plain(), PROFILE, NAMES), tmp_path / "o.tif"
    refused(tmp_path, 2, "bior", "denoise", path, out, "--wavelet", "bior2.2")
    refused(tmp_path, 2, "--search: belongs", "denoise", path, out, "--search", 9)
    speckle = ("denoise", path, out, "--model", "multiplicative")
    refused(tmp_path, 2, "--depth: belongs to --method wavelet", *speckle, "--depth", 2)
    refused(tmp_path, 2, "--search: found 8", *speckle, "--search", 8)
    small = save(tmp_path / "s.tif", plain()[:, :50], PROFILE, ("sigma red", "sigma nir"))
    refused(tmp_path, 3, "sizes of", "denoise", path, out, "--noise", small)
    refused(tmp_path, 3, "nowhere.tif", "denoise", path, out, "--noise", tmp_path / "nowhere.tif")
    other = save(tmp_path / "b.tif", plain(), PROFILE, ("sigma red", "sigma blue"))
    refused(tmp_path, 3, "sigma nir", "denoise", path, out, "--noise", other)
    share = save(tmp_path / "m.tif", plain(), PROFILE, ("sigma red", "sigma nir"))
    with rasterio.open(share, "r+") as dataset:
        dataset.update_tags(STCLI_NOISE='{"model": "multiplicative"}')
    told = "m.tif: noise of --model multiplicative found, of --model additive wanted"
    refused(tmp_path, 3, told, "denoise", path, out, "--noise", share)
    told = "n.tif: noise of --model poisson found, of --model multiplicative wanted"
    with rasterio.open(Path(share).replace(tmp_path / "n.tif"), "r+") as dataset:
        dataset.update_tags(STCLI_NOISE='{"model": "poisson"}')
    how = ("--model", "multiplicative", "--method", "wavelet", "--noise", tmp_path / "n.tif")
    refused(tmp_path, 3, told, "denoise", path, out, *how)


def test_similar_pixels_know_what_noise_neighbours_share(tmp_path):
    white = np.random.default_rng(3).normal(size=(1, 160, 160))
    noise = gaussian_filter(white, (0, 0.8, 0.8))
    noise = (20 * noise / noise.std()).astype("float32")
    path, out = save(tmp_path / "in.tif", 200 + noise, PROFILE, ("red",)), tmp_path / "out.tif"
    good("denoise", path, out, "--method", "similar", "-q")
    assert (read(out) - 200).std() < 0.5 * 20  # 0.72 by the map of level 1 alone


def test_the_map_and_its_plot_appear_together(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    argv = ("noise", path, tmp_path / "o.tif", "--plot", tmp_path / "p.png")
    with monkeypatch.context() as patched:
        patched.setattr(plots, "draw_map", interrupted)
        result = call(*argv)
    assert (result.code, result.err.splitlines()[-1]) == (
        130,
        "stcli: interrupted; no output was written.",
    )
    assert not (tmp_path / "o.tif").exists()
    good(*argv)
    assert (tmp_path / "p.png").exists()


def test_a_plot_that_the_disk_does_not_take_is_named(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    result = call("noise", path, tmp_path / "o.tif", "--plot", tmp_path / "p.png")
    assert result.code == 4
    said = f"{tmp_path / 'p.png'}: the picture cannot be written (No space left on device); make"
    assert said in result.err
    assert not (tmp_path / "o.tif").exists()


def test_no_map_appears_while_its_plot_may_still_fail(tmp_path, monkeypatch):
    real = draft.sync

    def full(path):
        if path.name == "p.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path)

    monkeypatch.setattr(draft, "sync", full)
    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    result = call("noise", path, tmp_path / "o.tif", "--plot", tmp_path / "p.png")
    assert result.code == 4
    said = f"{tmp_path / 'p.png'}: cannot be written (No space left on device); make room"
    assert said in result.err
    assert not (tmp_path / "o.tif").exists()


def test_a_plot_that_exists_is_refused_first(tmp_path):
    path = save(tmp_path / "in.tif", plain(), PROFILE, NAMES)
    (tmp_path / "p.png").write_bytes(b"mine")
    refused(tmp_path, 4, "p.png", "noise", path, tmp_path / "o.tif", "--plot", tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes() == b"mine"


MEMORY = {
    "noise": (),
    "denoise": ("--depth", 3, "--passes", 2),
    "denoise similar": ("--model", "multiplicative", "--search", 9),
    "mnf": (),
    "destripe": (),
    "noise of bands apart": (),
    "denoise of bands apart": ("--method", "similar", "--search", 9),
}


@pytest.mark.long
@pytest.mark.parametrize("name", MEMORY)
def test_memory_stays_below_its_prediction(name, tmp_path):
    array = np.tile(plain(), (1, 5, 4))[:, :701, :643]
    if "apart" in name:
        array[0, ::50, ::7] = np.nan
    path = save(tmp_path / "in.tif", array, PROFILE, NAMES)
    verb, how = name.split()[0], MEMORY[name]
    measured, predicted = peak(verb, path, tmp_path / "o.tif", *how, "-j", 2)
    assert measured <= predicted
