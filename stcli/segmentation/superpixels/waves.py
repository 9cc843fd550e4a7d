"""The order in which rounds go over the rows of cells of a block.

Round after round over all rows, each row would come from memory once a round. But a round's rows
can be done as soon as those of the round before are settled around them; so the rounds follow each
other down the block, two rows of cells apart, and a row stays in cache for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

#: Rows of cells by which the first round goes ahead at a time.
_GROUP = 8
#: Rows between a round and the next.
_LAG = 2

#: From a row of cells to the one after the last.
Rows = tuple[int, int]


def waves(rounds: Sequence[range]) -> Iterator[tuple[int, Rows, Rows]]:
    """Say what to do next, until all rounds are over.

    Parameters
    ----------
    rounds : sequence of range
        Rows of cells of each round, each within those of the one before.

    Yields
    ------
    round : int
    chosen : (int, int)
        Rows whose pixels are to choose, from the centres of the rows beside them.
    settled : (int, int)
        Rows whose centres are then to move: no pixel of the round will yet choose them.
    """
    chosen = [rows.start for rows in rounds]
    settled, front = list(chosen), chosen[0]
    while any(done < rows.stop for done, rows in zip(settled, rounds, strict=True)):
        front += _GROUP
        for k, rows in enumerate(rounds):
            last = max(min(front - _LAG * k, rows.stop), chosen[k])
            ready = max(last if last == rows.stop else last - 1, settled[k])
            if ready > settled[k] or last > chosen[k]:
                yield k, (chosen[k], last), (settled[k], ready)
            chosen[k], settled[k] = last, ready


def held(rounds: int, rows: int) -> int:
    """Count the rows of cells that rounds are at at once.

    A row that all have left may make room for the one that lies so many further down.
    """
    return min(rows, _GROUP + _LAG * rounds)
