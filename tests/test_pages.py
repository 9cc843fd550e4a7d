"""The pages that others build on: how-tos that run as they stand, every message, every JSON."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from stcli.cli.app import application
from stcli.cli.usage import walk

ROOT = Path(__file__).parents[1]
HOWTOS = sorted((ROOT / "docs" / "how-to").glob("*.md"))
#: Pages whose lines train a model or need other machines.
SLOW = {"map.md"}
#: Pages that have tests of their own.
ELSEWHERE = {"batch.md", "cron.md", "slurm.md", "cluster.md", "python.md"}

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "cli"))
from cliworld import CUBE, call, random_model, save, scene  # noqa: E402
from errors_page import messages, page  # noqa: E402


@pytest.fixture
def checkout(tmp_path):
    """A folder with the sample data, and a PATH with stcli."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    stcli = tmp_path / "bin" / "stcli"
    code = "from stcli.cli.app import run; run()"
    stcli.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    stcli.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return tmp_path, env


def blocks(path, language="sh"):
    """Blocks of a page in one language: what each needs, and its lines."""
    fence = rf"^```{language} ?(\w*)\n(.*?)^```$"
    return re.findall(fence, path.read_text(), re.DOTALL | re.MULTILINE)


def params():
    for path in HOWTOS:
        if path.name not in ELSEWHERE:
            marks = [pytest.mark.slow] if path.name in SLOW else []
            yield pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.long
@pytest.mark.parametrize("path", [*params()])
def test_the_lines_of_a_how_to_run_as_they_stand(path, checkout):
    folder, env = checkout
    found = blocks(path)
    assert found
    for need, lines in found:
        if need == "gdal" and not shutil.which("gdalwarp"):
            continue
        script = f"set -e -o pipefail\n{lines}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{lines}\n{done.stderr}"


@pytest.mark.long
def test_the_how_to_of_many_files_says_what_happens(checkout):
    path = ROOT / "docs" / "how-to" / "batch.md"
    folder, env = checkout
    (folder / "sample_data").unlink()
    (folder / "sample_data").mkdir()
    save(folder / "sample_data" / "scene.tif", *scene())  # a crop: the page is of files, not pixels
    told = (["done"] * 3 + ["failed"], ["skipped"] * 3 + ["done"], ["done"] * 12)
    for (_, lines), statuses in zip(blocks(path), told, strict=True):
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{lines}"],
            cwd=folder, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        log = (folder / "log.ndjson").read_text()
        assert re.findall(r'"status": "(\w+)"', log) == statuses
    assert sorted(path.name for path in folder.glob("objects/*.gpkg")) == [
        f"{n}.gpkg" for n in range(1, 5)
    ]


@pytest.mark.long
def test_the_scripts_of_the_page_on_python_run_as_they_stand(checkout):
    folder, env = checkout
    found = blocks(ROOT / "docs" / "how-to" / "python.md", "python")
    told = []
    for number, (_, lines) in enumerate(found):
        (folder / f"{number}.py").write_text(lines)
        done = subprocess.run(
            [sys.executable, f"{number}.py"],
            cwd=folder, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{lines}\n{done.stderr}"
        told.append(done.stdout)
    assert len(found) == 4
    assert "segments in" in told[0]
    assert told[1].startswith("3 missing.tif: ")
    assert {path.name for path in folder.glob("*.tif")} == {
        "segments.tif", "landcover.tif", "doubt.tif"
    }  # fmt: skip


def test_the_page_of_errors_is_the_one_of_this_source():
    written = (ROOT / "docs" / "errors.md").read_text()
    assert written == page(), "run: python tests/errors_page.py > docs/errors.md"


def test_every_error_of_the_source_is_found():
    """The reader of the source sees every `raise` of ours that has words in it."""
    shown = sum(len(entries) for entries in messages().values())
    raised = sum(
        len(re.findall(r"raise \w*Error\(", path.read_text()))
        for path in (ROOT / "stcli").rglob("*.py")
    )
    assert shown > 0.8 * raised > 100


def fields(command):
    """Fields of a command's JSON, as the page says them."""
    text = (ROOT / "docs" / "json.md").read_text()
    row = re.search(rf"^\| `{command}` \| (.*) \|$", text, re.MULTILINE)
    assert row, f"docs/json.md has no row for {command}"
    sure, _, perhaps = row[1].partition(", and where there is one ")
    return set(re.findall(r"`(\w+)`", sure)), set(re.findall(r"`(\w+)`", perhaps))


@pytest.mark.parametrize(
    "path", [path for path, _ in walk(typer.main.get_command(application()))], ids=" ".join
)
def test_every_command_has_its_row_of_fields(path):
    assert fields(" ".join(path))[0]


def test_the_fields_are_those_of_the_page(tmp_path):
    scene, out = tmp_path / "a.tif", tmp_path / "s.tif"
    shutil.copy(ROOT / "sample_data" / "scene.tif", scene)
    model = random_model(tmp_path / "model")
    calls = {
        "info": ("info", CUBE),
        "segment": ("segment", scene, out, "--size", 400, "--json", "-q"),
        "classify": ("classify", scene, tmp_path / "c.tif", "--model", model, "--json", "-q"),
        "assess": ("assess", tmp_path / "c.tif", "--reference", tmp_path / "c.tif", "--json"),
        "preview": ("preview", out, tmp_path / "p.png", "--json", "-q"),
        "rerun": ("rerun", out, "--json"),
        "doctor": ("doctor", "--json"),
        "check cog": ("check", "cog", out, "--json"),
        "check cf": ("check", "cf", CUBE, "--json"),
        "check georef": ("check", "georef", scene, "--json"),
        "check seams": ("check", "seams", out, "--json"),
    }
    for command, argv in calls.items():
        found = set(call(*argv).json) - {"schema"}
        sure, perhaps = fields(command)
        assert sure <= found <= sure | perhaps, command


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed (extra docs)")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not re.search("^WARNING", done.stderr, re.MULTILINE)
