"""What an output says of its making, and the command that makes it again."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from cliworld import CUBE, ROOT, call, command, good, read, save
from cliworld import scene as crop
from rasterio.windows import Window

from stcli import __version__
from stcli.raster.writing.provenance import read_provenance

ARRAY, PROFILE = crop(Window(260, 0, 60, 50))


@pytest.fixture
def made(tmp_path):
    """An output with a name that a shell would split, of two inputs."""
    inputs = [
        save(tmp_path / f"in {n}.tif", ARRAY[n : n + 1], PROFILE, names=(f"B{n}",)) for n in (0, 1)
    ]
    out = tmp_path / "it's out.tif"
    good("segment", *inputs, out, "--size", 25, "-q", "--co", "COMPRESS=ZSTD")
    return inputs, out


def test_rerun_prints_a_command_that_makes_the_same_file(made, tmp_path):
    _, out = made
    line = good("rerun", out).out.rstrip("\n")
    words = shlex.split(line)
    assert words[:2] == ["stcli", "segment"]
    before = read(out)
    shutil.move(out, tmp_path / "kept.tif")
    done = subprocess.run(command(*words[1:]), cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read(out), before)
    assert good("rerun", out).out == good("rerun", tmp_path / "kept.tif").out


@pytest.mark.parametrize("form", ["2", "3"])
def test_a_zarr_says_how_it_was_made(form, tmp_path):
    path, out = save(tmp_path / "in.tif", ARRAY, PROFILE), tmp_path / "o.zarr"
    more = ("--of", "Zarr", "--co", f"ZARR_FORMAT={form}")
    good("segment", path, out, "--size", 25, "-q", *more)
    assert shlex.split(good("rerun", out).out)[1:4] == ["segment", str(path), str(out)]
    (found,) = good("info", "--provenance", out).json["files"]
    assert found["settings"]["slic"]["size"] == 25
    assert [entry["now"] for entry in found["inputs"]] == ["same"]


def test_inputs_are_identified_and_compared_with_what_is_there_now(made):
    inputs, out = made
    (found,) = good("info", "--provenance", out).json["files"]
    assert found["version"] == __version__
    assert found["settings"]["slic"]["size"] == 25
    assert [entry["path"] for entry in found["inputs"]] == inputs
    for path, entry in zip(inputs, found["inputs"], strict=True):
        data = Path(path).read_bytes()
        assert entry["size"] == len(data)
        assert entry["head_sha256"] == hashlib.sha256(data[:65_536]).hexdigest()
        assert entry["now"] == "same"
    Path(inputs[0]).unlink()
    Path(inputs[1]).write_bytes(Path(inputs[1]).read_bytes()[:-1] + b"x" * 2)
    (found,) = good("info", "--provenance", out).json["files"]
    assert [entry["now"] for entry in found["inputs"]] == ["absent", "changed"]


def test_weights_are_told(scene, model, tmp_path):
    out = tmp_path / "c.tif"
    good("classify", scene, out, "--model", model, "-q")
    (found,) = good("info", "--provenance", out).json["files"]
    verified = good("model", "verify", model, "--json").json
    assert found["settings"]["model_sha256"] == verified["sha256"]
    assert found["settings"]["model_digest"] == verified["digest"]
    assert f"--model {model}" in found["command"]


@pytest.mark.parametrize("path", [CUBE, ROOT / "sample_data" / "scene.tif"])
def test_a_file_of_others_does_not_say(path):
    for argv in (("rerun", path), ("info", "--provenance", path)):
        result = call(*argv)
        assert (result.code, result.out) == (3, "")
        assert f"{path}: does not say how it was made" in result.err


def test_a_command_that_others_have_cut_is_refused(tmp_path):
    path = shutil.copy(CUBE, tmp_path / "cut.nc")
    with netCDF4.Dataset(path, "a") as dataset:
        dataset.history = "stcli downscale 'cube of"
    for argv in (("rerun", path), ("info", "--provenance", path)):
        result = call(*argv)
        assert (result.code, result.out) == (3, "")
        assert f"{path}: its command is damaged (No closing quotation), a whole one" in result.err


def test_a_netcdf_says_it_too(tmp_path):
    good("downscale", CUBE, tmp_path / "o.nc", "-q")
    assert good("rerun", tmp_path / "o.nc").out == f"stcli downscale {CUBE} {tmp_path}/o.nc -q\n"
    (found,) = good("info", "--provenance", tmp_path / "o.nc").json["files"]
    assert found["version"] == __version__
    assert found["inputs"][0]["now"] == "same"


@pytest.mark.parametrize(
    "line", ["stcli whiten a.nc b.nc", "Sun: cdo x\nstcli whiten a.nc b.nc\nz"]
)
def test_a_line_of_history_without_a_version_is_enough(line):
    found = read_provenance("b.nc", {"history": line})
    assert (found.version, found.command) == ("", "stcli whiten a.nc b.nc")


def test_netcdf_history_is_enough():
    history = "2026-11-24T02:00:00Z stcli-0.2.0: stcli downscale a.nc 'b c.nc'\n2025 ncks -v x"
    found = read_provenance("b c.nc", {"history": history, "Conventions": "CF-1.8"})
    assert (found.version, found.command) == ("0.2.0", "stcli downscale a.nc 'b c.nc'")
    assert found.inputs == ()
