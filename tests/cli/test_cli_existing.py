"""``--skip-existing``: what is done is left, what is done by halves is told."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from cliworld import call, good, save
from cliworld import scene as crop
from rasterio.windows import Window
from test_cli_whiten import values as dated_values
from test_cli_whiten import write as write_cube

from stcli.raster.writing.hidden import hidden_home, mark
from stcli.workflows.deposit import Deposit
from stcli.workflows.existing import all_there

SIZE = ("--size", 25, "-q")


def test_a_run_is_skipped_when_all_its_outputs_are_there(tmp_path):
    path, out, table = tmp_path / "a.tif", tmp_path / "s.tif", tmp_path / "o.gpkg"
    save(path, *crop(Window(260, 0, 40, 30)))
    words = ("segment", path, out, *SIZE, "--skip-existing")
    good(*words)
    before = out.read_bytes()
    assert good(*words, "--json").json["skipped"]

    asked = call(*words, "--objects", table)
    assert asked.code == 4
    assert f"{out}: exists already, but {table}, which is wanted with it, does not" in asked.err
    assert f"remove {out}, or give --overwrite in place of --skip-existing" in asked.err
    assert (out.read_bytes(), table.exists()) == (before, False)

    out.unlink()
    assert "skipped" not in good(*words, "--objects", table, "--json").json
    made = table.read_bytes()
    assert good(*words, "--objects", table, "--json").json["skipped"]
    assert table.read_bytes() == made

    out.unlink()
    again = call(*words, "--objects", table)
    assert again.code == 4
    assert f"{table}: exists already, but {out}, which" in again.err


def test_a_shard_is_skipped_when_it_is_there_or_the_whole_is(tmp_path):
    path, out = tmp_path / "a.tif", tmp_path / "s.tif"
    save(path, *crop(Window(260, 0, 40, 30)))
    words = ("segment", path, out, *SIZE, "--tile-size", 20, "--skip-existing", "--json")
    for shard in ("1/2", "2/2"):
        assert "skipped" not in good(*words, "--shard", shard).json
        assert good(*words, "--shard", shard).json["skipped"]
    shards = [tmp_path / f"s.tif.shard-{n}-of-2" for n in (1, 2)]
    good("merge", *shards, out, "-q")
    for shard in shards:
        shutil.rmtree(shard)
    assert good(*words, "--shard", "1/2").json["skipped"]
    assert not shards[0].exists()


def test_objects_of_a_run_that_was_killed_between_two_renames_are_made(tmp_path, monkeypatch):
    path, out, table = tmp_path / "a.tif", tmp_path / "s.tif", tmp_path / "o.fgb"
    save(path, *crop(Window(260, 0, 40, 30)))
    words = ("segment", path, out, *SIZE, "--objects", table)
    with dying(monkeypatch, tmp_path), pytest.raises(Killed):
        call(*words)
    assert (out.exists(), table.exists()) == (False, True)
    out.write_text("another's")
    assert call(*words).code == 4
    out.unlink()
    good(*words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "o.fgb", "s.tif"]
    assert call(*words).code == 4


class Killed(BaseException):
    """Nothing catches it; what tidies up is not run by a kill, and finds nothing to do here."""


@contextlib.contextmanager
def dying(monkeypatch, folder):
    """Let a run die between the first and the second name that it gives."""
    rename, named = Path.replace, []

    def replace(self, target):
        if Path(target).parent == folder:
            named.append(target)
            if len(named) == 2:
                raise Killed
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Write what the verbs of `TOGETHER` read."""
    folder, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    save(folder / "a.tif", *crop(Window(260, 0, 40, 30)))
    write_cube(folder / "cube.nc", dated_values())
    rows = "".join(f"{n},{x:.6f}\n" for n, x in enumerate(rng.normal(size=300)))
    (folder / "s.csv").write_text("time,a\n" + rows)
    good("segment", folder / "a.tif", folder / "labels.tif", *SIZE)
    return folder


#: Verbs that write a file beside their output: what they read and write, and how.
TOGETHER = {
    "noise": ("noise", "a.tif", "n.tif", "--plot", "n.png", "--window", 9),
    "cube": ("whiten", "cube.nc", "w.nc", "--psd-out", "s.nc", "--share", 16),
    "dates": ("whiten", "cube.nc", "w.tif", "--psd-out", "s.nc", "--share", 16),
    "series": ("whiten", "s.csv", "w.csv", "--psd-out", "s.nc"),
    "objects": ("objects", "labels.tif", "o.gpkg", "--borders", "b.parquet"),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_a_run_killed_between_an_output_and_what_is_beside_it_is_run_again(
    name, sources, tmp_path, monkeypatch
):
    verb, read, made, option, made_beside, *how = TOGETHER[name]
    out, beside = tmp_path / made, tmp_path / made_beside
    words = (verb, sources / read, out, option, beside, *how)
    with dying(monkeypatch, tmp_path), pytest.raises(Killed):
        call(*words)
    assert (out.exists(), beside.exists()) == (False, True)
    assert hidden_home(out).is_dir()
    good(*words)
    assert set(tmp_path.iterdir()) == {out, beside}
    again = call(*words)
    assert (again.code, "exists already" in again.err) == (4, True)


def test_what_a_killed_run_left_goes_with_one_that_is_refused(sources, tmp_path):
    out = tmp_path / "o.gpkg"
    (tmp_path / ".o.gpkg.stcli-abcdefgh").mkdir()
    out.touch()
    assert call("objects", sources / "labels.tif", out).code == 4
    assert not list(tmp_path.glob(".o*"))


def test_shards_draw_no_picture(sources, tmp_path):
    more = ("--tile-size", 16, "--shard", "1/2", "--plot", tmp_path / "n.png")
    asked = call("noise", sources / "a.tif", tmp_path / "n.tif", *more)
    assert asked.code == 2
    assert "--plot: not with --shard, which sees a part of the map" in asked.err


@pytest.mark.parametrize("name", ["f.tif", "f.nc"])
def test_a_finer_raster_of_a_run_that_was_killed_as_it_tidied_up_is_its_own(
    name, tmp_path, monkeypatch
):
    path, out = tmp_path / "a.tif", tmp_path / name
    save(path, *crop(Window(260, 0, 40, 30)))
    words, close = ("downscale", path, out, "--factor", 2, "-q"), Deposit.close
    with monkeypatch.context() as patched:
        patched.setattr(Deposit, "close", lambda self, keep: close(self, keep=True))
        good(*words)
    assert (tmp_path / f".{name}.stcli").exists()
    good(*words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", name]
    assert call(*words).code == 4


def test_a_run_that_was_killed_between_two_outputs_is_taken_up(scene, model, tmp_path, monkeypatch):
    out, proba = tmp_path / "c.tif", tmp_path / "p.tif"
    words = ("classify", scene, out, "--model", model, "--proba", proba, "-q", "--skip-existing")
    publish = Deposit.publish

    def once(self, beside):
        publish(self, beside)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Deposit, "publish", once)
        assert call(*words).code == 130
    assert (out.exists(), proba.exists()) == (True, False)
    good(*words)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".tif", ".tif", ".xml"]
    assert proba.exists()


def test_what_a_run_left_that_was_killed_as_it_tidied_up_goes_when_it_is_skipped(tmp_path):
    made, other = tmp_path / "a.tif", tmp_path / "b.tif"
    home = hidden_home(made)
    (home / "job").mkdir(parents=True)
    (home / "job" / "job.json").touch()
    made.touch()
    mark(home, [made])
    assert not all_there([str(made), str(other)])
    assert home.exists()  # the run goes on from there
    other.touch()
    assert all_there([str(made), str(other)])
    assert not home.exists()
