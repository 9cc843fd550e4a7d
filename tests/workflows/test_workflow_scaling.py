"""Band scaling of trainings: every band has a range that a model can divide by."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.landcover.network.windows import Window
from stcli.settings import BandScaling
from stcli.workflows.scaling import scaling_of, told_apart


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, -7.0, 3e9, -1e20, 2.0**53])
def test_a_constant_band_of_any_value_scales_to_finite_numbers(value, kind):
    pixels = np.full((1, 16), value, kind)
    scaling = scaling_of([pixels])
    assert scaling.low[0] < scaling.high[0]
    assert np.isfinite(window(pixels.reshape(1, 4, 4)).scaled(scaling)).all()


@pytest.mark.parametrize("kind", [np.float64, np.int64, np.uint32])
def test_bands_keep_what_float32_does_not_hold_of_them(kind):
    rows = np.arange(64).reshape(1, 8, 8)
    scaling = scaling_of([rows.reshape(1, -1) + 2e9])
    far, near = ((rows + offset).astype(kind) for offset in (2e9, 0))
    plain = BandScaling(*((ends[0] - 2e9,) for ends in (scaling.low, scaling.high)))
    assert np.array_equal(window(far).scaled(scaling), window(near).scaled(plain))


def window(values):
    square = values.shape[1:]
    return Window(values, np.ones(square, np.bool_), np.ones(square, np.int32), (0, 0))


def test_ranges_that_float32_cannot_tell_apart_are_widened():
    scaling = told_apart(BandScaling((3e9, -1e20), (3e9 + 1, -1e20)))
    low, high = (np.array(ends, np.float32) for ends in (scaling.low, scaling.high))
    assert (low < high).all()


def test_ranges_that_can_be_told_apart_stay_as_they_are():
    scaling = BandScaling((0.0, 0.1), (1e-9, 0.3))
    assert told_apart(scaling) == scaling
