"""A model of a NetCDF's variables: learned from all of its times, used at any number of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from cliworld import call, good

QUICK = ("--steps", "4", "--width", "8", "--blocks", "1", "-j", "1", "-q")


def save(path, times, seed=0, names=("t2m", "q")):
    """Save noise of two variables over some days, and a height that has no time."""
    rng = np.random.default_rng(seed)
    shape = (times, 150, 140)
    dims, where = ("time", "lat", "lon"), {"units": "days since 2001-01-01"}
    cube = xr.Dataset(
        {name: (dims, rng.normal(280, 5, shape).astype("f4"), {"units": "K"}) for name in names},
        {
            "time": ("time", np.arange(float(times)), where),
            "lat": ("lat", 50 - 0.25 * np.arange(150), {"units": "degrees_north"}),
            "lon": ("lon", 10 + 0.25 * np.arange(140), {"units": "degrees_east"}),
        },
    )
    cube.to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("times")
    five = save(folder / "five.nc", 5)
    good("train", "downscaler", five, "-o", folder / "model", "--factor", "2,4", *QUICK)
    return folder


def values(path, name):
    with xr.open_dataset(path, decode_times=False) as found:
        return found[name].values


def test_a_model_is_of_variables(world):
    card = json.loads((world / "model" / "card.json").read_text())
    assert [band["name"] for band in card["bands"]] == ["t2m", "q"]
    assert card["data"]["units"] == ["K", "K"]
    assert good("model", "show", world / "model").out.count(" K)") == 2
    ratios = card["metrics"]["bands_over_ibp"]
    assert [list(ratios[s]) for s in ("2", "4")] == [["t2m", "q"]] * 2


@pytest.mark.long
@pytest.mark.parametrize("members", [(), ("--members", "2")])
def test_each_time_is_what_it_is_alone(members, world, tmp_path):
    three = save(tmp_path / "three.nc", 3, seed=1)
    with xr.open_dataset(three, decode_times=False) as cube:
        for time in range(3):
            cube.isel(time=[time]).to_netcdf(tmp_path / f"{time}.nc")
    how = ("--model", world / "model", "--force", "--factor", "2", "-q", *members)
    good("downscale", three, tmp_path / "all.nc", *how, "--tile-size", "64")
    assert call("check", "agreement", tmp_path / "all.nc", three).code == 0
    ends = ("", "_std", "_m1", "_m2") if members else ("",)
    for time in range(3):
        one = tmp_path / f"fine{time}.nc"
        good("downscale", three, one, *how, "-b", f"t2m@2001-01-0{time + 1},q@2001-01-0{time + 1}")
        for name in (f"{v}{end}" for v in ("t2m", "q") for end in ends):
            together = values(tmp_path / "all.nc", name)
            assert together.shape == (3, 300, 280)
            assert np.array_equal(together[time], values(one, name)[0]), name
        if not members:
            good("downscale", tmp_path / f"{time}.nc", tmp_path / f"alone{time}.nc", *how)
            assert np.array_equal(
                values(tmp_path / "all.nc", "q")[time], values(tmp_path / f"alone{time}.nc", "q")[0]
            )


def test_other_variables_are_refused(world, tmp_path):
    other = save(tmp_path / "other.nc", 2, names=("q", "t2m"))
    found = call("downscale", other, tmp_path / "o.nc", "--model", world / "model", "--factor", "2")
    assert (found.code, "bands q, t2m found" in found.err) == (6, True)
    assert "wants t2m, q" in found.err
    uneven = ("-b", "t2m@2001-01-01,q@2001-01-02")
    found = call(
        *("downscale", world / "five.nc", tmp_path / "o.nc", "--model", world / "model"),
        *("--factor", "2", *uneven),
    )
    assert (found.code, "q has no 2001-01-01" in found.err) == (3, True)
    assert not (tmp_path / "o.nc").exists()


def test_pairs_and_guides_at_several_times(tmp_path):
    fine = save(tmp_path / "fine.nc", 2, names=("t2m",))
    with xr.open_dataset(fine, decode_times=False) as cube:
        coarse = cube.coarsen(lat=2, lon=2).mean(keep_attrs=True)
        coarse.to_netcdf(tmp_path / "coarse.nc")
        cube.rename(t2m="moist").to_netcdf(tmp_path / "guide.nc")
        still = cube.isel(time=0, drop=True).rename(t2m="height")
        still.to_netcdf(tmp_path / "still.nc")
        later = cube.isel(time=[0, 1]).assign_coords(time=("time", [7.0, 8.0], cube.time.attrs))
        later.rename(t2m="moist").to_netcdf(tmp_path / "later.nc")
    pair = ("train", "downscaler", "--coarse", tmp_path / "coarse.nc", "--fine", fine, *QUICK)
    good(*pair, "-o", tmp_path / "model", "--guide", tmp_path / "guide.nc")
    use = ("downscale", tmp_path / "coarse.nc", tmp_path / "o.nc", "--force", "-q", "--overwrite")
    good(*use, "--model", tmp_path / "model", "--guide", tmp_path / "guide.nc")
    assert values(tmp_path / "o.nc", "t2m").shape == (2, 150, 140)
    found = call(*use, "--model", tmp_path / "model", "--guide", tmp_path / "later.nc")
    assert (found.code, "2001-01-08 to 2001-01-09; the raster's 2" in found.err) == (3, True)
    good(*pair, "-o", tmp_path / "second", "--guide", tmp_path / "still.nc")
    good(*use, "--model", tmp_path / "second", "--guide", tmp_path / "still.nc")


def test_members_of_dated_bands_are_found_again_in_a_geotiff(world, tmp_path):
    fine, two = tmp_path / "fine.tif", save(tmp_path / "two.nc", 2, seed=1)
    how = ("--model", world / "model", "--force", "--factor", "2", "--members", "2", "-q")
    good("downscale", two, fine, *how)
    with rasterio.open(fine) as made:
        assert made.descriptions[:2] == ("t2m@2001-01-01", "t2m_std@2001-01-01")
    assert call("check", "agreement", fine, two).code == 0
    found = json.loads(good("assess-downscaling", fine, truth_of(fine, tmp_path), "--json").out)
    assert [band["band"] for band in found["bands"]][::2] == ["t2m@2001-01-01", "q@2001-01-01"]
    assert all(band["members"] == 2 for band in found["bands"])


def truth_of(fine, folder):
    """Save the means of an ensemble, with some noise, as if they were measured."""
    with rasterio.open(fine) as made:
        kept, profile = made.read(range(1, made.count + 1, 4)), made.profile
        names = made.descriptions[::4]
    del profile["driver"]
    with rasterio.open(folder / "truth.tif", "w", **{**profile, "count": len(kept)}) as truth:
        truth.write(kept + np.random.default_rng(2).normal(size=kept.shape).astype("f4"))
        truth.descriptions = names
    return folder / "truth.tif"
