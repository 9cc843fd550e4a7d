"""Batches that fit the memory budget."""

from __future__ import annotations

import pytest

from stcli.engine import batches
from stcli.engine.batches import batch_size
from stcli.engine.machine import MB
from stcli.errors import BudgetError
from stcli.settings import RunSettings


@pytest.fixture(autouse=True)
def fixed_process(monkeypatch):
    """A process of 100 MB with a cache of 10 MB."""
    monkeypatch.setattr(batches, "resident", lambda: 100 * MB)
    monkeypatch.setattr(batches, "gdal_cache", lambda allowed: 10 * MB)
    monkeypatch.setenv("GDAL_CACHEMAX", "10")


@pytest.mark.parametrize(("allowed", "found"), [(170, 1), (189, 1), (190, 2), (250, 5), (9000, 7)])
def test_a_batch_is_what_fits(allowed, found):
    run = RunSettings(memory=allowed * MB)
    assert batch_size(7, 20 * MB, 40 * MB, "9 patches", run) == found


def test_not_even_one_fits():
    sentence = "memory: 9 patches need 170 MB even one at a time, 169 MB are allowed; take fewer or"
    with pytest.raises(BudgetError, match=sentence):
        batch_size(7, 20 * MB, 40 * MB, "9 patches", RunSettings(memory=170 * MB - 1))
