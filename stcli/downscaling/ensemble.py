"""Noise of the members of an ensemble: a field that stands still on the lattice.

Each window of the lattice has noise of its own, from the seed, the member, the field's time and the
window's place; around it stands that of its neighbours. So no tile, no crop and no order can change
a member.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stcli.downscaling.network import CHANNELS


@dataclass(frozen=True)
class Ensemble:
    """How many members, drawn from which seed.

    Attributes
    ----------
    members : int
        Two at least.
    seed : int
    time : int
        A number for the time of the field: at another time noise is another.
    """

    members: int
    seed: int = 0
    time: int = 0

    def noise(
        self, member: int, centre: tuple[int, int], side: int, margin: int
    ) -> NDArray[np.float32]:
        """Draw a member's noise for a window and the margin around it.

        Parameters
        ----------
        member : int
        centre : (int, int)
            Lattice position of the window's first pixel, multiples of `side`.
        side, margin : int
            In coarse pixels; the margin is not wider than the window.

        Returns
        -------
        ndarray of float32, (channel, side + 2 * margin, side + 2 * margin)
            Of mean 0 and deviation 1.
        """
        row, col = (at // side for at in centre)
        near = (-1, 0, 1)
        around = np.block([[self._own(member, row + i, col + j, side) for j in near] for i in near])
        kept = slice(side - margin, 2 * side + margin)
        found: NDArray[np.float32] = around[:, kept, kept]
        return found

    def _own(self, member: int, row: int, col: int, side: int) -> NDArray[np.float32]:
        """Draw the noise of one window, by its number along each axis of the lattice."""
        entropy = [self.seed, member, row & (2**64 - 1), col & (2**64 - 1), self.time]
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
        return generator.standard_normal((CHANNELS, side, side), dtype=np.float32)
