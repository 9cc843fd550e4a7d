"""Labels of a block, listed and numbered."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.segmentation.numbering import distinct


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
