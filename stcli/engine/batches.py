"""Work on many small things, a batch at a time: as many as the memory budget holds."""

from __future__ import annotations

import math
import os

from stcli.engine.machine import MB, default_memory, gdal_cache, resident
from stcli.errors import BudgetError
from stcli.settings import RunSettings


def batch_size(most: int, each: int, kept: int, what: str, settings: RunSettings) -> int:
    """Choose how many are worked on at once, and give GDAL's block cache its share.

    Parameters
    ----------
    most : int
        So many at the most; 1 or more.
    each : int
        Bytes that one of a batch takes.
    kept : int
        Bytes beside the batch.
    what : str
        What all of them are, for the message.
    settings : RunSettings
        Its memory budget.

    Returns
    -------
    int
        From 1.

    Raises
    ------
    BudgetError
        Not even one of them fits.
    """
    allowed = settings.memory or default_memory()
    cache = gdal_cache(allowed)
    beside = resident() + cache + kept
    if beside + each > allowed:
        raise BudgetError(
            f"memory: {what} need {math.ceil((beside + each) / MB)} MB even one at a time, "
            f"{allowed // MB} MB are allowed; take fewer or smaller ones, or raise --memory."
        )
    os.environ.setdefault("GDAL_CACHEMAX", str(cache))  # GDAL reads it at first use
    return min(most, (allowed - beside) // each)
