"""Rasters whose pixel values are their coordinates."""

from __future__ import annotations

import numpy as np


def coordinates(rows: int, cols: int, dtype: str = "int32") -> np.ndarray:
    """Make bands (row index, column index), counted from 1 so that 0 means invalid."""
    r, c = np.mgrid[1 : rows + 1, 1 : cols + 1]
    return np.stack([r, c]).astype(dtype)
