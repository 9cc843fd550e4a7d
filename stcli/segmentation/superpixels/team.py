"""Threads that share the rows of one block, and the memory that they share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from stcli.segmentation.superpixels.kept import Kept

T = TypeVar("T")
#: Parts of the rows for each thread: a thread that is held up leaves its later parts to others.
_SHARES = 4


@dataclass(frozen=True)
class Team:
    """Runs a kernel that holds no lock over parts of a block's rows, side by side.

    Attributes
    ----------
    threads : int
    memory : Kept
        Of the calling thread.
    """

    threads: int
    memory: Kept = field(default_factory=Kept, compare=False)

    @cached_property
    def _others(self) -> ThreadPoolExecutor:
        """Threads beside the caller's, started once: short work is shared out thirty times."""
        return ThreadPoolExecutor(self.threads - 1)

    def parts(self, rows: int) -> list[tuple[int, int]]:
        """Cut rows into parts, some for each thread: first row, and the one after the last."""
        count = max(1, min(self.threads * _SHARES, rows)) if self.threads > 1 else 1
        edges = [rows * i // count for i in range(count + 1)]
        return list(itertools.pairwise(edges))

    def alone(self, rows: int, work: Callable[[int, int], T]) -> list[T]:
        """As `over`, in the calling thread: for what is done sooner than it is shared out."""
        return [work(first, last) for first, last in self.parts(rows)]

    def over(self, rows: int, work: Callable[[int, int], T]) -> list[T]:
        """Call ``work(first, last)`` on all parts; results in the order of the parts.

        The caller's thread works too, and takes parts as the others do: fewer need to be woken.
        """
        parts = self.parts(rows)
        if len(parts) == 1:
            return self.alone(rows, work)
        results, left = dict[int, T](), iter(enumerate(parts))

        def toil() -> None:
            for number, part in left:  # one thread at a time gets the next
                results[number] = work(*part)

        others = [self._others.submit(toil) for _ in range(self.threads - 1)]
        try:
            toil()
        finally:
            wait(others)
        for other in others:
            other.result()
        return [results[number] for number in range(len(parts))]
