"""What a downscaler learns from: rasters whole, and windows of large ones."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.windows import Window

from stcli.downscaling.samples import paired, sample
from stcli.errors import BudgetError
from stcli.raster.reading.read import open_raster
from stcli.settings import DownscalerTraining, RunSettings, UpscalerSettings
from stcli.workflows.downscaling import training_fields
from stcli.workflows.downscaling.training_fields import MOST, Plan, Rasters, samples_of

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cliworld import good, save

UTM = {"crs": "EPSG:32618", "transform": Affine(10, 0, 5e5, 0, -10, 4e6)}
TWO = UpscalerSettings(factors=(2,))


def raster_of(rows, cols, bands):
    return SimpleNamespace(shape=(rows, cols), count=bands)


@settings(deadline=None)
@given(
    st.integers(1, 12_000),
    st.integers(1, 12_000),
    st.integers(1, 400),
    st.integers(1, 6),
    st.sampled_from([1, 2, 4]),
)
def test_windows_lie_in_the_raster_apart_and_hold_what_is_allowed(rows, cols, times, each, factor):
    plan = Plan.of(raster_of(rows, cols, times * each), times, factor)
    first = plan.windows[0]
    size = first.height * first.width * factor**2
    taken = plan.windows[: plan.most]
    places = {(w.row_off, w.col_off) for w in plan.windows}
    assert len(places) == len(plan.windows)
    assert {(w.height, w.width) for w in plan.windows} == {(first.height, first.width)}
    assert all(w.row_off % first.height == w.col_off % first.width == 0 for w in plan.windows)
    assert all(w.row_off + w.height <= rows and w.col_off + w.width <= cols for w in plan.windows)
    fields = len(taken) * plan.times
    assert fields == 1 or fields * size * each <= MOST
    assert (
        fields == len(plan.windows) * times
        or 2 * (fields + 1) * size * each > MOST
        or ((len(taken) + 1) * (plan.times + 1) * size * each > MOST)
    )
    for number in range(len(taken)):
        chosen = plan.chosen(number, times)
        assert len(set(chosen)) == plan.times
        assert 0 <= min(chosen) <= max(chosen) < times


def test_what_fits_is_learned_from_whole():
    plan = Plan.of(raster_of(1933, 1947, 4), 1)
    assert (plan.windows, plan.times) == ((Window(0, 0, 1947, 1933),), 1)
    plan = Plan.of(raster_of(720, 1440, 12), 12)
    assert (len(plan.windows), plan.times) == (1, 12)


@pytest.mark.parametrize(("bands", "times"), [(4, 1), (1, 1), (40, 20)])
def test_windows_of_a_large_raster_are_spread_over_it(bands, times):
    plan = Plan.of(raster_of(10980, 10980, bands), times)
    corners = np.array([(w.row_off, w.col_off) for w in plan.windows[: plan.most]])
    quarter = len(corners) // 4
    halves = (corners + 256 > 5490).sum(axis=0)
    assert ((quarter <= halves) & (halves <= len(corners) - quarter)).all()
    ninths = corners // 3660 @ (3, 1)
    assert len(corners) < 16 or len(set(ninths.tolist())) == 9
    seen = [t for number in range(plan.most) for t in plan.chosen(number, times)]
    assert len(set(seen)) >= min(times, len(seen)) * 0.75


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(training_fields, "SIDE", 64)
    monkeypatch.setattr(training_fields, "MOST", 3 * 64 * 64)


def waves(rows, cols, bands=1):
    r, c = np.mgrid[:rows, :cols]
    return np.stack([np.sin(r / (3 + b)) * np.cos(c / 5) * 100 + r for b in range(bands)])


def test_samples_are_those_of_the_windows(tmp_path, small_windows, caplog):
    truth = waves(200, 264)
    truth[0, :, :70] = np.nan  # a scene whose edge has no values
    path = save(tmp_path / "fine.tif", truth.astype("float32"), UTM, nodata=float("nan"))
    with open_raster(path) as fine:
        samples, checked = samples_of(Rasters(fine), TWO, DownscalerTraining(), RunSettings())
        plan = Plan.of(fine.info, 1)
    assert (len(plan.windows), plan.most, checked) == (12, 3, 3)
    valid = [w for w in plan.windows if w.col_off >= 64][:3]
    stored = truth.astype("float32").astype(float)
    for one, window in zip(samples[:3], valid, strict=True):
        rows, cols = window.toslices()
        alone = sample(stored[:, rows, cols], None, 2)
        assert np.array_equal(one.target, alone.target, equal_nan=True)
    assert "large; learned from 3 windows of 64 x 64 pixels, spread evenly" in caplog.text


def test_pairs_and_guides_are_read_in_the_same_windows(tmp_path, small_windows):
    truth, guide = waves(200, 256), waves(200, 256, 2)
    coarse = truth.reshape(1, 100, 2, 128, 2).mean((2, 4)) + 1
    double = {"transform": UTM["transform"] @ Affine.scale(2)}
    paths = [
        save(tmp_path / "fine.tif", truth, UTM),
        save(tmp_path / "guide.tif", guide, UTM),
        save(tmp_path / "coarse.tif", coarse, UTM, **double),
    ]
    with open_raster(paths[0]) as a, open_raster(paths[1]) as b, open_raster(paths[2]) as c:
        made, _ = samples_of(Rasters(a, b, c), TWO, DownscalerTraining(), RunSettings())
        windows = Plan.of(c.info, 1, 2).windows[:3]
    assert len(made) == 3
    for one, window in zip(made, windows, strict=True):
        assert (window.height, window.width) == (32, 32)
        rows, cols = window.toslices()
        fine = np.s_[:, 2 * rows.start : 2 * rows.stop, 2 * cols.start : 2 * cols.stop]
        alone = paired(coarse[:, rows, cols], truth[fine], guide[fine], 2)
        assert np.array_equal(one.target, alone.target)
        assert np.array_equal(one.inputs, alone.inputs)


def test_a_raster_of_which_no_window_is_valid_is_learned_from_where_most_is(
    tmp_path, small_windows
):
    truth = np.full((1, 200, 264), np.nan)
    truth[0, 70:100, 140:180] = waves(30, 40)[0]
    truth[0, 10:20, 10:20] = 1
    path = save(tmp_path / "fine.tif", truth, UTM, nodata=float("nan"))
    with open_raster(path) as fine:
        samples, _ = samples_of(Rasters(fine), TWO, DownscalerTraining(), RunSettings())
    assert sum(np.isfinite(one.target).sum() for one in samples[:1]) > 1000


def test_what_does_not_fit_in_memory_is_refused(tmp_path):
    path = save(tmp_path / "fine.tif", waves(64, 64), UTM)
    with open_raster(path) as fine, pytest.raises(BudgetError, match=r"learning from .* needs"):
        samples_of(Rasters(fine), TWO, DownscalerTraining(), RunSettings(memory=300_000_000))


def test_pairs_are_reckoned_by_their_fine_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(training_fields, "resident", lambda: 0)
    truth = waves(512, 512)
    coarse = truth.reshape(1, 256, 2, 256, 2).mean((2, 4))
    a = save(tmp_path / "fine.tif", truth, UTM)
    b = save(tmp_path / "coarse.tif", coarse, UTM, transform=UTM["transform"] @ Affine.scale(2))
    needed = []
    with open_raster(a) as fine, open_raster(b) as half:
        for given in (Rasters(half), Rasters(fine, None, half)):
            with pytest.raises(BudgetError) as refused:
                samples_of(given, TWO, DownscalerTraining(), RunSettings(memory=1000))
            needed.append(float(re.search(r"needs (\d+) MB", str(refused.value))[1]) - 1000)
    assert needed[1] > 2 * needed[0] > 0  # four times the pixels, a quarter of the copies


def test_a_model_of_a_large_raster_is_told_what_it_learned_from(tmp_path, small_windows):
    path = save(tmp_path / "fine.tif", waves(200, 264), UTM)
    how = ("--factor", 2, "--steps", 4, "--width", 8, "--blocks", 1, "--json", "--no-progress")
    made = good("train", "downscaler", path, "-o", tmp_path / "model", *how)
    assert "learned from 3 windows of 64 x 64 pixels" in made.err
    assert set(made.json["card"]["metrics"]["rmse_over_ibp"]) == {"2"}
