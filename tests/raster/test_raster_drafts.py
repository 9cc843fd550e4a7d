"""Files that appear whole and together, and what is told where they do not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stcli.errors import OutputError
from stcli.raster.writing import appeared
from stcli.raster.writing.draft import drafts, refuse_file


@pytest.fixture
def pair(tmp_path):
    """Names of two files that are not there."""
    appeared.forget()
    yield str(tmp_path / "a.nc"), str(tmp_path / "b.png")
    appeared.forget()


def write(hidden):
    for file in hidden:
        file.write_text("whole")


def test_an_interrupt_between_two_renames_does_not_part_them(pair, monkeypatch):
    rename, calls = Path.replace, []

    def interrupted(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with drafts(pair, False) as hidden:
        write(hidden)
    assert sorted(map(str, Path(pair[0]).parent.iterdir())) == list(pair)
    assert appeared.told() == f"{pair[1]} and 1 more were written before"


def test_errors_name_a_draft_as_it_shall_be_named(pair, monkeypatch):
    one, two = pair
    with pytest.raises(OutputError) as told, drafts(pair, False) as hidden:
        raise OutputError(f"{hidden[1]}: cannot be written (dataset {hidden[1]}: full); make room")
    assert str(told.value) == f"{two}: cannot be written (dataset {two}: full); make room"
    with pytest.raises(OutputError) as told, drafts(pair, False) as hidden:
        raise OSError(errno.ENOSPC, "No space left on device", str(hidden[0]))
    words = "cannot be written (No space left on device); make room or write elsewhere"
    assert str(told.value) == f"{one}: {words}"
    monkeypatch.setattr(os, "fsync", lambda descriptor: Path(f"{one}.none").stat())
    with pytest.raises(OutputError) as told, drafts(pair, False) as hidden:
        write(hidden)
    assert str(told.value).startswith(f"{one}: cannot be written (No such file")
    assert list(Path(one).parent.iterdir()) == []


def test_an_error_of_another_file_stays_what_it_is(pair):
    with pytest.raises(OSError, match=r"other\.txt"), drafts(pair, False):
        raise OSError(errno.EIO, "broken", "other.txt")


def test_what_appeared_is_told():
    appeared.forget()
    assert appeared.told() == "no output was written"
    appeared.note("out/.o.tif.stcli/staged/segments.tif")
    assert appeared.told() == "no output was written"
    appeared.note("out/o.tif")
    assert appeared.told() == "out/o.tif was written before"
    appeared.forget()


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "/dev/new.tif", "/proc/self/fd/1"])
def test_no_file_is_put_in_the_place_of_a_device(name):
    """Root may do so, and /dev/null would be a raster from then on."""
    with pytest.raises(OutputError, match=f"{name}: a device or a pipe, a file is wanted; name"):
        refuse_file(name, overwrite=True)


def test_no_file_is_put_in_the_place_of_a_pipe(tmp_path):
    pipe = tmp_path / "pipe.tif"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="or - for stdout"), drafts((str(pipe),), True):
        pass
    assert [*tmp_path.iterdir()] == [pipe]
