"""How tiles of superpixels are chosen: strip by strip, or held whole and shared by threads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from stcli.errors import BudgetError
from stcli.settings import RunSettings, SlicSettings
from stcli.workflows.job import Inputs
from stcli.workflows.segmentation.superpixels import planned_tiles

SAMPLE = str(Path(__file__).parents[2] / "sample_data" / "scene.tif")
SETTINGS, RUN = SlicSettings(100), RunSettings(None, 10**9, 2)


def chosen(low: float, high: float | None, whole: float | None, threads: int):
    """Choose among plans that have each pixel read so often; None for one that does not fit."""
    reads, names = [low, high, whole], []

    def plan(cost):
        kind = 2 if not cost.strips else int(bool(names))
        names.append(kind)
        if reads[kind] is None:
            raise BudgetError("no")
        budget = SimpleNamespace(overcompute=reads[kind])
        return SimpleNamespace(budget=budget, threads=lambda settings: threads, kind=kind)

    with Inputs((SAMPLE,)).open() as raster:
        work, shared, rows = planned_tiles(plan, raster, SETTINGS, RUN)
    return ("low", "high", "whole")[work.kind], shared, rows


@pytest.mark.parametrize(
    ("reads", "threads", "wanted"),
    [
        ((1.2, 1.2, None), 1, ("high", 1, 1024)),
        ((1.2, 1.25, None), 1, ("high", 1, 1024)),
        ((1.2, 1.4, None), 1, ("low", 1, 512)),
        ((1.2, None, None), 1, ("low", 1, 512)),
        ((1.0, 1.0, 1.0), 2, ("whole", 2, 1024)),
        ((12.0, 13.0, 230.0), 2, ("high", 1, 1024)),
        ((12.0, None, None), 2, ("low", 1, 512)),
    ],
)
def test_the_plan_that_reads_less_is_taken(reads, threads, wanted):
    assert chosen(*reads, threads) == wanted
