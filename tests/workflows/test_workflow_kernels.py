"""Kernels that no cache holds are compiled by a process of their own, and only then."""

from __future__ import annotations

import importlib.util
import os
import signal
import site
import subprocess
import threading
from pathlib import Path

import numba
import pytest

import stcli
from stcli.itself import environment
from stcli.noise.space import spatial
from stcli.segmentation.superpixels import slic
from stcli.workflows.job import silent
from stcli.workflows.kernels import _compiled, cached, compile_apart
from stcli.workflows.noise import denoise, noise_pass
from stcli.workflows.segmentation import segment

REHEARSALS = {
    "segmentation": (slic.KERNELS, segment.REHEARSAL),
    "noise": (spatial.KERNELS, noise_pass.REHEARSAL),
    "denoising": (denoise.KERNELS, denoise.REHEARSAL),
}


SOURCE = """
from numba import njit

@njit(cache=True)
def double(x):
    return {}
"""


def kernel_of(folder: Path, code: str = "2 * x"):
    """A kernel of a module of its own, kept beside it."""
    file = folder / "doubles.py"
    file.write_text(SOURCE.format(code))
    spec = importlib.util.spec_from_file_location("doubles", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.double


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    return kernel_of(tmp_path)


def test_a_kernel_is_cached_once_it_was_compiled_as_it_is(kernel, tmp_path):
    assert not cached(kernel)
    kernel(3)
    assert cached(kernel)
    os.utime(tmp_path / "doubles.py", (2e9, 2e9))  # numba looks at what is in the file, too
    again = kernel_of(tmp_path)
    assert cached(again) == bool(again(3) and again.stats.cache_hits)
    assert not cached(kernel_of(tmp_path, "x + x"))


def test_what_is_cached_is_not_compiled_again(kernel, monkeypatch):
    kernel(3)
    monkeypatch.setattr(subprocess, "Popen", None)
    compile_apart((kernel,), ("never",), None)


def test_the_stcli_at_work_is_compiled_not_one_that_lies_about(kernel, tmp_path, monkeypatch):
    """As in a checkout, from which another was installed."""
    (tmp_path / "stcli").mkdir()
    (tmp_path / "stcli" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    code = "import stcli; open('told', 'w').write(stcli.__file__)"
    compile_apart((kernel,), (code,), silent)
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
    compile_apart((kernel,), ("pass",), lambda *words: told.append(words))
    assert told == [("compile kernels (once)", 0, 1), ("compile kernels (once)", 1, 1)]


def test_kernels_of_two_rooms_are_compiled_side_by_side(kernel, tmp_path, monkeypatch):
    """Each process waits until the other is there."""
    monkeypatch.setattr("stcli.workflows.kernels.cached", lambda *words: False)
    code = (
        "import pathlib, time; folder = pathlib.Path({folder!r}); (folder / '{own}').touch()\n"
        "while not (folder / '{other}').exists(): time.sleep(0.01)\n"
        "(folder / '{own} met').touch()"
    )
    pairs = (("one", "two"), ("two", "one"))
    codes = [code.format(folder=str(tmp_path), own=own, other=other) for own, other in pairs]
    compile_apart((kernel,), codes, silent)
    assert (tmp_path / "one met").exists()
    assert (tmp_path / "two met").exists()


def test_an_interrupt_ends_what_compiles(tmp_path, monkeypatch):
    """And is no other process's business."""
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *words, **more):
            if started:
                raise KeyboardInterrupt
            super().__init__(*words, **more)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        _compiled(("import time; time.sleep(600)", "pass"))
    assert started[0].returncode == -signal.SIGKILL


def test_runs_that_need_the_same_kernels_compile_them_once(kernel, tmp_path, monkeypatch):
    """The others wait for the first, and find them in the cache."""
    began, done = tmp_path / "began", tmp_path / "done"
    monkeypatch.setattr("stcli.workflows.kernels.cached", lambda *words: done.exists())
    code = f"import time; open({str(began)!r}, 'a').write('x'); time.sleep(1); "
    code += f"open({str(done)!r}, 'w')"
    runs = [
        threading.Thread(target=compile_apart, args=((kernel,), (code,), silent)) for _ in range(3)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert began.read_text() == "x"


def test_a_rehearsal_that_fails_is_told_and_is_no_error(kernel, caplog):
    compile_apart((kernel,), ("pass", "raise SystemExit(3)", "pass"), silent)
    assert "kernels could not be compiled beforehand: this run may need 80 MB more" in caplog.text


@pytest.mark.parametrize("room", REHEARSALS)
def test_a_rehearsal_leaves_its_kernels_in_the_cache(room):
    kernels, code = REHEARSALS[room]
    exec(code)
    assert all(map(cached, kernels))
