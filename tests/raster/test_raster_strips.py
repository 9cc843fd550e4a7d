"""A tile that is stored strip by strip is the one that is stored whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stcli.engine.tiling import TilePlan
from stcli.errors import OutputError
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.raster.writing.packed import PackedParts
from stcli.raster.writing.parts import Parts
from stcli.raster.writing.zarrstore import ZarrStore

SHAPE, TILE = (1500, 900), 1024
BLOCKS = {"BLOCKXSIZE": "128", "BLOCKYSIZE": "128"}
KINDS = {
    "parts": (Parts, "GTiff", {}),
    "packed": (PackedParts, "GTiff", BLOCKS),
    "Zarr": (ZarrStore, "Zarr", {"BLOCKSIZE": "128"}),
}


@pytest.fixture(params=KINDS)
def made(request, tmp_path, grid):
    """Make parts of a kind in a folder."""
    kind, driver, options = KINDS[request.param]

    def make(name: str):
        bands = (OutputBand("segment"),)
        path = str(tmp_path / f"{name}.{driver.lower()}")
        spec = OutputSpec(path, "uint32", bands, 0, "labels", options, driver=driver)
        parts = kind(tmp_path / name, spec, SHAPE)
        parts.prepare(grid(*SHAPE))
        return parts

    return make


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("rows", [512, 1024])
def test_strips_are_stored_as_the_whole(made, rows, tmp_path):
    rng, plan = np.random.default_rng(0), TilePlan(SHAPE, TILE)
    whole, strips = made("whole"), made("strips")
    for tile in plan:
        shape = 1, tile.core.height, tile.core.width
        block = np.repeat(rng.integers(0, 99, (1, shape[1], 1)), shape[2], 2).astype(np.uint32)
        room = np.empty((1, rows, shape[2]), np.uint32)

        def given(block=block, room=room):
            for top in range(0, block.shape[1], rows):
                some = block[:, top : top + rows]
                room[:, : some.shape[1]] = some  # memory that is used again
                yield room[:, : some.shape[1]]

        known = whole.save(tile, block)
        assert strips.save_strips(tile, given()) == known
        assert np.array_equal(strips.load(tile, known), block)
    assert files(tmp_path / "strips") == files(tmp_path / "whole")


def test_a_strip_of_another_form_is_refused_and_nothing_is_left(made, tmp_path):
    parts, tile = made("o"), TilePlan(SHAPE, TILE)[0]
    before = files(tmp_path / "o")
    strips = [np.zeros((1, 512, 900), np.uint32), np.zeros((1, 512, 899), np.uint32)]
    with pytest.raises(ValueError, match=r"wanted|must match"):
        parts.save_strips(tile, iter(strips))
    assert files(tmp_path / "o") == before


def test_a_part_that_is_dropped_is_gone(made):
    parts, tile = made("o"), TilePlan(SHAPE, TILE)[0]
    parts.save_strips(tile, iter([np.zeros((1, 1024, 900), np.uint32)]))
    parts.drop(tile)
    parts.drop(tile)
    assert not parts.path(tile.index).exists()


def test_what_fails_while_strips_are_made_leaves_no_part(made, tmp_path):
    parts, tile = made("o"), TilePlan(SHAPE, TILE)[1]
    before = files(tmp_path / "o")

    def broken():
        yield np.zeros((1, 476, 900), np.uint32)
        raise OutputError("elsewhere")

    with pytest.raises(OutputError, match="elsewhere"):
        parts.save_strips(tile, broken())
    assert files(tmp_path / "o") == before
