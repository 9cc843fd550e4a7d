"""A tiny land-cover world: three classes that one look tells apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pytest
import torch

from stcli.landcover.architectures import GLOCAL
from stcli.landcover.network.network import GLocal
from stcli.nn.tensors import arrays_of
from stcli.nn.weights import BandCard, Card, ClassCard, save_weights
from stcli.settings import NetworkSettings, SlicSettings

CLASSES = ("water", "forest", "urban")
TINY = NetworkSettings(window=32, margin=8, local_width=4, model_width=8, state=4, layers=1)


def _drawn(n: int, classes: int = 5, sharper: float = 1.0, seed: int = 0):
    """Probabilities and truth drawn from them; then sharpened, so that they lie by `sharper`."""
    generator = np.random.default_rng(seed)
    honest = generator.dirichlet(np.full(classes, 0.4), n).T
    truth = (generator.random(n) > honest.cumsum(axis=0)).sum(axis=0).clip(max=classes - 1)
    lying = honest.clip(1e-6) ** sharper
    return lying / lying.sum(axis=0), truth


@pytest.fixture(scope="session")
def drawn():
    return _drawn


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Give back torch's threads, which a model sets to one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny() -> NetworkSettings:
    return TINY


@pytest.fixture
def save_model(tmp_path):
    """Save a model of random weights and return its folder."""

    def save(settings=TINY, slic=None, bands=2, **changes):
        slic = slic or SlicSettings(16, 0.1, 1)
        torch.manual_seed(5)
        state = GLocal(bands, len(CLASSES), settings).state_dict()
        for word, weight in state.items():
            if word.endswith(("weight", "bias")) and "norm" not in word:
                weight.mul_(2)  # random weights of contrast
        card = {
            "architecture": GLOCAL,
            "bands": tuple(BandCard(name=f"B{i}", low=0, high=1 + i) for i in range(bands)),
            "classes": tuple(
                ClassCard(value=i + 1, name=word, color="#00000" + str(i))
                for i, word in enumerate(CLASSES)
            ),
            "resolution": (10.0, 10.0),
            "segmentation": asdict(slic),
            "network": asdict(settings),
            "training": {},
            "data": {},
            "metrics": {},
            "version": "0",
            "parameters": sum(w.numel() for w in state.values()),
        }
        save_weights(tmp_path / "model", arrays_of(state), Card(**{**card, **changes}))
        return tmp_path / "model"

    return save


@pytest.fixture
def world():
    """Bands (2, row, col), validity and truth from 1 of a raster of three plain classes."""

    def make(shape=(96, 96), seed=0):
        rng = np.random.default_rng(seed)
        row, col = np.mgrid[: shape[0], : shape[1]]
        truth = ((row // 12 + 2 * (col // 12) + seed) % 3 + 1).astype(np.uint8)
        means = np.array([[0.1, 0.5, 0.9], [0.8, 0.2, 0.5]])
        values = means[:, truth - 1] + rng.normal(0, 0.03, (2, *shape))
        valid = rng.random(shape) < 0.97
        return np.where(valid, values, 0).astype(np.float32), valid, truth * valid

    return make
