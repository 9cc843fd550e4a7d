"""The report of a downscaler: what part of a large field is drawn."""

from __future__ import annotations

import numpy as np

from stcli.downscaling.samples import sample
from stcli.workflows.downscaling.training_page import FIELD, _part


def test_of_a_large_field_the_square_with_most_to_find_is_drawn():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (2, 2 * 300, 2 * 700))
    truth[:, :, 2 * FIELD : 4 * FIELD] *= 3
    truth[1] *= 1e-3  # a band of small numbers counts as much
    truth[0, :, : 2 * FIELD] *= 2
    one = sample(truth, None, 2)
    part = _part(one)
    assert part.coarse.shape == (2, FIELD, FIELD)
    assert np.array_equal(part.coarse, one.coarse[:, :FIELD, FIELD : 2 * FIELD])
    assert np.array_equal(part.target, one.target[:, :FIELD, FIELD : 2 * FIELD])
    assert part.inputs.shape[1:] == (FIELD, FIELD)


def test_a_small_field_is_drawn_whole():
    one = sample(np.random.default_rng(0).normal(0, 1, (1, 2 * FIELD, 80)), None, 2)
    assert _part(one) is one
