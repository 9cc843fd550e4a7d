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
from stcli.nn.activations import silu
from stcli.nn.products import ROWS, padded, six, store_six

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


def blank(height: int, channels: int, width: int) -> NDArray[np.float32]:
    """Make rows of zeros: (h + 1, c, s)."""
    return np.zeros((height + 1, channels, padded(width + 1)), dtype=np.float32)


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


@njit(**OPTIONS)
def _convolve(rows, width, layer, room, result):  # type: ignore[no-untyped-def]
    (read, made), (height, long) = room, (len(rows) - 1, rows[0].size)
    for row in range(height):
        for near in range(3):
            one = row - 1 + near
            line = rows[one if 0 <= one < height else height].reshape(-1)
            start = WIDTH + near * long
            for x in range(long):
                read[start + x] = line[x]
        _mix(read, WIDTH - 1, (rows.shape[2], 3), width, layer, made)
        _copy(made, width, result[row])


@njit(**OPTIONS)
def convolve_rows(rows, first, width, layer, room, result, then):  # type: ignore[no-untyped-def]
    """Make the `MADE` rows of a convolution from `first`, those that there are.

    They come of rows ``first - 1`` to ``first + MADE``. `then` tells whether they are activated,
    and whether they are added to what stands in the result.
    """
    (factors, bias), (read, made) = layer, room
    _sum_rows(rows, first, read)
    for which in range(_READ):
        for group in range(factors.shape[1]):
            part = made[which, group * ROWS : (group + 1) * ROWS]
            taps = factors[which, group].reshape(-1)
            _product(read[which], WIDTH - 1, (rows.shape[2], 3), taps, part, width)
    _finish(made, first, width, bias, result, then)


@njit(**OPTIONS)
def _sum_rows(rows, first, read):  # type: ignore[no-untyped-def]
    """Bᵀ d of the rows from `first` - 1, past a vector of zeros."""
    height, long = len(rows) - 1, rows.shape[1] * rows.shape[2]
    flat, four, five, two = rows.reshape(-1), np.float32(4), np.float32(5), np.float32(2)
    at = np.empty(_READ, dtype=np.int64)
    for i in range(_READ):
        row = first - 1 + i
        at[i] = (row if 0 <= row < height else height) * long
    for x in range(0, long, WIDTH):
        d0, d1, d2 = load(flat, at[0] + x), load(flat, at[1] + x), load(flat, at[2] + x)
        d3, d4, d5 = load(flat, at[3] + x), load(flat, at[4] + x), load(flat, at[5] + x)
        even, odd = d4 - d2 * four, d3 - d1 * four
        near, far = d4 - d2, (d3 - d1) * two
        store(read[0], WIDTH + x, d0 * four - d2 * five + d4)
        store(read[1], WIDTH + x, even + odd)
        store(read[2], WIDTH + x, even - odd)
        store(read[3], WIDTH + x, near + far)
        store(read[4], WIDTH + x, near - far)
        store(read[5], WIDTH + x, d1 * four - d3 * five + d5)


@njit(**OPTIONS)
def _product(rows, start, shape, factors, made, width):  # type: ignore[no-untyped-def]
    """Six channels of a row: of channels `shape[0]` apart, `shape[1]` neighbours of each."""
    (apart, taps), out = shape, made.reshape(-1)
    count = len(factors) // (ROWS * taps)
    for x in range(0, width, WIDTH):
        sums, at, place = six(splat(np.float32(0))), start + x, 0
        for _ in range(count):
            for tap in range(taps):
                sums = outer_add(sums, factors, place, 1, (load(rows, at + tap),))
                place += ROWS
            at += apart
        store_six(out, x, made.shape[1], sums)


@njit(**OPTIONS)
def _finish(made, first, width, bias, result, then):  # type: ignore[no-untyped-def]
    """Aᵀ m into the rows from `first`, those that there are, and what follows."""
    two, four, eight = np.float32(2), np.float32(4), np.float32(8)
    last, columns = min(first + MADE, len(result) - 1), result.shape[2]
    for channel in range(len(bias)):
        m = made[:, channel]
        for x in range(0, width, WIDTH):
            m1, m2, m3, m4 = load(m[1], x), load(m[2], x), load(m[3], x), load(m[4], x)
            even, odd, far, apart = m1 + m2, m1 - m2, m3 + m4, m3 - m4
            own, last_sum = bias[channel], load(m[5], x)
            _put(result, first, last, channel, x, load(m[0], x) + even + far + own, then)
            _put(result, first + 1, last, channel, x, odd + apart * two + own, then)
            _put(result, first + 2, last, channel, x, even + far * four + own, then)
            _put(result, first + 3, last, channel, x, odd + apart * eight + last_sum + own, then)
        for row in range(first, last):
            for x in range(width, columns):
                result[row, channel, x] = 0


@njit(**OPTIONS)
def _put(result, row, last, channel, x, value, then):  # type: ignore[no-untyped-def]
    if row < last:
        activated, added = then
        line = result[row, channel]
        if activated:
            value = silu(value)
        if added:
            value = value + load(line, x)
        store(line, x, value)


@njit(**OPTIONS)
def _mix(rows, start, shape, width, layer, made):  # type: ignore[no-untyped-def]
    """Mix the channels of a row; see `_product`."""
    factors, bias = layer
    for group in range(len(factors)):
        part = made[group * ROWS : (group + 1) * ROWS]
        _product(rows, start, shape, factors[group].reshape(-1), part, width)
    for channel in range(len(bias)):
        for x in range(width):
            made[channel, x] += bias[channel]


@njit(**OPTIONS)
def _copy(made, width, line):  # type: ignore[no-untyped-def]
    for channel in range(len(line)):
        for x in range(width):
            line[channel, x] = made[channel, x]


@njit(**OPTIONS)
def _halve(rows, width, layer, room, result):  # type: ignore[no-untyped-def]
    taken, made = room
    for row in range(len(result) - 1):
        _quarter(rows, 2 * row, width, taken)
        _mix(taken.reshape(-1), 0, (taken.shape[1], 1), width, layer, made)
        _copy(made, width, result[row])


@njit(**OPTIONS)
def _quarter(rows, first, width, taken):  # type: ignore[no-untyped-def]
    """Lay out two rows as one of four times the channels; past the width numbers do not count."""
    flat = rows.reshape(-1)
    for channel in range(rows.shape[1]):
        for below in range(2):
            start = ((first + below) * rows.shape[1] + channel) * rows.shape[2]
            left, right = taken[4 * channel + 2 * below], taken[4 * channel + 2 * below + 1]
            for x in range(0, width, WIDTH):
                even, odd = pairs(flat, start + 2 * x)
                store(left, x, even)
                store(right, x, odd)


@njit(**OPTIONS)
def _double(rows, width, layer, made, onto):  # type: ignore[no-untyped-def]
    for row in range(len(rows) - 1):
        _mix(rows[row].reshape(-1), 0, (rows.shape[2], 1), width, layer, made)
        for channel in range(onto.shape[1]):
            for below in range(2):
                line = onto[2 * row + below, channel]
                for x in range(width):
                    line[2 * x] += made[channel, x]
                    line[2 * x + 1] += made[channel, x]
