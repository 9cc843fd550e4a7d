"""The network's head on a CPU: pixels' features and their tokens' to class probabilities.

A few pixels at a time, so that nothing of the width of a token is held for a whole window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, smaller, splat, store, transpose
from stcli.nn.activations import exp, silu
from stcli.nn.mamba_cpu import Floats, State, linear
from stcli.nn.products import ROWS, six, store_six, times

#: Pixels at a time: whole groups of rows, and whole vectors.
_AT_ONCE = ROWS * WIDTH // 2


class HeadCpu:
    """The fused layers of `stcli.landcover.network.network.GLocal`, of its weights."""

    def __init__(self, state: State) -> None:
        pixel, self.token = linear(state, "from_pixel"), linear(state, "from_token")
        self.pixel, self.bias = pixel.factors, pixel.bias
        head = linear(state, "head")
        self.classes = head.size
        inner = np.zeros((len(self.bias), len(head.bias)), dtype=np.float32)
        inner[: len(head.factors)] = head.factors
        self.head = (inner, head.bias)

    def __call__(
        self, local: Floats, tokens: Floats, index: NDArray[np.int64], asked: tuple[slice, slice]
    ) -> Floats:
        """Classify the asked rows and columns: (class, row, col).

        Parameters
        ----------
        local : ndarray (h * w, c)
            With `stcli.landcover.network.local_cpu.slack` numbers behind it.
        tokens : ndarray (k, d)
        index : ndarray (h, w)
            Token of each pixel; k where there is none.
        asked : (slice, slice)
        """
        # both biases are added a token, not a pixel; no token is a token of zeros
        of_token = np.zeros((len(tokens) + 1, len(self.bias)), dtype=np.float32)
        of_token[:-1, : self.token.size] = self.token(tokens)
        of_token += self.bias
        shape = [part.stop - part.start for part in asked]
        result = np.empty((self.classes, *shape), dtype=np.float32)
        span = (asked[0].start, asked[1].start)
        _classify(local, index, span, of_token, self.pixel, self.head, result)
        return result


@njit(**OPTIONS)
def _classify(local, index, span, of_token, pixel, head, result):  # type: ignore[no-untyped-def]
    (rows, columns), (factors, bias) = result.shape[1:], head
    place = np.empty(_AT_ONCE, dtype=np.int64)
    hidden = np.empty(_AT_ONCE * pixel.shape[1], dtype=np.float32)
    logits = np.empty(_AT_ONCE * len(bias), dtype=np.float32)
    turned = np.empty((len(bias), WIDTH), dtype=np.float32)
    # flat, and made here once: see `stcli.nn.convolution`
    pixels, tokens, lanes = local.reshape(-1), of_token.reshape(-1), turned.reshape(-1)
    vectors, last = pixel.reshape(-1), factors.reshape(-1)
    for row in range(rows):
        for first in range(0, columns, _AT_ONCE):
            count = min(_AT_ONCE, columns - first)
            at = (span[0] + row, span[1] + first)
            for i in range(_AT_ONCE):
                place[i] = index[at[0], at[1] + min(i, count - 1)] * of_token.shape[1]
            start = (at[0] * index.shape[1] + at[1]) * local.shape[1]
            for group in range(0, _whole(count), ROWS):
                _fuse(pixels, start, group, place, tokens, vectors, pixel.shape, hidden)
                _tell(hidden, group, last, bias, factors.shape, logits)
            for some in range(0, count, WIDTH):
                _soften(logits, some * len(bias), len(bias), lanes, len(result))
                for k in range(len(result)):
                    for i in range(min(WIDTH, count - some)):
                        result[k, row, first + some + i] = turned[k, i]


@njit(**OPTIONS)
def _whole(count):  # type: ignore[no-untyped-def]
    """Round a number of pixels up to whole groups."""
    return (count + ROWS - 1) // ROWS * ROWS


@njit(**OPTIONS)
def _fuse(pixels, start, group, place, tokens, vectors, shape, hidden):  # type: ignore[no-untyped-def]
    """Hidden features of six pixels: of their own and their token's."""
    channels, wide = shape
    for x in range(0, wide, WIDTH):
        sums = (
            load(tokens, place[group] + x),
            load(tokens, place[group + 1] + x),
            load(tokens, place[group + 2] + x),
            load(tokens, place[group + 3] + x),
            load(tokens, place[group + 4] + x),
            load(tokens, place[group + 5] + x),
        )
        first = start + group * channels
        sums = times(sums, pixels, first, channels, vectors, x, wide, channels)
        active = (
            silu(sums[0]),
            silu(sums[1]),
            silu(sums[2]),
            silu(sums[3]),
            silu(sums[4]),
            silu(sums[5]),
        )
        store_six(hidden, group * wide + x, wide, active)


@njit(**OPTIONS)
def _tell(hidden, group, factors, bias, shape, logits):  # type: ignore[no-untyped-def]
    """Logits of six pixels."""
    inner, wide = shape
    for x in range(0, wide, WIDTH):
        sums = six(load(bias, x))
        sums = times(sums, hidden, group * inner, inner, factors, x, wide, inner)
        store_six(logits, group * wide + x, wide, sums)


@njit(**OPTIONS)
def _soften(logits, start, wide, lanes, classes):  # type: ignore[no-untyped-def]
    """Probabilities of 16 pixels: (class, pixel)."""
    for x in range(0, wide, WIDTH):
        transpose(logits, start + x, wide, lanes, x * WIDTH, WIDTH)
    best, total = load(lanes, 0), splat(np.float32(0))
    for k in range(1, classes):
        one = load(lanes, k * WIDTH)
        best = smaller(best, one, one, best)
    for k in range(classes):
        e = exp(load(lanes, k * WIDTH) - best)
        store(lanes, k * WIDTH, e)
        total = total + e
    for k in range(classes):
        store(lanes, k * WIDTH, load(lanes, k * WIDTH) / total)


#: The compiled kernel of the head.
KERNELS = (_classify,)
