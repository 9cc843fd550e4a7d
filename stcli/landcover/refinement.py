"""Segments of which a model is not sure, looked at again and again, each time a little otherwise.

A model's answer leans on where the superpixels happen to lie and on which way up the scene is. A
*view* is the same lattice window with superpixels grown from other seeds and under another weight
of position, turned in one of eight ways. Where the first answer p is unsure of a segment, it takes
a step towards the mean m of all views (the first answer counted): p + a (m - p), where a is the
share of the views that see in the segment what their mean sees there. Everywhere else the first
answer stays, to the bit.

All is decided inside the centre of one lattice window, so no tiling can change it; a view sees the
pixels that the first answer saw, and no others, so what is cut apart stays apart.

Letters: K classes, v views, p pieces (parts of a segment inside a centre).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.landcover.network.windows import (
    Place,
    Scene,
    Window,
    Windowed,
    cut,
    places,
    turned_back,
    turned_window,
)


@dataclass(frozen=True)
class View:
    """How a scene is looked at again.

    Attributes
    ----------
    shift : (float, float)
        Where the seeds stand, down and across, in steps of their lattice from where they stood.
    compactness : float
        Factor on the segmentation's.
    way : int
        How the window is turned: see `stcli.landcover.network.windows.turned`.
    """

    shift: tuple[float, float]
    compactness: float
    way: int


#: Seeds on the corners and sides of the first cells; each turn and each mirroring once.
VIEWS = (
    View((0.5, 0.5), 1.0, 4),
    View((0.5, 0.0), 0.5, 2),
    View((0.0, 0.5), 2.0, 6),
    View((0.25, 0.75), 1.0, 1),
)
#: Gives the segments (row, col) of the whole scene under a view.
Segmenting = Callable[[View], NDArray[Any]]
#: Calibrates probabilities (class, …).
Honest = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Changes:
    """What refinement did, in pixels: whole numbers, so their sums know no order.

    Attributes
    ----------
    looked : int
        Pixels of unsure segments.
    settled : int
        Those in segments on which more than half of the views agreed.
    votes : int
        Over all that were looked at, how many views (the first answer counted) agreed.
    classes : ndarray of int64 (K, K)
        From which class to which; nothing on the diagonal.
    """

    looked: int
    settled: int
    votes: int
    classes: NDArray[np.int64]

    @classmethod
    def none(cls, count: int) -> Changes:
        """Nothing done, for so many classes."""
        return cls(0, 0, 0, np.zeros((count, count), dtype=np.int64))

    def __add__(self, other: Changes) -> Changes:
        """Join what was done to two parts."""
        return Changes(
            self.looked + other.looked,
            self.settled + other.settled,
            self.votes + other.votes,
            self.classes + other.classes,
        )

    def to_list(self) -> list[int]:
        """Return plain numbers, for a journal."""
        return [self.looked, self.settled, self.votes, *map(int, self.classes.ravel())]

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Changes:
        """Make it of what `to_list` gave."""
        side = round((len(numbers) - 3) ** 0.5)
        square = np.array(numbers[3:], dtype=np.int64).reshape(side, side)
        return cls(numbers[0], numbers[1], numbers[2], square)


@dataclass(frozen=True, eq=False)
class Refined:
    """Refined probabilities of a core.

    Attributes
    ----------
    probabilities : ndarray of float32 (class, row, col)
    disagreement : ndarray of float32 (row, col)
        Share of the views that see another class in the pixel's segment; 0 where the first answer
        was sure, NaN where not valid.
    changes : Changes
    """

    probabilities: NDArray[np.float32]
    disagreement: NDArray[np.float32]
    changes: Changes


@dataclass(frozen=True)
class Refinement:
    """A method with what refines its answers.

    Attributes
    ----------
    method : Windowed
    honest : callable
        Calibrates what the method says.
    below : float
        Segments whose mean confidence, the largest probability, is below are unsure.
    views : sequence of View
    """

    method: Windowed
    honest: Honest
    below: float
    views: Sequence[View] = VIEWS

    def refine(
        self,
        scene: Scene,
        core: tuple[slice, slice],
        first: NDArray[np.float32],
        segmenting: Segmenting,
    ) -> Refined:
        """Look again at the unsure segments of a core.

        Parameters
        ----------
        scene : Scene
            As the method wants it.
        core : (slice, slice)
            Of whole centres, less where the raster ends.
        first : ndarray of float32 (class, row, col)
            The first answer, calibrated; over the core, NaN where not valid.
        segmenting : callable
        """
        result = first.copy()
        doubt = np.where(np.isnan(first[0]), np.float32(np.nan), np.float32(0))
        changes = Changes.none(len(first))
        asked = [
            unsure
            for place in places(scene, core, self.method.grid)
            if (unsure := _unsure(place, first, scene.segments[core], self.below)).count
        ]
        for view in self.views if asked else ():
            again = replace(scene, segments=segmenting(view))
            for unsure in asked:
                unsure.hear(self._look(again, unsure.place, view))
        for unsure in asked:
            changes += unsure.settle(result, doubt)
        return Refined(result, doubt, changes)

    def _look(self, scene: Scene, place: Place, view: View) -> NDArray[np.float32]:
        """Look at a centre under a view: (class, row, col)."""
        window: Window = turned_window(cut(scene, place.centre, self.method.grid), view.way)
        chances = turned_back(self.method.window(window), view.way)
        return self.honest(chances[(slice(None), *place.window)])


@dataclass(eq=False)
class _Unsure:
    """The unsure pieces of one centre, and what the views say of them.

    Attributes
    ----------
    place : Place
    inside : ndarray of bool (row, col)
        Pixels of unsure pieces, of the part of the centre in the core.
    piece : ndarray of int64 (n,)
        Of each of these pixels, from 0.
    count : int
        Pieces.
    total : ndarray of float32 (class, n)
        Probabilities, summed over the views so far; the first answer is the first of them.
    said : list of ndarray of int64 (piece,)
        The class that each view sees in each piece.
    """

    place: Place
    inside: NDArray[np.bool_]
    piece: NDArray[np.int64]
    count: int
    total: NDArray[np.float32]
    said: list[NDArray[np.int64]] = field(default_factory=list)

    def hear(self, chances: NDArray[np.float32]) -> None:
        """Take a view of the centre (class, row, col)."""
        mine = chances[:, self.inside]
        self.said.append(self._classes(mine))
        self.total += mine

    def settle(self, result: NDArray[np.float32], doubt: NDArray[np.float32]) -> Changes:
        """Step towards the mean of the views as far as they agree; write their disagreement."""
        views = len(self.said)
        mean = self.total / np.float32(views)
        agreed = np.sum(np.stack(self.said) == self._classes(mean), axis=0)[self.piece]
        step = (agreed / views).astype(np.float32)
        here = (slice(None), *self.place.core)
        before = result[here][:, self.inside]
        after = before + step * (mean - before)
        result[here][:, self.inside] = after
        doubt[self.place.core][self.inside] = 1 - step
        old, new = before.argmax(axis=0), after.argmax(axis=0)
        classes = np.zeros((len(mean), len(mean)), dtype=np.int64)
        np.add.at(classes, (old[old != new], new[old != new]), 1)
        settled = int((2 * agreed > views).sum())
        return Changes(len(agreed), settled, int(agreed.sum()), classes)

    def _classes(self, chances: NDArray[np.float32]) -> NDArray[np.int64]:
        """Class (piece,) of the largest mean of probabilities (class, n)."""
        sums = [np.bincount(self.piece, each, self.count) for each in chances]
        return np.asarray(np.argmax(sums, axis=0))


def _unsure(
    place: Place, first: NDArray[np.float32], segments: NDArray[Any], below: float
) -> _Unsure:
    """Find the pieces of a centre in which the first answer is not sure."""
    chances = first[(slice(None), *place.core)]
    known = ~np.isnan(chances[0])
    mine = chances[:, known]
    _, piece = np.unique(segments[place.core][known], return_inverse=True)
    piece = piece.ravel()
    size = np.bincount(piece)
    low = np.bincount(piece, mine.max(axis=0), len(size)) < below * size
    inside = known.copy()
    inside[known] = low[piece]
    number = np.cumsum(low) - 1  # of the unsure pieces alone
    found = _Unsure(
        place, inside, number[piece[low[piece]]], int(low.sum()), mine[:, low[piece]].copy()
    )
    if found.count:
        found.said.append(found._classes(found.total))
    return found
