"""`whiten` and `unwhiten` of tables, and of one-dimensional variables of HDF5 and NetCDF."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta

import netCDF4
import numpy as np
import pytest

from stcli.cli.app import main

TIMES = 120
DAYS = [date(2019, 2, 1) + timedelta(days=k) for k in range(TIMES)]


def run(*words):
    return main([str(word) for word in words])


def values(seed=0, times=TIMES):
    return np.cumsum(np.random.default_rng(seed).normal(size=times)) * 0.1 + 5


def table(path, *columns):
    """Write a CSV of columns, a name and then its fields each."""
    path.write_text("\n".join(",".join(map(str, row)) for row in zip(*columns, strict=True)) + "\n")
    return path


def column(path, which=1):
    return np.genfromtxt(path, delimiter=",", skip_header=1)[:, which]


def layout(path):
    with netCDF4.Dataset(path) as dataset:
        return json.loads(dataset.stcli_layout)


def test_dates_of_eight_digits_are_dates(tmp_path):
    x = ["v", *values().tolist()]
    forms = {"hyphens": "%Y-%m-%d", "digits": "%Y%m%d"}
    for name, form in forms.items():
        table(tmp_path / f"{name}.csv", ["date", *(d.strftime(form) for d in DAYS)], x)
        words = (tmp_path / f"{name}.csv", tmp_path / f"w_{name}.csv")
        assert run("whiten", *words, "--psd-out", tmp_path / f"{name}.nc", "-q") == 0
    assert layout(tmp_path / "digits.nc") == layout(tmp_path / "hyphens.nc")
    assert layout(tmp_path / "digits.nc")["samples"] == TIMES
    found = [column(tmp_path / f"w_{name}.csv") for name in forms]
    assert np.array_equal(*found)
    assert (tmp_path / "w_digits.csv").read_text().splitlines()[1].startswith("20190201,")


@pytest.mark.parametrize(
    ("head", "first"), [("time [s]", 20190201), ("n", 20190199), ("n", 2019020)]
)
def test_numbers_that_are_no_dates_stay_numbers(head, first, tmp_path):
    times = [head, *range(first, first + 20)]
    path = table(tmp_path / "a.csv", times, ["v", *values(times=20).tolist()])
    assert run("whiten", path, tmp_path / "w.csv", "--psd-out", tmp_path / "s.nc", "-q") == 0
    assert layout(tmp_path / "s.nc")["time_unit"] == "s"
    assert layout(tmp_path / "s.nc")["samples"] == 20


def test_an_empty_line_of_a_single_column_is_a_gap(tmp_path):
    x = values().astype(object)
    x[[10, 11, 50]] = ""
    (tmp_path / "a.csv").write_text("\n".join(["v", *map(str, x), "", ""]))
    table(tmp_path / "b.csv", ["v", *x], ["w", *values(1).tolist()])
    for name in "ab":
        words = (tmp_path / f"{name}.csv", tmp_path / f"w_{name}.csv", "--step", 2, "-q")
        assert run("whiten", *words) == 0
    alone, beside = (column(tmp_path / f"w_{name}.csv") for name in "ab")
    assert np.array_equal(alone, beside, equal_nan=True)
    assert np.flatnonzero(np.isnan(alone)).tolist() == [10, 11, 50]


def test_a_line_is_told_by_its_number_in_the_file(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("\ntime,v\n\n1,2\n2,x\n")
    assert run("whiten", tmp_path / "a.csv", tmp_path / "w.csv") == 3
    assert "line 5 holds 'x', a number is wanted" in capsys.readouterr().err


def test_what_is_kept_while_a_spectrum_is_written_is_counted(tmp_path, capsys):
    """The NetCDF library keeps 64 MB of chunks."""
    path = table(tmp_path / "a.csv", ["date", *DAYS], ["v", *values().tolist()])
    needed = []
    for more in ((), ("--psd-out", tmp_path / "psd.nc")):
        words = (path, tmp_path / "w.csv", *more, "--memory", "20MB", "-q")
        assert run("whiten", *words) == 5
        told = capsys.readouterr().err
        needed.append(int(re.search(r"need (\d+) MB, 20 MB are allowed", told)[1]))
    assert 60 < needed[1] - needed[0] < 80
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_mark_of_the_byte_order_is_no_part_of_a_name(tmp_path):
    path = table(tmp_path / "a.csv", ["v", *values().tolist()])
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert run("whiten", path, tmp_path / "w.csv", "--step", 1, "-b", "v", "-q") == 0
    assert (tmp_path / "w.csv").read_text().startswith("time [s],v\n")


def test_dates_of_a_table_stay_dates_in_a_netcdf(tmp_path):
    path = table(tmp_path / "a.csv", ["date", *DAYS], ["v", *values().tolist()])
    white, spectra, back = tmp_path / "w.nc", tmp_path / "s.nc", tmp_path / "b.nc"
    assert run("whiten", path, white, "--psd-out", spectra, "-q") == 0
    assert run("unwhiten", white, back, "--psd", spectra, "-q") == 0
    with netCDF4.Dataset(back) as dataset:
        axis = dataset["time"]
        times = netCDF4.num2date(axis[:], axis.units, axis.calendar)
        assert [t.strftime("%Y-%m-%d") for t in times] == [str(day) for day in DAYS]
        assert np.abs(dataset["v"][:] - values()).max() < 1e-9


def test_a_table_with_gaps_that_was_taken_in_order_comes_back(tmp_path):
    x, some = values(), np.delete(np.arange(TIMES), [40, 41, 42, 100])
    days = ["date", *(DAYS[k] for k in some)]
    path = table(tmp_path / "a.csv", days, ["v", *x[some].tolist()])
    white, spectra = tmp_path / "w.csv", tmp_path / "s.nc"
    words = (path, white, "--psd-out", spectra, "--uneven", "order", "-q")
    assert run("whiten", *words) == 0
    assert layout(spectra)["samples"] == len(some)
    assert run("unwhiten", white, tmp_path / "b.csv", "--psd", spectra, "-q") == 0
    assert np.abs(column(tmp_path / "b.csv") - x[some]).max() < 1e-9


def test_spectra_of_other_series_are_no_good_to_unwhiten_by(tmp_path, capsys):
    times = ["time", *range(TIMES)]
    path = table(tmp_path / "a.csv", times, ["v", *values().tolist()])
    assert run("whiten", path, tmp_path / "w.csv", "--psd-out", tmp_path / "s.nc", "-q") == 0
    capsys.readouterr()
    other = table(tmp_path / "o.csv", times, ["u", *values().tolist()])
    assert run("unwhiten", other, tmp_path / "b.csv", "--psd", tmp_path / "s.nc") == 3
    said = capsys.readouterr().err
    assert "was made for bands ('v',), these are ('u',); unwhiten what was whitened with it" in said
    assert not (tmp_path / "b.csv").exists()


def variable(group, name, x, dimension, kind="f8", **attrs):
    found = group.createVariable(name, kind, (dimension,))
    found.setncatts(attrs)
    found[:] = x


def axis(group, name, step=1.0):
    group.createDimension(name, TIMES)
    variable(group, name, np.arange(TIMES) * step, name, units="days since 2019-02-01")


def test_a_netcdf_of_series_may_have_bounds_of_time_and_packed_numbers(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as dataset:
        axis(dataset, "time")
        dataset["time"].bounds = "time_bnds"
        dataset.createDimension("nv", 2)
        dataset.createVariable("time_bnds", "f8", ("time", "nv"))[:] = 0
        variable(dataset, "flag", np.ones(TIMES), "time", "i2")
        variable(dataset, "q", values(), "time", "i4", scale_factor=1e-6, units="m3 s-1")
    white, spectra = tmp_path / "w.nc", tmp_path / "s.nc"
    assert run("whiten", tmp_path / "a.nc", white, "--psd-out", spectra, "-q") == 0
    assert run("unwhiten", white, tmp_path / "b.nc", "--psd", spectra, "-q") == 0
    with netCDF4.Dataset(tmp_path / "b.nc") as dataset:
        assert set(dataset.variables) == {"time", "q"}
        assert dataset["q"].units == "m3 s-1"
        assert np.abs(dataset["q"][:] - values()).max() < 1e-6


def test_series_of_one_name_are_told_apart_by_their_groups(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.h5", "w") as dataset:
        axis(dataset, "time")  # which the groups share
        for seed, name in enumerate(("H1", "L1")):
            variable(dataset.createGroup(name), "strain", values(seed), "time")
    white, spectra = tmp_path / "w.nc", tmp_path / "s.nc"
    assert run("whiten", tmp_path / "a.h5", white, "--psd-out", spectra, "-q") == 0
    assert run("unwhiten", white, tmp_path / "b.nc", "--psd", spectra, "-q") == 0
    with netCDF4.Dataset(tmp_path / "b.nc") as dataset:
        for seed, name in enumerate(("H1_strain", "L1_strain")):
            assert np.abs(dataset[name][:] - values(seed)).max() < 1e-9


def test_series_of_other_times_are_refused_together_and_done_apart(tmp_path, capsys):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as dataset:
        for name, step in (("a", 1.0), ("b", 5.0)):
            axis(dataset, f"time_{name}", step)
            variable(dataset, name, values(), f"time_{name}")
    assert run("whiten", tmp_path / "a.nc", tmp_path / "w.csv") == 3
    assert "a and b have other times, the same are wanted" in capsys.readouterr().err
    words = (tmp_path / "a.nc", tmp_path / "w.csv", "--psd-out", tmp_path / "s.nc", "-q")
    assert run("whiten", *words, "-b", "b") == 0
    assert layout(tmp_path / "s.nc")["step"] == 5


@pytest.mark.parametrize("name", ["v", "elapsed", "a/b", ""])
def test_names_that_a_netcdf_cannot_hold_are_refused_before_any_work(name, tmp_path, capsys):
    columns = (["n", *range(TIMES)], ["v", *values()], [name, *values(1)])
    path = table(tmp_path / "a.csv", *columns)
    assert run("whiten", path, tmp_path / "w.nc", "--psd-out", tmp_path / "s.nc") == 4
    said = capsys.readouterr().err
    assert f"w.nc: series named {name!r} found, NetCDF wants a name of its own for each" in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert run("whiten", path, tmp_path / "w.csv", "-q") == 0


@pytest.mark.parametrize(
    ("verbs", "words"),
    [
        (("whiten",), ("--share", 4)),
        (("whiten",), ("--resampling", "bilinear")),
        (("whiten", "unwhiten"), ("--dates", DAYS[0])),
        (("whiten", "unwhiten"), ("--co", "COMPRESS=LZW")),
        (("whiten", "unwhiten"), ("--assume-crs", "EPSG:4326")),
        (("whiten",), ("--assume-nodata", 0)),
    ],
)
def test_options_of_rasters_are_refused_for_series(verbs, words, tmp_path, capsys):
    path = table(tmp_path / "a.csv", ["time", *range(TIMES)], ["v", *values()])
    for verb in verbs:
        more = ("--psd", tmp_path / "s.nc") if verb == "unwhiten" else ()
        assert run(verb, path, tmp_path / "w.csv", *more, *words) == 2
        said = capsys.readouterr().err
        assert "--assume-nodata and --resampling: go with rasters, " in said
        assert "a.csv holds series." in said
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
