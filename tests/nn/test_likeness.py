"""Likeness: values in another unit are told from such that are only dark, bright or missing."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.nn.likeness import Likeness
from stcli.settings import BandScaling

SCALING = BandScaling((400.0, 50.0), (1400.0, 3050.0))
G = np.random.default_rng(5)
VALUES = np.stack([G.uniform(400, 1400, 900), G.uniform(50, 3050, 900)])


def test_values_of_the_training_are_neither_far_nor_slight():
    found = Likeness.of(VALUES, SCALING)
    assert (found.pixels, found.lit, found.slight) == (900, 900, 0)
    assert not found.far_share.any()


@pytest.mark.parametrize("factor", [1e-4, 1e-3, 2e-3])
def test_values_divided_are_slight(factor):
    assert Likeness.of(VALUES * factor, SCALING).slight_share == 1


def test_values_multiplied_are_far():
    assert (Likeness.of(VALUES * 100, SCALING).far_share > 0.9).all()


def test_a_band_counts_as_far_a_range_beyond_its_own():
    edge = np.array([[-600.1, -600.0, 2400.0, 2400.1], [0.0] * 4])
    assert Likeness.of(edge, SCALING).far.tolist() == [2, 0]


def test_zeros_are_no_slight_pixels():
    """A scene that is mostly fill is not told for values of another unit."""
    values = VALUES.copy()
    values[:, :600] = 0
    found = Likeness.of(values, SCALING)
    assert (found.lit, found.slight) == (300, 0)


def test_one_dark_band_is_not_slight():
    assert Likeness.of(VALUES * [[1.0], [1e-4]], SCALING).slight == 0


def test_bands_about_zero_say_nothing_of_a_unit():
    centred = BandScaling((-1.0, -1.0), (1.0, 1.1))
    assert Likeness.of(np.full((2, 9), 1e-4), centred).slight == 0


def test_parts_add_up_to_the_whole_and_last_in_a_journal():
    values = VALUES * [[3.0], [1.0]]
    parts = [Likeness.of(part, SCALING) for part in np.split(values, [0, 100, 737], axis=1)]
    total = sum(parts[::-1], Likeness.none(2))
    assert total.to_list() == Likeness.of(values, SCALING).to_list()
    assert Likeness.of_list(total.to_list()).to_list() == total.to_list()


def test_nothing_has_no_share():
    assert not Likeness.none(3).far_share.any()
    assert Likeness.none(3).slight_share == 0
