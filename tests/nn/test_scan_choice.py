"""Which kernel runs the scan: chosen once, forced, refused; and the CUDA path by a stand-in."""

from __future__ import annotations

import subprocess
import sys
import types
from functools import partial

import pytest
import torch

from stcli.errors import BudgetError, UsageError
from stcli.nn import backend
from stcli.nn import device as devices
from stcli.nn.backend import Backend, choose
from stcli.nn.mamba import Mamba, Mamba2
from stcli.nn.scan import scan_reference


def test_the_cpu_takes_the_kernel_and_says_why():
    found = choose()
    assert (found.name, found.reason) == ("cpu", "the device is the CPU")
    assert choose("cpu").reason == "asked for"
    assert choose("reference").scan is scan_reference


def test_what_is_not_there_is_refused_with_the_way_to_get_it(monkeypatch):
    for module in (backend, devices):
        monkeypatch.setattr(module, "cuda_available", lambda: False)
    with pytest.raises(BudgetError, match=r"--scan cuda: no CUDA device.*pip install"):
        choose("cuda")
    with pytest.raises(BudgetError, match="--device cuda: no CUDA device"):
        devices.compute("cuda")
    with pytest.raises(UsageError, match="--scan: 'triton'"):
        choose("triton")
    with pytest.raises(UsageError, match="--device: 'tpu'"):
        devices.compute("tpu")
    assert devices.compute("auto").to_json()["device"] == "cpu"


def test_a_gpu_without_the_kernels_takes_the_reference_and_says_so(monkeypatch):
    monkeypatch.setattr(backend, "cuda_available", lambda: True)
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    found = choose(device="cuda")
    assert found.name == "reference"
    assert "mamba-ssm is not installed" in found.reason
    with pytest.raises(UsageError, match="does not run on --device cuda"):
        choose("cpu", device="cuda")


def official(u, delta, A, B, C, D):
    """Do what selective_scan_fn does, by the plain loop: (b, d, l), B and C (b, n, l)."""
    starts = torch.zeros(u.shape[2], dtype=torch.bool)
    starts[0] = True
    rows = zip(u, delta, B, C, strict=True)
    return torch.stack([scan_reference(x, y, (A, b.T, c.T, D), starts) for x, y, b, c in rows])


@pytest.fixture
def stand_in(monkeypatch):
    """mamba-ssm's interface: works in float32, and refuses what the official kernel does."""

    def kernel(u, delta, A, B, C, D):
        assert u.dtype == delta.dtype == B.dtype == C.dtype
        assert A.dtype == D.dtype == torch.float32
        return official(u.float(), delta.float(), A, B.float(), C.float(), D).to(u.dtype)

    module = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    module.selective_scan_fn = kernel
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "stcli.nn.scan_cuda", raising=False)
    yield
    monkeypatch.delitem(sys.modules, "stcli.nn.scan_cuda")


@pytest.mark.parametrize("states", [1, 5])
def test_the_cuda_path_packs_sequences_into_a_batch(stand_in, states):
    from stcli.nn.scan_cuda import cuda_scan

    torch.manual_seed(0)
    u, delta = torch.randn(3, 21), torch.rand(3, 21)
    matrices = (-torch.rand(3, states), torch.randn(21, 5), torch.randn(21, 5), torch.randn(3))
    starts = torch.zeros(21, dtype=torch.bool)
    starts[[0, 4, 5, 13]] = True
    wanted = scan_reference(u, delta, matrices, starts)
    torch.testing.assert_close(cuda_scan(u, delta, matrices, starts), wanted)


@pytest.mark.parametrize("block", [Mamba, partial(Mamba2, d_state=8, headdim=8)])
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_the_cuda_path_takes_half_precision(stand_in, block, half):
    """A block of halves, and one of float32 under autocast, are near the block of float32."""
    torch.manual_seed(0)
    whole = block(16, backend=Backend("reference", "asked for"))
    x = torch.randn(1, 21, 16)
    with torch.no_grad():
        wanted = whole(x)
        whole.backend = Backend("cuda", "asked for")
        with torch.autocast("cpu", half):
            mixed = whole(x)
        found = whole.to(half)(x.to(half))
    assert found.dtype == half
    for each in (mixed, found):
        torch.testing.assert_close(each.float(), wanted, rtol=0.05, atol=0.02 * wanted.abs().max())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_scan_leaves_the_number_of_torch_threads_alone(threads):
    """In a process of its own, where numba's pool has not started yet."""
    code = f"""
import torch
torch.set_num_threads({threads})
from stcli.nn.backend import choose
u = torch.randn(8, 20)
matrices = (-torch.rand(8, 4), torch.randn(20, 4), torch.randn(20, 4), torch.ones(8))
for _ in range(2):
    choose().scan(u, u.abs(), matrices, torch.arange(20) == 0)
    print(torch.get_num_threads())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(threads)] * 2
