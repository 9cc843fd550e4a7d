"""Patches as they are read: whole stacks, parts of them, and single ones."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from stcli.raster.tables.patches import open_patches

SIDE, ROWS, COLS = 3, 4, 5


@pytest.fixture
def stack(tmp_path):
    """Two bands whose values are their rows and columns; a pixel of patch 7 is nodata."""
    rows, cols = np.mgrid[: ROWS * SIDE, : COLS * SIDE].astype("int16")
    rows[SIDE, 2 * SIDE] = -1
    where = {"height": ROWS * SIDE, "width": COLS * SIDE, "transform": from_origin(0, 12, 1, 1)}
    with rasterio.open(
        tmp_path / "a.tif", "w", "GTiff", count=2, dtype="int16", nodata=-1, **where
    ) as made:
        made.write(np.stack([rows, cols]))
    return tmp_path / "a.tif"


@pytest.mark.parametrize("numbers", [range(20), [7], [0, 19], [3, 4, 5, 6], [1, 2, 8, 9, 10, 15]])
def test_patches_are_read_by_their_numbers(stack, numbers):
    found = open_patches(str(stack), SIDE).read(np.array(numbers))
    assert (found.shape, found.dtype) == ((len(numbers), 2, SIDE, SIDE), np.float32)
    for patch, number in zip(found, numbers, strict=True):
        row, col = divmod(number, COLS)
        wanted = np.mgrid[:SIDE, :SIDE] + np.array([row, col])[:, None, None] * SIDE
        gaps = np.isnan(patch)
        assert np.argwhere(gaps).tolist() == ([[0, 0, 0], [1, 0, 0]] if number == 7 else [])
        np.testing.assert_array_equal(patch[~gaps], wanted[~gaps])


def test_no_pixel_of_other_patches_is_read(stack, monkeypatch):
    patches, read = open_patches(str(stack), SIDE), []
    plain = patches.raster.read
    monkeypatch.setattr(patches.raster, "read", lambda w: read.append(w) or plain(w))
    patches.read(np.array([1, 2, 4, 5, 14]))
    assert [(w.row_off, w.col_off, w.height, w.width) for w in read] == [
        (0, 3, 3, 6),
        (0, 12, 3, 3),
        (3, 0, 3, 3),
        (6, 12, 3, 3),
    ]
