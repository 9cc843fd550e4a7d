"""Land cover from dates, through the command line: samples at points, stacks, fused dates."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from cliworld import BANDS, CLASSES, REAL, call, good, holes, read, save
from cliworld import scene as crop
from rasterio.windows import Window

from stcli.landcover.series import forest_member
from stcli.raster.tables.sampletable import read_samples
from stcli.raster.writing.legend import read_class_names

#: Twelve dates, every 30 days; two bands; three classes that differ in their course of the year.
DATES = np.array([f"2019-{m:02d}-10" for m in range(1, 13)])
KINDS = ("crop", "forest", "water")
SHAPE = (203, 231)
PROFILE = {
    "driver": "GTiff",
    "crs": "EPSG:32631",
    "transform": Affine(10, 0, 500_030, 0, -10, 5_000_050),
    "nodata": -1,
}


def course(kind, phase=0.0):
    """Series (date, band) of a class."""
    angle = 2 * np.pi * (np.arange(12) / 12 + phase)
    if kind == "crop":
        return np.stack([0.15 - 0.08 * np.sin(angle), 0.3 + 0.2 * np.sin(angle)], 1)
    level = {"forest": (0.05, 0.35), "water": (0.04, 0.02)}[kind]
    return np.stack([np.full(12, level[0]), level[1] + 0.02 * np.cos(angle)], 1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A table of 90 samples in 15 blocks, some dates lost; and its path."""
    rng = np.random.default_rng(3)
    lines = ["id,longitude,latitude,date,label,RED,NIR"]
    for n in range(90):
        kind = KINDS[n % 3]
        series = course(kind, 0.02 * rng.normal()) + rng.normal(0, 0.01, (12, 2))
        place = f"{3 + 0.1 * (n % 15) + 0.01 * rng.random():.4f},45.05"
        for t, (red, nir) in enumerate(series):
            gone = n % 5 == 1 and t in (3, 7)
            values = "," if gone else f"{red:.4f},{nir:.4f}"
            lines.append(f"{n},{place},{DATES[t]},{kind},{values}")
    path = tmp_path_factory.mktemp("samples") / "samples.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def series_model(samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("series") / "model"
    good("train", "series", samples, "-o", folder, "--size", "16", "-q")
    return folder


def truth():
    """Classes (row, col) from 1: stripes and a lake."""
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    lake = (row - 90) ** 2 + (col - 120) ** 2 < 40**2
    return np.where(lake, 3, 1 + (col // 45) % 2)


def cells(clouds=True):
    """Values (date, band, row, col), -1 for nodata: a corner of none, clouds date by date."""
    rng = np.random.default_rng(8)
    courses = np.stack([course(kind) for kind in KINDS])
    values = courses[truth() - 1].transpose(2, 3, 0, 1) + rng.normal(0, 0.01, (12, 2, *SHAPE))
    row, col = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for t in range(12 if clouds else 0):
        values[t][:, (row + 3 * col + 71 * t) % 400 < 110] = -1
    values[..., :25, :30] = -1
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """One GeoTIFF a date."""
    folder = tmp_path_factory.mktemp("stack")
    pairs = zip(DATES, cells(), strict=True)
    return [save(folder / f"s_{d}.tif", v, PROFILE, ("RED", "NIR")) for d, v in pairs]


# --- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "algorithm",
    ["ensemble", "discriminant", "svm", "forest", pytest.param("network", marks=pytest.mark.slow)],
)
def test_training_is_repeatable_and_its_figures_are_held_out(
    algorithm, samples, tmp_path, monkeypatch
):
    few = replace(forest_member._SETTINGS, trees=20)  # as repeatable as many, and quicker
    monkeypatch.setattr(forest_member, "_SETTINGS", few)
    run = [
        good(
            *("train", "series", samples, "-o", tmp_path / name, "--algorithm", algorithm),
            *("--folds", 3, "--json", "-q", "-j", 1),
            *(("--epochs", 3) if algorithm == "network" else ()),
        ).json
        for name in ("one", "two")
    ]
    card = run[0]["card"]
    assert card["sha256"] == run[1]["card"]["sha256"]
    assert card["architecture"] == "series-1"
    assert [b["name"] for b in card["bands"]] == ["RED", "NIR"]
    assert card["metrics"]["validation"]["total"] == 90
    assert card["metrics"]["validation"]["overall"] > (0.4 if algorithm == "network" else 0.95)
    assert len(card["metrics"]["folds"]["overall"]) == 3
    assert card["calibration"]["temperature"] > 0
    assert set(card["calibration"]["conformal"]) >= {"0.9"}


def test_fewer_folds_than_wanted_are_told(samples, tmp_path):
    words = ("train", "series", samples, "-o", tmp_path / "m", "--algorithm", "discriminant")
    made = good(*words, "--folds", 80, "--json", "--no-progress")
    number = len(made.json["card"]["metrics"]["folds"]["overall"])
    assert number < 80
    assert f"--folds: 80 wanted and {number} " in made.err
    assert f"found; {number} folds are drawn" in made.err


def test_spaces_around_a_label_are_no_part_of_it(samples, tmp_path):
    lines = samples.read_text().splitlines()
    lines[1::2] = [line.replace(",crop,", ", crop ,") for line in lines[1::2]]
    spaced = tmp_path / "spaced.csv"
    spaced.write_text("\n".join(lines) + "\n")
    found, wanted = (read_samples(str(path)) for path in (spaced, samples))
    assert found.labels.tolist() == wanted.labels.tolist()
    assert found.owner.tolist() == wanted.owner.tolist()


def test_wide_and_parquet_tables_give_the_same_model(samples, series_model, tmp_path):
    import pandas as pd

    long = pd.read_csv(samples)
    long.to_parquet(tmp_path / "long.parquet")
    keys = ["id", "longitude", "latitude", "label"]
    wide = long.pivot(index=keys, columns="date", values=["RED", "NIR"])
    wide.columns = [f"{band}_{day}" for band, day in wide.columns]
    wide.reset_index().to_csv(tmp_path / "wide.csv", index=False)
    first = json.loads((series_model / "card.json").read_text())
    for name in ("long.parquet", "wide.csv"):
        how = ("-o", tmp_path / f"{name}.model", "--size", "16", "-q", "--json")
        card = good("train", "series", tmp_path / name, *how).json["card"]
        order = [b["name"] for b in card["bands"]]
        assert sorted(order) == ["NIR", "RED"]
        assert card["network"]["season"] == first["network"]["season"]
        assert card["metrics"]["folds"] == first["metrics"]["folds"]


def compact(text):
    """Dates as eight digits."""
    return re.sub(r"2019-(\d\d)-(\d\d)", r"2019\1\2", text)


def numbered(text):
    """Put the number of the row in the place of a table's id."""
    head, *lines = text.splitlines()
    return "\n".join([head, *(f"{k},{line.split(',', 1)[1]}" for k, line in enumerate(lines))])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.replace("label", "tag"), ": no column label found among id, longitude"),
        (lambda t: t.replace("date", "when"), "neither a column date nor"),
        (
            lambda t: t.replace("2019-01-10", "soon"),
            "bad.csv: date 'soon' found in row 1, dates such as 2",
        ),
        (
            lambda t: t.replace("2019-02-10", "10/02/2019"),
            "date '10/02/2019' found in row 2, dates",
        ),
        (
            lambda t: t.replace("2019-02-10", "2019-02-30"),
            "date '2019-02-30' found in row 2, dates",
        ),
        (lambda t: t.replace("2019-03-10", "20190310"), "date '20190310' found in row 3, dates "),
        (lambda t: t.replace("2019-0", "20190"), "bad.csv: date '201901-10' found in row 1, dates"),
        (lambda t: compact(t).replace("20190210", "20190231"), "date '20190231' found in row 2, "),
        (lambda t: t.replace("2019-01-10", ""), "rows without a date found, each wants one"),
        (lambda t: t.replace("0.0", "x.x"), "bad.csv: column RED holds no numbers ("),
        (
            lambda t: t.replace("2019-02-10", "2019-01-10"),
            "90 samples have a date twice, each once is wanted; a column id tells",
        ),
        (lambda t: t.replace(",crop,", ",,"), "bad.csv: 30 samples without a label found"),
        (lambda t: t.replace(",crop,", ", ,"), "bad.csv: 30 samples without a label found"),
        (lambda t: t.replace(",crop,", ",NA,"), "otherwise where it is NA, None or null, which"),
        (lambda t: t.replace(",45.05,", ",,"), "samples without longitude or latitude found"),
        (
            lambda t: t.replace("2019-02-10,crop", "2019-02-10,water"),
            "bad.csv: id 0 found with 2 labels (crop, water), one is wanted; give each sample its",
        ),
        (
            lambda t: t.replace("45.05,2019-02-10", "46,2019-02-10"),
            "bad.csv: id 0 found with 2 places (3.00",
        ),
        (
            numbered,
            "bad.csv: another id found in each of 1080 rows, which are of 89 places, one for all ",
        ),
        (
            lambda t: widened(t, Label="crop"),
            "bad.csv: columns label and Label found, each of which may be the label, one is wanted",
        ),
        (lambda t: widened(t, **{"class": 1}), "columns label and class found, each of which may "),
        (lambda t: widened(t, x=1), "columns longitude and x found, each of which may be the long"),
        (lambda t: t.splitlines()[0], "bad.csv: no row found, labelled series are wanted"),
        (
            lambda t: t.replace("0.", "0_"),
            "bad.csv: no column of a band found, one at least with numbers such as 0.25 is wanted",
        ),
        (
            lambda t: t.replace(",", ";").replace("0.", "0,"),
            "in column RED, a point before the decimals is wanted (0.",
        ),
        (
            lambda t: t.replace(",", ";").replace("45.05", "45,05"),
            "bad.csv: '45,05' found in column latitude, a point before the decimals is wanted (45.",
        ),
        (
            lambda t: widened(t, TIR=3.4028235e38),
            "bad.csv: band TIR holds values too large for float32 to scale; leave the fields of ",
        ),
        (
            lambda t: "\n".join(gapped(t.splitlines(), lambda x: x.split(",")[3] in DATES[3:])),
            "bad.csv: none of 90 samples has numbers in all bands at a third of the season's 12 ",
        ),
        (
            lambda t: "\n".join(x for x in t.splitlines() if x.split(",")[0] in ("id", "1", "2")),
            "bad.csv: one sample of each of 2 classes found, which leaves nothing for folds; label",
        ),
        (
            lambda t: "\n".join(x for x in t.splitlines() if "water" not in x and "crop" not in x),
            "1 classes in 5 blocks found, at least two of each are wanted; choose a smaller",
        ),
    ],
    ids=lambda value: "" if callable(value) else value[:24],
)
def test_a_table_that_is_none_is_refused_and_leaves_nothing(change, told, samples, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text(change(samples.read_text()))
    result = call("train", "series", bad, "-o", tmp_path / "model", "-q")
    assert result.code == 3
    assert told in result.err
    assert str(bad) in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv"]


@pytest.mark.parametrize("algorithm", ["ensemble", "svm", "forest"])
@pytest.mark.parametrize("classes", [1, 3])
def test_folds_that_leave_too_little_to_learn_are_refused(algorithm, classes, samples, tmp_path):
    """One class each side, or one sample of each."""
    head, *lines = samples.read_text().splitlines()
    for n, line in enumerate(lines):
        number, _, *rest = line.split(",")
        block = int(number) % 3 if classes == 1 else int(number) // 3
        lines[n] = ",".join([number, str(block), *rest])
    kept = {1: lambda number: number % 3 < 2, 3: lambda number: number < 6}[classes]
    few = tmp_path / "few.csv"
    few.write_text("\n".join([head, *(x for x in lines if kept(int(x.split(",")[0])))]))
    result = call("train", "series", few, "--algorithm", algorithm, "-o", tmp_path / "m", "-q")
    told = f" samples of {classes} classes found in a training part, two classes and more samples"
    assert (result.code, told in result.err) == (3, True), result.err


def test_bands_that_never_vary_teach_nothing_and_break_nothing(samples, tmp_path):
    head, *lines = samples.read_text().splitlines()
    flat = [",".join([*line.split(",")[:5], "0.5", "0.2"]) for line in lines]
    (tmp_path / "flat.csv").write_text("\n".join([head, *flat]))
    assert call("train", "series", tmp_path / "flat.csv", "-o", tmp_path / "m", "-q").code == 0


def in_metres(text):
    """Samples with projected coordinates: a degree is 100 km, places are moved by 10 m each."""
    lines = text.splitlines()
    for k, line in enumerate(lines[1:], start=1):
        number, x, y, rest = line.split(",", 3)
        lines[k] = f"{number},{float(x) * 1e5 + 10 * int(number):.1f},{float(y) * 1e5:.1f},{rest}"
    return "\n".join(lines)


def test_coordinates_that_are_no_degrees_want_a_block(samples, tmp_path):
    metres = tmp_path / "metres.csv"
    metres.write_text(in_metres(samples.read_text()))
    words = ("train", "series", metres, "-o", tmp_path / "m", "--algorithm", "discriminant")
    refused = call(*words)
    assert refused.code == 2
    assert "metres.csv: coordinates of up to 441" in refused.err
    assert "4505000.0 found, which are no degrees; give the side of a block in" in refused.err
    assert not (tmp_path / "m").exists()
    made = good(*words, "--block", 10_000, "--json", "--no-progress")
    assert made.json["card"]["data"]["blocks"] < 20
    assert made.json["card"]["training"]["block"] == 10_000
    assert "fewer than two a block" not in made.err
    lonely = good(*words, "--block", 1, "--overwrite", "--no-progress")
    assert "90 places in 90 blocks of side 1 found, fewer than two a block" in lonely.err
    assert "of 90 samples" in lonely.out


def test_a_model_of_series_shows_no_pixel_for_its_samples_have_none(series_model):
    assert "pixel" not in good("model", "show", series_model).out


def test_degrees_have_a_default_block(series_model):
    assert json.loads((series_model / "card.json").read_text())["training"]["block"] == 0.1


def widened(text, **columns):
    """Lines of a table with more columns, the same value in each row."""
    head, *lines = text.splitlines()
    more = ",".join(map(str, columns.values()))
    return "\n".join([",".join([head, *columns]), *(f"{line},{more}" for line in lines)])


def test_columns_without_a_number_are_no_bands(samples, tmp_path):
    wide = tmp_path / "wide.csv"
    wide.write_text(widened(samples.read_text(), remark="", country="BR", level="inf"))
    made = good(
        *("train", "series", wide, "-o", tmp_path / "m", "--algorithm", "discriminant"),
        *("--folds", 2, "--json", "--no-progress"),
    )
    assert f"{wide}: no number found in column remark, country, level, so it is not" in made.err
    assert [b["name"] for b in made.json["card"]["bands"]] == ["RED", "NIR"]
    assert made.json["card"]["data"]["steps_seen"] > 0.9
    good("model", "verify", tmp_path / "m")


def test_words_with_commas_are_no_numbers(samples, tmp_path):
    """A list of neighbours is a remark, of which one may look like a decimal."""
    near = widened(samples.read_text(), near='"3,4"').replace('"3,4"', '"3,4,5"', 7)
    (tmp_path / "near.csv").write_text(near)
    result = call("train", "series", tmp_path / "near.csv", "-o", tmp_path / "m")
    assert (result.code, "no number found in column near" in result.err) == (0, True), result.err


def test_a_column_that_no_date_changes_is_told(samples, tmp_path):
    wide = tmp_path / "wide.csv"
    wide.write_text(widened(samples.read_text(), height=120))
    made = good(
        *("train", "series", wide, "-o", tmp_path / "m", "--algorithm", "discriminant"),
        *("--folds", 2, "--no-progress"),
    )
    told = f"{wide}: column height is the same on all dates of each sample, and is taken for a band"
    assert told in made.err
    assert "bands: RED, NIR, height" in made.err


def test_labels_that_are_numbers_stand_in_their_order_and_keep_their_values(samples, tmp_path):
    table = tmp_path / "codes.csv"
    codes = {"crop": "10", "forest": "9", "water": "100"}
    text = samples.read_text()
    for name, code in codes.items():
        text = text.replace(f",{name},", f",{code},")
    table.write_text(text)
    words = ("-o", tmp_path / "m", "--algorithm", "discriminant", "--folds", 2, "--json", "-q")
    card = good("train", "series", table, *words).json["card"]
    assert [(c["value"], c["name"]) for c in card["classes"]] == [
        (9, "9"),
        (10, "10"),
        (100, "100"),
    ]
    assert [c["support"] for c in card["metrics"]["validation"]["classes"]] == [30, 30, 30]
    assert card["metrics"]["validation"]["overall"] > 0.9


def test_dates_beside_the_date_are_no_band(samples, tmp_path):
    import pandas as pd

    table = pd.read_csv(samples).assign(updated=pd.Timestamp("2020-01-01"))
    table.to_parquet(tmp_path / "t.parquet")
    assert read_samples(str(tmp_path / "t.parquet")).bands == ("RED", "NIR")


def test_the_spread_over_folds_is_that_of_a_sample(samples, tmp_path):
    lines = samples.read_text().replace("\n3,", "\n_3,").splitlines()
    wrong = [x[1:].replace("crop", "water") if x[0] == "_" else x for x in lines]
    (tmp_path / "wrong.csv").write_text("\n".join(wrong))  # one label that is not so
    made = good(
        *("train", "series", tmp_path / "wrong.csv", "-o", tmp_path / "m", "--folds", 3),
        *("--algorithm", "discriminant", "--json", "-q"),
    )
    folds = made.json["card"]["metrics"]["folds"]
    assert folds["std"] == pytest.approx(np.std(folds["overall"], ddof=1))
    assert folds["std"] > 0


@pytest.mark.parametrize("name", ["fid", "row_id", "#"])
def test_a_number_of_the_row_tells_no_samples_apart(name, samples, tmp_path, caplog):
    import pandas as pd

    table = pd.read_csv(samples)
    table["latitude"] += table["id"] / 1e4  # two of the samples share a place
    wanted = read_samples(str(samples))
    table.rename(columns={"id": name}).to_csv(tmp_path / "good.csv", index=False)
    table.drop(columns="id").assign(**{name: range(len(table))}).to_csv(tmp_path / "rows.csv")
    table.assign(**{name: range(len(table))}).to_csv(tmp_path / "both.csv")
    for file, told in (("good.csv", False), ("rows.csv", True), ("both.csv", False)):
        caplog.clear()
        found = read_samples(str(tmp_path / file))
        assert found.bands == ("RED", "NIR")
        assert np.array_equal(found.owner, wanted.owner)
        assert (f"{file}: column {name} differs in each row and cannot" in caplog.text) == told


def test_samples_of_one_date_may_share_places(tmp_path):
    lines = ["id,longitude,latitude,date,label,RED"]
    lines += [f"{n},{n // 2},45,2019-01-10,{KINDS[n % 2]},0.{n}" for n in range(1, 9)]
    (tmp_path / "one.csv").write_text("\n".join(lines))
    assert len(read_samples(str(tmp_path / "one.csv")).labels) == 8


@pytest.mark.parametrize(
    "form",
    [
        compact,
        lambda text: re.sub(r"(2019-\d\d-\d\d)", r"\1T23:10:00", text),
        lambda text: re.sub(r"(2019-\d\d-\d\d)", r"\1 10:30:21.5Z", text),
        lambda text: re.sub(r"(2019-\d\d)-10", r"\1-11T01:30:00+02:00", text),
        lambda text: re.sub(r"(2019\d{4})", r"\1T103021", compact(text)),
    ],
    ids=["digits", "time", "seconds", "zone", "digits and time"],
)
def test_dates_are_read_in_all_forms_of_iso_8601(form, samples, tmp_path):
    path = tmp_path / "dates.csv"
    path.write_text(form(samples.read_text()))
    assert np.array_equal(read_samples(str(path)).days, read_samples(str(samples)).days)


def test_dates_of_a_parquet_table_may_be_dates_numbers_or_times(samples, tmp_path):
    import pandas as pd

    table = pd.read_csv(samples)
    stamps = pd.to_datetime(table["date"])
    wanted = read_samples(str(samples)).days
    digits = stamps.dt.strftime("%Y%m%d")
    for dates in (stamps, stamps.dt.date, digits.astype(int), digits.astype(float)):
        table.assign(date=dates).to_parquet(tmp_path / "t.parquet")
        assert np.array_equal(read_samples(str(tmp_path / "t.parquet")).days, wanted)


def test_a_date_of_a_wide_table_that_is_none_is_told_with_its_row(tmp_path):
    from stcli.errors import InputError

    (tmp_path / "w.csv").write_text(
        "longitude,latitude,label,RED_2019-01-10,RED_2019-02-30\n1,2,a,0.1,\n3,4,b,0.2,0.3\n"
    )
    with pytest.raises(InputError, match="date '2019-02-30' found in row 2, dates such as"):
        read_samples(str(tmp_path / "w.csv"))


def gapped(lines, gone):
    """Lines of a table, the values of chosen ones taken out."""
    return [f"{line.rsplit(',', 2)[0]},," if gone(line) else line for line in lines]


def test_series_that_are_hardly_seen_are_left_out(samples, tmp_path):
    head, *lines = samples.read_text().splitlines()
    gone = [f"{n}," for n in range(0, 30, 3)]  # samples of crop
    late = DATES[3:]  # three dates of twelve are less than a third
    cut = gapped(lines, lambda x: x.startswith(tuple(gone)) and x.split(",")[3] in late)
    (tmp_path / "gaps.csv").write_text("\n".join([head, *cut]))
    left = [line for line in lines if not line.startswith(tuple(gone))]
    (tmp_path / "left.csv").write_text("\n".join([head, *left]))
    few = ("--algorithm", "discriminant", "--folds", 3, "--json", "--no-progress")
    made, wanted = (
        good("train", "series", tmp_path / f"{name}.csv", "-o", tmp_path / name, *few)
        for name in ("gaps", "left")
    )
    assert "gaps.csv: 10 of 90 samples are left out, seen at less than a third of" in made.err
    assert "left out" not in wanted.err
    assert made.json["card"]["data"]["series_left_out"] == 10
    assert made.json["card"]["sha256"] == wanted.json["card"]["sha256"]
    assert made.json["card"]["metrics"] == wanted.json["card"]["metrics"]


def test_a_class_of_which_nothing_is_seen_is_told(samples, tmp_path):
    lines = gapped(samples.read_text().splitlines(), lambda line: ",water," in line)
    (tmp_path / "dry.csv").write_text("\n".join(lines))
    how = ("--algorithm", "discriminant", "--folds", 2, "--json", "--no-progress")
    made = good("train", "series", tmp_path / "dry.csv", "-o", tmp_path / "m", *how)
    assert "season's 12 steps, among them all of water; classify leaves such" in made.err
    assert [c["name"] for c in made.json["card"]["classes"]] == ["crop", "forest"]


# --- stacks -------------------------------------------------------------------------------------


def classified(paths, model, folder, *more):
    out, proba = folder / "classes.tif", folder / "proba.tif"
    good("classify", *paths, out, "--model", model, "--proba", proba, "-q", "--overwrite", *more)
    return read(out)[0], read(proba)


@pytest.fixture(scope="module")
def whole(stack, series_model, tmp_path_factory):
    return classified(stack, series_model, tmp_path_factory.mktemp("whole"), "--tile-size", 0)


def test_a_model_of_points_finds_the_classes_of_a_stack(whole):
    found, proba = whole
    seen = (cells() >= 0).any(axis=(0, 1))
    assert np.array_equal(found > 0, seen)
    assert (found == truth())[seen].mean() > 0.95
    assert np.array_equal(np.isnan(proba[0]), ~seen)
    assert np.allclose(proba[:, seen].sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("how", [("100", "1"), ("128", "3")], ids=" ".join)
def test_tiles_do_not_show_in_series(how, stack, series_model, whole, tmp_path):
    found = classified(stack, series_model, tmp_path, "--tile-size", how[0], "-j", how[1])
    assert np.array_equal(found[0], whole[0])
    assert np.array_equal(found[1], whole[1], equal_nan=True)


def test_a_crop_moves_nothing_inside(series_model, stack, whole, tmp_path):
    from stcli.segmentation.superpixels.slic import halo
    from stcli.settings import LANDCOVER_SLIC

    top, left = 7, 13
    reach = halo(replace(LANDCOVER_SLIC, size=16)) + 32  # and the margin of a lattice window
    assert reach < 110
    profile = {**PROFILE, "transform": PROFILE["transform"] @ Affine.translation(left, top)}
    paths = [
        save(tmp_path / f"k_{day}.tif", read(path)[:, top:, left:], profile, ("RED", "NIR"))
        for day, path in zip(DATES, stack, strict=True)
    ]
    found, proba = classified(paths, series_model, tmp_path)
    inside = (slice(top + reach, None), slice(left + reach, None))
    assert np.array_equal(found[reach:, reach:], whole[0][inside])
    assert np.array_equal(
        proba[:, reach:, reach:], whole[1][(slice(None), *inside)], equal_nan=True
    )


@pytest.mark.long
def test_processes_give_the_same(stack, series_model, whole, tmp_path):
    how = ("--tile-size", 128, "-j", 2, "--scheduler", "processes")
    found = classified(stack, series_model, tmp_path, *how)
    assert np.array_equal(found[0], whole[0])


def test_the_order_of_files_is_no_matter_and_dates_may_be_given(
    stack, series_model, whole, tmp_path
):
    assert np.array_equal(classified(stack[::-1], series_model, tmp_path)[0], whole[0])
    names = [
        save(tmp_path / f"{k}.tif", read(p), PROFILE, ("RED", "NIR")) for k, p in enumerate(stack)
    ]
    dates = ",".join(np.repeat(DATES, 2))
    given = classified(names, series_model, tmp_path, "--dates", dates)
    assert np.array_equal(given[0], whole[0])


def test_a_netcdf_gives_the_same_as_files(stack, series_model, whole, tmp_path):
    import xarray as xr

    a, (rows, cols) = PROFILE["transform"], SHAPE
    coords = {
        "time": DATES.astype("datetime64[ns]"),
        "y": (
            "y",
            a.f + a.e * (np.arange(rows) + 0.5),
            {"standard_name": "projection_y_coordinate", "units": "m"},
        ),
        "x": (
            "x",
            a.c + a.a * (np.arange(cols) + 0.5),
            {"standard_name": "projection_x_coordinate", "units": "m"},
        ),
    }
    values = cells()
    data = {
        name: (("time", "y", "x"), np.where(values[:, b] < 0, np.nan, values[:, b]))
        for b, name in enumerate(("RED", "NIR"))
    }
    xr.Dataset(data, coords).to_netcdf(tmp_path / "stack.nc")
    how = ("--assume-crs", "EPSG:32631")
    found = classified([tmp_path / "stack.nc"], series_model, tmp_path, *how)
    assert np.array_equal(found[0], whole[0])


def test_a_mask_leaves_cloudy_dates_out(series_model, stack, tmp_path):
    """Clouds as values with a mask beside them are as clouds without data."""
    paths = []
    for k, path in enumerate(stack):
        values = read(path)
        gone = values[0] < 0
        bands = np.stack([*np.where(gone, 0.9, values), np.where(gone, 9, 4)]).astype("float32")
        name = tmp_path / f"c_{DATES[k]}.tif"
        paths.append(save(name, bands, PROFILE, ("RED", "NIR", "SCL")))
    plain = classified(stack, series_model, tmp_path)
    how = ("--mask-band", "SCL", "--clear", "4,5")
    masked = classified(paths, series_model, tmp_path, *how)
    assert np.array_equal(masked[0], plain[0])


def test_a_season_with_too_few_dates_is_refused_and_gaps_are_told(stack, series_model, tmp_path):
    out = tmp_path / "o.tif"
    few = call("classify", *stack[:3], out, "--model", series_model, "-q")
    assert few.code == 3
    assert (
        "dates 2019-01-10 to 2019-03-10: 3 of the model's 12 steps from 2019-01-10 on have a date, "
        "a third is wanted; give more dates, or --season" in few.err
    )
    some = call("classify", *stack[:8], out, "--model", series_model)
    assert some.code == 0
    assert "8 of the model's 12 steps" in some.err
    away = call(
        "classify", *stack, out, "--model", series_model, "--season", "2012-01-10", "--overwrite"
    )
    assert away.code == 3


def test_a_stack_that_does_not_fit_the_model_is_refused(stack, series_model, model, tmp_path):
    out = tmp_path / "o.tif"
    renamed = save(tmp_path / "r_2019-01-10.tif", read(stack[0]), PROFILE, ("RED", "SWIR"))
    fused = ("--fuse", "score")
    for words, code, told in (
        ((renamed, out, "--model", series_model), 6, "variables RED, SWIR; the model wants RED, "),
        ((renamed, out, "--model", series_model), 6, "NIR is not there; name the bands so."),
        (
            (*stack, out, "--model", model, "--season", "2019-01-01"),
            2,
            "--dates, --season, --mask-band: are for a stack of dates; give --fuse score with a",
        ),
        (
            (*stack, out, "--model", series_model, *fused),
            6,
            f"{series_model}: a model of several dates found, which f",
        ),
        (
            (*stack, out, "--model", series_model, "--mask-band", "SCL"),
            2,
            "--mask-band and --clear belong together: one of them is missing.",
        ),
        (
            (*stack, out, "--model", series_model, "--mask-band", "SCL", "--clear", "4"),
            3,
            "no variable SCL among RED, NIR; --mask-band names one",
        ),
        (
            (*stack, out, "--model", series_model, "--season", "autumn"),
            2,
            "--season: 'autumn' found, a date such as 2018-09-01 wanted.",
        ),
    ):
        refused = call("classify", *words)
        assert (refused.code, told in refused.err) == (code, True), refused.err
    assert list(tmp_path.iterdir()) == [tmp_path / "r_2019-01-10.tif"]


def test_a_model_of_a_method_that_is_not_known_is_refused(stack, series_model, tmp_path):
    from safetensors.numpy import load_file

    from stcli.nn.weights import load_card, save_weights

    card = load_card(series_model)
    arrays = load_file(series_model / "weights.safetensors")
    strange = {f"oracle.{name.partition('.')[2]}": a for name, a in arrays.items()}
    network = {**card.network, "methods": ["oracle"], "temperatures": {"oracle": 1.0}}
    save_weights(tmp_path / "m", strange, card.model_copy(update={"network": network}))
    refused = call("classify", *stack, tmp_path / "o.tif", "--model", tmp_path / "m", "-q")
    assert (refused.code, "a method 'oracle' found, " in refused.err) == (6, True), refused.err
    assert "or network wanted." in refused.err
    assert not (tmp_path / "o.tif").exists()


def test_times_that_are_no_dates_are_refused():
    from stcli.errors import InputError
    from stcli.raster.reading.datestack import days_of
    from stcli.raster.timeaxis import TimeAxis

    axis = TimeAxis((0.0, 1.0), "months since 2019-01-01")
    with pytest.raises(InputError, match=r"a\.nc: times in 'months since 2019-01-01' are no dates"):
        days_of(axis, "a.nc")


def test_a_plan_of_a_stack_is_told_and_nothing_done(stack, series_model, tmp_path):
    plan = good(
        "classify", *stack, tmp_path / "o.tif", "--model", series_model, "--dry-run", "--json"
    )
    assert plan.json["passes"][0]["stage"] == "classify"
    assert not list(tmp_path.iterdir())


# --- fused dates --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dated(tmp_path_factory):
    """Three dates of the small scene with holes of their own, and a place that none has."""
    folder = tmp_path_factory.mktemp("dated")
    array, profile = crop(Window(201, 153, 189, 171))
    paths = []
    for k, day in enumerate(("2020-05-01", "2020-06-10", "2020-08-02")):
        values = np.where(np.roll(holes(array), 29 * k, axis=-1), array * (1 + 0.1 * k), 0)
        values[:, :20, :20] = 0
        paths.append(save(folder / f"d_{day}.tif", values.astype("uint16"), profile, nodata=0))
    return paths


def fused(paths, model, folder, *more):
    best = folder / "best.tif"
    found = classified(paths, model, folder, "--fuse", "score", "--best-date", best, *more)
    return *found, read(best)[0], best


def test_fusing_weighs_dates_by_their_surest_class(dated, model, tmp_path):
    single = [classified([path], model, tmp_path)[1] for path in dated]
    found, proba, best, path = fused(dated, model, tmp_path, "--tau", 0.2)
    p = np.stack(single).astype(np.float64)
    sure = np.where(np.isnan(p[:, 0]), -np.inf, p.max(axis=1))
    seen = np.isfinite(sure).any(axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        w = np.exp((sure - sure.max(axis=0)) / 0.2)
    w = np.where(np.isfinite(sure), w, 0) / np.where(seen, np.nansum(w, axis=0), 1)
    wanted = (w[:, None] * np.nan_to_num(p)).sum(axis=0)
    assert np.abs(proba[:, seen] - wanted[:, seen]).max() < 1e-6
    assert np.array_equal(found > 0, seen)
    assert np.array_equal(best, np.where(seen, sure.argmax(axis=0) + 1, 0))
    assert best.max() == 3
    names = [CLASSES[k] for k in sorted(CLASSES)]
    with rasterio.open(tmp_path / "classes.tif") as dataset:
        assert "2020-06-10" in dataset.tags()["STCLI_DATES"]
    with rasterio.open(tmp_path / "proba.tif") as dataset:
        assert list(dataset.descriptions) == names
    with rasterio.open(path) as dataset:
        assert dataset.nodata == 0
        assert dataset.dtypes == ("uint16",)
    dates = list(read_class_names(str(path)).values())[-3:]
    assert dates == ["2020-05-01", "2020-06-10", "2020-08-02"]


def test_one_valid_date_is_that_date(dated, model, tmp_path):
    alone = classified(dated[:1], model, tmp_path)
    found = fused(dated[:1], model, tmp_path)
    assert np.array_equal(found[0], alone[0])
    assert np.array_equal(found[1], alone[1], equal_nan=True)
    assert set(np.unique(found[2])) == {0, 1}


@pytest.mark.parametrize("how", [("64", "1"), ("100", "3")], ids=" ".join)
def test_tiles_do_not_show_in_fused_dates(how, dated, model, tmp_path):
    untiled = fused(dated, model, tmp_path, "--tile-size", 0)[:3]
    tiled = fused(dated, model, tmp_path, "--tile-size", how[0], "-j", how[1])[:3]
    for ours, wanted in zip(tiled, untiled, strict=True):
        assert np.array_equal(ours, wanted, equal_nan=ours.dtype.kind == "f")


def test_words_of_fusing_are_checked(dated, model, tmp_path):
    out = tmp_path / "o.tif"
    plain = call("classify", *dated, out, "--model", model)
    told = "dates found, the model " + f"{model} is of one date; give --fuse score, or choose the"
    assert (plain.code, told in plain.err) == (6, True), plain.err
    wild = call("classify", *dated, out, "--model", model, "--fuse", "score", "--tau", 0)
    assert (wild.code, "--tau: 0 found, 0.01 to 1000000 wanted." in wild.err) == (2, True)
    best = ("--best-date", tmp_path / "b.tif")
    told = "--best-date: wants --fuse score, which finds a date best; without it leave it out."
    lone = call("classify", dated[0], out, "--model", model, *best)
    assert (lone.code, told in lone.err) == (2, True)
    season = call(
        "classify", *dated, out, "--model", model, "--fuse", "score", "--season", DATES[0]
    )
    told = "--season: is for a model of series; with --fuse every date counts by itself."
    assert (season.code, told in season.err) == (2, True)
    same = ("--fuse", "score", "--best-date", out)
    assert call("classify", *dated, out, "--model", model, *same).code == 2
    assert not list(tmp_path.iterdir())


def test_a_model_of_one_date_wants_its_dates_fused(dated, model, tmp_path):
    from stcli.errors import ModelError
    from stcli.settings import RunSettings
    from stcli.workflows.job import Inputs
    from stcli.workflows.landcover.classify_stack import Stacking, classify_stack
    from stcli.workflows.landcover.products import Products

    words = (Inputs(tuple(map(str, dated))), Products(str(tmp_path / "o.tif")), model)
    with pytest.raises(ModelError, match=r"a model of one date found; give --fuse score\."):
        classify_stack(*words, RunSettings(), Stacking())


def test_the_bands_of_the_scene_are_the_models():
    assert BANDS == ("B02", "B03", "B04", "B08")  # what the model of random weights wants


# --- real data ----------------------------------------------------------------------------------

CUBES = REAL / "worldcereal-s1s2-cubes" / "0000280849BAC91C"


@pytest.mark.real
@pytest.mark.skipif(not CUBES.is_dir(), reason=f"no {CUBES}")
def test_a_real_stack_with_a_scene_classification(tmp_path):
    """Crops and grass of a Flemish cube, from samples of its own label raster."""
    (fine,) = CUBES.glob("S2_L2A_20m*.nc")
    (labels,) = CUBES.glob("OUTPUT*.nc")
    from stcli.raster.reading.datestack import days_of
    from stcli.raster.reading.read import open_raster
    from stcli.raster.reading.timecube import cube_of

    cube = cube_of(open_raster(str(fine)))
    block, _ = cube.read(Window(0, 0, 32, 32))
    cells = dict(zip(cube.variables, block.reshape(72, 7, 32, 32).swapaxes(0, 1), strict=True))
    bands = ("B05", "B8A", "B11")
    values = np.stack([cells[b] for b in bands], axis=1)
    clear = np.isin(cells["SCL"], (4, 5)) & np.isfinite(values).all(axis=1)
    days = np.array(days_of(cube.times, "")).astype("datetime64[D]")
    kinds = open_raster(str(labels), bands=("LC",)).read(Window(0, 0, 64, 64))[0][0, ::2, ::2]
    lines = ["id,longitude,latitude,date,label," + ",".join(bands)]
    season = (days >= np.datetime64("2018-11-01")) & (days < np.datetime64("2019-11-01"))
    for n, (r, c) in enumerate(np.argwhere(np.isin(kinds, (11, 13)))[::3]):
        for t in np.flatnonzero(season & clear[:, r, c]):
            numbers = ",".join(f"{v:.4f}" for v in values[t, :, r, c])
            lines.append(f"{n},{c // 8},{r // 8},{days[t]},c{kinds[r, c]},{numbers}")
    table = tmp_path / "samples.csv"
    table.write_text("\n".join(lines) + "\n")
    good("train", "series", table, "-o", tmp_path / "m", "--block", 1, "--size", 9, "-q")
    out = tmp_path / "o.tif"
    how = ("--mask-band", "SCL", "--clear", "4,5", "-q")
    good("classify", fine, out, "--model", tmp_path / "m", *how)
    found = read(out)[0]
    known = np.isin(kinds, (11, 13)) & (found > 0)
    assert known.sum() > 100
    assert ((found == 2) == (kinds == 13))[known].mean() > 0.7
