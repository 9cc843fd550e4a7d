"""What this process may use of its machine: processors, memory, and what GDAL takes of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

MB = 1_000_000
#: GDAL's block cache, and the share of the budget that it has at most.
_CACHE, _CACHE_SHARE = 64 * MB, 16


def processors() -> int:
    """Processors that this process may use: Slurm's word, else the scheduler's."""
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(slurm) if slurm.isdecimal() and int(slurm) else len(os.sched_getaffinity(0))


def default_memory() -> int:
    """Half of the bytes that the container may use: the smaller of cgroup limit and RAM."""
    return min([_machine_memory(), *_cgroup_limits()]) // 2


def gdal_cache(allowed: int) -> int:
    """Bytes of GDAL's block cache: GDAL_CACHEMAX as GDAL reads it, or 64 MB.

    Where less than sixteen times as much is allowed, it is a sixteenth of that. A number is
    megabytes below 100 000, else bytes; a percentage is of the machine's memory.
    """
    text = os.environ.get("GDAL_CACHEMAX", "").strip()
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text):
        return round(float(match[1]) / 100 * _machine_memory())
    if match := re.fullmatch(r"(\d+)\s*MB", text, re.IGNORECASE):
        return int(match[1]) << 20
    if not text.isdecimal():
        return min(_CACHE, allowed // _CACHE_SHARE)
    return int(text) * (1 << 20 if int(text) < 100_000 else 1)


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def resident() -> int:
    """Resident bytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cgroup_limits() -> Iterator[int]:
    """Give each limit of the control groups that this process is in: all up to the root bind.

    Sources: cgroups(7); the kernel's cgroup-v2.rst (``memory.max``) and cgroup-v1/memory.rst.
    """
    for mount, name, inside in _cgroups():
        for folder in (inside, *inside.parents):
            try:
                text = (mount / folder / name).read_text().strip()
            except OSError:  # a group that is seen from outside only, or the root of version 2
                continue
            if text.isdecimal():
                yield int(text)


def _cgroups() -> Iterator[tuple[Path, str, Path]]:
    """Give mount, name of the limit and group of each hierarchy that counts memory."""
    root = Path("/sys/fs/cgroup")
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inside = Path(*(part for part in Path(path).parts[1:] if part != ".."))
        if not controllers:
            yield root, "memory.max", inside
        elif "memory" in controllers.split(","):
            yield root / "memory", "memory.limit_in_bytes", inside
