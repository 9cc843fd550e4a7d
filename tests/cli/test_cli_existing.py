"""``--skip-existing``: what is done is left, what is done by halves is told."""

from __future__ import annotations

import shutil

import pytest
from cliworld import call, good, save
from cliworld import scene as crop
from rasterio.windows import Window

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

    def killed(places):
        file, name = next(iter(places.items()))
        if file.exists():
            file.replace(name)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("stcli.raster.writing.draft._put", killed)
        assert call(*words).code == 130
    assert (out.exists(), table.exists()) == (True, False)
    table.write_text("another's")
    assert call(*words).code == 4
    table.unlink()
    good(*words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "o.fgb", "s.tif"]
    assert call(*words).code == 4


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

    def once(self):
        publish(self)
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
