"""Band scaling of trainings: every band has a range that a model can divide by."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.landcover.network.windows import Window
from stcli.settings import BandScaling
from stcli.workflows.scaling import scaling_of, told_apart


@pytest.mark.parametrize("value", [0.0, -7.0, 3e9, -1e20, 2.0**53])
def test_a_constant_band_of_any_value_scales_to_finite_numbers(value):
    pixels = np.full((1, 16), value)
    scaling = told_apart(scaling_of([pixels]))
    window = Window(
        pixels.reshape(1, 4, 4), np.ones((4, 4), np.bool_), np.ones((4, 4), np.int32), (0, 0)
    )
    assert np.isfinite(window.scaled(scaling)).all()
    assert np.float32(scaling.low[0]) < np.float32(scaling.high[0])


def test_ranges_that_can_be_told_apart_stay_as_they_are():
    scaling = BandScaling((0.0, 0.1), (1e-9, 0.3))
    assert told_apart(scaling) == scaling
