"""Runs of equal labels along rows, and the components that they form.

A run is a stretch of one label in one row; runs are numbered in raster order. A component is known
by its first run, so components are in the order of their first pixels, however the rows are shared
out while runs are joined.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import int64
from numpy.typing import NDArray

from stcli.bits import WORD, count_bits, differ, lowest, there
from stcli.jit import njit
from stcli.lanes import WIDTH, fill
from stcli.segmentation.superpixels.cells import OPTIONS

#: A list that ends with the entry k is known as this less k, below 0 as no label is.
_LIST = -2


class Runs(NamedTuple):
    """Runs of a block of labels.

    Attributes
    ----------
    first : ndarray of int64 (row + 1,)
        Number of each row's first run; the last entry is the number of all runs.
    start, stop : ndarray of int32 (run,)
        Columns of a run's first pixel and of the one after its last.
    parent : ndarray of int64 (run,)
        Its component, once joined and settled: the number of that one's first run.
    """

    first: NDArray[np.int64]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    parent: NDArray[np.int64]


@njit(**OPTIONS)
def count_runs(labels, top, bottom, first):  # type: ignore[no-untyped-def]
    """Count the runs of each row, 0 being no label, into ``first[row + 1]``."""
    width = labels.shape[1]
    for row in range(top, bottom):
        line = labels[row]
        count = int(line[0] != 0)
        for col in range(1, width):
            count += (line[col] != line[col - 1]) & (line[col] != 0)
        first[row + 1] = count


@njit(**OPTIONS)
def find_runs(labels, top, bottom, runs):  # type: ignore[no-untyped-def]
    """Find the runs of some rows, and join each with those of its label in the row above.

    Joins stay within the rows given.
    """
    width, flat = labels.shape[1], labels.reshape(-1)
    begins = np.empty((2, (width + WORD - 1) // WORD), dtype=np.int64)
    for row in range(top, bottom):
        _list_runs(flat, width, row, runs)
        _begin(flat, width, row, begins[row & 1])
        if row > top:
            _join_rows(flat, width, row, runs, begins[1 - (row & 1)], begins[row & 1])


@njit(**OPTIONS)
def join_rows(labels, row, runs):  # type: ignore[no-untyped-def]
    """Join the runs of a row with those of their label in the row above."""
    width, flat = labels.shape[1], labels.reshape(-1)
    begins = np.empty((2, (width + WORD - 1) // WORD), dtype=np.int64)
    for k in range(2):
        _begin(flat, width, row - 1 + k, begins[k])
    _join_rows(flat, width, row, runs, begins[0], begins[1])


@njit(**OPTIONS)
def _list_runs(flat, width, row, runs):  # type: ignore[no-untyped-def]
    """Say where each run of a row begins and ends, and let it be a component by itself."""
    first, start, stop, parent = runs
    run, begin, base = first[row], 0, row * width
    for col in range(1, width, WORD):
        ends = _differing(flat, base + col, base + col - 1, min(WORD, width - col))
        while ends:
            end = col + lowest(ends)
            ends &= ends - 1
            if flat[base + begin] != 0:
                start[run], stop[run], parent[run] = begin, end, run
                run += 1
            begin = end
    if flat[base + begin] != 0:
        start[run], stop[run], parent[run] = begin, width, run


@njit(**OPTIONS)
def _begin(flat, width, row, begins):  # type: ignore[no-untyped-def]
    """Tell where runs of a row begin: bits of `begins`, a word after the other."""
    for word in range(begins.size):
        col = word * WORD
        at, count = row * width + col, min(WORD, width - col)
        if col == 0:
            begin = 1 | _differing(flat, at + 1, at, count - 1) << 1
        else:
            begin = _differing(flat, at, at - 1, count)
        begins[word] = begin & _labelled(flat, at, count)


@njit(**OPTIONS)
def _join_rows(flat, width, row, runs, above, here):  # type: ignore[no-untyped-def]
    """Join runs that have a label in common one below the other, where one of them begins.

    `above` and `here` tell where runs of the two rows begin; how many did so far is a run's number.
    """
    first, parent = runs.first, runs.parent
    a, b = first[row - 1] - 1, first[row] - 1
    for word in range(here.size):
        col = word * WORD
        at, count = row * width + col, min(WORD, width - col)
        same = _labelled(flat, at, count) & ~_differing(flat, at, at - width, count)
        same &= above[word] | here[word]
        while same:
            bit = same & -same
            until = bit | (bit - 1)
            same &= same - 1
            upper, lower = a + count_bits(above[word] & until), b + count_bits(here[word] & until)
            upper = parent[upper]
            if parent[upper] == upper and parent[lower] == lower:  # the rule
                parent[lower] = upper
            else:
                _join(parent, upper, lower)
        a += count_bits(above[word])
        b += count_bits(here[word])


@njit(inline="always", **OPTIONS)
def _differing(flat, at, other, count):  # type: ignore[no-untyped-def]
    """Tell, as bits, which of `count` labels, at most a WORD, are not those from another place."""
    whole, found = count // WIDTH * WIDTH, int64(0)
    for place in range(0, whole, WIDTH):
        found |= differ(flat, at + place, other + place) << place
    for place in range(whole, count):
        found |= int64(flat[at + place] != flat[other + place]) << place
    return found


@njit(inline="always", **OPTIONS)
def _labelled(flat, at, count):  # type: ignore[no-untyped-def]
    """Tell, as bits, which of `count` labels, at most a WORD, are not 0."""
    whole, found = count // WIDTH * WIDTH, int64(0)
    for place in range(0, whole, WIDTH):
        found |= there(flat, at + place) << place
    for place in range(whole, count):
        found |= int64(flat[at + place] != 0) << place
    return found


@njit(**OPTIONS)
def _join(parent, a, b):  # type: ignore[no-untyped-def]
    """Join two components: the one that begins first names both."""
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    if a < b:
        parent[b] = a
    else:
        parent[a] = b


@njit(**OPTIONS)
def settle_large(labels, runs, smallest, main, size, settled):  # type: ignore[no-untyped-def]
    """Name components, measure them, and settle the large main ones.

    Parameters
    ----------
    smallest : int
    main : ndarray of int64 (label + 1,)
        Filled with the largest component of each label, -1 for none; on a tie the first.
    size : ndarray (run,)
        Filled with the pixels of each component, at its first run, 0 at others.
    settled : ndarray (run,)
        Filled with the label of each component that settles, 0 for others, at its first run.

    Returns
    -------
    int
        How many components are left unsettled.
    """
    first, start, stop, parent = runs
    main[:] = -1
    for run in range(parent.size):
        size[run] = 0
        root = parent[parent[run]]  # a parent comes first, so it is named already
        parent[run] = root
        size[root] += stop[run] - start[run]
    left = 0
    for row in range(labels.shape[0]):
        for run in range(first[row], first[row + 1]):
            if parent[run] == run:
                left += 1
                label = labels[row, start[run]]
                settled[run] = 0
                if main[label] < 0 or size[run] > size[main[label]]:
                    main[label] = run
    for label in range(main.size):
        if main[label] >= 0 and size[main[label]] >= smallest:
            settled[main[label]] = label
            left -= 1
    return left


@njit(**OPTIONS)
def absorb(height, runs, settled, begin, end, taken):  # type: ignore[no-untyped-def]
    """Find the settled label with the longest border of each unsettled component.

    On a tie the lower label. Components are those that begin with a run from `begin` to before
    `end`, so that parts run side by side; all look at the same state. ``taken[begin:end]``, of the
    labels' dtype, has the sizes of components, and is filled with the label, 0 for none.
    """
    first, start, stop, parent = runs
    border = np.empty((1024, 3), dtype=taken.dtype)  # label, pixel edges, next of the component
    used = 0
    for row in range(height):
        above, below = first[max(row - 1, 0)], first[row + 1]
        most = 2 * (first[row + 1] - first[row]) + 2 * stop[max(first[row + 1] - 1, 0)]
        if used + most > len(border):  # not run by run: each would count references to the list
            border = _longer(border, 2 * len(border) + most)
        for run in range(first[row], first[row + 1]):
            root = parent[run]
            if root < begin or root >= end or settled[root] != 0:
                continue
            alone = run == root and taken[run] == stop[run] - start[run]
            kept, last = used, -1 if run == root else _LIST - taken[root]
            if run > first[row] and stop[run - 1] == start[run]:
                used, last = _meet(border, used, last, settled[parent[run - 1]], 1)
            if run + 1 < first[row + 1] and start[run + 1] == stop[run]:
                used, last = _meet(border, used, last, settled[parent[run + 1]], 1)
            while row > 0 and above < first[row] and stop[above] <= start[run]:
                above += 1
            at = above
            while row > 0 and at < first[row] and start[at] < stop[run]:
                edges = min(stop[at], stop[run]) - max(start[at], start[run])
                used, last = _meet(border, used, last, settled[parent[at]], int(edges))
                at += 1
            while row + 1 < height and below < first[row + 2] and stop[below] <= start[run]:
                below += 1
            at = below
            while row + 1 < height and at < first[row + 2] and start[at] < stop[run]:
                edges = min(stop[at], stop[run]) - max(start[at], start[run])
                used, last = _meet(border, used, last, settled[parent[at]], int(edges))
                at += 1
            if alone:  # as most are: its list makes room at once
                taken[root], used = _longest(border, last), kept
            else:
                taken[root] = _LIST - last
    for run in range(begin, end):
        if parent[run] != run or settled[run] != 0:
            taken[run] = 0
        elif taken[run] < 0:
            taken[run] = _longest(border, _LIST - taken[run])


@njit(**OPTIONS)
def settle_rest(parent, main, taken, settled):  # type: ignore[no-untyped-def]
    """Settle components as they were taken, and the main ones left as they are."""
    for run in range(parent.size):
        if taken[run] != 0:
            settled[run] = taken[run]
    for label in range(main.size):
        if main[label] >= 0 and settled[main[label]] == 0:
            settled[main[label]] = label


@njit(**OPTIONS)
def _longer(border, length):  # type: ignore[no-untyped-def]
    """Copy a list into more room."""
    longer = np.empty((length, 3), dtype=border.dtype)
    for i in range(len(border)):
        for j in range(3):
            longer[i, j] = border[i, j]
    return longer


@njit(**OPTIONS)
def _meet(border, used, last, label, edges):  # type: ignore[no-untyped-def]
    """Add pixel edges with a settled label to a component's list; return what is used, its last."""
    if label == 0:
        return used, last
    at = last
    while at >= 0:
        if border[at, 0] == label:
            border[at, 1] += edges
            return used, last
        at = int64(border[at, 2])
    border[used, 0], border[used, 1], border[used, 2] = label, edges, last
    return used + 1, used


@njit(**OPTIONS)
def _longest(border, at):  # type: ignore[no-untyped-def]
    """Find the label of the longest border in a list, the lower on a tie; 0 in none."""
    best, edges = int64(0), int64(0)
    while at >= 0:
        if border[at, 1] > edges or (border[at, 1] == edges and border[at, 0] < best):
            best, edges = int64(border[at, 0]), int64(border[at, 1])
        at = int64(border[at, 2])
    return best


@njit(**OPTIONS)
def write_runs(labels, runs, settled, names, top, bottom, final):  # type: ignore[no-untyped-def]
    """Write the settled name of each pixel of some rows, 0 for none.

    Returns how many pixels with a label have no name.
    """
    first, start, stop, parent = runs
    left, width, flat = 0, labels.shape[1], final.reshape(-1)
    for row in range(top, bottom):
        col, base = 0, row * width
        for run in range(first[row], first[row + 1]):
            while col < start[run]:
                final[row, col] = 0
                col += 1
            label = settled[parent[run]]
            name = names[label]
            left += 0 if label else stop[run] - start[run]
            while col < stop[run] and col + WIDTH <= width:  # beyond its end, the next run follows
                fill(flat, base + col, name)
                col += WIDTH
            while col < stop[run]:
                final[row, col] = name
                col += 1
            col = stop[run]
        while col < labels.shape[1]:
            final[row, col] = 0
            col += 1
    return left


@njit(**OPTIONS)
def list_unsettled(runs, settled, width, count):  # type: ignore[no-untyped-def]
    """List the `count` pixels that have a label and no name yet, in raster order."""
    first, start, stop, parent = runs
    pixels = np.empty(count, dtype=np.int64)
    found = 0
    for row in range(first.size - 1):
        for run in range(first[row], first[row + 1]):
            if settled[parent[run]] == 0:
                for col in range(start[run], stop[run]):
                    pixels[found] = row * width + col
                    found += 1
    return pixels
