"""How numbers come from the rows of 16 channels into lanes, and back.

Rows lie far apart in memory, where no processor looks for them by itself; and where they lie a
multiple of 4096 bytes apart, the nearest cache holds no more than half of the 16 at a time. So
they travel: while a chunk is scanned, a vector of each row at each step is copied out of the rows
into a *near* place, where they are turned into lanes before the next chunk, and the last chunk's
results back from such a place. What is to be copied later is asked for.
"""

from __future__ import annotations

import numpy as np

from stcli.jit import njit
from stcli.lanes import OPTIONS, WIDTH, load, prefetch, store, transpose

#: Steps of a chunk.
CHUNK = 64
#: Vectors of a row's numbers in a chunk.
_PIECES = CHUNK // WIDTH
#: Chunks from the one that is scanned to the one that is asked for.
_AHEAD = 3


@njit(**OPTIONS)
def rooms(count, like):  # type: ignore[no-untyped-def]
    """Make arrays for a chunk and a step; what is in them is not said.

    They lie apart so that a step's places in them do not differ by multiples of 4096 bytes, which
    processors take for one place until they look again.
    """
    size = (CHUNK + 8) * WIDTH
    return np.empty(count * size, dtype=like.dtype).reshape(count, size)


@njit(**OPTIONS)
def places(chunk, whole, origin, length):  # type: ignore[no-untyped-def]
    """Tell where rows of a length are copied from and to at a chunk, and what is asked for.

    `origin` is the place of the block's first number, `whole` the number of chunks that travel.
    The first chunk copies nothing's results to where its own will be, the last its own numbers.
    """
    ahead = (chunk + _AHEAD) * CHUNK
    if ahead >= length:  # the next block's
        ahead += (WIDTH - 1) * length
    into, out = min(chunk + 1, whole - 1), max(chunk - 1, 0)
    return origin + into * CHUNK, origin + out * CHUNK, origin + ahead, length


@njit(inline="always", **OPTIONS)
def travel(rows, near, where, step):  # type: ignore[no-untyped-def]
    """Copy a step's part of two arrays' rows to what is near, and of what is near to a third's."""
    at = step // _PIECES * where[3] + step % _PIECES * WIDTH
    store(near[0], step * WIDTH, load(rows[0], where[0] + at))
    store(near[1], step * WIDTH, load(rows[1], where[0] + at))
    store(rows[2], where[1] + at, load(near[2], step * WIDTH))
    prefetch(rows[0], where[2] + at)
    prefetch(rows[1], where[2] + at)
    prefetch(rows[2], where[2] + at)


@njit(**OPTIONS)
def turn(near, lanes):  # type: ignore[no-untyped-def]
    """Turn a chunk's near rows (channel, step) to (step, lane)."""
    for step in range(0, CHUNK, WIDTH):
        transpose(near, step, CHUNK, lanes, step * WIDTH, WIDTH)


@njit(**OPTIONS)
def turn_back(lanes, near):  # type: ignore[no-untyped-def]
    """Turn a chunk's (step, lane) to near rows (channel, step)."""
    for step in range(0, CHUNK, WIDTH):
        transpose(lanes, step * WIDTH, WIDTH, near, step, CHUNK)


@njit(**OPTIONS)
def to_lanes(source, block, span, out):  # type: ignore[no-untyped-def]
    """Copy a span of a block's rows (channel, step) to (step, lane); lanes of no channel stay."""
    first, (channels, length) = block * WIDTH, source.shape
    count = span.stop - span.start
    whole = count // WIDTH * WIDTH if first + WIDTH <= channels else 0
    flat = source.reshape(-1)
    for step in range(0, whole, WIDTH):
        at = first * length + span.start + step
        transpose(flat, at, length, out, step * WIDTH, WIDTH)
    for step in range(whole, count):
        for lane in range(min(WIDTH, channels - first)):
            out[step * WIDTH + lane] = source[first + lane, span.start + step]


@njit(**OPTIONS)
def from_lanes(lanes, block, span, out):  # type: ignore[no-untyped-def]
    """Copy (step, lane) to a span of a block's rows (channel, step)."""
    first, (channels, length) = block * WIDTH, out.shape
    count = span.stop - span.start
    whole = count // WIDTH * WIDTH if first + WIDTH <= channels else 0
    flat = out.reshape(-1)
    for step in range(0, whole, WIDTH):
        at = first * length + span.start + step
        transpose(lanes, step * WIDTH, WIDTH, flat, at, length)
    for step in range(whole, count):
        for lane in range(min(WIDTH, channels - first)):
            out[first + lane, span.start + step] = lanes[step * WIDTH + lane]


@njit(**OPTIONS)
def tokens_to_lanes(source, block, span, out):  # type: ignore[no-untyped-def]
    """Copy a span of tokens' (step, channel) block to (step, lane)."""
    flat, channels = source.reshape(-1), source.shape[1]
    for step in range(span.stop - span.start):
        lanes = load(flat, (span.start + step) * channels + block * WIDTH)
        store(out, step * WIDTH, lanes)


@njit(**OPTIONS)
def lanes_to_tokens(lanes, block, span, out):  # type: ignore[no-untyped-def]
    """Copy (step, lane) to a span of tokens' (step, channel) block."""
    flat, channels = out.reshape(-1), out.shape[1]
    for step in range(span.stop - span.start):
        numbers = load(lanes, step * WIDTH)
        store(flat, (span.start + step) * channels + block * WIDTH, numbers)
