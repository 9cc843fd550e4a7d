"""Which device runs the networks, and what torch finds on this machine, which alone loads it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from stcli.errors import BudgetError, UsageError
from stcli.nn.backend import Backend, choose, cuda_available, cuda_missing

DEVICES = ("auto", "cpu", "cuda")


def resolve(device: str) -> str:
    """Choose the device: ``auto`` takes CUDA where there is one.

    Raises
    ------
    UsageError
        For a name that is none.
    BudgetError
        When CUDA is asked for and there is none.
    """
    if device not in DEVICES:
        raise UsageError(f"--device: '{device}' found, {', '.join(DEVICES)} wanted.")
    if device == "cuda" and not cuda_available():
        raise BudgetError("--device cuda: no CUDA device is found; stcli doctor tells more.")
    if device == "auto":
        return "cuda" if cuda_available() else "cpu"
    return device


@dataclass(frozen=True)
class Compute:
    """Where a network runs and what runs its scan, resolved once.

    Attributes
    ----------
    device : str
        ``"cpu"`` or ``"cuda"``.
    scan : Backend
    threads : int or None
        Threads of training; None for torch's own choice.
    """

    device: str
    scan: Backend
    threads: int | None = None

    def to_json(self) -> dict[str, str]:
        """Say what was chosen and why."""
        return {
            "device": self.device,
            "scan": self.scan.name,
            "scan_reason": self.scan.reason,
        }


def compute(device: str = "auto", scan: str | None = None, threads: int | None = None) -> Compute:
    """Resolve a device and a scan; see `resolve` and `choose` for the errors."""
    where = resolve("cpu" if scan == "cpu" and device == "auto" else device)
    return Compute(where, choose(scan, where), threads)


def describe() -> dict[str, Any]:
    """Describe torch, CUDA and the kernels, and which scan would run and why."""
    import torch

    device = resolve("auto")
    backend = choose(device=device)
    return {
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name(0) if device == "cuda" else None,
        "triton": installed("triton"),
        "mamba_ssm": installed("mamba-ssm"),
        "cuda_scan_missing": cuda_missing() or None,
        "scan": backend.name,
        "scan_reason": backend.reason,
    }


def installed(package: str) -> str | None:
    """Version of a package; None where it is not installed."""
    if importlib.util.find_spec(package.replace("-", "_")) is None:
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
