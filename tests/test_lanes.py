"""Vectors as values of numba, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from stcli.bits import count_bits, differ, lowest, there, unequal
from stcli.lanes import (
    WIDTH,
    exp2,
    exp2_each,
    exp2_parts,
    fill,
    load,
    load_single,
    prefetch,
    repeat,
    smaller,
    splat,
    store,
    store_bytes,
    total,
    transpose,
    whole_total,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@njit
def arithmetic(x, y, out):
    a, b = load(x, 3), load(y, 0)
    store(out, 1, (a + b) * 2.0 - a * b + splat(x[0]) - repeat(x, 2))


@njit
def powers(x, out):
    for place in range(0, len(x), WIDTH):
        store(out, place, exp2(load(x, place)))


@njit
def powers_beside(x, out):
    four = (load(x, 0), load(x, WIDTH), load(x, 2 * WIDTH), load(x, 3 * WIDTH))
    a, b, c, d = exp2_each(exp2_parts(four))
    store(out, 0, a)
    store(out, WIDTH, b)
    store(out, 2 * WIDTH, c)
    store(out, 3 * WIDTH, d)


@njit
def asked(x):
    for place in range(0, 1 << 20, 1 << 10):
        prefetch(x, place)


@njit
def summed(x):
    return total(load(x, 0))


@njit
def square(source, first, stride, target, place, step):
    transpose(source, first, stride, target, place, step)


@DTYPES
def test_operators_read_and_write_where_they_are_told(dtype):
    x, y = np.arange(1, WIDTH + 5, dtype=dtype), np.linspace(-1, 1, WIDTH).astype(dtype)
    out = np.full(WIDTH + 2, 77, dtype=dtype)
    arithmetic(x, y, out)
    a = x[3 : 3 + WIDTH]
    assert np.allclose(out[1:-1], (a + y) * 2 - a * y + x[0] - x[2], rtol=1e-6)
    assert out[0] == out[-1] == 77


def test_powers_keep_their_stated_error():
    x = np.concatenate([-np.geomspace(1e-9, 126, 50_000), np.linspace(-126, 0, 50_000)])
    x = np.resize(x, -(-len(x) // WIDTH) * WIDTH).astype(np.float32)
    out = np.empty_like(x)
    powers(x, out)
    exact = np.exp2(x.astype(np.float64))
    assert np.abs(out / exact - 1).max() < 2e-7
    assert out[x == 0].tolist() == [1.0] * int((x == 0).sum())


def test_powers_far_below_stay_small():
    x = np.resize(np.array([-126.4, -127, -1e4, -1.3e7, -3e38], np.float32), WIDTH)
    out = np.empty_like(x)
    powers(x, out)
    assert (out > 0).all()
    assert (out < 2.0**-125).all()


@DTYPES
def test_powers_side_by_side_are_the_powers(dtype):
    x = -np.random.default_rng(0).exponential(9, 4 * WIDTH).astype(dtype)
    alone, beside = np.empty_like(x), np.empty_like(x)
    powers(x, alone)
    powers_beside(x, beside)
    assert np.array_equal(alone, beside)


@DTYPES
def test_asking_ahead_changes_nothing_and_may_go_beyond_the_end(dtype):
    x = np.arange(WIDTH, dtype=dtype)
    asked(x)
    assert np.array_equal(x, np.arange(WIDTH))


def test_float64_powers_are_the_librarys():
    x = -np.geomspace(1e-9, 700, WIDTH)
    out = np.empty_like(x)
    powers(x, out)
    assert np.allclose(out, np.exp2(x), rtol=1e-15)


@DTYPES
def test_a_total_is_the_sum(dtype):
    x = np.random.default_rng(0).standard_normal(WIDTH).astype(dtype)
    assert np.isclose(summed(x), x.astype(np.float64).sum(), rtol=1e-5)


@DTYPES
def test_a_square_is_transposed_and_nothing_beside_it_is_touched(dtype):
    rng = np.random.default_rng(1)
    source = rng.standard_normal((WIDTH + 1, 29)).astype(dtype)
    target = np.zeros((WIDTH + 2, 23), dtype=dtype)
    square(source.reshape(-1), 29 + 5, 29, target.reshape(-1), 23 * 2 + 4, 23)
    wanted = np.zeros_like(target)
    wanted[2:, 4 : 4 + WIDTH] = source[1:, 5 : 5 + WIDTH].T
    assert (target == wanted).all()


@DTYPES
def test_numbers_past_a_row_that_is_shorter_are_overwritten_by_the_next(dtype):
    """Rows of 5 pixels' channels, written 16 numbers at a time, as pixels are normalised."""
    source = np.arange(WIDTH * WIDTH, dtype=dtype)
    for channels in (5, 8, 11):
        target = np.zeros(WIDTH * channels + WIDTH, dtype=dtype)
        square(source, 0, WIDTH, target, 0, channels)
        wanted = source.reshape(WIDTH, WIDTH).T[:, :channels]
        assert np.array_equal(target[: WIDTH * channels].reshape(WIDTH, channels), wanted)


@njit
def quotient(x, y, out):
    store(out, 0, load(x, 0) / load(y, 0) / 3.0)


@DTYPES
def test_a_quotient_is_numpys(dtype):
    x, y = np.random.default_rng(2).uniform(1, 2, (2, WIDTH)).astype(dtype)
    out = np.empty_like(x)
    quotient(x, y, out)
    assert np.array_equal(out, x / y / dtype(3))


@njit
def copied(source, target):
    store(target, 2, load(source, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_whole_numbers_are_copied(dtype):
    source, target = np.arange(WIDTH + 1, dtype=dtype), np.zeros(WIDTH + 4, dtype=dtype)
    copied(source, target)
    assert target.tolist() == [0, 0, *range(1, WIDTH + 1), 0, 0]


@njit
def differing(left, right, but):
    return unequal(left, 3, right, 5, but)


@njit
def _singles(source, target):
    for at in range(0, source.size, WIDTH):
        store(target, at, load_single(source, at))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32"])
def test_numbers_are_loaded_as_float32(dtype):
    low, high = (-2.5, 1e30) if dtype == "float32" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    source = np.linspace(low, high, 3 * WIDTH).astype(dtype)
    target = np.empty(source.size, np.float32)
    _singles(source, target)
    assert np.array_equal(target, source.astype(np.float32))


def test_places_that_differ_are_bits():
    rng = np.random.default_rng(3)
    left, right = rng.integers(0, 3, (2, WIDTH + 5)).astype(np.uint8)
    here, other = left[3 : 3 + WIDTH], right[5 : 5 + WIDTH]
    wanted = (here != other) & (here != 2)
    bits = [differing(left, right, np.uint8(2)) >> place & 1 for place in range(64)]
    assert bits == [*wanted, *[0] * (64 - WIDTH)]


@njit
def places(x):
    return differ(x, 2, 5), there(x, 2)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_places_that_differ_or_are_not_0_are_bits(dtype):
    x = np.random.default_rng(5).integers(0, 2, WIDTH + 5).astype(dtype) << 20
    here, other = x[2 : 2 + WIDTH], x[5 : 5 + WIDTH]
    for bits, wanted in zip(places(x), (here != other, here != 0), strict=True):
        assert [bits >> place & 1 for place in range(64)] == [*wanted, *[0] * (64 - WIDTH)]


@njit
def counted(bits):
    return count_bits(bits)


@pytest.mark.parametrize("bits", [0, 1, -1, 1 << 62, -(1 << 63), 0b1011])
def test_bits_are_counted(bits):
    assert counted(np.int64(bits)) == (bits % (1 << 64)).bit_count()


@njit
def first_place(bits):
    return lowest(bits)


def test_the_lowest_bit_is_found():
    for place in range(64):
        bits = np.int64((1 << place) - (1 << 63)) | np.int64(-(2**63))
        assert first_place(bits) == place
        assert first_place(np.uint64(1 << place).astype(np.int64)) == place


@njit
def filled(target, number):
    fill(target, 1, number)


@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_a_number_fills_a_vector(dtype):
    target = np.zeros(WIDTH + 3, dtype)
    filled(target, dtype(2**31 + 5))
    assert target.tolist() == [0, *[2**31 + 5] * WIDTH, 0, 0]


@njit
def wholes(x, unit):
    return whole_total(x, 2, unit)


@pytest.mark.parametrize("unit", [2.0**34, 1.0, 1000.0])
def test_a_total_of_wholes_cuts_each_and_is_exact(unit):
    x = np.random.default_rng(4).uniform(-8192, 8192, WIDTH + 2).astype(np.float32)
    x[3:8] = 0.3, -0.7, 1e-12, 8192, -8192
    assert wholes(x, unit) == sum(int(float(v) * unit) for v in x[2:])


@njit
def choices(x, y, out, numbers):
    a, b = load(x, 0), load(y, 0)
    store(out, 0, smaller(a, b, a * 2.0, b))
    store_bytes(numbers, 1, smaller(a, b, a, b))


@DTYPES
def test_smaller_chooses_lane_by_lane_and_bytes_are_whole(dtype):
    x, y = np.arange(WIDTH, dtype=dtype), np.full(WIDTH, 7, dtype=dtype)
    x[3] = np.nan
    out, numbers = np.zeros(WIDTH, dtype=dtype), np.full(WIDTH + 2, 99, dtype=np.uint8)
    choices(x, y, out, numbers)
    assert out.tolist() == np.where(x < y, 2 * x, y).tolist()
    assert numbers.tolist() == [99, *np.where(x < y, x, y).astype(int).tolist(), 99]
