"""The WDM transform against its atoms, its plain equations and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.noise.time import wdm_long, wdm_plain
from stcli.noise.time.meyer import meyer
from stcli.noise.time.wdm import Tiling, forward, inverse

SHAPES = [(8, 4), (16, 6), (12, 2), (4, 8), (20, 4), (6, 4), (10, 2), (2, 2), (64, 16)]


def atoms(tiling):
    """Every atom in time, (Nf, Nt, N): a cosine under the window's inverse transform."""
    times, rows, count = tiling.times, tiling.rows, tiling.samples
    j, l = np.arange(count), np.arange(-(times // 2), times // 2)  # noqa: E741
    window = meyer(times)[np.abs(l)][:, None]
    out = np.zeros((rows, times, count))
    for n in range(times):
        for m in range(rows):
            late = n - n % 2 if m == 0 else n
            phi = window * np.cos(2 * np.pi * l[:, None] * (j - late * rows) / count)
            phi = phi.sum(axis=0) / np.sqrt(count * times)
            if m:
                turn = np.pi / 2 * (n + m % 2)
                out[m, n] = 2 * phi * np.cos(np.pi * m * j / rows + turn)
            else:
                out[m, n] = np.sqrt(2) * phi * (np.cos(np.pi * j) if n % 2 else 1)
    return out


@pytest.mark.parametrize("shape", SHAPES)
def test_coefficients_are_products_with_atoms(shape):
    tiling = Tiling(*shape)
    x = np.random.default_rng(0).normal(size=(3, tiling.samples))
    flat = atoms(tiling).reshape(tiling.samples, -1)
    assert np.abs(flat @ flat.T - np.eye(tiling.samples)).max() < 1e-11
    found = forward(x, tiling).reshape(3, -1)
    assert np.abs(found - x @ flat.T).max() < 1e-10
    assert np.abs(wdm_plain.forward(x, *shape).reshape(3, -1) - found).max() < 1e-13


@given(
    st.integers(1, 24),
    st.integers(1, 12),
    st.integers(0, 3),
    st.sampled_from([("float64", 1e-14), ("float32", 2e-6)]),
)
@settings(max_examples=60, deadline=None)
def test_round_trip_and_energy(times, rows, batch, kind):
    tiling = Tiling(2 * times, 2 * rows)
    shape = (batch, tiling.samples) if batch else (tiling.samples,)
    x = np.random.default_rng(times).normal(size=shape).astype(kind[0])
    cells = forward(x, tiling)
    assert cells.dtype == x.dtype
    assert cells.shape == (*shape[:-1], tiling.rows, tiling.times)
    assert np.abs(inverse(cells, tiling) - x).max(initial=0) <= 10 * kind[1]
    assert np.isclose((cells**2).sum(), (x**2).sum(), rtol=100 * kind[1])


@pytest.mark.parametrize("shape", [(64, 16), (66, 6)])
def test_the_inverse_is_the_transpose(shape):
    tiling = Tiling(*shape)
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=tiling.samples), rng.normal(size=(tiling.rows, tiling.times))
    assert np.isclose((forward(x, tiling) * w).sum(), (x * inverse(w, tiling)).sum(), rtol=1e-12)


def test_a_tone_lies_in_its_row_and_a_click_at_its_time():
    tiling = Tiling(64, 16)
    j = np.arange(tiling.samples)
    tone = np.cos(np.pi * 5 * j / 16)
    power = (forward(tone, tiling) ** 2).sum(axis=1)
    assert power[5] > 0.999 * power.sum()
    click = (j == 20 * 16).astype(float)
    power = (forward(click, tiling) ** 2).sum(axis=0)
    assert power[19:22].sum() > 0.8


def test_threads_change_nothing():
    tiling = Tiling(512, 256)
    x = np.random.default_rng(2).normal(size=(40, tiling.samples))
    cells = forward(x, tiling, workers=1)
    assert np.array_equal(cells, forward(x, tiling, workers=3))
    assert np.array_equal(inverse(cells, tiling), inverse(cells, tiling, workers=3))


@pytest.mark.parametrize("shape", [(8, 4), (16, 6), (12, 2), (20, 4), (4, 8), (1024, 130)])
@pytest.mark.parametrize("kind", [("float64", 1e-14), ("float32", 4e-6)])
def test_the_way_of_long_series_is_the_same_transform(shape, kind):
    x = np.random.default_rng(3).normal(size=shape[0] * shape[1]).astype(kind[0])
    cells = wdm_long.forward(x, *shape)
    assert cells.dtype == x.dtype
    assert np.abs(cells - wdm_plain.forward(x, *shape)).max() < kind[1]
    back = wdm_long.inverse(cells, *shape)
    assert back.dtype == x.dtype
    assert np.abs(back - x).max() < kind[1]


def test_long_series_go_that_way_and_threads_change_nothing():
    tiling = Tiling(512, 512)
    assert wdm_long.pays(512, 512)
    assert not wdm_long.pays(8, 1 << 17)
    x = np.random.default_rng(4).normal(size=(2, 1, tiling.samples))
    cells = forward(x, tiling)
    assert np.array_equal(cells[1, 0], wdm_long.forward(x[1, 0], 512, 512, workers=3))
    assert np.abs(cells[0, 0] - wdm_plain.forward(x[0, 0], 512, 512)).max() < 1e-13
    back = inverse(cells, tiling, workers=2)
    assert np.array_equal(back, inverse(cells, tiling))
    assert np.abs(back - x).max() < 1e-13


def test_constant_and_integer_series():
    tiling = Tiling(16, 4)
    cells = forward(np.full(64, 3), tiling)
    assert cells.dtype == np.float64
    assert np.allclose(cells[0, ::2], 3 * np.sqrt(2) * np.sqrt(4))
    assert np.abs(cells[1:]).max() < 1e-14
    assert np.abs(cells[0, 1::2]).max() < 1e-14


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (0, 2), (2, 0)])
def test_odd_tilings_are_refused(shape):
    with pytest.raises(ValueError, match="even numbers wanted"):
        Tiling(*shape)


def test_a_wrong_length_is_refused():
    with pytest.raises(ValueError, match="wanted"):
        forward(np.zeros(10), Tiling(4, 2))
    with pytest.raises(ValueError, match="wanted"):
        inverse(np.zeros((4, 2)), Tiling(4, 2))
