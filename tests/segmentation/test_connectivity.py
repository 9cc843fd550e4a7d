"""The rule for fragments, on arrays small enough to see, and on random ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from stcli.segmentation.superpixels.connectivity import GROWTH, connect

ISLAND = 1000
STEP = 2


def settle(labels, smallest, step, island):
    """Call `connect` with labels that keep their names."""
    names = np.arange(labels.max(initial=0) + 1, dtype=np.int64)
    return connect(labels.astype(np.int32), smallest, step, names, island)


def connected(rows: list[str], smallest: int = 0, step: int = 1) -> list[str]:
    """Labels 1 to 9 as digits, 0 as a point; islands as letters by their number."""
    labels = np.array([[int(c) if c != "." else 0 for c in row] for row in rows], dtype=np.int64)
    result = settle(labels, smallest, step, (ISLAND, labels.shape[1]))
    islands = np.unique(result[result >= ISLAND]).tolist()
    names = {n: "abcdefgh"[i] for i, n in enumerate(islands)}
    return ["".join(names.get(int(n), str(n) if n else ".") for n in row) for row in result]


def test_whole_segments_stay_as_they_are():
    rows = ["112", "112", "..2", "333"]
    assert connected(rows) == rows


def test_the_largest_component_keeps_the_label_and_the_rest_is_absorbed():
    assert connected(["11121", "11122", "22222"]) == ["11122", "11122", "22222"]
    assert connected(["1122", "1122", "2211", "1111"]) == ["2222", "2222", "1111", "1111"]


def test_of_components_of_one_size_the_first_in_raster_order_is_kept():
    assert connected(["1121", "1121"]) == ["1122", "1122"]
    assert connected(["12221"]) == ["12222"]


def test_a_small_segment_goes_to_the_longest_border():
    assert connected(["1111", "1232", "2222"], 2) == ["1111", "1222", "2222"]
    assert connected(["2231", "2211"], 2) == ["2211", "2211"]
    assert connected(["1131", "1111", "2222"], 2) == ["1111", "1111", "2222"]


def test_on_equal_borders_the_lower_label_wins():
    assert connected(["22311"], 2) == ["22111"]
    assert connected(["11322"], 2) == ["11122"]
    assert connected(["113", "112", "222"], 2) == ["111", "112", "222"]


def test_only_what_was_settled_before_a_round_counts_in_it():
    # 3 touches 1 and 2 alike; the single 1 beside it is a fragment, and touches only 2
    assert connected(["1131", "2222"], 2) == ["1112", "2222"]


def test_the_smallest_size_is_inclusive():
    assert connected(["1111", "3322"], 2) == ["1111", "3322"]
    assert connected(["1111", "3222"], 2) == ["1111", "1222"]


def test_segments_that_touch_only_at_corners_are_apart():
    assert connected(["1.", ".1"]) == ["1.", ".a"]


def test_islands_are_numbered_by_their_first_pixel():
    labels = np.zeros((4, 6), dtype=np.int64)
    labels[0, 0] = labels[0, 1] = 5  # the largest keeps 5
    labels[0, 3] = labels[2, 2] = labels[3, 5] = 5
    result = settle(labels, 0, STEP, (ISLAND, 100))
    assert result[0, 0] == result[0, 1] == 5
    assert (result[0, 3], result[2, 2], result[3, 5]) == (1003, 1202, 1305)


def test_a_small_segment_that_nothing_settled_touches_keeps_its_label():
    assert connected(["1..", "..2"], 9) == ["1..", "..2"]
    assert connected(["12"], 9) == ["12"]  # no segment is large enough: both settle as they are


def test_a_chain_of_small_segments_is_absorbed_one_a_round():
    """One round for the small main components; the next ones settle as they are."""
    assert connected(["111123"], 2) == ["111113"]


def test_settled_segments_grow_so_many_steps_and_no_more():
    # fragments of 9, 8, 7, 6 (whose largest lie elsewhere), each touching only the one before
    rows = ["11119876", "........", "99.88.77", "99.88.77", "66......", "66......"]
    assert connected(rows, step=1)[0] == "1111111a"  # 9 is absorbed whole, then two steps
    assert connected(rows, step=2)[0] == "11111111"
    assert connected(rows, step=1)[1:] == rows[1:]


def test_a_pixel_reached_by_two_at_once_takes_the_lower_label():
    # 5 goes to 2 and to 1 by the round; 9, which touched neither, is then reached by both
    assert connected(["2259511", ".......", "555.99."])[0] == "2221111"
    assert connected(["1159522", ".......", "555.99."])[0] == "1111222"


# --- an oracle ----------------------------------------------------------------------------------


def brute_force(labels: np.ndarray, smallest: int) -> np.ndarray:
    """The rule of the module's docstring, with sets of pixels."""
    parts = []
    for value in np.unique(labels[labels > 0]):
        marks, count = ndimage.label(labels == value)
        found = [{tuple(p) for p in np.argwhere(marks == n + 1).tolist()} for n in range(count)]
        main = max(found, key=lambda p: (len(p), [-x for x in min(p)]))
        parts += [[p, int(value), p is main, 0] for p in found]
    for part in parts:
        if part[2] and len(part[0]) >= smallest:
            part[3] = part[1]

    def absorb():
        owner = {pixel: part[3] for part in parts for pixel in part[0]}
        for part in parts:
            if part[3]:
                continue
            border: dict[int, int] = {}
            for r, c in part[0]:
                for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                    if near not in part[0] and owner.get(near):
                        border[owner[near]] = border.get(owner[near], 0) + 1
            if border:
                part[3] = min(border, key=lambda name: (-border[name], name))

    absorb()
    for part in parts:
        if part[2] and not part[3]:
            part[3] = part[1]
    result = np.zeros_like(labels)
    for pixels, _, _, name in parts:
        for pixel in pixels:
            result[pixel] = name
    for _ in range(GROWTH * STEP):
        before = np.pad(result, 1)
        for r, c in np.argwhere((labels > 0) & (result == 0)).tolist():
            near = [before[r, c + 1], before[r + 2, c + 1], before[r + 1, c], before[r + 1, c + 2]]
            result[r, c] = min((n for n in near if n), default=0)
    for pixels, *_ in parts:
        left = np.zeros(labels.shape, dtype=bool)
        for pixel in pixels:
            left[pixel] = result[pixel] == 0
        marks, count = ndimage.label(left)
        for n in range(1, count + 1):
            first = np.argwhere(marks == n)[0]
            result[marks == n] = ISLAND + first[0] * labels.shape[1] + first[1]
    return result


@given(
    hnp.arrays(
        np.int64,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.sampled_from([0, 1, 1, 2, 2, 3, 3, 4]),
    ),
    st.integers(0, 6),
)
@settings(max_examples=400, deadline=None)
def test_connect_is_the_rule_and_makes_connected_labels(labels, smallest):
    result = settle(labels, smallest, STEP, (ISLAND, labels.shape[1]))
    assert np.array_equal(result, brute_force(labels, smallest))
    assert np.array_equal(result == 0, labels == 0)
    for value in np.unique(result[result > 0]):
        assert ndimage.label(result == value)[1] == 1
