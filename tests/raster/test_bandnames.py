"""Names of bands that no file names."""

from __future__ import annotations

import numpy as np
import pytest

from stcli.raster.bandnames import in_common, told_apart
from stcli.raster.reading.read import open_raster
from stcli.raster.reading.timecube import cube_of

SENTINEL = ("T33UUP_20210302T101021_B04_10m", "T33UUP_20210302T101021_B8A_20m")
LANDSAT = "LC08_L2SP_044034_20210302_20210310_02_T1_SR_B"


@pytest.mark.parametrize(
    ("stems", "names"),
    [
        (("B02", "B03"), ("B02", "B03")),
        (("B02_10m", "B03_10m"), ("B02", "B03")),
        (SENTINEL, ("B04_10m", "B8A_20m")),
        ((f"{LANDSAT}4", f"{LANDSAT}5"), ("B4", "B5")),
        (("scene-2021-03-02.red", "scene-2021-03-02.nir"), ("red", "nir")),
        # nothing would be left, or what is no name
        (("B02_10m",), ("B02_10m",)),
        (("B02", "B02_old"), ("B02", "B02_old")),
        (("band_1", "band_2"), ("band_1", "band_2")),
        (("scene", "scene"), ("scene", "scene")),
        # dates tell these apart
        (("s1_20210302", "s1_20210314"), ("s1_20210302", "s1_20210314")),
        (("2021-03-02_B04", "2021-03-14_B04"), ("2021-03-02_B04", "2021-03-14_B04")),
        ((), ()),
    ],
)
def test_bands_are_called_after_what_tells_their_files_apart(stems, names):
    assert told_apart(stems) == names


def test_files_of_several_dates_are_called_after_what_they_share():
    assert in_common(["S1A_IW_T0501_VV", "S1B_IW_T0502_VV"]) == "IW_VV"
    assert in_common(["ndvi", "ndvi"]) == "ndvi"
    assert in_common(["red", "nir"]) == "value"


@pytest.fixture
def archive(tif, grid):
    """Write a file a band, which no file names."""

    def write(stems):
        values = np.arange(12, dtype="int16").reshape(1, 3, 4)
        return [tif(f"{stem}.tif", values + k, grid(3, 4)) for k, stem in enumerate(stems)]

    return write


def test_a_scene_of_a_file_a_band_has_the_names_of_bands(archive):
    raster = open_raster(archive(SENTINEL))
    assert raster.info.band_names == ("B04_10m", "B8A_20m")
    assert open_raster(archive(SENTINEL), bands=("B8A_20m",)).info.count == 1
    assert open_raster(archive(SENTINEL[:1])).info.band_names == SENTINEL[:1]


def test_days_of_a_file_a_band_share_variables_whatever_the_hour(archive):
    days = ("20210302T101021", "20210304T100559")
    stems = [f"T33UUP_{day}_{band}" for day in days for band in ("B04", "B08")]
    cube = cube_of(open_raster(archive(stems)))
    assert cube.variables == ("B04", "B08")
    assert cube.places == ((0, 1), (2, 3))
    one = cube_of(
        open_raster(archive([f"S1{k}_IW_{day}_VV" for k, day in zip("AB", days, strict=True)]))
    )
    assert one.variables == ("IW_VV",)


def test_days_that_the_user_gives_part_files_likewise(archive):
    stems = [
        f"HLS.T18.{day}_{band}" for day in ("2021061T15", "2021066T16") for band in ("B4", "B5")
    ]
    cube = cube_of(
        open_raster(archive(stems)), ["2021-03-02", "2021-03-02", "2021-03-07", "2021-03-07"]
    )
    assert cube.variables == ("B4", "B5")
