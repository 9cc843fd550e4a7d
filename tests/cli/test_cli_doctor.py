"""``stcli doctor``: findings, fixes, exit codes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import tempfile

import pytest
from cliworld import command

from stcli.cli.app import main


def test_a_machine_that_can_run_the_main_job_is_healthy(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"]
    names = {finding["name"] for finding in found["findings"]}
    assert {"Python", "GDAL", "PROJ", "torch", "numba", "CUDA", "mamba-ssm", "scan"} <= names
    assert main(["doctor"]) == 0
    assert "because" in capsys.readouterr().out


def test_what_is_broken_is_named_with_its_fix(capsys, monkeypatch):
    from stcli.workflows import doctor

    def _gdal():
        raise ImportError("libgdal.so is missing")

    monkeypatch.setattr(doctor, "_gdal", _gdal)
    assert main(["doctor", "--json"]) == 7
    said = capsys.readouterr()
    broken = [f for f in json.loads(said.out)["findings"] if f["fix"] and f["needed"]]
    assert [f["name"] for f in broken] == ["gdal"]
    assert "libgdal.so" in broken[0]["found"]
    assert "doctor" in said.err


def test_kernels_that_no_folder_keeps_are_a_finding(tmp_path):
    (tmp_path / "file").touch()
    words = command("doctor", "--json")
    named = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "file")}
    done = subprocess.run(words, capture_output=True, text=True, env=named)
    assert done.returncode == 7
    findings = json.loads(done.stdout)["findings"]
    fixes = {f["name"]: f["fix"] for f in findings if f["fix"] and f["needed"]}
    assert fixes["kernels"].endswith("file: cannot be written; name a folder for kernels that can.")


def test_no_folder_for_temporary_files_is_no_bug(capsys, monkeypatch):
    from stcli.workflows import doctor

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    monkeypatch.setattr(doctor, "doctor", tempfile.mkdtemp)
    assert main(["doctor"]) == 4
    assert (
        "no folder for temporary files can be written; set TMPDIR to one" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files", "/proc/self/statm"), 3, "raise ulimit -n"),
        (PermissionError(13, "no", "/a/temporary directory/b.tif"), 1, "a bug, PermissionError"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, "a bug, BrokenPipeError"),
        (EOFError("Ran out of input"), 1, "a bug, EOFError: Ran out of input"),
        (SystemExit(3), 1, "a bug, SystemExit: 3"),
    ],
)
def test_what_the_system_refuses_is_told_by_its_kind(error, code, words, capsys, monkeypatch):
    from stcli.workflows import doctor

    def refused():
        raise error

    monkeypatch.setattr(doctor, "doctor", refused)
    assert main(["doctor"]) == code
    assert words in capsys.readouterr().err


def test_a_disk_without_space_for_our_own_files_is_no_bug(capsys, monkeypatch):
    from stcli.workflows import doctor

    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/kernel.nbc")

    monkeypatch.setattr(doctor, "doctor", full)
    assert main(["doctor"]) == 4
    assert capsys.readouterr().err.startswith("stcli: /cache/kernel.nbc: no space is left")
