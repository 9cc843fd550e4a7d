"""Objects through the command line: tables, levels, quality, tiles, bad input."""

from __future__ import annotations

import itertools
import json

import geopandas
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine
from cliworld import BANDS, call, good, holes, read, save
from cliworld import scene as crop
from rasterio.features import rasterize
from rasterio.windows import Window
from test_cli_laws import peak

SIZES = ("--size", 25, "--iterations", 1)
NDVI = ("--index", "NDVI", "--index-bands", "N=B08,R=B04")
ALL = ("--percentiles", "10,50,90", "--texture", *NDVI)
CUTS = [("0", "1"), ("37", "1"), ("64", "4"), ("100", "2")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A scene of floats with holes, its segments, and labels that mean nothing."""
    folder = tmp_path_factory.mktemp("made")
    array, profile = crop(Window(201, 153, 149, 131))
    values = np.where(holes(array), array * 1.1 + 1 / 3, np.nan).astype("float32")
    scene = save(folder / "scene.tif", values, profile)
    good("segment", scene, folder / "segments.tif", *SIZES, "-q")
    rng = np.random.default_rng(0)
    wild = rng.integers(0, 40, (1, 131, 149)) ** 2 * 100_003
    save(folder / "wild.tif", wild.astype("uint32"), profile, ("label",), nodata=0)
    return folder


def frame(path):
    return geopandas.read_parquet(path) if "geo" in _keys(path) else pandas.read_parquet(path)


def _keys(path):
    return {key.decode() for key in (pq.read_schema(path).metadata or {})}


@pytest.mark.parametrize("labels", ["segments.tif", "wild.tif"])
def test_tables_do_not_depend_on_tiles(labels, made, tmp_path):
    found = []
    for number, (tile_size, jobs) in enumerate(CUTS):
        table, borders = tmp_path / f"{number}.parquet", tmp_path / f"b{number}.parquet"
        how = ("--tile-size", tile_size, "-j", jobs, "-q", "--borders", borders)
        good("objects", made / labels, made / "scene.tif", table, *ALL, *how)
        found.append((pq.read_table(table), pq.read_table(borders)))
    for table, borders in found[1:]:
        assert table.equals(found[0][0])
        assert borders.equals(found[0][1])


def test_the_table_equals_brute_force(made, tmp_path):
    good("objects", made / "segments.tif", made / "scene.tif", tmp_path / "o.parquet", *ALL, "-q")
    table = frame(tmp_path / "o.parquet")
    labels, values = read(made / "segments.tif")[0], read(made / "scene.tif").astype(float)
    with rasterio.open(made / "scene.tif") as dataset:
        transform = dataset.transform
    assert table["label"].tolist() == np.unique(labels[labels > 0]).tolist()
    size = abs(transform.a)
    for row in table.sample(60, random_state=1).itertuples():
        inside = labels == row.label
        r, c = np.nonzero(inside)
        assert row.pixels == row.valid_pixels == r.size
        assert row.area_m2 == pytest.approx(r.size * size**2, rel=1e-14)
        x, y = transform @ (c.mean() + 0.5, r.mean() + 0.5)
        assert (row.centroid_x, row.centroid_y) == pytest.approx((x, y), rel=1e-12)
        assert row.geometry.bounds == (row.xmin, row.ymin, row.xmax, row.ymax)
        assert row.perimeter_m == pytest.approx(row.geometry.length, rel=1e-12)
        assert row.compactness == pytest.approx(4 * np.pi * row.area_m2 / row.perimeter_m**2)
        for band, name in enumerate(BANDS):
            own = values[band][inside]
            expected = (own.mean(), own.std(), own.min(), own.max())
            found = [getattr(row, f"{name}_{what}") for what in ("mean", "std", "min", "max")]
            assert found == pytest.approx(expected, rel=1e-10, abs=1e-9)
            found = [getattr(row, f"{name}_p{p}") for p in (10, 50, 90)]
            assert found == pytest.approx(np.percentile(own, (10, 50, 90)), rel=1e-12)
        n, red = row.B08_mean, row.B04_mean
        assert pytest.approx((n - red) / (n + red), rel=1e-12) == row.NDVI


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
@pytest.mark.parametrize("labels", ["segments.tif", "wild.tif"])
def test_polygons_cover_the_labels_and_burn_back(labels, suffix, made, tmp_path):
    path = tmp_path / f"o.{suffix}"
    good("objects", made / labels, path, "-q", "--tile-size", 40)
    table = frame(path) if suffix == "parquet" else geopandas.read_file(path)
    with rasterio.open(made / labels) as dataset:
        array, transform, crs = dataset.read(1), dataset.transform, dataset.crs
    assert table.crs == crs
    assert table.geometry.is_valid.all()
    assert len(table) == len(set(array.ravel().tolist()) - {0})
    assert table.geometry.area.sum() == pytest.approx((array > 0).sum() * transform.a**2)
    assert shapely.union_all(table.geometry.values).area == pytest.approx(table.area.sum())
    shapes = zip(table.geometry, table["label"], strict=True)
    # GDAL burns float64 values for wide dtypes exactly up to 2**53
    burnt = rasterize(shapes, array.shape, transform=transform, dtype="float64")
    assert np.array_equal(burnt, array)


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_objects_are_the_same_bytes_on_every_run(suffix, made, tmp_path):
    path, runs = tmp_path / f"o.{suffix}", []
    for _ in range(2):  # the time of day in a GeoPackage would have milliseconds
        good("objects", made / "segments.tif", path, "-q", "--overwrite")
        runs.append(path.read_bytes())
    assert runs[0] == runs[1]


def test_borders_are_shared_lengths(made, tmp_path):
    how = ("--borders", tmp_path / "b.parquet", "-q", "--tile-size", 64)
    good("objects", made / "segments.tif", tmp_path / "o.parquet", *how)
    table, borders = frame(tmp_path / "o.parquet"), frame(tmp_path / "b.parquet")
    shapes = table.set_index("label").geometry
    for row in borders.sample(50, random_state=0).itertuples():
        shared = shapes[row.label].boundary.intersection(shapes[row.neighbour].boundary)
        assert row.length_m == pytest.approx(shared.length, rel=1e-9)
        assert row.label < row.neighbour
    counts = pandas.concat([borders["label"], borders["neighbour"]]).value_counts()
    assert table["neighbours"].tolist() == [int(counts.get(v, 0)) for v in table["label"]]


def test_areas_by_latitude(tmp_path):
    transform = Affine(0.5, 0, 10, 0, -0.25, 61)
    labels = np.array([[[1, 1, 2], [1, 3, 3], [4, 4, 4]]], "uint8")
    path = save(
        tmp_path / "l.tif", labels, {"driver": "GTiff"}, crs="EPSG:4326", transform=transform
    )
    good("objects", path, tmp_path / "o.parquet", "-q")
    table = frame(tmp_path / "o.parquet")
    geod = table.crs.get_geod()
    for row in table.itertuples():
        # the geodesic polygon with many vertices along each parallel is the true area
        (part,) = shapely.get_parts(row.geometry)
        dense = part.segmentize(0.0005)
        area, _ = geod.geometry_area_perimeter(shapely.geometry.polygon.orient(dense))
        assert row.area_m2 == pytest.approx(area, rel=1e-7)
        around = geod.geometry_length(dense.boundary)
        assert row.perimeter_m == pytest.approx(around, rel=1e-7)


def test_without_a_crs_the_unit_is_the_pixel(tmp_path):
    labels = np.array([[[1, 1], [1, 2]]], "uint16")
    path = save(tmp_path / "l.tif", labels, {"driver": "GTiff"}, ("l",))
    good("objects", path, tmp_path / "o.parquet", "--no-geometry", "-q")
    table = frame(tmp_path / "o.parquet")
    assert table["area_px"].tolist() == [3, 1]
    assert table["perimeter_px"].tolist() == [8, 4]


def test_one_pixel(tmp_path):
    path = save(tmp_path / "l.tif", np.ones((1, 1, 1), "int64"), {"driver": "GTiff"}, ("l",))
    good("objects", path, path, tmp_path / "o.gpkg", "--percentiles", "50", "--texture", "-q")
    table = geopandas.read_file(tmp_path / "o.gpkg")
    assert table[["label", "pixels", "neighbours", "l_mean", "l_std", "l_p50"]].values.tolist() == [
        [1, 1, 0, 1, 0, 1]
    ]


# --- levels -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def levels(made):
    """Levels of the scene, untiled, with a table."""
    path = made / "levels.tif"
    more = ("--objects", made / "levels.gpkg", *NDVI, "--tile-size", 0, "--json")
    done = good("segment", made / "scene.tif", path, *SIZES, "--scale", "10,25,60", *more)
    return path, done.json


def test_levels_nest_exactly(levels, made):
    path, done = levels
    fine = read(made / "segments.tif")[0]
    bands = read(path)
    counts = [len(np.unique(b[b > 0])) for b in (fine, *bands)]
    assert counts == [done["segments"], *done["objects"]]
    assert counts[0] > counts[1] > counts[2] > counts[3] > 1
    for finer, coarser in itertools.pairwise([fine, *bands]):
        pairs = np.unique(np.stack([finer.ravel(), coarser.ravel()]), axis=1)
        assert pairs.shape[1] == len(np.unique(finer))  # each finer object lies in one
        for label in np.unique(coarser[coarser > 0]):
            assert label == finer[coarser == label].min()
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == ("scale 10", "scale 25", "scale 60")
        tags = dataset.tags()
    with rasterio.open(made / "segments.tif") as dataset:
        segments = dataset.tags()
    assert [tags[f"STCLI_{name}"] for name in ("SLIC", "SCALING")] == [
        segments[f"STCLI_{name}"] for name in ("SLIC", "SCALING")
    ]
    assert len(geopandas.read_file(made / "levels.gpkg")) == counts[1]


@pytest.mark.parametrize(("tile_size", "jobs"), CUTS[1:])
def test_levels_do_not_depend_on_tiles(tile_size, jobs, levels, made, tmp_path):
    how = ("--scale", "10,25,60", "--tile-size", tile_size, "-j", jobs, "-q")
    good("segment", made / "scene.tif", tmp_path / "l.tif", *SIZES, *how)
    assert np.array_equal(read(tmp_path / "l.tif"), read(levels[0]))


def test_nothing_appears_where_the_table_cannot_be_made(made, tmp_path):
    (tmp_path / "o.gpkg").mkdir()
    result = call(
        "segment", made / "scene.tif", tmp_path / "l.tif", *SIZES, "--objects", tmp_path / "o.gpkg"
    )
    assert result.code == 4
    assert [p.name for p in tmp_path.iterdir()] == ["o.gpkg"]


# --- quality ------------------------------------------------------------------------------------


def brute_quality(labels, regions, radius=2):
    both = (labels > 0) & (regions >= 0)
    segments, regions = np.where(both, labels, 0), np.where(both, regions + 1, 0)

    def edge(a):
        marked = np.zeros(a.shape, bool)
        for r, c in np.ndindex(a.shape):
            for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                y, x = r + dr, c + dc
                if 0 <= y < a.shape[0] and 0 <= x < a.shape[1] and a[r, c] and a[y, x]:
                    marked[r, c] |= a[r, c] != a[y, x]
        return marked

    def met(a, b):
        rows, cols = np.nonzero(a)
        hit = [
            b[max(r - radius, 0) : r + radius + 1, max(c - radius, 0) : c + radius + 1].any()
            for r, c in zip(rows, cols, strict=True)
        ]
        return np.mean(hit)

    ours, theirs = edge(segments), edge(regions)
    asa = under = 0
    for s in np.unique(segments[segments > 0]):
        inside = regions[segments == s]
        counts = np.unique(inside, return_counts=True)[1]
        asa += counts.max()
        under += sum(min(n, inside.size - n) for n in counts)
    return {
        "boundary_recall": met(theirs, ours),
        "boundary_precision": met(ours, theirs),
        "asa": asa / both.sum(),
        "undersegmentation": under / both.sum(),
    }


@pytest.fixture(scope="module")
def reference(made):
    array, profile = crop(Window(201, 153, 149, 131))
    regions = (array[3] // 600).astype("uint8")[None]
    regions[0, 100:110, 20:60] = 255
    return save(made / "reference.tif", regions, profile, ("class",), nodata=255)


@pytest.mark.parametrize(("tile_size", "jobs"), CUTS)
def test_quality_equals_brute_force(tile_size, jobs, made, reference):
    how = ("--tile-size", tile_size, "-j", jobs, "--json", "--scene", made / "scene.tif")
    found = good("assess-segments", made / "segments.tif", "--reference", reference, *how).json
    labels = read(made / "segments.tif")[0].astype(int)
    regions = read(reference)[0].astype(int)
    for name, value in brute_quality(labels, np.where(regions == 255, -1, regions)).items():
        assert found[name] == pytest.approx(value, rel=1e-12), name
    values = read(made / "scene.tif").astype(float)[:, labels > 0]
    own = labels[labels > 0]
    means = [np.bincount(own, band) / np.maximum(np.bincount(own), 1) for band in values]
    between = sum(((m[own] - v.mean()) ** 2).sum() for m, v in zip(means, values, strict=True))
    total = sum(((v - v.mean()) ** 2).sum() for v in values)
    assert found["explained_variation"] == pytest.approx(between / total, rel=1e-10)
    sizes = np.bincount(own)[np.unique(own)]
    assert found["segments"] == sizes.size
    assert found["sizes"]["p50"] == np.median(sizes)
    assert found["sizes"]["mean"] == pytest.approx(sizes.mean())


def test_segments_equal_to_their_reference_are_perfect(made):
    path = made / "segments.tif"
    found = good("assess-segments", path, "--reference", path, "--json").json
    for name in ("boundary_recall", "boundary_precision", "asa"):
        assert found[name] == 1
    assert found["undersegmentation"] == 0


def test_a_scale_is_suggested_from_variance_and_moran(made):
    how = ("--scene", made / "scene.tif", "--suggest-scale", "10,25,60,400", "--json")
    whole, cut = (
        good("assess-segments", made / "segments.tif", *how, "--tile-size", size).json["scales"]
        for size in (0, 50)
    )
    assert whole == cut
    each = whole["candidates"]
    variances = [c["variance"] for c in each]
    assert variances == sorted(variances)
    best = max(each, key=lambda c: c["score"])
    assert whole["suggested"] == best["scale"]
    text = good("assess-segments", made / "segments.tif", *how[:-1]).out
    assert f"suggested scale: {best['scale']:g}" in text


def test_moran_of_a_checkerboard_and_of_halves():
    from stcli.segmentation.objects.merge import Graph
    from stcli.segmentation.objects.scale import variance_and_moran

    count = 16
    at = np.arange(count).reshape(4, 4)
    pairs = np.concatenate(
        [
            np.stack([at[:-1], at[1:]], -1).reshape(-1, 2),
            np.stack([at[:, :-1], at[:, 1:]], -1).reshape(-1, 2),
        ]
    )
    one = np.ones(count, np.int64)
    for values, expected in (
        ((at // 4 + at) % 2, -1.0),
        (at // 8, (24 - 2 * 4) / 24),
    ):
        means = values.reshape(-1, 1).astype(float)
        graph = Graph(one, 4 * one, np.zeros((count, 4), np.int32), means, 0 * means, pairs, one)
        v, moran = variance_and_moran(graph, np.arange(count, dtype=np.int32))
        assert v == 0
        assert moran == pytest.approx(expected)


# --- bad input ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bad(made):
    _, profile = crop(Window(201, 153, 149, 131))
    labels = read(made / "segments.tif")
    moved = profile["transform"] @ Affine.translation(3, -2)
    save(made / "float.tif", labels.astype("float32"), profile, ("l",))
    save(made / "negative.tif", labels.astype("int32") - 5, profile, ("l",))
    save(made / "none.tif", np.zeros_like(labels), profile, ("l",))
    save(made / "moved.tif", labels, profile, ("l",), transform=moved)
    return made


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("float.tif", "scene.tif", "o.gpkg"), 3, "float32 values found, integer labels wanted"),
        (("negative.tif", "scene.tif", "o.gpkg"), 3, "label -5 found"),
        (("none.tif", "scene.tif", "o.gpkg"), 3, "no label found"),
        (("moved.tif", "scene.tif", "o.gpkg"), 3, "rows and"),
        (("segments.tif", "scene.tif", "o.shp"), 2, ".shp found, one of .gpkg"),
        (("segments.tif", "scene.tif", "o"), 2, "no suffix found"),
        (("segments.tif", "o.gpkg", "--percentiles", "50"), 2, "no scene was named"),
        (("segments.tif", "scene.tif", "o.gpkg", "--no-geometry"), 2, ".parquet only"),
        (("segments.tif", "scene.tif", "o.gpkg", "--index", "NDVY"), 2, "NDVI"),
        (("segments.tif", "scene.tif", "o.gpkg", "--index", "NDVI"), 2, "--index-bands"),
        (("segments.tif", "scene.tif", "o.gpkg", "--index-bands", "Q=B04"), 2, "letter Q"),
        (("segments.tif", "scene.tif", "o.gpkg", "--index-bands", "N=B99"), 2, "band B99"),
        (("segments.tif", "scene.tif", "o.gpkg", "--percentiles", "101"), 2, "from 0 to 100"),
        (("segments.tif", "scene.tif", "o.gpkg", "--percentiles", "x"), 2, "'x' found"),
        (("segments.tif", "scene.tif", "/nowhere/o.gpkg"), 4, "no directory"),
        (("segments.tif", "scene.tif", "o.gpkg", "--memory", "10MB"), 5, "memory"),
        (("segments.tif", "segments.tif"), 2, "an input and an output"),
        (("gone.tif", "o.gpkg"), 3, "gone.tif"),
    ],
)
def test_bad_input_of_objects(argv, code, words, bad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = [str(bad / a) if a.endswith(".tif") else a for a in argv]
    result = call("objects", *argv)
    assert result.code == code, result.err
    assert words in result.err
    assert result.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--scale", "50,20"), "rising"),
        (("--scale", "0"), "numbers > 0"),
        (("--scale", "a"), "'a' found"),
        (("--scale", "10", "--shape", "2"), "--shape"),
        (("--percentiles", "50"), "--objects"),
        (("--objects", "o.xyz"), ".xyz found"),
    ],
)
def test_bad_options_of_segment(argv, words, bad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("segment", bad / "scene.tif", "l.tif", *argv)
    assert result.code == 2
    assert words in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("segments.tif", "--reference", "moved.tif"), 3, "one grid is wanted"),
        (("segments.tif", "--reference", "float.tif"), 3, "integer labels wanted"),
        (("segments.tif", "--suggest-scale", "10,20"), 2, "--scene"),
        (("segments.tif", "--suggest-scale", "20,10"), 2, "--suggest-scale: found (20.0, 10.0)"),
        (
            ("segments.tif", "--reference", "scene.tif", "--shape", "0.5"),
            2,
            "give --suggest-scale, too",
        ),
        (("segments.tif", "--radius", "-1"), 2, "--radius"),
        (("none.tif",), 3, "no label found"),
        (("scene.tif",), 3, "scene.tif: 4 bands found, one of labels is wanted; name it with"),
    ],
)
def test_bad_input_of_assess_segments(argv, code, words, bad):
    result = call(
        "assess-segments", *(bad / a if a.endswith(".tif") else a for a in argv), "--json"
    )
    assert result.code == code
    assert words in json.loads(result.err)["error"]["message"]


def test_labels_are_refused_before_the_kernels_that_measure_them_are_compiled(
    made, tmp_path, monkeypatch
):
    """Which takes half a minute on a machine where it was not done."""
    from stcli.workflows.segmentation import assess_segments, objects

    with rasterio.open(made / "segments.tif") as source:
        profile, labels = source.profile, source.read().astype("int32")
    labels[0, 9, 9] = -4
    below = save(tmp_path / "below.tif", labels, profile | {"dtype": "int32"}, ("label",))
    asked = []
    for module in (objects, assess_segments):
        monkeypatch.setattr(module, "compile_measuring", lambda *words: asked.append(words))
    for words in (("objects", below, tmp_path / "o.gpkg"), ("assess-segments", below)):
        result = call(*words)
        assert result.code == 3, result.err
        assert "label -4 found, labels from 1 wanted" in result.err
    assert not asked


def test_an_existing_table_stays(made, tmp_path):
    path = tmp_path / "o.gpkg"
    path.write_text("mine")
    result = call("objects", made / "segments.tif", path)
    assert (result.code, path.read_text()) == (4, "mine")
    good("objects", made / "segments.tif", path, "--overwrite", "-q")
    assert len(geopandas.read_file(path)) > 100


# --- memory -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A scene of about a thousand pixels a side and its segments, 25 pixels each."""
    folder = tmp_path_factory.mktemp("big")
    array, profile = crop(Window(0, 0, 701, 683))
    array = np.ascontiguousarray(np.tile(array, (1, 2, 2))[:, :1003, :1017])
    save(folder / "scene.tif", array.astype("float32"), profile)
    rows, cols = np.mgrid[:1003, :1017]
    labels = (rows // 5 * 204 + cols // 5 + 1)[None].astype("uint32")
    save(folder / "labels.tif", labels, profile, ("label",), nodata=0)
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    "how",
    [
        ("o.gpkg", "--tile-size", "0", "-j", "1", "--texture"),
        ("o.parquet", "--percentiles", "50", "-j", "2", "--tile-size", "256", "--no-geometry"),
    ],
)
def test_objects_stay_below_their_prediction(how, big, tmp_path):
    name, *more = how
    measured, predicted = peak(
        "objects", big / "labels.tif", big / "scene.tif", tmp_path / name, *more
    )
    assert measured <= predicted


def test_assessing_stays_below_its_prediction(big):
    more = ("--reference", big / "labels.tif", "--scene", big / "scene.tif", "-j", 2)
    measured, predicted = peak(
        "assess-segments", big / "labels.tif", *more, "--suggest-scale", "20,50"
    )
    assert measured <= predicted


def test_levels_keep_a_crs_that_no_geotiff_can_hold_and_nothing_of_an_overwritten_file(tmp_path):
    array, profile = crop(Window(201, 153, 149, 131))
    turned = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=30 +lon_0=10 +datum=WGS84"
    place = {"crs": turned, "transform": Affine(0.1, 0, -10, 0, -0.1, 10)}
    scene = save(tmp_path / "scene.tif", array, profile, **place)
    out = tmp_path / "o.tif"
    good("segment", scene, out, *SIZES, "--scale", "50", "-q")
    with rasterio.open(scene) as wanted, rasterio.open(out) as found:
        assert found.crs == wanted.crs
        assert found.crs is not None
    plain = save(tmp_path / "plain.tif", array, profile)
    good("segment", plain, out, *SIZES, "--scale", "50", "-q", "--overwrite")
    assert sorted(tmp_path.glob("o.tif*")) == [out]
