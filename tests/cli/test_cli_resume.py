"""Formats, resume and shards from the command line."""

from __future__ import annotations

import json
import shutil

import pytest
import rasterio
from cliworld import good, interrupt_at, read

from stcli.cli.app import main

SEGMENT = ("--tile-size", "100", "--size", "36", "--iterations", "1", "-j", "1", "-q")


def refused(capsys, *argv):
    """Run a command that is refused; return its code and what it said."""
    code = main([str(word) for word in argv])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_a_shard_that_is_none_is_refused(scene, tmp_path, capsys, text):
    code, said = refused(capsys, "segment", scene, tmp_path / "o.tif", *SEGMENT, f"--shard={text}")
    assert code == 2
    assert f"--shard: '{text}' found, i/N wanted" in said
    assert list(tmp_path.iterdir()) == []


def test_a_shard_wants_a_tile_size(scene, tmp_path, capsys):
    code, said = refused(capsys, "segment", scene, tmp_path / "o.tif", "--shard", "1/2")
    assert code == 2
    assert "give --tile-size too" in said


def test_shards_joined_are_the_unsharded_file(scene, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    good("segment", scene, "o.tif", *SEGMENT)
    shutil.move("o.tif", "whole.tif")
    for number in (2, 1):
        good("segment", scene, "o.tif", *SEGMENT, "--shard", f"{number}/2")
    code, said = refused(capsys, "merge", "o.tif.shard-1-of-2", "o.tif")
    assert code == 3
    assert "o.tif.shard-2-of-2: 1 of 2 shards are missing" in said
    good("merge", "o.tif.shard-2-of-2", "o.tif.shard-1-of-2", "o.tif", "-q")
    assert (tmp_path / "o.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_a_shard_that_is_not_whole_is_refused(scene, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        good("segment", scene, "o.tif", *SEGMENT, "--shard", f"{number}/2")
    folders = ["o.tif.shard-1-of-2", "o.tif.shard-2-of-2"]
    part = max((tmp_path / folders[0]).rglob("*.tif"))
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, said = refused(capsys, "merge", *folders, "o.tif")
    assert code == 3
    assert "is damaged; run that shard again with --overwrite" in said
    part.write_bytes(whole)
    journal = next((tmp_path / folders[1]).rglob("journal*"))
    journal.write_text(journal.read_text().splitlines(keepends=True)[0])
    code, said = refused(capsys, "merge", *folders, "o.tif")
    assert code == 3
    assert "is missing; run that shard again" in said
    assert not (tmp_path / "o.tif").exists()


def test_each_format_holds_the_same(scene, tmp_path):
    good("segment", scene, tmp_path / "o.tif", *SEGMENT)
    for form, driver in (("GTiff", "GTiff"), ("Zarr", "Zarr")):
        good("segment", scene, tmp_path / form, *SEGMENT, "--of", form)
        with rasterio.open(tmp_path / form) as found:
            assert found.driver == driver
            assert (found.read() == read(tmp_path / "o.tif")).all()
    good("merge", tmp_path / "Zarr", tmp_path / "m.tif", "-q")
    assert (read(tmp_path / "m.tif") == read(tmp_path / "o.tif")).all()


def test_the_same_command_continues_and_says_so(scene, tmp_path, monkeypatch, capsys):
    out = tmp_path / "o.tif"
    argv = ["segment", scene, str(out), *SEGMENT[:-1], "--json", "--no-progress"]
    interrupt_at(monkeypatch, 3, "save_strips")
    assert main(argv) == 130
    assert "2 tiles are kept; the same command continues" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".o.tif.stcli"]
    assert main(argv) == 0
    told = capsys.readouterr()
    assert f"2 of {json.loads(told.out)['run']['tiles']} tiles were finished already" in told.err
    first, expected = json.loads(told.out), out.read_bytes()
    assert main([*argv, "--overwrite"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["segments"] == first["segments"]
    assert (read(out) > 0).all()
    assert [path.name for path in tmp_path.iterdir()] == ["o.tif"]
    assert len(expected) > 0


def test_a_zarr_on_stdout_is_refused(scene, tmp_path, capsys):
    code, said = refused(capsys, "segment", scene, "-", *SEGMENT, "--of", "Zarr")
    assert code == 4
    assert "a Zarr is a directory" in said


def test_classify_continues_with_its_counts(scene, model, tmp_path, monkeypatch, capsys):
    def argv(folder):
        folder.mkdir()
        outputs = [str(folder / "o.tif"), "--proba", str(folder / "p.tif")]
        how = ("--tile-size", "64", "-j", "1", "--json", "--no-progress")
        return ["classify", scene, *outputs, "--model", str(model), *how]

    assert main(argv(tmp_path / "whole")) == 0
    whole = json.loads(capsys.readouterr().out)
    command = argv(tmp_path / "killed")
    interrupt_at(monkeypatch, 4)  # the second tile's second output
    assert main(command) == 130
    capsys.readouterr()
    assert main(command) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert f"1 of {found['run']['tiles']} tiles were finished already" in told.err
    assert (found["pixels"], found["shares"]) == (whole["pixels"], whole["shares"])
    for name in ("o.tif", "p.tif"):
        one, other = (tmp_path / folder / name for folder in ("whole", "killed"))
        with rasterio.open(one) as expected, rasterio.open(other) as resumed:
            assert expected.read().tobytes() == resumed.read().tobytes()
