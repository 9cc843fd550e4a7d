"""Which scenes of a training are stacks of dates, and what is said of that."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from stcli.errors import InputError, StcliError, UsageError
from stcli.raster.reading.timecube import count_dates
from stcli.workflows.job import Inputs
from stcli.workflows.landcover.dated import Dating
from stcli.workflows.landcover.scenes import LabelledScene

logger = logging.getLogger("stcli")


def as_stacks(
    scenes: Sequence[LabelledScene], dating: Dating, series: bool | None, algorithm: str
) -> list[LabelledScene]:
    """Mark scenes as stacks of dates where they are.

    Parameters
    ----------
    scenes : sequence of LabelledScene
    dating : Dating
        What the user says of dates.
    series : bool or None
        Whether they are to be stacks; None for those whose bands are dates of the same variables,
        in a training of the network.
    algorithm : str
        Of the training.

    Raises
    ------
    UsageError
        Words of a stack for a training that takes none.
    InputError
        A scene of no two dates among stacks, or one whose bands are no stack.
    """
    wanted = series if series is not None else (True if dating != Dating() else None)
    if wanted and algorithm != "network":
        raise UsageError(
            f"--algorithm {algorithm}: takes a stack's dates as bands; leave out --series, "
            "--dates and --mask-band, or train a network."
        )
    if wanted is False and dating != Dating():
        raise UsageError("--dates, --mask-band: are for a stack of dates; leave out --no-series.")
    if wanted is False or (wanted is None and algorithm != "network"):
        return list(scenes)
    if not wanted and not any(_is_stack(scene.inputs) for scene in scenes):
        return list(scenes)
    for scene in scenes:
        _refuse_dateless(scene.inputs, dating)
    return [replace(scene, dating=dating) for scene in scenes]


def _is_stack(inputs: Inputs) -> bool:
    """Tell whether bands are several dates of the same variables; say so where they nearly are."""
    with inputs.open() as raster:
        if count_dates(raster) < 2:
            return False
        try:
            Dating().every(raster)
        except StcliError as error:
            logger.warning("%s; no stack of dates: its bands are taken as they are", error)
            return False
    return True


def _refuse_dateless(inputs: Inputs, dating: Dating) -> None:
    with inputs.open() as raster:
        days = dating.every(raster).days
        if len(days) < 2:
            raise InputError(
                f"{raster.info.path}: a stack of {len(days)} date found, at least two dates are "
                "wanted; give more files, or --no-series."
            )
