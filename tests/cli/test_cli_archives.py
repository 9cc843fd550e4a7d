"""Archives that keep a file a band, which no file names: models of one day on another's files."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from cliworld import BANDS, LABELS, call, save, scene

FOREST = ("--labels", LABELS, "--class-column", "class", "--algorithm", "forest")
DAYS = ("20210302T101021", "20220305T100559")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Two days of four files a scene; both days see the same."""
    folder = tmp_path_factory.mktemp("archive")
    array, profile = scene()
    days = []
    for day in DAYS:
        paths = [folder / f"T18SVG_{day}_{band}_10m.tif" for band in BANDS]
        days.append([save(path, array[k : k + 1], profile, ()) for k, path in enumerate(paths)])
    return days


def trained(paths, folder, *more):
    done = call("train", "landcover", *paths, *FOREST, *more, "-o", folder, "-q")
    assert done.code == 0, done.err
    return folder


def classes(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_a_model_of_one_day_fits_the_files_of_another(archive, tmp_path):
    model = trained(archive[0], tmp_path / "model")
    for name, paths in (("one", archive[0]), ("other", archive[1]), ("mixed", archive[1][::-1])):
        done = call("classify", *paths, tmp_path / f"{name}.tif", "--model", model, "-q")
        assert done.code == 0, done.err
        np.testing.assert_array_equal(
            classes(tmp_path / f"{name}.tif"), classes(tmp_path / "one.tif")
        )
    assert classes(tmp_path / "one.tif").any()
    done = call("classify", *archive[1][:3], tmp_path / "less.tif", "--model", model, "-q")
    assert done.code == 6
    assert "3 bands (B02, B03, B04), the model" in done.err


def together(scenes, folder):
    """Train on scenes of a manifest, each of these files."""
    rows = [f"{';'.join(paths)},{LABELS},class\n" for paths in scenes]
    (folder / "scenes.csv").write_text("input,labels,class_column\n" + "".join(rows))
    words = ("--manifest", folder / "scenes.csv", "--algorithm", "forest", "--overwrite")
    return call("train", "landcover", *words, "-o", folder / "both", "-q")


def test_scenes_of_a_file_a_band_train_together(archive, tmp_path):
    done = together(archive, tmp_path)
    assert done.code == 0, done.err
    done = together([archive[0], archive[1][:3]], tmp_path)
    assert done.code == 3
    assert "bands B02, B03, B04 found" in done.err


@pytest.mark.long
def test_a_band_called_after_its_file_is_taken_with_a_word(archive, tmp_path):
    model = trained(archive[0][3:], tmp_path / "model")
    done = call("classify", archive[1][3], tmp_path / "map.tif", "--model", model)
    assert done.code == 0, done.err
    assert f"taking T18SVG_{DAYS[1]}_B08_10m as T18SVG_{DAYS[0]}_B08_10m" in done.err
    done = together([day[3:] for day in archive], tmp_path)
    assert done.code == 0, done.err


def test_days_of_a_file_a_band_are_a_stack(archive, tmp_path):
    model = trained(archive[0], tmp_path / "model")
    words = ("--model", model, "--fuse", "score", "-q")
    done = call("classify", *archive[0], *archive[1], tmp_path / "map.tif", *words)
    assert done.code == 0, done.err
    assert classes(tmp_path / "map.tif").any()
