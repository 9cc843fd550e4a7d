"""Merging on the graph: against a slow reference, ties, nesting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stcli.segmentation.numbering import number
from stcli.segmentation.objects.merge import Graph, merge_levels
from stcli.segmentation.objects.shapes import ACROSS, DOWN, PIXELS, borders, shape_sums
from stcli.segmentation.objects.statistics import band_sums
from stcli.settings import MergeSettings


def graph_of(labels, block):
    rows, cols = labels.shape
    numbers = labels.astype(np.int32) - 1
    count = int(labels.max())
    one = np.ones(rows + 1, np.int64)
    sums, limits = shape_sums(numbers, (0, rows, 0, cols), (0, 0), (one[:-1], one, one[:-1]))
    pairs, lengths = borders(numbers, (0, rows, 0, cols), 0, (one, one[:-1]))
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    means, deviations = band_sums(numbers, block, labels > 0, count).moments()
    return Graph(
        sums[:, PIXELS],
        sums[:, ACROSS] + sums[:, DOWN],
        limits,
        means,
        deviations,
        pairs[order],
        lengths[order].sum(axis=1),
    )


def outline(inside):
    padded = np.pad(inside, 1).astype(int)
    return abs(np.diff(padded, axis=0)).sum() + abs(np.diff(padded, axis=1)).sum()


def heterogeneity(inside, block, how):
    """n σ and the two figures of shape of a set of pixels, from the pixels."""
    n = inside.sum()
    r, c = np.nonzero(inside)
    box = 2 * (np.ptp(r) + 1 + np.ptp(c) + 1)
    length = outline(inside)
    spectral = np.mean([n * band[inside].std() for band in block])
    shape = how.compactness * np.sqrt(n) * length + (1 - how.compactness) * n * length / box
    return (1 - how.shape) * spectral + how.shape * shape


def reference(labels, block, how):
    """Merge the plain way: everything from the pixels, every round."""
    now = labels.copy()
    found = []
    for scale in how.scales:
        while True:
            names = [int(v) for v in np.unique(now) if v]
            alone = {v: heterogeneity(now == v, block, how) for v in names}
            touching = set()
            for a, b in ((now[1:], now[:-1]), (now[:, 1:], now[:, :-1])):
                differ = (a != b) & (a > 0) & (b > 0)
                touching |= {tuple(sorted(p)) for p in zip(a[differ], b[differ], strict=True)}
            cost = {}
            for a, b in touching:
                both = heterogeneity((now == a) | (now == b), block, how)
                cost[a, b] = cost[b, a] = both - (alone[a] + alone[b])
            best = {}
            for v in names:
                near = [(round(cost[p], 6), p[1]) for p in cost if p[0] == v]
                if near:
                    best[v] = min(near)[1]
            pairs = [
                (a, b)
                for a, b in sorted(touching)
                if best[a] == b and best[b] == a and cost[a, b] < scale**2
            ]
            if not pairs:
                break
            for a, b in pairs:
                now[now == b] = a
        found.append(now.copy())
    return found


def blocks(rows, cols, side):
    r, c = np.mgrid[:rows, :cols]
    return (r // side * -(-cols // side) + c // side + 1).astype(np.int64)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(0.0, 0.5), (0.1, 0.5), (0.6, 0.9)]))
def test_levels_are_those_of_the_reference(seed, weights):
    rng = np.random.default_rng(seed)
    labels = blocks(14, 17, 3)
    labels = number(np.where(rng.random(labels.shape) < 0.1, 0, labels))[0].astype(np.int64) + 1
    block = rng.random((2, 14, 17)) * 30 + 40 * (np.arange(17) > 8)
    how = MergeSettings((6.0, 9.0, 20.0), *weights)
    found = merge_levels(graph_of(labels, block), how)
    for level, expected in zip(found, reference(labels, block, how), strict=True):
        assert np.array_equal(np.append(level + 1, 0)[labels - 1], expected)


def test_levels_nest_and_keep_the_lowest_label():
    rng = np.random.default_rng(2)
    labels = blocks(60, 70, 4)
    block = rng.normal(0, 8, (3, 60, 70)) + np.hypot(*np.mgrid[:60, :70])
    scales = (5.0, 15.0, 40.0, 90.0)
    levels = merge_levels(graph_of(labels, block), MergeSettings(scales))
    counts = [len(np.unique(level)) for level in levels]
    assert labels.max() > counts[0] > counts[1] > counts[2] > counts[3] >= 1
    for level in levels:
        for name in np.unique(level):
            assert np.flatnonzero(level == name)[0] == name
    for fine, coarse in itertools.pairwise(levels):
        assert np.array_equal(coarse, coarse[fine])


def test_equal_neighbours_merge_with_the_lowest_label():
    labels = blocks(1, 4, 1)
    found = merge_levels(graph_of(labels, np.zeros((1, 1, 4))), MergeSettings((0.5,), 0.0))
    assert found.tolist() == [[0, 0, 0, 0]]
    tie = np.array([[[0.0, 10.0, 20.0]]])
    found = merge_levels(graph_of(blocks(1, 3, 1), tie), MergeSettings((3.5,), 0.0))
    assert found.tolist() == [[0, 0, 2]]  # n σ grows by 10 on either side, the lower wins


@pytest.mark.parametrize("count", [1, 2])
def test_lonely_segments_stay(count):
    labels = np.array([[1, 0, 2]])[:, : 2 * count - 1]
    found = merge_levels(graph_of(labels, np.zeros((1, *labels.shape))), MergeSettings((1e6,)))
    assert found.tolist() == [list(range(count))]


def test_a_segment_without_a_value_stays_alone():
    labels = blocks(1, 3, 1)
    graph = graph_of(labels, np.zeros((1, 1, 3)))
    graph.means[1] = np.nan
    graph.deviations[1] = np.nan
    assert merge_levels(graph, MergeSettings((1e6,))).tolist() == [[0, 1, 2]]


def test_a_hub_takes_all():
    labels = np.ones((21, 21), np.int64)
    labels[1::2, 1::2] = 2 + np.arange(100).reshape(10, 10)
    found = merge_levels(graph_of(labels, np.zeros((1, 21, 21))), MergeSettings((1e5,)))
    assert found.tolist() == [[0] * 101]
