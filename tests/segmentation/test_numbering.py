"""Labels of a block, listed and numbered."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.segmentation.numbering import distinct, merged


@pytest.mark.parametrize("dtype", ["uint32", "int64"])
@pytest.mark.parametrize("island", [0, 3_000_000_000])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_distinct_labels_are_those_of_a_sort(dtype, island, share):
    """With pixels of none and, far from the others, an island."""
    rng = np.random.default_rng(3)
    labels = np.repeat(rng.integers(700, 900, (40, 21)), 3, axis=1).astype(dtype)
    labels[5, 7] = island
    labels[rng.random(labels.shape) < share] = 0
    found = distinct(labels)
    assert found.tolist() == [label for label in np.unique(labels).tolist() if label]


def test_labels_of_strips_are_those_of_a_sort():
    """A label that two strips share is listed once."""
    rng = np.random.default_rng(5)
    strips = [np.unique(rng.integers(1, 400, size)) for size in (300, 0, 1, 200)]
    assert merged(strips).tolist() == np.unique(np.concatenate(strips)).tolist()
    assert merged([np.empty(0, np.int64)]).tolist() == []
