"""What a process may use of its machine."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from stcli.engine import machine
from stcli.engine.machine import MB, default_memory, gdal_cache, processors, resident


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, 64 * MB),
        ("", 64 * MB),
        ("512", 512 << 20),
        ("99999", 99_999 << 20),
        ("100000", 100_000),
        ("268435456", 268_435_456),
        ("0", 0),
    ],
)
def test_gdal_cachemax_is_read_as_gdal_reads_it(monkeypatch, text, wanted):
    if text is None:
        monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    else:
        monkeypatch.setenv("GDAL_CACHEMAX", text)
    assert gdal_cache(10**10) == wanted


def test_gdals_cache_is_a_sixteenth_of_a_small_budget(monkeypatch):
    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    assert gdal_cache(160 * MB) == 10 * MB
    monkeypatch.setenv("GDAL_CACHEMAX", "512")
    assert gdal_cache(160 * MB) == 512 << 20


def test_slurm_says_how_many_processors(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert processors() == 3
    for nonsense in ("", "0", "many", "-2"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", nonsense)
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 5, 6, 7})
        assert processors() == 5


def test_default_memory_is_half_of_the_smaller_of_ram_and_cgroup(monkeypatch):
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(machine, "_cgroup_limits", lambda: iter([10**6, 10**7]))
    assert default_memory() == 5 * 10**5
    monkeypatch.setattr(machine, "_cgroup_limits", lambda: iter([]))
    assert default_memory() == total // 2


@pytest.fixture
def files(monkeypatch):
    """Give the only files that there are: path to text."""
    texts: dict[str, str] = {}

    def read(path: Path) -> str:
        if str(path) not in texts:
            raise FileNotFoundError
        return texts[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    return texts


@pytest.mark.parametrize("seen", [{}, {"/proc/self/cgroup": "0::/\n"}], ids=["no proc", "root"])
def test_a_cgroup_without_a_limit_is_no_limit(files, seen):
    files |= seen | {"/sys/fs/cgroup/memory.max": "max\n"}
    assert list(machine._cgroup_limits()) == []
    files["/sys/fs/cgroup/memory.max"] = "4096\n"
    assert list(machine._cgroup_limits()) == [4096]


def test_the_tightest_of_nested_cgroups_counts(files):
    """A Slurm step in its job, a service in its slice: any of them may hold the limit."""
    files["/proc/self/cgroup"] = "0::/system.slice/job_7/step_0\n"
    files["/sys/fs/cgroup/system.slice/job_7/step_0/memory.max"] = "max\n"
    files["/sys/fs/cgroup/system.slice/job_7/memory.max"] = "2000000\n"
    files["/sys/fs/cgroup/system.slice/memory.max"] = "3000000\n"
    assert list(machine._cgroup_limits()) == [2_000_000, 3_000_000]
    assert default_memory() == 1_000_000


def test_a_group_that_is_seen_from_outside_only_leaves_its_parents(files):
    files["/proc/self/cgroup"] = "0::/../../docker/abc\n"
    files["/sys/fs/cgroup/memory.max"] = "6000000\n"
    assert default_memory() == 3_000_000


def test_the_first_version_of_cgroups_is_read_too(files):
    files["/proc/self/cgroup"] = "5:cpu:/a\n4:memory,hugetlb:/slurm/job_1\n0::/\n"
    files["/sys/fs/cgroup/memory/slurm/job_1/memory.limit_in_bytes"] = "9223372036854771712\n"
    files["/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes"] = "8000000\n"
    assert default_memory() == 4_000_000


def test_resident_grows_with_what_is_held():
    with mmap.mmap(-1, 64 * MB) as held:  # of its own: an array might reuse what others freed
        held[:] = bytes(64 * MB)
        full = resident()
    assert full - resident() > 0.9 * 64 * MB
