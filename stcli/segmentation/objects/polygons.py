"""Polygons of objects from the corners of their outlines.

A rectilinear outline is known by its corners: along a row they pair off into its horizontal
edges, along a column into its vertical ones. Where two pixels of an object touch at a vertex only,
that vertex is two corners, and a ring that would pass it twice is cut in two there. So every ring
is simple, may touch another in a vertex, and follows the pixels' edges exactly. A ring that turns
about pixels is a shell; one about other pixels a hole of the smallest shell around it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stcli.jit import njit


class Ragged(NamedTuple):
    """Multipolygons as coordinates and three levels of offsets.

    Attributes
    ----------
    vertices : ndarray of int32 (vertex, 2)
        Row and column; a ring's first vertex is repeated as its last.
    rings, parts, objects : ndarray of int64
        Offsets into vertices, rings and parts; each one longer than what it counts.
    """

    vertices: NDArray[np.int32]
    rings: NDArray[np.int64]
    parts: NDArray[np.int64]
    objects: NDArray[np.int64]


class CornerStore:
    """Corners of all objects, each object's side by side; filled in any order.

    Parameters
    ----------
    counts : ndarray of int64 (object,)
        Corners that each object has.
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self._next = self.starts[:-1].copy()
        self._vertices = np.empty((int(self.starts[-1]), 2), np.int32)

    def add(
        self, index: NDArray[np.int64], owner: NDArray[np.int32], vertex: NDArray[np.int32]
    ) -> None:
        """Take the corners of a block; `index` turns its numbers into objects."""
        _store(index, owner, vertex, self._next, self._vertices)

    def polygons(self, first: int, last: int) -> Ragged:
        """Assemble the polygons of objects first to last - 1."""
        starts = self.starts[first : last + 1]
        corners = self._vertices[starts[0] : starts[-1]]
        vertices, rings, parts, objects = _assemble(corners, starts - starts[0])
        return Ragged(vertices, rings, parts, objects)


def polygon_bytes(corners: int, objects: int) -> int:
    """Bytes that a `CornerStore` holds."""
    return 8 * corners + 24 * objects


@njit(cache=True, nogil=True)
def _store(index, owner, vertex, following, vertices):  # type: ignore[no-untyped-def]
    for n in range(owner.size):
        i = index[owner[n]]
        vertices[following[i], 0] = vertex[n, 0]
        vertices[following[i], 1] = vertex[n, 1]
        following[i] += 1


@njit(cache=True, nogil=True)
def _assemble(corners, starts):  # type: ignore[no-untyped-def]
    """Assemble polygons of objects whose corners lie from starts[i] to starts[i + 1]."""
    most = corners.shape[0] // 4  # rings: each has four corners or more
    vertices = np.empty((corners.shape[0] + most, 2), dtype=np.int32)
    rings = np.zeros(most + 1, dtype=np.int64)
    parts = np.zeros(most + 1, dtype=np.int64)
    objects = np.zeros(starts.size, dtype=np.int64)
    used, ring, part = 0, 0, 0
    for i in range(starts.size - 1):
        drawn, ends = _rings(corners[starts[i] : starts[i + 1]])
        shell_of = _shells(drawn, ends)
        for which in np.argsort(
            2 * shell_of + (shell_of != np.arange(shell_of.size)), kind="mergesort"
        ):
            if shell_of[which] == which:
                part += 1
            for at in range(ends[which], ends[which + 1]):
                vertices[used, 0], vertices[used, 1] = drawn[at, 0], drawn[at, 1]
                used += 1
            first = used - (ends[which + 1] - ends[which])
            vertices[used, 0], vertices[used, 1] = vertices[first, 0], vertices[first, 1]
            used += 1
            ring += 1
            rings[ring], parts[part] = used, ring
        objects[i + 1] = part
    return vertices[:used], rings[: ring + 1], parts[: part + 1], objects


@njit(cache=True, nogil=True)
def _sorted(major, minor):  # type: ignore[no-untyped-def]
    """Order corners by one coordinate, then by the other."""
    return np.argsort(major.astype(np.int64) * (np.int64(1) << 32) + minor, kind="mergesort")


@njit(cache=True, nogil=True)
def _rings(corners):  # type: ignore[no-untyped-def]
    """Draw simple rings through an object's corners, the object on their left on a north-up map.

    Returns vertices (vertex, 2) and the rings' offsets.
    """
    own = corners[
        _sorted(corners[:, 0], corners[:, 1])
    ]  # then the partner of n along its row is n ^ 1
    count = own.shape[0]
    order = _sorted(own[:, 1] >> 1, own[:, 0])
    for n in range(count - 1):  # twins hug one pixel each: upper right and lower left
        a, b = own[order[n]], own[order[n + 1]]
        if a[0] == b[0] and a[1] == b[1] and not a[1] & 1 and order[n] < order[n + 1]:
            order[n], order[n + 1] = order[n + 1], order[n]
    above = np.empty(count, dtype=np.int64)
    for n in range(0, count, 2):
        above[order[n]], above[order[n + 1]] = order[n + 1], order[n]
    place = np.full(count, -1, dtype=np.int64)  # where a corner stands in the trail
    seen = np.zeros(count, dtype=np.bool_)
    trail = np.empty(count, dtype=np.int64)
    drawn = np.empty((count, 2), dtype=np.int32)
    ends = np.zeros(count // 4 + 1, dtype=np.int64)
    rings = 0
    for first in range(count):
        length, at, across = 0, first, True
        turned = own[first, 1] & 1  # the object lies to the right of the way east
        while not seen[at]:
            seen[at] = True
            back = _met(own, place, at)
            if back >= 0:  # the way since it was here is a ring of its own
                ends[rings + 1] = _draw(own, trail[back:length], turned, drawn, ends[rings])
                rings += 1
                for n in range(back, length):
                    place[trail[n]] = -1
                length = back
            trail[length], place[at] = at, length
            length += 1
            at = at ^ 1 if across else above[at]
            across = not across
        if length:
            ends[rings + 1] = _draw(own, trail[:length], turned, drawn, ends[rings])
            rings += 1
            for n in range(length):
                place[trail[n]] = -1
    return drawn, ends[: rings + 1]


@njit(cache=True, nogil=True)
def _met(own, place, at):  # type: ignore[no-untyped-def]
    """Find where the trail met the vertex of a corner before, by its twin; -1 for nowhere."""
    for twin in (at - 1, at + 1):
        if not (0 <= twin < own.shape[0] and place[twin] >= 0):
            continue
        if own[twin, 0] == own[at, 0] and own[twin, 1] == own[at, 1]:
            return place[twin]
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _draw(own, trail, turned, drawn, start):  # type: ignore[no-untyped-def]
    """Write a ring's vertices, reversed where asked; return where they end."""
    for n in range(trail.size):
        corner = own[trail[trail.size - 1 - n if turned else n]]
        drawn[start + n, 0], drawn[start + n, 1] = corner[0], corner[1] >> 1
    return start + trail.size


@njit(cache=True, nogil=True)
def _shells(drawn, ends):  # type: ignore[no-untyped-def]
    """Name the shell of each ring; a shell is its own."""
    count = ends.size - 1
    area = np.empty(count, dtype=np.int64)
    box = np.empty((count, 4), dtype=np.int64)
    for ring in range(count):
        area[ring] = _measure(drawn[ends[ring] : ends[ring + 1]], box[ring])
    shell_of = np.arange(count)
    shells = np.array([ring for ring in np.argsort(area, kind="mergesort") if area[ring] > 0])
    for ring in range(count):
        if area[ring] > 0:
            continue
        found, near = np.int64(-1), np.int64(-1)
        for shell in shells:
            low = box[shell, 0] <= box[ring, 0] and box[shell, 2] <= box[ring, 2]
            if not (low and box[shell, 1] >= box[ring, 1] and box[shell, 3] >= box[ring, 3]):
                continue
            # of two candidates the smaller is tried; the last one left needs no trial
            if near >= 0 and _holds(
                drawn[ends[near] : ends[near + 1]], box[ring], drawn[ends[ring] : ends[ring + 1]]
            ):
                found = near
                break
            near = shell
        shell_of[ring] = near if found < 0 else found
    return shell_of


@njit(cache=True, nogil=True)
def _measure(ring, box):  # type: ignore[no-untyped-def]
    """Return a ring's area, negative for a hole, and set its first and last row and column."""
    area = np.int64(0)
    box[0], box[1], box[2], box[3] = ring[0, 0], ring[0, 0], ring[0, 1], ring[0, 1]
    for n in range(ring.shape[0]):
        row, col = np.int64(ring[n, 0]), np.int64(ring[n, 1])
        after = np.int64(ring[(n + 1) % ring.shape[0], 0])
        area += col * (after - row)  # along a row nothing is added
        box[0], box[1] = min(box[0], row), max(box[1], row)
        box[2], box[3] = min(box[2], col), max(box[3], col)
    return -area


@njit(cache=True, nogil=True)
def _holds(shell, box, hole):  # type: ignore[no-untyped-def]
    """Tell whether a shell holds the hole's first pixel: an odd number of its edges lie left."""
    col = np.int64(1) << 40
    for n in range(hole.shape[0]):
        if hole[n, 0] == box[0]:
            col = min(col, np.int64(hole[n, 1]))
    odd = False
    for n in range(shell.shape[0]):
        a, b = shell[n], shell[(n + 1) % shell.shape[0]]
        if a[1] == b[1] and a[1] <= col and min(a[0], b[0]) <= box[0] < max(a[0], b[0]):
            odd = not odd
    return odd


#: What polygons are assembled by.
KERNELS = (_store, _assemble)
