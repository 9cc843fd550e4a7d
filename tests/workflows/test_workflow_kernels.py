"""Kernels that no cache holds are compiled by a process of their own, and only then."""

from __future__ import annotations

import os
import site
import subprocess
from pathlib import Path

import pytest

import stcli
from stcli.itself import environment
from stcli.noise import spatial
from stcli.segmentation import slic
from stcli.workflows import noise_pass, segment
from stcli.workflows.job import silent
from stcli.workflows.kernels import cached, compile_apart

REHEARSALS = {
    "segmentation": (slic.KERNELS, segment.REHEARSAL),
    "noise": (spatial.KERNELS, noise_pass.REHEARSAL),
}


class Kernel:
    """A kernel and its place in a cache, as numba names it."""

    def __init__(self, folder: Path) -> None:
        self.py_func = cached
        self.stats = self
        self.cache_path = str(folder)
        line = cached.__code__.co_firstlineno
        self.index = folder / f"kernels.cached-{line}.py311.nbi"


@pytest.fixture
def kernel(tmp_path):
    return Kernel(tmp_path)


def test_a_kernel_is_cached_where_its_index_is_no_older_than_its_source(kernel):
    assert not cached(kernel)
    kernel.index.touch()
    assert cached(kernel)
    before = Path(cached.__code__.co_filename).stat().st_mtime - 10
    os.utime(kernel.index, (before, before))
    assert not cached(kernel)


def test_what_is_cached_is_not_compiled_again(kernel, monkeypatch):
    kernel.index.touch()
    monkeypatch.setattr(subprocess, "run", None)
    compile_apart((kernel,), "never", None)


def test_the_stcli_at_work_is_compiled_not_one_that_lies_about(kernel, tmp_path, monkeypatch):
    """As in a checkout, from which another was installed."""
    (tmp_path / "stcli").mkdir()
    (tmp_path / "stcli" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    compile_apart((kernel,), "import stcli; open('told', 'w').write(stcli.__file__)", silent)
    assert (tmp_path / "told").read_text() == stcli.__file__


def test_an_installed_stcli_is_found_without_help(monkeypatch):
    """Else a package there that is named as one of the standard library's would come first."""
    root = str(Path(stcli.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", "before")
    assert environment()["PYTHONPATH"] == os.pathsep.join((root, "before"))
    monkeypatch.setattr(site, "getsitepackages", lambda: [root])
    assert environment()["PYTHONPATH"] == "before"


def test_compiling_is_progress(kernel):
    told = []
    compile_apart((kernel,), "pass", lambda *words: told.append(words))
    assert told == [("compile kernels (once)", 0, 1), ("compile kernels (once)", 1, 1)]


def test_a_rehearsal_that_fails_is_told_and_is_no_error(kernel, caplog):
    compile_apart((kernel,), "raise SystemExit(3)", silent)
    assert "kernels could not be compiled beforehand: this run may need 80 MB more" in caplog.text


@pytest.mark.parametrize("room", REHEARSALS)
def test_a_rehearsal_leaves_its_kernels_in_the_cache(room):
    kernels, code = REHEARSALS[room]
    exec(code)
    assert all(map(cached, kernels))
