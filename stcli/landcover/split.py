"""Which pixels train and which validate: spatial blocks by default.

A random split of pixels puts neighbours on both sides and flatters; blocks do not, and everything
that looks around a pixel (segments, context) is cut at the blocks' edges by `Split.part`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.errors import InputError

#: A block: the number of its lattice (one for each CRS), then its row and column there.
Block = tuple[int, int, int]
#: Random draws of blocks from which the most even one is taken.
_DRAWS = 256


@dataclass(frozen=True)
class Split:
    """Held-out blocks of the lattice.

    Attributes
    ----------
    side : int
        Side of a block in pixels.
    blocks : frozenset of (int, int)
        Rows and columns of the blocks that validate.
    """

    side: int
    blocks: frozenset[tuple[int, int]]

    def part(self, lattice: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Mark the held-out pixels of a rectangle of the lattice: bool (row, col)."""
        rows = (np.arange(shape[0]) + lattice[0]) // self.side
        cols = (np.arange(shape[1]) + lattice[1]) // self.side
        held = np.zeros(shape, dtype=np.bool_)
        for row in np.unique(rows):
            for col in np.unique(cols):
                if (int(row), int(col)) in self.blocks:
                    held[np.ix_(rows == row, cols == col)] = True
        return held


def draw_blocks(
    counts: dict[Block, NDArray[np.int64]], share: float, seed: int
) -> frozenset[Block]:
    """Draw held-out blocks so that every class is on both sides and shares are even.

    Where that cannot be, a class is rather not validated than not learnt.

    Parameters
    ----------
    counts : dict
        Labelled pixels (class,) of each block that has any.
    share : float
        Share of labelled pixels to hold out.
    seed : int

    Returns
    -------
    frozenset of Block
        Empty when the labels lie in one block.
    """
    keys = sorted(counts)
    table = np.stack([counts[key] for key in keys]).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    wanted = table.sum(axis=0) * share
    generator = np.random.default_rng(seed)
    number = min(len(keys) - 1, max(1, round(share * len(keys))))
    best, loss = np.zeros(len(keys), dtype=bool), np.inf
    for _ in range(_DRAWS if len(keys) > 1 else 0):
        held = np.zeros(len(keys), dtype=bool)
        held[generator.permutation(len(keys))[:number]] = True
        kept = table[held].sum(axis=0)
        unseen, unlearnt = (kept == 0).sum(), (kept == table.sum(axis=0)).sum()
        unevenness = np.abs(kept / wanted - 1).mean() + 10 * unseen + 1000 * unlearnt
        if unevenness < loss:
            best, loss = held, float(unevenness)
    return frozenset(key for key, h in zip(keys, best, strict=True) if h)


def draw_pixels(lattice: tuple[int, int], shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Give each pixel a number in [0, 1) by seed and lattice position only: (row, col)."""
    rows = (np.arange(shape[0]) + lattice[0]).astype(np.uint64)[:, None]
    cols = (np.arange(shape[1]) + lattice[1]).astype(np.uint64)[None, :]
    with np.errstate(over="ignore"):
        mixed = rows * np.uint64(0x9E3779B97F4A7C15) ^ cols * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed ^= np.uint64(seed) * np.uint64(0x165667B19E3779F9)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def fewer_folds(wanted: int, most: int, what: str) -> int:
    """Cut folds down to as many as there is to share out, with a word."""
    if wanted > most:
        logging.getLogger("stcli").warning(
            "--folds: %d wanted and %d %s found; %d folds are drawn", wanted, most, what, most
        )
    return min(wanted, most)


def refuse_unlearnable(learnable: NDArray[np.bool_]) -> None:
    """Refuse folds that could have learnt nothing of what they held out; `learnable` (sample,).

    Raises
    ------
    InputError
    """
    if not learnable.any():
        raise InputError(
            "--folds: each class lies in one fold alone, so that no sample held out was of a class "
            "that could be learnt; label each class in more places, or choose a smaller --block."
        )


def draw_folds(
    counts: dict[Block, NDArray[np.int64]], number: int, seed: int
) -> tuple[frozenset[Block], ...]:
    """Deal blocks into folds so that no fold holds all of a class and shares are even.

    Parameters
    ----------
    counts : dict
        Labelled pixels (class,) of each block that has any; at least `number` blocks.
    number : int
        Folds, at least 2.
    seed : int

    Returns
    -------
    tuple of frozenset
        The blocks of each fold; every block is in one.
    """
    keys = sorted(counts)
    table = np.stack([counts[key] for key in keys]).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    total = table.sum(axis=0)
    generator = np.random.default_rng(seed)
    best, loss = np.arange(len(keys)) % number, np.inf
    for _ in range(_DRAWS):
        fold = generator.permutation(len(keys)) % number
        held = np.stack([table[fold == n].sum(axis=0) for n in range(number)])
        unlearnable = (held == total).sum()
        unevenness = np.abs(held / total * number - 1).mean() + 10 * unlearnable
        if unevenness < loss:
            best, loss = fold, float(unevenness)
    return tuple(
        frozenset(key for key, f in zip(keys, best, strict=True) if f == n) for n in range(number)
    )
