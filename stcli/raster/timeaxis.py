"""A time axis as CF stores it: numbers, units, calendar, bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TimeAxis:
    """A time axis.

    Attributes
    ----------
    values : tuple of float
        Numbers in `units`, rising.
    units : str
        Such as ``"days since 1970-01-01"``.
    calendar : str
    unlimited : bool
        More times may be put after them: the file's time dimension is unlimited.
    bounds : tuple of (float, float)
        Begin and end of what each time stands for, in `units`; empty if it is not said.
    """

    values: tuple[float, ...]
    units: str
    calendar: str = "standard"
    unlimited: bool = False
    bounds: tuple[tuple[float, float], ...] = ()

    def at(self, steps: Sequence[int]) -> TimeAxis:
        """Take some of the times, by position."""
        bounds = tuple(self.bounds[step] for step in steps) if self.bounds else ()
        return replace(self, values=tuple(self.values[step] for step in steps), bounds=bounds)
