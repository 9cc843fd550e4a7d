"""``--assume-nodata``: what a verb makes of a border that no file declares."""

import numpy as np
import pytest
from cliworld import good, read, save
from test_cli_noise_space import PROFILE

VERBS = {
    "segment": ("segment",),
    "noise": ("noise",),
    "denoise": ("denoise",),
    "destripe": ("destripe",),
    "mnf": ("mnf",),
    "whiten": ("whiten", "--along", "space"),
    "downscale": ("downscale", "--factor", 2),
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Give a scene with a border of zeros, undeclared and declared."""
    folder = tmp_path_factory.mktemp("assumed")
    array = np.random.default_rng(3).integers(100, 900, (2, 90, 80)).astype("uint16")
    array += np.arange(80, dtype="uint16") * 4
    array[:, :, :17] = 0
    array[:, 80:] = 0
    return save(folder / "plain.tif", array, PROFILE), save(
        folder / "told.tif", array, PROFILE, nodata=0
    )


@pytest.mark.parametrize("verb", VERBS)
def test_an_assumed_border_is_as_a_declared_one(verb, scenes, tmp_path):
    words, out = VERBS[verb], [tmp_path / f"{k}.tif" for k in range(3)]
    good(*words, scenes[0], out[0], "-q", "--assume-nodata", 0, "--tile-size", 64)
    good(*words, scenes[1], out[1], "-q")
    good(*words, scenes[0], out[2], "-q")
    assumed, told, plain = map(read, out)
    assert np.array_equal(assumed, told, equal_nan=assumed.dtype.kind == "f")
    assert not np.array_equal(assumed, plain, equal_nan=assumed.dtype.kind == "f")


def test_another_assumption_is_another_result(scenes, tmp_path):
    out = tmp_path / "o.tif"
    good("segment", scenes[0], out, "-q")
    good("segment", scenes[0], out, "-q", "--assume-nodata", 0, "--overwrite")
    assert (read(out)[0] == 0).any()
    told = good("info", scenes[0], "--assume-nodata", 0).json
    assert told["valid_from"] == "assumed"
    assert [band["nodata"] for band in told["bands"]] == [0, 0]
