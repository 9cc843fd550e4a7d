"""Bands that are times of variables: sorted by their names."""

from __future__ import annotations

import pytest

from stcli.errors import InputError
from stcli.raster.reading.frames import beside, frames, matched_bands


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
        (
            ("t@2001-01-01", "t@2001-01-02", "q@2001-01-01"),
            "q has no 2001-01-02, all variables are wanted at the same times; choose by -b",
        ),
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


@pytest.mark.parametrize(
    ("own", "other", "order"),
    [
        (("red", "nir"), ("nir", "red"), (1, 0)),
        (("red", "nir"), ("band 1", "band 2"), (0, 1)),
        (("band 1", "band 1"), ("band 1", "band 1"), (0, 1)),
        (("t@2001-01-01", "t@2001-01-02"), ("t@2001-01-02", "t@2001-01-01"), (1, 0)),
        (("t2m@2001-01-01",), ("tas@2001-01-01",), (0,)),
        (
            ("t_level_850_0@2001-01-01", "t_level_500_0@2001-01-01"),
            ("t@2001-01-01[level=500.0]", "t@2001-01-01[level=850.0]"),
            (1, 0),
        ),
    ],
)
def test_bands_belong_together_by_name_and_time(own, other, order):
    assert matched_bands(own, other, "fine.nc", "coarse.nc") == order


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (("t@2001-01-01", "t@2001-01-02"), ("t@2001-01-01", "t@2001-01-03")),
        (("t2m@2001-01-02",), ("tas@2001-01-01",)),
        (("a@2001-01-01", "b@2001-01-02"), ("c@2001-01-02", "d@2001-01-01")),
        (("red", "nir"), ("blue", "red")),
    ],
)
def test_bands_of_other_times_or_places_are_refused(own, other):
    with pytest.raises(
        InputError, match=r"the times of fine\.nc are wanted|found where fine\.nc has"
    ):
        matched_bands(own, other, "fine.nc", "coarse.nc")
