"""Objects by merging neighbours on the graph of segments, level after level.

Baatz & Schäpe 2000 (multiresolution segmentation). What two objects 1 and 2 would cost as one, m:

    f = (1 - w) mean over bands of [n_m σ_m - (n_1 σ_1 + n_2 σ_2)] + w Δshape
    Δshape = c [√n_m l_m - (√n_1 l_1 + √n_2 l_2)]
           + (1 - c) [n_m l_m / b_m - (n_1 l_1 / b_1 + n_2 l_2 / b_2)]

n pixels, σ standard deviation, l outline and b outline of the bounding box in pixel edges, w and c
the weights of shape and of compactness. Two objects merge when each is the other's best
neighbour (*mutual best fitting*) and f < scale²; of equal neighbours the lowest label is best.
All such pairs merge in a round, and rounds go on until there is none. Pairs are disjoint, f is
symmetric to the bit and the graph knows no tile, so neither does the result. A merged object
keeps its lowest label, and the next scale goes on from where the last one stopped: levels nest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit
from stcli.settings import MergeSettings

_NONE = np.int32(-1)


@dataclass(frozen=True)
class Graph:
    """Segments and their borders.

    Attributes
    ----------
    pixels, outline : ndarray of int64 (segment,)
        Pixels, and pixel edges of the outline.
    limits : ndarray of int32 (segment, 4)
        First and last row, first and last column.
    means, deviations : ndarray of float64 (segment, band)
        Mean and Σ (x - mean)² of scaled bands; NaN where unknown: such a segment stays alone.
    pairs, lengths : ndarray of int64 (border, 2), (border,)
        Segments, the lower first, each pair once; pixel edges that they share.
    """

    pixels: NDArray[np.int64]
    outline: NDArray[np.int64]
    limits: NDArray[np.int32]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    pairs: NDArray[np.int64]
    lengths: NDArray[np.int64]


def graph_bytes(segments: int, borders: int, bands: int) -> int:
    """Bytes that merging needs beside the graph's own arrays, and these."""
    return segments * (40 + 60 + 40 * bands) + borders * (24 + 2 * 12 + 8)


def merge_levels(graph: Graph, settings: MergeSettings) -> NDArray[np.int32]:
    """Merge segments.

    Returns
    -------
    ndarray of int32 (level, segment)
        For each scale, the first segment of the object that a segment belongs to.
    """
    count = graph.pixels.size
    nodes = (
        graph.pixels.astype(np.float64),
        graph.outline.astype(np.float64),
        graph.limits.astype(np.int32),
        graph.means.copy(),
        graph.deviations.copy(),
        np.sqrt(graph.deviations * graph.pixels[:, None]),
    )
    links = _links(graph.pairs, count)
    state = (
        np.arange(count, dtype=np.int32),  # parent
        np.full(count, _NONE),  # best neighbour
        np.full(count, np.inf),  # and what it costs
        np.full(count, _NONE),  # marks of a merge
        np.zeros(count, np.int8),  # what a round has to do
    )
    weights = np.array([settings.shape, settings.compactness])
    lengths = graph.lengths.astype(np.float64)
    found = np.empty((len(settings.scales), count), np.int32)
    for level, scale in enumerate(settings.scales):
        _merge(nodes, links, lengths, state, weights, scale**2, level == 0)
        found[level] = state[0]
    return found


@njit(cache=True, nogil=True)
def _links(pairs, count):  # type: ignore[no-untyped-def]
    """Chain the half-borders 2e, 2e + 1 of each segment: heads, after, before, targets."""
    heads = np.full(count, -1, dtype=np.int32)
    after = np.empty(2 * len(pairs), dtype=np.int32)
    before = np.empty(2 * len(pairs), dtype=np.int32)
    target = np.empty(2 * len(pairs), dtype=np.int32)
    for edge in range(len(pairs)):
        for side in range(2):
            half = 2 * edge + side
            target[half] = pairs[edge, 1 - side]
            _attach(heads, after, before, pairs[edge, side], half)
    return heads, after, before, target


@njit(cache=True, nogil=True)
def _attach(heads, after, before, node, half):  # type: ignore[no-untyped-def]
    first = heads[node]
    after[half], before[half], heads[node] = first, -1, half
    if first >= 0:
        before[first] = half


@njit(cache=True, nogil=True)
def _detach(heads, after, before, node, half):  # type: ignore[no-untyped-def]
    if before[half] >= 0:
        after[before[half]] = after[half]
    else:
        heads[node] = after[half]
    if after[half] >= 0:
        before[after[half]] = before[half]


@njit(cache=True, nogil=True)
def _cost(nodes, weights, one, other, shared):  # type: ignore[no-untyped-def]
    """Growth of heterogeneity, the same bits whichever comes first."""
    pixels, outline, limits, means, deviations, rough = nodes
    a, b = min(one, other), max(one, other)
    n = pixels[a] + pixels[b]
    share = pixels[a] * pixels[b] / n
    spectral = 0.0
    for band in range(means.shape[1]):
        gap = means[a, band] - means[b, band]
        squares = deviations[a, band] + deviations[b, band] + share * gap * gap
        spectral += np.sqrt(squares * n) - (rough[a, band] + rough[b, band])
    if means.shape[1] > 0:
        spectral /= means.shape[1]
    if weights[0] == 0.0:
        return spectral
    length = outline[a] + outline[b] - 2.0 * shared
    box = 0.0
    for side in range(0, 4, 2):
        low = min(limits[a, side], limits[b, side])
        box += 2.0 * (max(limits[a, side + 1], limits[b, side + 1]) + 1 - low)
    compact = np.sqrt(n) * length
    compact -= np.sqrt(pixels[a]) * outline[a] + np.sqrt(pixels[b]) * outline[b]
    smooth = n * length / box - (_smooth(nodes, a) + _smooth(nodes, b))
    shape = weights[1] * compact + (1.0 - weights[1]) * smooth
    return (1.0 - weights[0]) * spectral + weights[0] * shape


@njit(cache=True, nogil=True)
def _smooth(nodes, a):  # type: ignore[no-untyped-def]
    pixels, outline, limits = nodes[0], nodes[1], nodes[2]
    box = 2.0 * (limits[a, 1] + 1 - limits[a, 0] + limits[a, 3] + 1 - limits[a, 2])
    return pixels[a] * outline[a] / box


@njit(cache=True, nogil=True)
def _choose(nodes, links, lengths, state, weights, node):  # type: ignore[no-untyped-def]
    """Find a node's best neighbour among all."""
    heads, after, _, target = links
    best, cost = np.int32(-1), np.inf
    half = heads[node]
    while half >= 0:
        other = target[half]
        value = _cost(nodes, weights, node, other, lengths[half >> 1])
        if value < cost or (value == cost and other < best):
            best, cost = other, value
        half = after[half]
    state[1][node], state[2][node] = best, cost


@njit(cache=True, nogil=True)
def _merge(nodes, links, lengths, state, weights, limit, fresh):  # type: ignore[no-untyped-def]
    """Merge all mutually best pairs below a limit, round by round, until there is none."""
    parent, best, cost, _, task = state
    count = parent.size
    alive = np.flatnonzero(parent == np.arange(count)).astype(np.int32)
    if fresh:
        for node in alive:
            _choose(nodes, links, lengths, state, weights, node)
    changed = alive
    while changed.size:
        kept = [np.int32(0) for _ in range(0)]  # lower segments of the pairs to merge
        for node in changed:
            other = best[node]
            if other >= 0 and best[other] == node and cost[node] < limit and task[node] == 0:
                task[node], task[other] = 1, 1
                kept.append(min(node, other))
        for node in kept:
            _join(nodes, links, lengths, state, node, best[node])
        changed = _refresh(nodes, links, lengths, state, weights, kept)
    for member in range(count):  # parents come first, so one step reaches the root
        parent[member] = parent[parent[member]]


@njit(cache=True, nogil=True)
def _join(nodes, links, lengths, state, a, b):  # type: ignore[no-untyped-def]
    """Merge node b into a < b."""
    pixels, outline, limits, means, deviations, rough = nodes
    heads, after, before, target = links
    marks = state[3]
    n = pixels[a] + pixels[b]
    share = pixels[a] * pixels[b] / n
    for band in range(means.shape[1]):
        gap = means[a, band] - means[b, band]
        deviations[a, band] += deviations[b, band] + share * gap * gap
        means[a, band] = (pixels[a] * means[a, band] + pixels[b] * means[b, band]) / n
        rough[a, band] = np.sqrt(deviations[a, band] * n)
    for side in range(0, 4, 2):
        limits[a, side] = min(limits[a, side], limits[b, side])
        limits[a, side + 1] = max(limits[a, side + 1], limits[b, side + 1])
    pixels[a] = n
    outline[a] += outline[b]
    half = heads[a]
    while half >= 0:
        marks[target[half]] = half
        half = after[half]
    half = heads[b]
    while half >= 0:
        other, twin, following = target[half], half ^ 1, after[half]
        if other == a:
            outline[a] -= 2.0 * lengths[half >> 1]
            _detach(heads, after, before, a, twin)
        elif marks[other] >= 0:
            lengths[marks[other] >> 1] += lengths[half >> 1]
            _detach(heads, after, before, other, twin)
        else:
            target[twin] = a
            _attach(heads, after, before, a, half)
        half = following
    marks[b] = -1
    half = heads[a]
    while half >= 0:
        marks[target[half]] = -1
        half = after[half]
    heads[b] = -1
    state[0][b] = a


@njit(cache=True, nogil=True)
def _refresh(nodes, links, lengths, state, weights, kept):  # type: ignore[no-untyped-def]
    """Choose anew where a round of merges made a difference; list those nodes.

    A node whose best neighbour did not merge need only look at the merged ones beside it.
    """
    best, cost, task = state[1], state[2], state[4]
    heads, after, _, target = links
    changed = [np.int32(0) for _ in range(0)]
    for node in kept:
        _choose(nodes, links, lengths, state, weights, node)
        changed.append(node)
    for node in kept:
        half = heads[node]
        while half >= 0:
            other, edge = target[half], half >> 1
            half = after[half]
            if task[other] != 0:
                continue  # merged itself, or chosen anew already
            if best[other] >= 0 and task[best[other]] == 1:
                _choose(nodes, links, lengths, state, weights, other)
                task[other] = 2
                changed.append(other)
                continue
            value = _cost(nodes, weights, node, other, lengths[edge])
            if value < cost[other] or (value == cost[other] and node < best[other]):
                best[other], cost[other] = node, value
                changed.append(other)
    for node in changed:
        task[node] = 0
    return np.array(changed)


#: What merges.
KERNELS = (_links, _merge)
