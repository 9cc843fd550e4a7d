"""Which objects touch, and along which length: sums over blocks, kept sorted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Borders that wait at most, beside as many as are known, before they are sorted in.
_WAITING = 1 << 18
#: Neighbours of an object that count with a higher number: below 3 in a planar map.
BORDERS_AN_OBJECT = 3


class Borders:
    """Borders of objects, gathered block by block in any order.

    Parameters
    ----------
    objects : int
    """

    def __init__(self, objects: int) -> None:
        self._objects = objects
        self._keys = np.empty(0, np.int64)
        self._lengths = np.empty((0, 2), np.int64)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._count = 0

    def add(self, pairs: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Add borders: pairs of objects (border, 2) and lengths (border, 2), as `borders` has."""
        keys = pairs.min(axis=1) * self._objects + pairs.max(axis=1)
        self._waiting.append((keys, lengths))
        self._count += keys.size
        if self._count > _WAITING + self._keys.size:
            self._settle()

    def _settle(self) -> None:
        keys = np.concatenate([self._keys, *(part[0] for part in self._waiting)])
        lengths = np.concatenate([self._lengths, *(part[1] for part in self._waiting)])
        self._waiting, self._count = [], 0
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: keys.size])
        self._keys = keys[first]
        if keys.size:
            self._lengths = np.add.reduceat(lengths[order], first, axis=0)

    def table(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return all borders.

        Returns
        -------
        pairs : ndarray of int64 (border, 2)
            Objects, the lower first; sorted.
        lengths : ndarray of int64 (border, 2)
            Sums of weights along rows and along columns.
        """
        self._settle()
        return np.stack(np.divmod(self._keys, self._objects), axis=1), self._lengths


def border_bytes(objects: int) -> int:
    """Bytes that `Borders` needs while it sorts, for objects of a planar map."""
    return 24 * 4 * (BORDERS_AN_OBJECT * objects + _WAITING)


def neighbours(pairs: NDArray[np.int64], objects: int) -> NDArray[np.int64]:
    """Count the neighbours (object,) of each object, from pairs (border, 2)."""
    return np.bincount(pairs.ravel(), minlength=objects)
