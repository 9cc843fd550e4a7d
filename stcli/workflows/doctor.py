"""``doctor``: what this machine has, which scan runs and why, and what to do where it lacks."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stcli import __version__
from stcli.engine.machine import default_memory, processors
from stcli.errors import OutputError


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    name, found : str
    needed : bool
        Whether the main job cannot run without it.
    fix : str
        What to do; empty where all is well.
    """

    name: str
    found: str
    needed: bool = True
    fix: str = ""


def doctor() -> tuple[Finding, ...]:
    """Look at everything that the main job needs, and at what would make it faster."""
    looks = (_python, _gdal, _projections, _kernels, _torch)
    return tuple(finding for look in looks for finding in _safely(look))


def healthy(findings: tuple[Finding, ...]) -> bool:
    """Tell whether the main job can run."""
    return not any(finding.needed and finding.fix for finding in findings)


def _safely(look: Callable[[], list[Finding]]) -> list[Finding]:
    """Turn a package that cannot be imported into a finding."""
    try:
        return look()
    except OutputError as error:
        return [Finding(look.__name__.strip("_"), "no folder keeps them", True, str(error))]
    except (ImportError, OSError, RuntimeError) as error:
        name = look.__name__.strip("_")
        return [Finding(name, f"{type(error).__name__}: {error}", True, "reinstall: pip install .")]


def _python() -> list[Finding]:
    fix = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    return [
        Finding("stcli", __version__),
        Finding("Python", platform.python_version(), True, fix),
        Finding("processors", str(processors())),
        Finding("memory budget", f"{default_memory() / 1e9:.1f} GB"),
    ]


def _gdal() -> list[Finding]:
    import rasterio

    return [Finding("GDAL", f"{rasterio.__gdal_version__} (rasterio {rasterio.__version__})")]


def _projections() -> list[Finding]:
    """Try PROJ: a foreign PROJ_LIB or PROJ_DATA breaks every CRS."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    foreign = [name for name in ("PROJ_LIB", "PROJ_DATA", "GDAL_DATA") if name in os.environ]
    try:
        CRS.from_epsg(32618).to_wkt()
    except CRSError as error:
        fix = f"unset {' '.join(foreign)}" if foreign else "reinstall: pip install ."
        return [Finding("PROJ", f"broken: {error}", True, fix)]
    return [
        Finding("PROJ", "reads EPSG codes" + (f" ({', '.join(foreign)} set)" if foreign else ""))
    ]


def _kernels() -> list[Finding]:
    import numba

    from stcli.jit import FOLDER

    return [
        Finding("numba", f"{numba.__version__}, {numba.get_num_threads()} threads"),
        Finding("kernels", f"kept in {FOLDER}"),
    ]


def _torch() -> list[Finding]:
    from stcli.nn.device import describe

    seen = describe()
    missing = seen["cuda_scan_missing"]
    fix = f"for a GPU: {missing}" if missing else ""
    return [
        Finding("torch", f"{seen['torch']}, {seen['torch_threads']} threads"),
        Finding("CUDA", seen["cuda"] or "none", False),
        Finding("triton", seen["triton"] or "none", False),
        Finding("mamba-ssm", seen["mamba_ssm"] or "none", False, fix),
        Finding("scan", f"{seen['scan']}, because {seen['scan_reason']}"),
    ]


def to_json(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Return plain values for `json.dumps`."""
    return {
        "healthy": healthy(findings),
        "findings": [
            {"name": f.name, "found": f.found, "needed": f.needed, "fix": f.fix or None}
            for f in findings
        ],
    }
