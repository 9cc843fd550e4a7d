"""The dates of a stack: composite, series of segments, their tokens, each beside a plain form."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch

from stcli.landcover.dates import Dates, composite, composite_scaling, series_of
from stcli.landcover.network.datetokens import EXTRA, pack_dates
from stcli.landcover.network.network import GLocal
from stcli.landcover.network.neural import batch
from stcli.landcover.network.task import Sample, vary
from stcli.landcover.network.temporal import Packed, split
from stcli.landcover.network.tokens import tokenise
from stcli.landcover.network.windows import Scene, cut, turned_window
from stcli.settings import BandScaling, NetworkSettings

DAYS = np.array([(date(2021, m, d) - date(1970, 1, 1)).days for m, d in ((2, 1), (3, 5), (12, 31))])
SCALING = BandScaling((0.0, 0.1), (1.0, 0.9))
SETTINGS = NetworkSettings(
    window=32, margin=8, local_width=4, model_width=8, state=4, date_width=8, date_layers=1
)


def cloudy(seed=0, shape=(40, 36)):
    """Values (date · band, row, col), NaN under clouds in both bands; and segments."""
    rng = np.random.default_rng(seed)
    values = rng.random((3, 2, *shape), dtype=np.float32)
    values[np.broadcast_to(rng.random((3, 1, *shape)) < 0.3, values.shape)] = np.nan
    values[1, :, :9] = np.nan
    row, col = np.mgrid[: shape[0], : shape[1]]
    segments = np.where((row + col) % 11 == 0, 0, 7 + row // 8 * 10 + col // 8)
    return values.reshape(6, *shape), segments


def test_a_composite_is_the_median_and_the_deviation_of_clear_dates():
    values, _ = cloudy()
    found, cells = composite(values, 2), values.reshape(3, 2, *values.shape[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        median = np.nan_to_num(np.nanmedian(cells, axis=0))
        deviation = np.nan_to_num(np.nanstd(cells.astype(np.float64), axis=0))
    assert np.abs(found[:2] - median).max() < 1e-6
    assert np.abs(found[2:] - deviation).max() < 1e-6
    assert composite_scaling(SCALING) == BandScaling((0, 0.1, 0, 0), (1, 0.9, 0.5, 0.4))


def test_a_series_is_the_mean_over_clear_pixels_and_their_share():
    values, segments = cloudy()
    part = (slice(3, 30), slice(0, 36))
    found = series_of(segments, Dates(values, DAYS), part)
    assert found.labels.tolist() == [label for label in np.unique(segments[part]) if label]
    cells = values.reshape(3, 2, *values.shape[1:])[(slice(None), slice(None), *part)]
    for n, label in enumerate(found.labels):
        inside = segments[part] == label
        for t in range(3):
            mine = cells[t][:, inside]
            clear = np.isfinite(mine[0])
            assert found.clear[n, t] == pytest.approx(clear.mean())
            wanted = mine[:, clear].mean(axis=1) if clear.any() else [0, 0]
            assert found.values[n, t] == pytest.approx(wanted, abs=1e-6)


def test_dates_are_told_by_day_and_gap_and_cloudy_ones_are_no_tokens():
    values, segments = cloudy()
    series = series_of(segments, Dates(values, DAYS), (slice(None), slice(None)))
    tokens = tokenise(segments, (0, 0), 8)
    packed = pack_dates([(series, segments, tokens)] * 2, SCALING)
    assert packed.count == 2 * tokens.count
    once = int((series.clear > 0).sum())
    assert 0 < once < series.clear.size
    assert packed.bands.shape == (2 * once, 2 + EXTRA)
    assert torch.equal(packed.owner[once:], packed.owner[:once] + tokens.count)
    where = {label: tokens.index[segments == label][0] for label in series.labels}
    for n, label in enumerate(series.labels):
        seen = np.flatnonzero(series.clear[n])
        mine = (packed.owner == where[label]).numpy()
        days = packed.day.numpy()[mine]
        assert days.tolist() == [[31, 63, 364][t] for t in seen]
        gaps = np.diff(DAYS[seen], prepend=DAYS[seen[:1]])
        assert packed.bands.numpy()[mine, 3] == pytest.approx(np.log1p(gaps / 10), rel=1e-6)
        first = (series.values[n, seen, 0] - 0) / 1 * 2 - 1
        assert packed.bands.numpy()[mine, 0] == pytest.approx(first, abs=1e-6)


def window_of(seed=0):
    values, segments = cloudy(seed)
    valid = np.isfinite(values).any(axis=0)
    segments = np.where(valid, segments, 0)
    scene = Scene(composite(values, 2), valid, segments, (0, 0), Dates(values, DAYS))
    return cut(scene, (0, 16), SETTINGS)


def test_a_window_beyond_the_raster_and_a_turned_one_keep_their_series():
    window = window_of()
    assert window.valid.shape == (32, 32)
    assert set(window.series.labels) == set(np.unique(window.segments)) - {0}
    again = turned_window(window, 5)
    assert again.series is window.series
    straight, turned = (batch([w], composite_scaling(SCALING), 8).dates for w in (window, again))
    rows = [sorted(map(tuple, packed.bands.tolist())) for packed in (straight, turned)]
    assert rows[0] == rows[1]


@pytest.mark.long
def test_the_network_hears_the_dates_and_learns_through_them():
    torch.manual_seed(0)
    model = GLocal(4, 3, SETTINGS)
    windows = batch([window_of(), window_of(1)], composite_scaling(SCALING), 8)
    logits, tokens = model(windows)
    assert logits.shape == (2, 3, 32, 32)
    (logits.sum() + tokens.square().sum()).backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in model.dates.parameters())
    plain = GLocal(4, 3, replace(SETTINGS, date_width=0))
    assert not any(name.startswith("dates") for name in plain.state_dict())


def test_varying_a_sample_loses_dates_and_moves_days_of_stacks_alone():
    rng, window = np.random.default_rng(2), window_of()
    sample = Sample(window, np.ones(window.valid.shape, dtype=np.uint8))
    lost, shifts = 0, set()
    for _ in range(100):
        series = vary(sample, rng).window.series
        shifts.add(int(series.days[0] - DAYS[0]))
        assert set(np.diff(series.days)) == set(np.diff(DAYS))
        lost += int((series.clear.max(axis=0) == 0).sum())
    assert 10 < lost < 60
    assert (min(shifts), max(shifts)) == (-8, 8)


def test_parts_of_series_together_are_the_whole():
    owner = torch.tensor([0, 0, 0, 2, 2, 3, 6, 6, 6, 6])
    packed = Packed(torch.arange(20.0).reshape(10, 2), torch.arange(10.0), owner, 8)
    for tokens in (1, 3, 4, 100):
        parts = list(split(packed, tokens))
        assert sum(part.count for part in parts) == 8
        assert torch.equal(torch.cat([part.day for part in parts]), packed.day)
        firsts = np.cumsum([0, *(part.count for part in parts)])
        moved = [part.owner + int(n) for part, n in zip(parts, firsts, strict=False)]
        assert torch.equal(torch.cat(moved), owner)
    assert [part.count for part in split(packed, 4)] == [3, 4, 1]
    assert [part.count for part in split(packed, 100)] == [8]
