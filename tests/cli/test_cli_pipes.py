"""Rasters through pipes, with GDAL's own programs at the other end."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cliworld import CUBE, ROOT, call, command, good, random_model, read, save, spawn, turned
from cliworld import scene as crop
from rasterio.windows import Window

from stcli.raster.reading import stdin
from stcli.raster.writing.tiff import read_tiff

TOOLS = ("gdal_translate", "gdalwarp", "gdalinfo")
needs_gdal = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in TOOLS), reason="gdal-bin is not installed"
)


def shell(line, **options):
    """Run a line of bash; each program of its pipes must succeed."""
    how = {"cwd": ROOT, "capture_output": True, "timeout": 120, **options}
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], check=False, **how)


def words(*argv, prelude=""):
    return shlex.join(command(*argv, prelude=prelude))


@pytest.fixture(scope="module")
def segments(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("pipes") / "segments.tif"
    good("segment", scene, path, "-q")
    return read(path)


@pytest.mark.gdal
@needs_gdal
def test_between_two_gdal_programs(scene, segments, tmp_path):
    out, same = tmp_path / "out.tif", tmp_path / "same.tif"
    line = (
        f"gdal_translate -q -of GTiff {scene} /vsistdout/ | {words('segment', '-', '-', '-q')}"
        f" | tee {same} | gdalwarp -q -t_srs EPSG:3857 /vsistdin/ {out}"
    )
    done = shell(line)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert np.array_equal(read(same), segments)
    with rasterio.open(out) as dataset:
        assert dataset.crs.to_epsg() == 3857
        assert set(np.unique(dataset.read())) - {0} <= set(np.unique(segments))
        assert (dataset.read() > 0).mean() > 0.5


@pytest.mark.gdal
@needs_gdal
def test_the_stream_is_read_by_gdal_while_it_comes(scene):
    line = f"{words('segment', scene, '/vsistdout/', '-q')} | cat | gdalinfo -checksum /vsistdin/"
    done = shell(line, text=True)
    assert done.returncode == 0, done.stderr
    assert "Checksum=" in done.stdout
    assert "NoData Value=0" in done.stdout


def test_the_stream_is_uncompressed_with_its_directory_first(scene, segments, tmp_path):
    done = spawn("segment", scene, "-", "-q", text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert int.from_bytes(done.stdout[4:8], "little") == 8
    path = tmp_path / "a.tif"
    path.write_bytes(done.stdout)
    with rasterio.open(path) as dataset:
        assert "compress" not in dataset.profile
        assert dataset.overviews(1) == []
        offsets = [
            int(dataset.get_tag_item(f"BLOCK_OFFSET_0_{row}", "TIFF", bidx=1))
            for row in range(-(-dataset.height // dataset.block_shapes[0][0]))
        ]
        assert offsets == sorted(offsets)
        assert np.array_equal(dataset.read(), segments)
        assert dataset.tags()["STCLI_COMMAND"].startswith("stcli segment")


@pytest.mark.long
def test_a_pipe_and_a_file_behind_stdin_give_the_same(scene, segments, tmp_path):
    piped, behind = tmp_path / "piped.tif", tmp_path / "behind.tif"
    first = shell(f"cat {scene} | {words('segment', '-', piped, '-v')}", text=True)
    second = shell(f"{words('segment', '/vsistdin/', behind, '-v')} < {scene}", text=True)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "bytes of stdin are spooled to " in first.stderr
    assert "spooled" not in second.stderr
    assert np.array_equal(read(piped), segments)
    assert np.array_equal(read(behind), segments)


def test_a_model_opens_stdin_twice(scene, model, tmp_path):
    good("classify", scene, tmp_path / "file.tif", "--model", model, "-q")
    done = shell(
        f"cat {scene} | {words('classify', '-', tmp_path / 'pipe.tif', '--model', model, '-q')}"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert np.array_equal(read(tmp_path / "pipe.tif"), read(tmp_path / "file.tif"))


@pytest.fixture(scope="module")
def piped(tmp_path_factory):
    """Give a folder with a small scene, its segments and classes, and what verbs make of it."""
    folder = tmp_path_factory.mktemp("piped")
    array, profile = crop(Window(260, 0, 64, 60))
    save(folder / "scene.tif", array, profile)
    random_model(folder / "model")
    for line in (
        "segment scene.tif segments.tif",
        "classify scene.tif classes.tif --model model",
        "downscale scene.tif fine.tif",
        "whiten scene.tif white.tif --along space",
    ):
        verb, *names = line.split()
        good(verb, *(folder / n if "." in n or n == "model" else n for n in names), "-q")
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("scene.tif", "noise - -"),
        ("scene.tif", "denoise - /vsistdout/"),
        ("scene.tif", "mnf /vsistdin/ -"),
        ("scene.tif", "destripe - -"),
        ("scene.tif", "downscale - -"),
        ("scene.tif", "conserve fine.tif - -"),
        ("scene.tif", "whiten - - --along space"),
        ("white.tif", "unwhiten - - --along space"),
    ],
)
def test_a_raster_goes_through_every_verb(name, line, piped):
    verb, *rest = line.split()
    files = [name if word in ("-", "/vsistdin/") else word for word in rest]
    files[max(k for k, word in enumerate(rest) if word in ("-", "/vsistdout/"))] = f"{verb}.tif"
    done = shell(f"cat {name} | {words(verb, *rest, '-q')}", cwd=piped)
    assert (done.returncode, done.stderr) == (0, b"")
    (piped / "through.tif").write_bytes(done.stdout)
    good(verb, *(piped / f if f.endswith(".tif") else f for f in files), "-q")
    assert np.array_equal(read(piped / "through.tif"), read(piped / f"{verb}.tif"), equal_nan=True)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("segments.tif", "objects - objects.gpkg"),
        ("segments.tif", "assess-segments - --reference classes.tif"),
        ("segments.tif", "preview scene.tif outlines.png --outlines -"),
        ("classes.tif", "assess - --reference classes.tif"),
        ("classes.tif", "assess classes.tif --reference -"),
        ("classes.tif", "sample-plan - points.gpkg --points 5"),
        ("classes.tif", "preview - classes.png"),
        ("classes.tif", "check cog -"),
        ("classes.tif", "check seams -"),
        ("classes.tif", "rerun -"),
        (CUBE, "check cf -"),
        (CUBE, "downscale - fine.nc"),
    ],
)
def test_every_verb_that_reads_a_raster_reads_stdin(name, line, piped, monkeypatch):
    """In this process, with the raster behind its stdin: a process each would take minutes."""
    monkeypatch.chdir(piped)
    monkeypatch.setattr(stdin, "_opened", [])
    before = os.dup(0)
    try:
        with Path(name).open("rb") as file:
            os.dup2(file.fileno(), 0)
        assert good(*line.split(), "--json").json["schema"]
    finally:
        os.dup2(before, 0)
        os.close(before)


@pytest.mark.long
def test_netcdf_comes_through_a_pipe(tmp_path):
    wanted = good("info", CUBE).json
    for line in (f"cat {CUBE} | {words('info', '-')}", f"{words('info', '-')} < {CUBE}"):
        done = shell(line, text=True, env={**os.environ, "CPL_TMPDIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        assert list(tmp_path.iterdir()) == []
        found = json.loads(done.stdout)
        assert found["path"] == "-"
        assert {**found, "path": ""} == {**wanted, "path": ""}


BAD = [
    ("true |", "-: nothing came through stdin"),
    ("head -c 20000 {scene} |", "-: cannot be read as a raster"),
    ("echo no raster |", "-: cannot be read as a raster"),
]


@pytest.mark.long
@pytest.mark.parametrize(("before", "sentence"), BAD)
def test_bad_stdin_is_one_sentence(before, sentence, scene, tmp_path):
    folder = tmp_path / "tmp"
    folder.mkdir()
    line = f"{before.format(scene=scene)} {words('segment', '-', tmp_path / 'o.tif')}"
    done = shell(line, text=True, env={**os.environ, "CPL_TMPDIR": str(folder)})
    assert done.returncode == 3
    assert done.stderr.startswith(f"stcli: {sentence}")
    assert done.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["tmp"]


def test_a_closed_stdin_is_told(tmp_path):
    done = shell(f"{words('info', '-')} <&-", text=True)
    assert done.returncode == 3
    assert "stcli: -: " in done.stderr


def test_no_room_for_the_spool_is_an_output_error(scene, tmp_path):
    prelude = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    prelude += "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    done = shell(
        f"cat {scene} | {words('info', '-', prelude=prelude)}",
        text=True,
        env={**os.environ, "CPL_TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 4, done.stderr
    assert f"-: stdin cannot be spooled to {tmp_path}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_spooling_leaves_nothing(scene, tmp_path):
    process = subprocess.Popen(
        command("info", "-"),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        env={**os.environ, "CPL_TMPDIR": str(tmp_path)},
    )
    process.stdin.write(b"II*\0" + bytes(1 << 20))
    process.stdin.flush()
    time.sleep(0.5)
    process.kill()
    process.wait(30)
    process.stdin.close()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_ends_it_quietly(scene):
    reader = "head -c 100 > /dev/null"
    line = f"{words('segment', scene, '-', '-q')} | {reader}; exit ${{PIPESTATUS[0]}}"
    done = shell(line)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_slow_reader_gets_it_all(scene, segments, tmp_path):
    out = tmp_path / "o.tif"
    done = shell(f"{words('segment', scene, '-', '-q')} | tee {out} | (sleep 1; cat > /dev/null)")
    assert done.returncode == 0
    assert np.array_equal(read(out), segments)


def test_a_crs_that_goes_through_no_pipe_is_told(tmp_path):
    found = spawn("merge", turned(tmp_path / "turned.nc"), "-", text=False)
    assert b"no GeoTIFF can hold the CRS, and the sidecar that can" in found.stderr


def test_compression_is_refused_on_stdout(scene):
    result = call("segment", scene, "-", "--co", "COMPRESS=DEFLATE")
    assert (result.code, result.out) == (2, "")
    assert "--co COMPRESS=DEFLATE: a GeoTIFF on stdout is uncompressed" in result.err


def test_strips_without_data_stand_in_their_place(tmp_path):
    array, profile = crop(Window(0, 0, 300, 400))
    array[:, 100:300] = 0
    path = save(tmp_path / "a.tif", array, profile, nodata=0)
    done = spawn("segment", path, "-", "-q", text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    (tmp_path / "b.tif").write_bytes(done.stdout)
    good("segment", path, tmp_path / "c.tif", "-q")
    assert np.array_equal(read(tmp_path / "b.tif"), read(tmp_path / "c.tif"))
    (directory,) = read_tiff(str(tmp_path / "b.tif")).directories
    assert (np.diff(directory.offsets.astype(int)) == directory.sizes[:-1]).all()
    assert (read(tmp_path / "b.tif") == 0).any()


def test_stdin_and_stdout_are_no_clash(scene):
    done = shell(f"cat {scene} | {words('segment', '-', '-', '-q')} | wc -c", text=True)
    assert done.returncode == 0
    assert int(done.stdout) > 200 * 220 * 4


def test_the_contract_of_a_step_in_a_gdal_pipeline(scene, segments, tmp_path):
    """GeoTIFF in, GeoTIFF out, silent on success; on failure a code, a word, and no output."""
    out = tmp_path / "temporary.tif"
    out.touch()
    done = spawn("segment", scene, out, "-q", "--overwrite")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert np.array_equal(read(out), segments)
    (tmp_path / "cut.tif").write_bytes(out.read_bytes()[:3000])
    done = spawn("segment", tmp_path / "cut.tif", tmp_path / "none.tif", "-q", "--overwrite")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "none.tif").exists()
