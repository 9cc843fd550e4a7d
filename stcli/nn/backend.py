"""Which kernel runs the selective scan: chosen once and reported, and loaded when it runs.

Torch takes longer to load than a small raster to classify, and most of the memory; so it is asked
about CUDA only where there may be any.
"""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from stcli.errors import BudgetError, UsageError

if TYPE_CHECKING:
    from stcli.nn.scan import Scan

BACKENDS = ("cpu", "cuda", "reference")
_INSTALL = "pip install --no-build-isolation '.[cuda]' on a machine with an NVIDIA GPU"


@dataclass(frozen=True)
class Backend:
    """What runs the scan, chosen once and reported.

    Attributes
    ----------
    name : str
        One of `BACKENDS`.
    reason : str
        Why it was chosen.
    """

    name: str
    reason: str

    @property
    def scan(self) -> Scan:
        """Its kernel for tensors: parameters and result as `stcli.nn.scan.scan_reference`."""
        if self.name == "cpu":
            from stcli.nn.scan_cpu import cpu_scan

            return cpu_scan
        if self.name == "cuda":
            from stcli.nn.scan_cuda import cuda_scan

            return cuda_scan
        from stcli.nn.scan import scan_reference

        return scan_reference


def choose(name: str | None = None, device: str = "cpu") -> Backend:
    """Choose what runs the scan.

    Parameters
    ----------
    name : str, optional
        One of `BACKENDS` to force it; by default what suits the device.
    device : str
        ``"cpu"`` or ``"cuda"``, where the tensors will be.

    Raises
    ------
    UsageError
        For an unknown name, or a kernel that does not run on the device.
    BudgetError
        When the CUDA kernels are asked for and are not there; says how to get them.
    """
    if name is not None and name not in BACKENDS:
        raise UsageError(f"--scan: '{name}' found, {', '.join(BACKENDS)} wanted.")
    if name == "reference":
        return Backend("reference", "asked for")
    if name == "cuda" or (name is None and device == "cuda"):
        missing = cuda_missing()
        if missing and name == "cuda":
            raise BudgetError(f"--scan cuda: {missing}; {_INSTALL}.")
        if device != "cuda":
            raise UsageError(f"--scan cuda: does not run on --device {device}.")
        if missing:
            return Backend("reference", f"on cuda, and {missing}")
        return Backend("cuda", "asked for" if name else "a CUDA device is used")
    if device != "cpu":
        raise UsageError(f"--scan cpu: does not run on --device {device}.")
    return Backend("cpu", "asked for" if name else "the device is the CPU")


def cuda_missing() -> str:
    """Say what the official CUDA kernels lack here; empty when they can run."""
    if not cuda_available():
        return "no CUDA device is found"
    if importlib.util.find_spec("mamba_ssm") is None:
        return "the package mamba-ssm is not installed"
    if importlib.util.find_spec("selective_scan_cuda") is None:
        return "mamba-ssm is installed without its kernels"
    return ""


def cuda_available() -> bool:
    """Tell whether torch can use a GPU; it is loaded to say so only where that may be."""
    build = version("torch").partition("+")[2]
    if build == "cpu" or not (build.startswith("rocm") or _has_driver()):
        return False
    import torch

    return torch.cuda.is_available()


def _has_driver() -> bool:
    """Tell whether NVIDIA's driver is installed."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
