"""Convolutions on a CPU, for inference: what a 3x3 costs, halved by Winograd's sums down the rows.

Images are *rows*: float32 (h + 1, c, s), each row holding its channels one after the other, s
columns each, of which those from the image's width on are 0 and so is the last row. So whatever
reaches over an image's edge reads zeros, and sums of rows are sums of plain vectors.

Four rows of a 3x3 convolution take six sums of six rows instead of twelve products (Winograd's
F(4, 3), Lavin and Gray 2016, arXiv:1509.09308, section 4.1, along one axis)::

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]        d six rows, g three taps, y four rows

so that a pixel takes 4.5 multiplications a pair of channels instead of 9. Along the columns the
three taps are plain. A pixel's result depends on its row's place modulo 4 by rounding alone, and
on nothing else. Rounding is that of the largest number in six rows; so bands, which nothing bounds,
are convolved plainly.

Letters: c channels before, d after, h rows, w columns, s columns with their zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, outer_add, pairs, splat, store
from stcli.llvm import SPACIOUS
from stcli.nn.activations import silu
from stcli.nn.products import ROWS, padded, six, six_of, store_six, store_twelve, twelve

#: Rows that are made at once, and those that they are made of.
MADE, _READ = 4, 6
#: G: from three taps to six.
_TAPS = np.array(
    [
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ]
)


def extent(height: int, channels: int, width: int) -> int:
    """Count the numbers of the rows of an image."""
    return (height + 1) * channels * padded(width + 1)


def blank(
    memory: NDArray[np.float32], height: int, channels: int, width: int
) -> NDArray[np.float32]:
    """Lay out rows (h + 1, c, s) in the first `extent` numbers; what is around the image is 0."""
    shape = (height + 1, channels, padded(width + 1))
    rows = memory[: extent(height, channels, width)].reshape(shape)
    rows[-1] = 0
    rows[:, :, width:] = 0
    return rows


def _grouped(weight: NDArray[Any]) -> NDArray[np.float32]:
    """Lay out factors (d, k) for `_product`: (group, k, 6), the last group filled with zeros."""
    after, count = weight.shape
    filled = np.zeros((padded(after, ROWS), count), dtype=np.float32)
    filled[:after] = weight
    return np.ascontiguousarray(filled.reshape(-1, ROWS, count).transpose(0, 2, 1))


class Plain:
    """A 3x3 convolution with zeros around the image by its nine taps, made ready once.

    Parameters
    ----------
    weight : ndarray (d, c, 3, 3)
        As torch's.
    bias : ndarray (d,)
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.factors = _grouped(weight.transpose(0, 2, 1, 3).reshape(len(weight), -1))
        self.bias = np.ascontiguousarray(bias, dtype=np.float32)

    def __call__(self, rows: NDArray[np.float32], width: int, into: NDArray[np.float32]) -> None:
        """Convolve rows (h + 1, c, s) into others (h + 1, d, s)."""
        read = np.zeros(3 * rows[0].size + 2 * WIDTH, dtype=np.float32)
        made = np.empty((padded(len(self.bias), ROWS), into.shape[2]), dtype=np.float32)
        _convolve(rows, width, (self.factors, self.bias), (read, made), into)


class Convolution:
    """A 3x3 convolution with zeros around the image by sums of rows, made ready once.

    Parameters
    ----------
    weight : ndarray (d, c, 3, 3)
        As torch's.
    bias : ndarray (d,)
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        taps = np.einsum("rk,dckx->rdcx", _TAPS, weight.astype(np.float64))
        self.factors = np.stack([_grouped(each.reshape(len(weight), -1)) for each in taps])
        self.bias = np.ascontiguousarray(bias, dtype=np.float32)

    @property
    def layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Factors (6, group, 3 * c, 6) and bias (d,), for `convolve_rows`."""
        return self.factors, self.bias

    def room(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Make room for sums (6, c * s + 32) of rows (h + 1, c, s) and for products (6, d, s)."""
        around = rows.shape[1] * rows.shape[2] + 2 * WIDTH
        shape = (_READ, padded(len(self.bias), ROWS), rows.shape[2])
        return np.zeros((_READ, around), np.float32), np.empty(shape, np.float32)


class Mix:
    """A product over the channels of each pixel, or over those of each 2x2 pixels, made ready once.

    Parameters
    ----------
    weight : ndarray (d, c, side, side)
        As torch's of a convolution of side 1, or of side and stride 2.
    bias : ndarray (d,)
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.factors = _grouped(weight.reshape(len(weight), -1))
        self.bias = np.ascontiguousarray(bias, dtype=np.float32)

    def halved(self, rows: NDArray[np.float32], width: int, into: NDArray[np.float32]) -> None:
        """Map rows (h + 1, c, s), h and w even, into those of half (h / 2 + 1, d, s)."""
        taken = np.zeros((4 * rows.shape[1], into.shape[2]), dtype=np.float32)
        made = np.empty((padded(len(self.bias), ROWS), into.shape[2]), dtype=np.float32)
        _halve(rows, width // 2, (self.factors, self.bias), (taken, made), into)

    def doubled(self, rows: NDArray[np.float32], width: int, onto: NDArray[np.float32]) -> None:
        """Add rows (h + 1, c, s), mixed, each pixel made 2x2, to those of twice (2 h + 1, d, s)."""
        made = np.empty((padded(len(self.bias), ROWS), rows.shape[2]), dtype=np.float32)
        _double(rows, width, (self.factors, self.bias), made, onto)


# Loops take arrays flat, and places in them: numba counts references, atomically, for each view
# that it makes, and would do so vector by vector.


@njit(**OPTIONS)
def _convolve(rows, width, layer, room, result):  # type: ignore[no-untyped-def]
    (factors, bias), (read, made) = layer, room
    height, long, shape = len(rows) - 1, rows[0].size, (rows.shape[2], 3, 3 * rows.shape[1])
    flat, taps, out = rows.reshape(-1), factors.reshape(-1), made.reshape(-1)
    for row in range(height):
        for near in range(3):
            one = row - 1 + near
            line = (one if 0 <= one < height else height) * long
            start = WIDTH + near * long
            for x in range(long):
                read[start + x] = flat[line + x]
        for group in range(len(factors)):
            at = (WIDTH - 1, group * factors[0].size, group * ROWS * made.shape[1])
            _product(read, taps, out, at, shape, (width, made.shape[1]))
        _put_row(made, width, bias, result[row])


@njit(**OPTIONS)
def convolve_rows(rows, first, width, layer, room, result, then):  # type: ignore[no-untyped-def]
    """Make the `MADE` rows of a convolution from `first`, those that there are.

    They come of rows ``first - 1`` to ``first + MADE``. `then` tells whether they are activated,
    and whether they are added to what stands in the result.
    """
    (factors, bias), (read, made) = layer, room
    flat, taps, out = read.reshape(-1), factors.reshape(-1), made.reshape(-1)
    shape, groups, each = (rows.shape[2], 3, rows.shape[1]), factors.shape[1], factors[0, 0].size
    _sum_rows(rows.reshape(-1), first, (len(rows) - 1, rows[0].size), flat, read.shape[1])
    for number in range(_READ * groups):
        start = number // groups * read.shape[1] + WIDTH - 1
        at = (start, number * each, number * ROWS * made.shape[2])
        _product(flat, taps, out, at, shape, (width, made.shape[2]))
    _finish(out, first, width, bias, result, then)


@njit(**OPTIONS)
def _sum_rows(flat, first, shape, read, wide):  # type: ignore[no-untyped-def]
    """Bᵀ d of the rows from `first` - 1, each past a vector of zeros and `wide` from the other."""
    (height, long), four, five, two = shape, np.float32(4), np.float32(5), np.float32(2)
    at0, at1 = _row(first - 1, height) * long, _row(first, height) * long
    at2, at3 = _row(first + 1, height) * long, _row(first + 2, height) * long
    at4, at5 = _row(first + 3, height) * long, _row(first + 4, height) * long
    for x in range(0, long, WIDTH):
        d0, d1, d2 = load(flat, at0 + x), load(flat, at1 + x), load(flat, at2 + x)
        d3, d4, d5 = load(flat, at3 + x), load(flat, at4 + x), load(flat, at5 + x)
        even, odd = d4 - d2 * four, d3 - d1 * four
        near, far, out = d4 - d2, (d3 - d1) * two, WIDTH + x
        store(read, out, d0 * four - d2 * five + d4)
        store(read, out + wide, even + odd)
        store(read, out + 2 * wide, even - odd)
        store(read, out + 3 * wide, near + far)
        store(read, out + 4 * wide, near - far)
        store(read, out + 5 * wide, d1 * four - d3 * five + d5)


@njit(**OPTIONS)
def _row(row, height):  # type: ignore[no-untyped-def]
    """Where a row stands; beyond an image's edge the row of zeros behind it."""
    return row if 0 <= row < height else height


@njit(**OPTIONS)
def _product(rows, factors, out, at, shape, size):  # type: ignore[no-untyped-def]
    """Six channels of a row: of `count` channels `apart` from each other, `taps` neighbours each.

    `at` is where rows, factors and the result begin, `size` the result's width and what lies
    between two of its channels. Where registers hold them, two vectors at a time keep both of a
    core's multipliers busy; what each adds up, and in which order, is the same.
    """
    (start, first, to), (apart, taps, count), (width, step) = at, shape, size
    wide = width // (2 * WIDTH) * (2 * WIDTH) if SPACIOUS else 0
    for x in range(0, wide, 2 * WIDTH):
        both, here, place = twelve(splat(np.float32(0))), start + x, first
        for _ in range(count):
            for tap in range(taps):
                pair = (load(rows, here + tap), load(rows, here + tap + WIDTH))
                both = outer_add(both, factors, place, 1, pair)
                place += ROWS
            here += apart
        store_twelve(out, to + x, step, both)
    for x in range(wide, width, WIDTH):
        sums, here, place = six(splat(np.float32(0))), start + x, first
        for _ in range(count):
            for tap in range(taps):
                sums = outer_add(sums, factors, place, 1, (load(rows, here + tap),))
                place += ROWS
            here += apart
        store_six(out, to + x, step, sums)


@njit(**OPTIONS)
def _finish(made, first, width, bias, result, then):  # type: ignore[no-untyped-def]
    """Aᵀ m into the rows from `first`, those that there are, and what follows."""
    two, four, eight = np.float32(2), np.float32(4), np.float32(8)
    there, (channels, columns), flat = len(result) - 1 - first, result.shape[1:], result.reshape(-1)
    apart, long = made.size // _READ, channels * columns
    for channel in range(channels):
        own, start, at = bias[channel], channel * columns, first * long + channel * columns
        for x in range(0, width, WIDTH):
            m0, m1, m2, m3, m4, m5 = six_of(made, start + x, apart)
            even, odd, far, other = m1 + m2, m1 - m2, m3 + m4, m3 - m4
            _put(flat, at + x, there > 0, m0 + even + far + own, then)
            _put(flat, at + long + x, there > 1, odd + other * two + own, then)
            _put(flat, at + 2 * long + x, there > 2, even + far * four + own, then)
            _put(flat, at + 3 * long + x, there > 3, odd + other * eight + m5 + own, then)
        for row in range(min(MADE, there)):
            for x in range(width, columns):
                flat[at + row * long + x] = 0


@njit(**OPTIONS)
def _put(flat, at, there, value, then):  # type: ignore[no-untyped-def]
    if there:
        activated, added = then
        if activated:
            value = silu(value)
        if added:
            value = value + load(flat, at)
        store(flat, at, value)


@njit(**OPTIONS)
def _put_row(made, width, bias, line):  # type: ignore[no-untyped-def]
    for channel in range(len(line)):
        for x in range(width):
            line[channel, x] = made[channel, x] + bias[channel]


@njit(**OPTIONS)
def _mix(rows, start, shape, width, factors, made):  # type: ignore[no-untyped-def]
    """Mix the channels of a row, `shape[1]` of them `shape[0]` apart."""
    (apart, channels), taps, out = shape, factors.reshape(-1), made.reshape(-1)
    for group in range(len(factors)):
        at = (start, group * factors[0].size, group * ROWS * made.shape[1])
        _product(rows, taps, out, at, (apart, 1, channels), (width, made.shape[1]))


@njit(**OPTIONS)
def _halve(rows, width, layer, room, result):  # type: ignore[no-untyped-def]
    (taken, made), (factors, bias), flat = room, layer, rows.reshape(-1)
    for row in range(len(result) - 1):
        _quarter(flat, 2 * row, rows.shape[1:], width, taken)
        _mix(taken.reshape(-1), 0, (taken.shape[1], len(taken)), width, factors, made)
        _put_row(made, width, bias, result[row])


@njit(**OPTIONS)
def _quarter(flat, first, shape, width, taken):  # type: ignore[no-untyped-def]
    """Lay out two rows as one of four times the channels; past the width numbers do not count."""
    (channels, columns), out, apart = shape, taken.reshape(-1), taken.shape[1]
    for channel in range(channels):
        for below in range(2):
            start = ((first + below) * channels + channel) * columns
            left = (4 * channel + 2 * below) * apart
            for x in range(0, width, WIDTH):
                even, odd = pairs(flat, start + 2 * x)
                store(out, left + x, even)
                store(out, left + apart + x, odd)


@njit(**OPTIONS)
def _double(rows, width, layer, made, onto):  # type: ignore[no-untyped-def]
    (factors, bias), shape = layer, (rows.shape[2], rows.shape[1])
    for row in range(len(rows) - 1):
        _mix(rows[row].reshape(-1), 0, shape, width, factors, made)
        for channel in range(onto.shape[1]):
            for below in range(2):
                line = onto[2 * row + below, channel]
                for x in range(width):
                    each = made[channel, x] + bias[channel]
                    line[2 * x] += each
                    line[2 * x + 1] += each
