"""The network without torch: to rounding the same, of any settings, and to the bit of any part."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from stcli.landcover.network.network import GLocal
from stcli.landcover.network.network_cpu import GLocalCpu
from stcli.landcover.network.neural import TorchNetwork
from stcli.landcover.network.parameters import shapes
from stcli.landcover.network.windows import Window, cut_out
from stcli.nn.device import compute
from stcli.nn.tensors import arrays_of
from stcli.settings import BandScaling, NetworkSettings

STEP = 5
SETTINGS = {
    "dense": {},
    "crossed": {"order": "crossed", "layers": 3},
    "separable": {"convolution": "separable", "order": "hilbert"},
    "coarse": {"fine": 0, "local_width": 7},
    "bands alone": {"local_width": 0},
    "alone": {"layers": 0, "model_width": 20},
    "odd": {"model_width": 33, "state": 5},
}


def settings_of(name) -> NetworkSettings:
    small = {"window": 64, "margin": 8, "local_width": 6, "model_width": 16, "state": 4}
    return NetworkSettings(**{**small, **SETTINGS[name]})


def window(bands, side=64, holes=0.1) -> Window:
    rng = np.random.default_rng(side)
    valid = rng.random((side, side)) >= holes
    row, col = np.mgrid[:side, :side] // STEP
    labels = np.where(valid, row * 1000 + col + 1, 0)
    values = np.where(valid, rng.normal(3, 2, (bands, side, side)), 0).astype(np.float32)
    return Window(values, valid, labels, (-8, 24))


def networks(name, bands=3, classes=4):
    settings, scaling = settings_of(name), BandScaling((-1.0,) * bands, (7.0,) * bands)
    torch.manual_seed(2)
    state = arrays_of(GLocal(bands, classes, settings).state_dict())
    state["head.weight"] *= 10  # probabilities of contrast
    size, where = (bands, classes), compute("cpu")
    return (
        GLocalCpu(state, size, settings, scaling, STEP),
        TorchNetwork(state, size, settings, (scaling, STEP), where),
    )


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(("bands", "classes"), [(3, 4), (1, 2), (5, 37)])
def test_probabilities_are_those_of_torch(name, bands, classes):
    mine, torchs = networks(name, bands, classes)
    seen, asked = window(bands), (slice(3, 60), slice(7, 62))
    found, wanted = mine(seen, asked), torchs(seen, asked)
    assert found.shape == (classes, 57, 55)
    assert np.allclose(found, wanted, rtol=0, atol=2e-5)
    assert np.ptp(found) > 0.1


def test_a_wild_value_leaves_every_pixel_a_probability():
    mine, torchs = networks("dense")
    seen = window(3)
    seen.values[0, 30, 31] = -3.4028235e38  # a nodata value that nobody declared
    seen.values[1, 40, 7] = 1e30
    centre = (slice(8, 56), slice(8, 56))
    found = mine(seen, centre)
    assert np.isfinite(found[:, seen.valid[centre]]).all()
    assert np.isfinite(torchs(seen, centre)[:, seen.valid[centre]]).all()


def test_a_window_without_a_segment_is_classified_by_its_pixels():
    mine, torchs = networks("dense")
    nothing = window(3, holes=1.1)
    asked = (slice(0, 64), slice(0, 64))
    assert np.allclose(mine(nothing, asked), torchs(nothing, asked), rtol=0, atol=2e-5)


def test_a_window_is_classified_alike_after_any_other():
    """A thread's arrays are used again: nothing of what they held before is left."""
    mine, _ = networks("dense")
    asked = (slice(0, 32), slice(0, 32))
    first = mine(window(3), asked)
    mine(cut_out(window(3), (slice(0, 40), slice(4, 64))), asked)
    assert np.array_equal(mine(window(3), asked), first)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_names_and_shapes_of_weights_are_torchs(name):
    settings = settings_of(name)
    state = GLocal(3, 4, settings).state_dict()
    assert shapes(3, 4, settings) == {key: tuple(t.shape) for key, t in state.items()}


@pytest.mark.parametrize("damage", ["missing", "more", "shape", "kind"])
def test_weights_of_another_network_are_refused(damage):
    settings, scaling = settings_of("dense"), BandScaling((0.0,) * 3, (1.0,) * 3)
    state = arrays_of(GLocal(3, 4, settings).state_dict())
    if damage == "missing":
        del state["head.bias"]
    elif damage == "more":
        state["other"] = state["head.bias"]
    elif damage == "shape":
        state["head.weight"] = state["head.weight"].T
    else:
        state["head.bias"] = state["head.bias"].astype(np.float64)
    with pytest.raises(TypeError, match="another network"):
        GLocalCpu(state, (3, 4), settings, scaling, STEP)


def test_larger_windows_and_more_bands_need_more_bytes():
    few, _ = networks("dense")
    many, torchs = networks("dense", bands=9)
    assert few.bytes(100) < many.bytes(100) < many.bytes(200)
    assert few.bytes(100) < torchs.bytes(100)


def test_a_rehearsal_compiles_all_that_a_window_runs():
    """Or a run would compile, and need more memory than its plan says."""
    code = """
import numpy as np
from stcli.landcover.network import head_cpu, local_cpu, network_cpu, sums
from stcli.landcover.network.windows import Window
from stcli.nn import convolution, mamba_cpu, products, scan_kernels
from stcli.settings import BandScaling, NetworkSettings
network_cpu.rehearse()
modules = (head_cpu, local_cpu, sums, convolution, mamba_cpu, products, scan_kernels)
kernels = {k.py_func: k for m in modules for k in vars(m).values() if hasattr(k, "py_func")}
before = {name: len(kernel.signatures) for name, kernel in kernels.items()}
settings = NetworkSettings(window=64, margin=8, local_width=6, model_width=16)
shapes = network_cpu.shapes(3, 4, settings)
state = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
network = network_cpu.GLocalCpu(state, (3, 4), settings, BandScaling((0.0,) * 3, (1.0,) * 3), 5)
labels = np.arange(4096).reshape(64, 64) // 100
values = np.ones((3, 64, 64), np.uint16)
network(Window(values, labels >= 0, labels + 1, (0, 0)), (slice(8, 56), slice(8, 56)))
print([f.__name__ for f, n in before.items() if len(kernels[f].signatures) != n])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_network_is_loaded_and_run_without_torch(save_model):
    """Torch is most of the memory of such a run, and most of its first second."""
    code = f"""
import sys
from pathlib import Path
import numpy as np
from stcli.landcover.prediction import load_model
from stcli.landcover.network.windows import Window
import stcli.workflows.landcover.classify, stcli.workflows.landcover.classify_stack
model = load_model(Path({str(save_model())!r}))
valid = np.ones((32, 32), dtype=bool)
model.method.window(Window(np.ones((2, 32, 32), np.float32), valid, valid.astype(int), (0, 0)))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
