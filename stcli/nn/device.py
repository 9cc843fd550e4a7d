"""What torch finds on this machine, for `doctor` and for errors."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from stcli.nn.scan import choose, cuda_missing


def describe() -> dict[str, Any]:
    """Describe torch, CUDA and the kernels, and which scan would run and why."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
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
