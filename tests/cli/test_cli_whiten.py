"""`whiten` and `unwhiten` along time, through the command line."""

from __future__ import annotations

import errno
import json
import math
import subprocess
import sys

import netCDF4
import numpy as np
import pytest
import rasterio
from cliworld import good
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from stcli.cli.app import main
from stcli.errors import OutputError
from stcli.raster.reading.netcdf import ScalarCoordinate
from stcli.raster.timeaxis import TimeAxis
from stcli.raster.writing import draft
from stcli.raster.writing.netcdf_write import CubeBand, CubeSpec, create_cube

BOX = GeoBox((45, 53), Affine(10, 0, 500030, 0, -10, 4000050), "EPSG:32618")
DATES = 40


def values(dates=DATES, seed=0):
    """Red noise in time about a level of each pixel, with gaps and a pixel without data."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(dates, 2, *BOX.shape))
    for t in range(1, dates):
        x[t] += 0.7 * x[t - 1]
    x = x * 3 + 280 + rng.normal(size=BOX.shape) * 10
    x[rng.random(x.shape) < 0.02] = np.nan
    x[:, :, 5, 7] = np.nan
    return x.astype("float32")


def write(path, array, days=None, units="K"):
    axis = np.arange(len(array)) * 6.0 if days is None else days
    times = TimeAxis(tuple(float(d) for d in axis), "days since 2019-01-01")
    bands = (CubeBand("a", units=units), CubeBand("b", units=units))[: array.shape[1]]
    with create_cube(CubeSpec(str(path), bands, times), BOX) as writer:
        writer.write(Window(0, 0, BOX.shape[1], BOX.shape[0]), array)
    return str(path)


def read(path, names=("a", "b")):
    with netCDF4.Dataset(path) as dataset:
        dataset.set_auto_mask(False)
        return np.stack([dataset[name][:] for name in names], axis=1)


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cube") / "cube.nc", values())


def run(*words):
    return main([str(word) for word in words])


def test_a_cube_is_whitened_and_given_back(cube, tmp_path):
    white, spectra, back = (tmp_path / f"{name}.nc" for name in ("white", "spectra", "back"))
    plot = tmp_path / "plot.png"
    how = ("--share", 16, "--json", "-q")
    found = good("whiten", cube, white, "--psd-out", spectra, "--plot", plot, *how).json
    assert abs(found["report"]["variance"] - 1) < 0.1
    assert found["report"]["autocorrelation"] < 0.05
    w, x = read(white), values()
    assert np.array_equal(np.isnan(w), np.isnan(x))
    assert good("unwhiten", white, back, "--psd", spectra, "--json", "-q").json["report"] == {}
    assert np.array_equal(np.isnan(read(back)), np.isnan(x))
    assert np.nanmax(np.abs(read(back) - x)) < 1e-3  # of 280 in float32
    with netCDF4.Dataset(back) as dataset:
        assert dataset["a"].units == "K"
        assert dataset["time"].units == "days since 2019-01-01"
    with netCDF4.Dataset(white) as dataset:
        assert json.loads(dataset.stcli_diagonal)["variance"] == found["report"]["variance"]
    assert plot.read_bytes()[:4] == b"\x89PNG"


def described(path):
    """Give the attributes of variable a and of the file, and whether its time is unlimited."""
    with netCDF4.Dataset(path) as dataset:
        return dataset["a"].__dict__, dataset.__dict__, dataset.dimensions["time"].isunlimited()


def test_attributes_that_stay_true_are_kept(tmp_path):
    own = {"standard_name": "air_temperature", "long_name": "air temperature", "comment": "at 2 m"}
    own |= {"cell_methods": "time: mean"}
    height = ScalarCoordinate("height", np.float64(2), {"units": "m", "positive": "up"})
    spec = CubeSpec(
        str(tmp_path / "cube.nc"),
        (CubeBand("a", units="K", attrs=own, scalars=(height,)),),
        TimeAxis(tuple(range(12)), "days since 2019-01-01", "noleap", unlimited=True),
        attrs={"source": "a model", "title": "Temperature", "stcli_method": "ibp"},
    )
    with create_cube(spec, BOX) as writer:
        writer.write(Window(0, 0, 53, 45), values()[:12, :1])
    white, spectra, back = (tmp_path / f"{name}.nc" for name in ("white", "spectra", "back"))
    assert run("whiten", spec.path, white, "--psd-out", spectra, "-q") == 0
    assert run("unwhiten", white, back, "--psd", spectra, "-q") == 0
    found, file, unlimited = described(white)
    assert (found["long_name"], found["units"]) == ("whitened air temperature", "1")
    assert found["comment"] == "at 2 m"
    assert not {"standard_name", "cell_methods"} & set(found)
    assert (file["source"], file["title"], unlimited) == ("a model", "Temperature", True)
    assert "stcli_method" not in file
    found, file, unlimited = described(back)
    assert own.items() <= found.items()
    assert (found["units"], unlimited) == ("K", True)
    assert (file["source"], file["title"]) == ("a model", "Temperature")
    assert "stcli_diagonal" not in file
    for path in (white, back):
        with netCDF4.Dataset(path) as dataset:
            assert "height" in dataset["a"].coordinates.split()
            assert (float(dataset["height"][:]), dataset["height"].units) == (2, "m")
    with netCDF4.Dataset(back) as dataset:
        assert dataset["time"].calendar == "noleap"


def test_chosen_dates_keep_the_stored_axis(cube, tmp_path):
    assert run("whiten", cube, tmp_path / "w.nc", "-b", "3..20", "-q") == 0
    with netCDF4.Dataset(tmp_path / "w.nc") as dataset:
        assert dataset["time"][:].tolist() == [6.0 * t for t in range(2, 20)]
        assert dataset["time"].units == "days since 2019-01-01"


def test_a_tiff_says_whether_it_is_whitened(cube, tmp_path):
    white, spectra, back = tmp_path / "w.tif", tmp_path / "s.nc", tmp_path / "b.tif"
    assert run("whiten", cube, white, "--psd-out", spectra, "-q") == 0
    assert run("unwhiten", white, back, "--psd", spectra, "-q") == 0
    for path, own, other in ((white, "WHITEN", "UNWHITEN"), (back, "UNWHITEN", "WHITEN")):
        with rasterio.open(path) as dataset:
            assert dataset.tags()[f"STCLI_{own}"] == "time"
            assert f"STCLI_{other}" not in dataset.tags()


@pytest.mark.parametrize("tile_size", [16, 32])
def test_tiles_and_workers_do_not_show(cube, tile_size, tmp_path):
    for name, how in (("whole", (0, 1)), ("tiled", (tile_size, 2))):
        words = ("--share", 16, "--tile-size", how[0], "-j", how[1], "-q")
        plot = ("--plot", tmp_path / f"{name}.png")
        assert run("whiten", cube, tmp_path / f"{name}.nc", *words, *plot) == 0
    whole, tiled = (read(tmp_path / f"{name}.nc") for name in ("whole", "tiled"))
    assert np.array_equal(whole, tiled, equal_nan=True)
    drawn = [(tmp_path / f"{name}.png").read_bytes() for name in ("whole", "tiled")]
    assert drawn[0] == drawn[1]


def test_known_spectra_whiten_alike(cube, tmp_path):
    first, second, spectra = (tmp_path / f"{name}.nc" for name in ("first", "second", "spectra"))
    assert run("whiten", cube, first, "--psd-out", spectra, "-q") == 0
    assert run("whiten", cube, second, "--psd", spectra, "-q") == 0
    assert np.array_equal(read(first), read(second), equal_nan=True)


def test_a_stack_of_geotiffs_with_dates_in_their_names(tmp_path):
    x, paths = values()[:12, :1], []
    for t, plane in enumerate(x):
        paths.append(tmp_path / f"red_2019-{t + 1:02d}-15.tif")
        profile = {"driver": "GTiff", "count": 1, "height": 45, "width": 53, "dtype": "float32"}
        profile |= {"crs": "EPSG:32618", "transform": BOX.transform, "nodata": math.nan}
        with rasterio.open(paths[-1], "w", **profile) as dataset:
            dataset.write(plane)
    white, spectra, back = tmp_path / "w.tif", tmp_path / "s.nc", tmp_path / "b.tif"
    assert run("whiten", *paths, white, "--psd-out", spectra, "-q") == 0
    with rasterio.open(white) as dataset:
        assert dataset.count == 12
        assert "variance" in dataset.tags()["STCLI_DIAGONAL"]
    assert run("unwhiten", white, back, "--psd", spectra, "-q") == 0
    with rasterio.open(back) as dataset:
        assert np.nanmax(np.abs(dataset.read() - x[:, 0])) < 1e-3


@pytest.mark.parametrize("names", [("B04",), ("B04", "B08"), (None, None)])
def test_a_stack_whose_bands_have_the_same_names_comes_back(names, tmp_path):
    x, paths = values()[:12, : len(names)], []
    for t, planes in enumerate(x):
        paths.append(tmp_path / f"s2_2019-{t + 1:02d}-15.tif")
        profile = {"driver": "GTiff", "count": len(names), "height": 45, "width": 53}
        profile |= {"crs": "EPSG:32618", "transform": BOX.transform, "dtype": "float32"}
        with rasterio.open(paths[-1], "w", nodata=math.nan, **profile) as dataset:
            dataset.write(planes)
            dataset.descriptions = names
    white, spectra, back = tmp_path / "w.tif", tmp_path / "s.nc", tmp_path / "b.tif"
    assert run("whiten", *paths, white, "--psd-out", spectra, "-q") == 0
    with rasterio.open(white) as dataset:
        first = [name or f"band {k}" for k, name in enumerate(names, 1)]
        assert dataset.descriptions[: len(names)] == tuple(f"{n}@2019-01-15" for n in first)
    assert run("unwhiten", white, back, "--psd", spectra, "-q") == 0
    with rasterio.open(back) as dataset:
        assert np.nanmax(np.abs(dataset.read() - x.reshape(-1, *x.shape[2:]))) < 1e-3


@pytest.mark.parametrize("files", [1, 12])
def test_bands_without_names_are_one_variable_at_the_dates_given(files, tmp_path):
    x, paths = values()[:12, 0], []
    for k, planes in enumerate(np.split(x, files)):
        paths.append(tmp_path / f"{'abcdefghijkl'[k]}.tif")
        profile = {"driver": "GTiff", "count": len(planes), "height": 45, "width": 53}
        profile |= {"crs": "EPSG:32618", "transform": BOX.transform, "dtype": "float32"}
        with rasterio.open(paths[-1], "w", nodata=math.nan, **profile) as dataset:
            dataset.write(planes)
    days = np.datetime64("2019-01-01") + 6 * np.arange(12)
    dates = ",".join(map(str, days[::-1]))  # in any order
    white, spectra, back = tmp_path / "w.nc", tmp_path / "s.nc", tmp_path / "b.nc"
    assert run("whiten", *paths, white, "--psd-out", spectra, "--dates", dates, "-q") == 0
    assert run("unwhiten", white, back, "--psd", spectra, "-q") == 0
    with netCDF4.Dataset(back) as dataset:
        assert np.nanmax(np.abs(dataset["value"][:] - x[::-1])) < 1e-3
        assert str(netCDF4.num2date(dataset["time"][0], dataset["time"].units))[:10] == "2019-01-01"
    words = (tmp_path / "w.tif", "--psd-out", spectra, "--overwrite", "--dates", dates, "-q")
    assert run("whiten", *paths, *words) == 0
    words = (tmp_path / "back.tif", "--psd", spectra, "-q")  # the names of the bands tell the dates
    assert run("unwhiten", tmp_path / "w.tif", *words) == 0
    with rasterio.open(tmp_path / "back.tif") as dataset:
        assert dataset.descriptions == tuple(f"value@{day}" for day in days)
        assert np.nanmax(np.abs(dataset.read() - x[::-1])) < 1e-3


def test_a_table_is_whitened_and_given_back(tmp_path):
    rng = np.random.default_rng(1)
    lines = ["time [s],u,v"]
    x = np.cumsum(rng.normal(size=(600, 2)), axis=0) * 0.1 + rng.normal(size=(600, 2))
    for t, (u, v) in enumerate(x.tolist()):
        lines.append(f"{t * 0.5},{u!r},{'' if 100 < t < 110 else repr(v)}")
    (tmp_path / "a.csv").write_text("\n".join(lines))
    words = (tmp_path / "a.csv", tmp_path / "w.csv", "--psd-out", tmp_path / "s.nc", "-q")
    assert run("whiten", *words) == 0
    words = (tmp_path / "w.csv", tmp_path / "b.csv", "--psd", tmp_path / "s.nc", "-q")
    assert run("unwhiten", *words) == 0
    before, after = (
        np.genfromtxt(tmp_path / f"{name}.csv", delimiter=",", skip_header=1) for name in "ab"
    )
    assert np.array_equal(np.isnan(before), np.isnan(after))
    assert np.nanmax(np.abs(before - after)) < 1e-9


@pytest.mark.parametrize("suffix", ["csv", "h5"])
def test_series_without_times_take_the_step_that_is_given(suffix, tmp_path):
    x = np.cumsum(np.random.default_rng(1).normal(size=600)) * 0.1
    timed = ["time [s],u", *(f"{t * 0.5},{u!r}" for t, u in enumerate(x.tolist()))]
    (tmp_path / "timed.csv").write_text("\n".join(timed))
    bare = tmp_path / f"bare.{suffix}"
    if suffix == "csv":
        bare.write_text("\n".join(["u", *map(repr, x.tolist())]))
    else:
        with netCDF4.Dataset(bare, "w") as dataset:
            dataset.createDimension("n", len(x))
            dataset.createVariable("u", "f8", ("n",))[:] = x
    spectra = tmp_path / "s.nc"
    words = (tmp_path / "w.csv", "--step", 0.5, "--psd-out", spectra, "-q")
    assert run("whiten", bare, *words) == 0
    assert run("whiten", tmp_path / "timed.csv", tmp_path / "t.csv", "-q") == 0
    found, wanted = (
        np.genfromtxt(tmp_path / f"{name}.csv", delimiter=",", skip_header=1) for name in "wt"
    )
    assert np.array_equal(found, wanted)
    assert run("unwhiten", tmp_path / "w.csv", tmp_path / "b.csv", "--psd", spectra, "-q") == 0
    back = np.genfromtxt(tmp_path / "b.csv", delimiter=",", skip_header=1)
    assert np.abs(back[:, 1] - x).max() < 1e-9


@pytest.mark.long
@pytest.mark.parametrize("kind", ["csv", "nc", "tsv"])
@pytest.mark.parametrize("verb", ["whiten", "unwhiten"])
def test_series_through_a_pipe_are_refused_as_such(kind, verb, tmp_path):
    path = tmp_path / f"a.{kind}"
    if kind == "nc":
        series(path)
    else:
        comma = "," if kind == "csv" else "\t"
        path.write_text("\n".join([f"time{comma}a", *(f"{t}{comma}{t % 3}" for t in range(64))]))
    words = [sys.executable, "-m", "stcli", verb, "-", str(tmp_path / "o.csv"), "--psd", "s.nc"]
    done = subprocess.run(words, input=path.read_bytes(), capture_output=True, cwd=tmp_path)
    assert done.returncode == 3
    said = done.stderr.decode()
    assert "-: holds series, which cannot come through a pipe; name its file" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "o.csv").exists()


def series(path, seed=0, own=(), times=600):
    """Write a NetCDF of one series on an unlimited axis."""
    x = np.random.default_rng(seed).normal(size=times) + np.sin(np.arange(times) / 9)
    with netCDF4.Dataset(path, "w") as dataset:
        dataset.setncatts({"source": "a buoy", "history": "before", "Conventions": "CF-1.6"})
        dataset.createDimension("time", None)
        time = dataset.createVariable("time", "f8", ("time",))
        time.setncatts({"units": "hours since 2019-01-01", "calendar": "noleap"})
        time[:] = np.arange(times)
        found = dataset.createVariable("a", "f8", ("time",))
        found.setncatts({"units": "m", **dict(own)})
        found[:] = x
    return x


def test_a_netcdf_of_series_keeps_what_stays_true(tmp_path, capsys):
    own = {"standard_name": "sea_surface_wave_height", "long_name": "waves", "comment": "hourly"}
    x = series(tmp_path / "a.nc", own=own)
    white, spectra, back = (tmp_path / f"{name}.nc" for name in ("white", "spectra", "back"))
    assert run("whiten", tmp_path / "a.nc", white, "--psd-out", spectra, "-q") == 0
    assert run("unwhiten", white, back, "--psd", spectra) == 0
    assert "does not say" not in capsys.readouterr().err
    found, file, unlimited = described(white)
    assert (found["long_name"], found["units"], unlimited) == ("whitened waves", "1", True)
    assert "standard_name" not in found
    found, file, unlimited = described(back)
    assert (own | {"units": "m"}).items() <= found.items()
    assert (file["source"], file["Conventions"], unlimited) == ("a buoy", "CF-1.8", True)
    assert [line.split()[:2] for line in file["history"].splitlines()] == [
        ["stcli", "unwhiten"],
        ["stcli", "whiten"],
        ["before"],
    ]
    with netCDF4.Dataset(back) as dataset:
        assert np.abs(dataset["a"][:] - x).max() < 1e-9
    series(tmp_path / "b.nc", seed=1)
    assert run("unwhiten", tmp_path / "b.nc", back, "--psd", spectra, "--overwrite") == 3
    assert "b.nc: a is in m, whitened values have no unit" in capsys.readouterr().err
    assert run("whiten", tmp_path / "b.nc", white, "--overwrite", "-q") == 0
    assert run("unwhiten", white, back, "--psd", spectra, "--overwrite") == 3
    assert "was whitened by another run" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("kind", ["series", "cube"])
@pytest.mark.parametrize("last", ["result", "spectra", "plot"])
def test_result_spectra_and_plot_appear_together_or_not_at_all(kind, last, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OutputError("o: the disk is full")

    if kind == "series":
        series(tmp_path / "a.nc")
        monkeypatch.setattr("stcli.workflows.noise.whiten_series.write_series", fail)
    else:
        write(tmp_path / "a.nc", values())
        monkeypatch.setattr("stcli.raster.writing.netcdf_write.CubeWriter.matches", fail)
    if last != "result":
        monkeypatch.undo()
        where = {
            "spectra": "raster.tables.spectra.SpectraFile.note",
            "plot": "workflows.noise.whiten_report.draw_whitening",
        }
        monkeypatch.setattr(f"stcli.{where[last]}", fail)
    words = ("--psd-out", tmp_path / "s.nc", "--plot", tmp_path / "p.png", "-q")
    assert run("whiten", tmp_path / "a.nc", tmp_path / "o.nc", *words) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]
    monkeypatch.undo()
    assert run("whiten", tmp_path / "a.nc", tmp_path / "o.nc", *words) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"a.nc", "o.nc", "s.nc", "p.png"}


@pytest.mark.parametrize("name", ["o.nc", "o.tif"])
def test_no_raster_appears_while_what_belongs_to_it_may_still_fail(name, tmp_path, monkeypatch):
    real = draft.sync

    def full(path):
        if path.name == "p.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path)

    write(tmp_path / "a.nc", values())
    monkeypatch.setattr(draft, "sync", full)
    words = ("--psd-out", tmp_path / "s.nc", "--plot", tmp_path / "p.png", "-q")
    assert run("whiten", tmp_path / "a.nc", tmp_path / name, *words) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_strict_writes_nothing_and_exits_7(tmp_path, capsys):
    x = np.random.default_rng(2).standard_t(2, size=(DATES, 1, *BOX.shape)).astype("float32")
    path = write(tmp_path / "a.nc", x)
    assert run("whiten", path, tmp_path / "w.nc", "--psd-out", tmp_path / "s.nc", "--strict") == 7
    said = capsys.readouterr().err
    assert "kurtosis" in said
    assert "; --strict was given, so nothing is written" in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def bad_inputs(folder):
    x = values()
    yield "one date", write(folder / "one.nc", x[:1]), "8 at least are wanted"
    yield "constant", write(folder / "flat.nc", np.full_like(x, 5)), "every series is constant"
    yield "nodata", write(folder / "none.nc", np.full_like(x, np.nan)), "no valid pixel"
    days = np.cumsum(np.random.default_rng(3).integers(1, 15, DATES))
    yield "uneven", write(folder / "uneven.nc", x, days), "no even lattice"


@pytest.mark.parametrize("number", range(4))
def test_bad_input_is_one_sentence_and_writes_nothing(number, tmp_path, capsys):
    cases = list(bad_inputs(tmp_path))
    name, path, words = cases[number]
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "w.nc"
    assert run("whiten", path, out, "--psd-out", tmp_path / "out" / "s.nc") == 3, name
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "one column only"),
        (["time,a", "1,x"], "a number is wanted"),
        (["time,a", "1,2", "1,3"], "do not rise"),
        (["time,a", "1,2,3"], "another number of fields"),
        (["time,a", *(f"{t},7" for t in range(20))], "every series is constant"),
        (["time,a", *(f"{t}," for t in range(20))], "no valid number"),
        (["time,a", *(f"{t},{t % 3}e300" for t in range(20))], "squares overflow"),
        (["time,a", "1,2", "2,3"], "8 at least are wanted"),
    ],
)
def test_bad_tables_are_one_sentence_and_write_nothing(lines, words, tmp_path, capsys):
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert run("whiten", tmp_path / "a.csv", tmp_path / "w.csv") == 3
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("verb", ["whiten", "unwhiten"])
def test_a_missing_table_is_missing_to_a_plan_too(verb, tmp_path, capsys):
    words = (tmp_path / "a.csv", tmp_path / "w.csv", "--dry-run")
    words += ("--psd", tmp_path / "s.nc") if verb == "unwhiten" else ()
    assert run(verb, *words) == 3
    assert "a.csv: no such file" in capsys.readouterr().err
    (tmp_path / "a.csv").write_text("time,a\n1,2\n2,3\n")
    assert run(verb, *words) == 2
    assert "which are done at once" in capsys.readouterr().err


def test_uneven_dates_in_order_on_request(tmp_path):
    days = np.cumsum(np.random.default_rng(3).integers(1, 15, DATES))
    path = write(tmp_path / "a.nc", values(), days)
    words = (tmp_path / "w.nc", "--psd-out", tmp_path / "s.nc", "--uneven", "order", "-q")
    assert run("whiten", path, *words) == 0
    assert run("unwhiten", tmp_path / "w.nc", tmp_path / "b.nc", "--psd", tmp_path / "s.nc") == 0
    assert np.nanmax(np.abs(read(tmp_path / "b.nc") - values())) < 1e-3


@pytest.mark.parametrize(
    ("array", "units", "words"),
    [
        (values(dates=30), "K", "30 places"),
        (values(), "m", "values in ('m', 'm'); whiten with spectra of the same kind of series"),
    ],
)
def test_spectra_of_other_series_are_refused(array, units, words, cube, tmp_path, capsys):
    assert run("whiten", cube, tmp_path / "w.nc", "--psd-out", tmp_path / "s.nc", "-q") == 0
    path = write(tmp_path / "other.nc", array, units=units)
    capsys.readouterr()
    assert run("whiten", path, tmp_path / "v.nc", "--psd", tmp_path / "s.nc") == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "v.nc").exists()


@pytest.mark.parametrize("suffix", ["nc", "tif"])
def test_spectra_of_another_run_are_refused(suffix, cube, tmp_path, capsys):
    other, white = write(tmp_path / "other.nc", values(seed=9)), tmp_path / f"w.{suffix}"
    spectra, back = tmp_path / "s.nc", tmp_path / "b.nc"
    assert run("whiten", cube, tmp_path / "w0.nc", "--psd-out", spectra, "-q") == 0
    assert run("whiten", other, white, "--psd", spectra, "-q") == 0
    capsys.readouterr()
    for dry in ((), ("--dry-run",)):
        assert run("unwhiten", white, back, "--psd", spectra, *dry) == 3
        said = capsys.readouterr().err
        assert f"{white}: was whitened by another run than the one that wrote {spectra}" in said
    assert not back.exists()


def test_what_was_never_whitened_is_refused_or_told(cube, tmp_path, capsys):
    spectra, back = tmp_path / "s.nc", tmp_path / "b.nc"
    assert run("whiten", cube, tmp_path / "w.nc", "--psd-out", spectra, "-q") == 0
    assert run("unwhiten", cube, back, "--psd", spectra) == 3
    assert "cube.nc: a is in K, whitened values have no unit" in capsys.readouterr().err
    assert not back.exists()
    lost = write(tmp_path / "lost.nc", read(tmp_path / "w.nc"), units="1")  # by another tool
    assert run("unwhiten", lost, back, "--psd", spectra) == 0
    assert "lost.nc: does not say that whiten made it" in capsys.readouterr().err
    assert np.nanmax(np.abs(read(back) - values())) < 1e-3


def test_spectra_that_are_none(cube, tmp_path, capsys):
    assert run("unwhiten", cube, tmp_path / "b.nc") == 2
    assert run("unwhiten", cube, tmp_path / "b.nc", "--psd", cube) == 3
    assert "is a NetCDF without spectra" in capsys.readouterr().err
    assert run("whiten", cube, tmp_path / "w.nc", "--rows", 3) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_memory_stays_within_the_prediction(tmp_path):
    path = write(tmp_path / "a.nc", values(dates=200))
    code = (
        "import resource, sys; from stcli.cli.app import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024); sys.exit(code)"
    )
    words = ("whiten", path, tmp_path / "w.nc", "--psd-out", tmp_path / "s.nc", "--json", "-q")
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
    )
    report, peak = ran.stdout.splitlines()
    assert int(peak) <= json.loads(report)["run"]["memory"]["predicted"]
