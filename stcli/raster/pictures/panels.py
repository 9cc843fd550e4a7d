"""Small pictures in rows for a report: what was seen, what is true, what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stcli.raster.pictures.picture import colour_classes, png, stretch
from stcli.raster.writing.legend import Colour

#: White pixels between pictures.
_GAP = 6


@dataclass(frozen=True)
class Panel:
    """One row.

    Attributes
    ----------
    bands : ndarray (1 or 3, row, col)
        Shown as grey ramp or red, green, blue, stretched from the 2nd to the 98th percentile.
    valid : ndarray of bool (row, col)
    maps : tuple of ndarray of int (row, col)
        Class values, 0 for none.
    """

    bands: NDArray[Any]
    valid: NDArray[np.bool_]
    maps: tuple[NDArray[Any], ...]


def draw_panels(panels: Sequence[Panel], colours: Mapping[int, Colour]) -> bytes:
    """Draw rows of pictures of one size: the bands, then each map.

    Returns
    -------
    bytes
        PNG.
    """
    rows = []
    for panel in panels:
        seen, _ = stretch(panel.bands, panel.valid, (2, 98))
        maps = [colour_classes(m, panel.valid & (m > 0), colours) for m in panel.maps]
        rows.append(_joined([seen, *maps], 1))
    return png(Image.fromarray(_joined(rows, 0)))


def _joined(parts: Sequence[NDArray[np.uint8]], axis: int) -> NDArray[np.uint8]:
    """Join pictures (row, col, 3) with white between them."""
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    white = np.full(shape, 255, np.uint8)
    between = [piece for part in parts for piece in (part, white)][:-1]
    return np.concatenate(between, axis=axis)
