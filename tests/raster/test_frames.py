"""Bands that are times of variables: sorted by their names."""

from __future__ import annotations

import pytest

from stcli.errors import InputError
from stcli.raster.frames import beside, frames


def test_names_without_times_are_one_frame():
    found = frames(("red", "nir", "red"), "a.tif")
    assert found.variables == ("red", "nir", "red")
    assert (found.times, found.places) == (("",), ((0, 1, 2),))


def test_every_time_is_a_frame_and_what_has_none_is_in_all():
    names = ("t@2001-01-01", "t@2001-01-02", "q@2001-01-01[level=5]", "q@2001-01-02[level=5]", "h")
    found = frames(names, "a.nc")
    assert found.variables == ("t", "q[level=5]", "h")
    assert found.times == ("2001-01-01", "2001-01-02")
    assert found.places == ((0, 2, 4), (1, 3, 4))
    one = frames(("t@2001-01-02",), "a.nc")
    assert (one.variables, one.times, one.places) == (("t",), ("2001-01-02",), ((0,),))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("t@2001-01-01", "t@2001-01-02", "q@2001-01-01"), "q has no 2001-01-02"),
        (("t@2001-01-01", "t@2001-01-01"), "band t@2001-01-01 is there twice"),
    ],
)
def test_uneven_bands_are_refused(names, said):
    with pytest.raises(InputError, match=said):
        frames(names, "a.nc")


def test_a_guide_has_one_time_or_the_same():
    own = frames(("t@2001-01-01", "t@2001-01-02"), "a.nc")
    assert beside(own, frames(("dem", "sea"), "g.tif"), "g.tif") == ((0, 1), (0, 1))
    assert beside(own, own, "g.nc") == ((0,), (1,))
    other = frames(("t@2001-01-01", "t@2001-01-03"), "g.nc")
    with pytest.raises(InputError, match="2001-01-01 to 2001-01-03; the raster's 2"):
        beside(own, other, "g.nc")
    with pytest.raises(InputError, match="the raster's 1, not dated, or"):
        beside(frames(("t",), "a.nc"), own, "g.nc")
