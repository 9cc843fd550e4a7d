"""Compiled kernels are kept somewhere, wherever stcli was installed and whoever runs it."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest
from numba.core import caching

from stcli import jit
from stcli.errors import OutputError

NAME = jit.FOLDER.name


@pytest.fixture
def locked(monkeypatch, tmp_path):
    """Folders that cannot be written, however they were made; root can write any."""
    paths = {jit._PACKAGE / "__pycache__" / NAME}
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path not in paths and access(path, mode))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return paths


def no_home(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", classmethod(_none))


def _none(kind):
    raise RuntimeError("no home is known")


def test_kernels_lie_in_the_package():
    assert jit.kernel_folder("") == jit._PACKAGE / "__pycache__" / NAME


def test_a_package_that_cannot_be_written_leaves_them_in_the_users_cache(locked, tmp_path):
    assert jit.kernel_folder("") == tmp_path / "cache" / "stcli" / NAME


def test_a_relative_name_of_the_cache_is_none(locked, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setattr(Path, "home", classmethod(lambda kind: tmp_path))
    assert jit.kernel_folder("") == tmp_path / ".cache" / "stcli" / NAME


def test_without_a_home_they_are_among_temporary_files(locked, monkeypatch, tmp_path):
    no_home(monkeypatch)
    found = jit.kernel_folder("")
    assert found == tmp_path / "temporary" / f"stcli-kernels-{os.getuid()}" / NAME
    assert found.stat().st_mode & 0o777 == 0o700
    assert jit.kernel_folder("") == found  # the next process finds what this one compiled


@pytest.mark.parametrize("trap", ["open", "open above", "link", "locked"])
def test_where_others_could_put_kernels_none_are_taken(trap, locked, monkeypatch, tmp_path):
    no_home(monkeypatch)
    folder = tmp_path / "temporary" / f"stcli-kernels-{os.getuid()}" / NAME
    folder.parent.mkdir(parents=True)
    if trap == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif trap == "open above":
        folder.parent.chmod(0o777)
    elif trap == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "theirs")
    else:
        locked.add(folder)
    with pytest.raises(OutputError, match="set NUMBA_CACHE_DIR to a folder for them"):
        jit.kernel_folder("")


def test_a_folder_that_is_named_is_taken_or_refused(tmp_path):
    assert jit.kernel_folder(str(tmp_path / "mine")) == tmp_path / "mine" / NAME
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"NUMBA_CACHE_DIR=.*/file: cannot be written"):
        jit.kernel_folder(str(tmp_path / "file"))


def test_another_state_has_another_folder_and_old_ones_go(monkeypatch, tmp_path):
    kernels, other = tmp_path / "room" / "subject" / "kernels.py", tmp_path / "other.py"
    kernels.parent.mkdir(parents=True)
    monkeypatch.setattr(jit, "_PACKAGE", tmp_path)
    other.write_text("plain = 1")
    states = []
    for number in range(6):
        kernels.write_text(f"from numba import njit\nnumber = {number}")
        states.append(jit.kernel_folder(""))
        os.utime(states[-1], (number, number))
    left = set((tmp_path / "__pycache__").iterdir())
    assert left == set(states[-4:])
    other.write_text("plain = 2")
    assert jit.kernel_folder("") == states[-1]


def shelf_in(folder, monkeypatch):
    monkeypatch.setattr(jit, "FOLDER", folder)
    return caching.IndexDataCacheFile(str(folder), "kernel", 1)


def test_who_keeps_a_kernel_waits_for_who_keeps_another_of_the_function(tmp_path, monkeypatch):
    """Both would take one number, and the list would give one the other's code."""
    first, second = (shelf_in(tmp_path, monkeypatch) for _ in range(2))
    listed, go = threading.Event(), threading.Event()
    write = first._save_data

    def slow(name, data):
        listed.set()
        go.wait()
        write(name, data)

    monkeypatch.setattr(first, "_save_data", slow)
    one = threading.Thread(target=first.save, args=("f4", "of f4"))
    other = threading.Thread(target=second.save, args=("f8", "of f8"))
    one.start()
    listed.wait()
    other.start()
    other.join(0.1)
    waited = other.is_alive()
    go.set()
    one.join()
    other.join()
    assert waited
    assert [second.load(key) for key in ("f4", "f8")] == ["of f4", "of f8"]


@pytest.mark.parametrize("rest", [0, 7])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_kept_kernel_that_a_power_cut_tore_is_compiled_anew(kind, rest, tmp_path, monkeypatch):
    shelf = shelf_in(tmp_path, monkeypatch)
    shelf.save("f4", list(range(100)))
    (file,) = tmp_path.glob(f"*.{kind}")
    os.truncate(file, rest)
    assert shelf.load("f4") is None
    shelf.save("f4", "whole")
    assert shelf.load("f4") == "whole"


def test_a_kernel_that_there_is_no_room_for_is_told_and_no_error(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(jit, "FOLDER", tmp_path)
    shelf = caching.IndexDataCacheFile(str(tmp_path / "gone"), "kernel", 1)
    shelf.save("f4", "kernel")
    assert f"{tmp_path}: kernels cannot be kept here (No such file or directory)" in caplog.text
    assert "make room, or name another folder by NUMBA_CACHE_DIR" in caplog.text
