"""Units: which texts are known to mean different ones."""

from __future__ import annotations

import pytest

from stcli.raster.units import differ


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("K", "kelvin", False),
        ("degC", "degrees_Celsius", False),
        ("m s**-1", "m  s-1", False),
        ("kg m^-2", "kg m-2", False),
        ("K", None, False),
        ("", "K", False),
        ("K", "degC", True),
        ("mm", "Mm", True),
        ("m", "km", True),
    ],
)
def test_spelling_makes_no_other_unit(one, other, apart):
    assert differ(one, other) is apart
    assert differ(other, one) is apart
