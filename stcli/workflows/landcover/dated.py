"""Which dates of a stack a model sees, and what is told of it before anything is read."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from stcli.errors import InputError, UsageError
from stcli.landcover.series.season import LEAST_SEEN, Season
from stcli.nn.weights import Card
from stcli.raster.reading.datestack import DateStack, stack_of
from stcli.raster.reading.read import Raster
from stcli.raster.reading.timecube import cube_of

logger = logging.getLogger("stcli")
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Dating:
    """What a user says of a stack's dates.

    Attributes
    ----------
    dates : tuple of str
        ISO dates of the bands, where names and time axis do not tell.
    mask_band : str or None
        Variable that tells clear pixels, such as SCL.
    clear : tuple of float
        Its values that are clear.
    season : str or None
        ISO date on which the season begins; by default the fullest.
    """

    dates: tuple[str, ...] = ()
    mask_band: str | None = None
    clear: tuple[float, ...] = ()
    season: str | None = None

    def __post_init__(self) -> None:
        if (self.mask_band is None) != (not self.clear):
            raise UsageError("--mask-band and --clear belong together: one of them is missing.")

    def stack_of(self, raster: Raster, card: Card) -> DateStack:
        """Find the model's variables and the dates.

        Raises
        ------
        InputError, ModelError, UsageError
        """
        cube = cube_of(raster, self.dates)
        wanted = [band.name for band in card.bands]
        return stack_of(cube, wanted, self.mask_band, self.clear)

    def every(self, raster: Raster) -> DateStack:
        """Find all variables and the dates, for a training.

        Raises
        ------
        InputError, ModelError, UsageError
        """
        cube = cube_of(raster, self.dates)
        wanted = [name for name in cube.variables if name != self.mask_band]
        return stack_of(cube, wanted, self.mask_band, self.clear)

    def cleared_by(self) -> dict[str, Any]:
        """Say what told clear pixels, for the card; nothing where nothing did."""
        return {} if self.mask_band is None else {"mask": [self.mask_band, *self.clear]}

    def to_json(self) -> dict[str, Any]:
        """Plain facts, for the fingerprint."""
        return {"dates": list(self.dates), "mask": [self.mask_band, *self.clear]}


def dates_used(stack: DateStack) -> tuple[str, ...]:
    """ISO dates of a stack."""
    return tuple(_iso(day) for day in stack.days)


def _iso(day: int) -> str:
    """Write a day since 1970-01-01 as an ISO date."""
    return (_EPOCH + timedelta(days=int(day))).isoformat()


def tell_unmasked(stack: DateStack, card: Card) -> None:
    """Warn where a stack has the mask that a model's training heeded, and it is not heeded now."""
    masks = [scene["mask"] for scene in card.data.get("scenes", ()) if "mask" in scene]
    if stack.mask is None and masks and masks[0][0] in stack.cube.variables:
        name, *clear = masks[0]
        logger.warning(
            "%s: %s marked clear pixels (%s) in the model's training and is there, but no "
            "--mask-band is given: clouds are taken for ground",
            *(stack.cube.raster.info.path, name, ", ".join(f"{value:g}" for value in clear)),
        )


@dataclass(frozen=True)
class Seasonal:
    """Dates of a stack on the steps of a season.

    Attributes
    ----------
    stack : DateStack
        Those dates alone that belong to a step.
    places : tuple of int
        Step of each.
    begin : int
        Day since 1970-01-01.
    """

    stack: DateStack
    places: tuple[int, ...]
    begin: int


def seasonal(stack: DateStack, season: Season, given: str | None, path: str) -> Seasonal:
    """Put a stack's dates on the steps of a season, and tell how many steps have none.

    Parameters
    ----------
    given : str or None
        ISO date on which the season begins; None for the fullest.

    Raises
    ------
    UsageError
        No date.
    InputError
        Fewer than a third of the steps have a date.
    """
    days = np.array(stack.days, dtype=np.int64)
    begin = season.fullest(days) if given is None else _day(given)
    places = season.places(days, begin)
    used = np.flatnonzero(places >= 0)
    have = len(np.unique(places[used]))
    steps = len(season.offsets)
    told = f"{have} of the model's {steps} steps from {_iso(begin)} on have a date"
    if have < LEAST_SEEN * steps:
        raise InputError(
            f"{path}: dates {_iso(days[0])} to {_iso(days[-1])}: {told}, a third is wanted; "
            "give more dates, or --season"
        )
    logger.info("%s: %s; %d of %d dates are used", path, told, len(used), len(days))
    if have < steps:
        logger.warning("%s: %s; the others are gaps, see the docs of series", path, told)
    chosen = replace(
        stack,
        days=tuple(int(days[k]) for k in used),
        dates=tuple(stack.dates[k] for k in used),
    )
    return Seasonal(chosen, tuple(int(p) for p in places[used]), begin)


def _day(text: str) -> int:
    try:
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError as error:
        raise UsageError(f"--season: '{text}' found, a date such as 2018-09-01 wanted.") from error
