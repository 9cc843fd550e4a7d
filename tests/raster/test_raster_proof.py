"""A COG of packed parts is proved by decoding once: whatever is damaged on the way is noticed."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio import Affine

from stcli.engine.tiling import TilePlan
from stcli.raster.writing import packed
from stcli.raster.writing.checksum import checksum, part_sum, piece_side
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.raster.writing.packed import PackedParts
from stcli.raster.writing.tiff import read_directory

DIFFER = "the blocks read back differ from those written"


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("uint8", (1, 1, 1)),
        ("uint32", (1, 1301, 1025)),
        ("float64", (3, 513, 1100)),
        ("float32", (12, 700, 515)),
        ("float32", (80, 129, 300)),
    ],
)
def test_parts_in_any_order_add_up_to_the_whole(dtype, shape):
    rng, order = np.random.default_rng(3), random.Random(3)
    block = rng.integers(0, 200, shape).astype(dtype)
    side = piece_side(dtype, len(block))
    cuts = [
        [0, *sorted(order.sample(inner, len(inner) // 2)), size]
        for size in shape[1:]
        for inner in [range(side, size, side)]
    ]
    parts = [
        part_sum(block[:, top:bottom, left:right], top, left, shape[2])
        for top, bottom in zip(cuts[0], cuts[0][1:], strict=False)
        for left, right in zip(cuts[1], cuts[1][1:], strict=False)
    ]
    order.shuffle(parts)
    assert sum(parts) % 2**32 == checksum(block)
    assert checksum(np.asfortranarray(block)) == checksum(block)


def test_pieces_are_as_large_as_blocks():
    assert [piece_side("float32", bands) for bands in (1, 8, 12, 80)] == [512, 512, 256, 128]


def test_a_changed_pixel_and_changed_places_are_another_sum():
    block = np.random.default_rng(5).integers(0, 9, (2, 1024, 1024)).astype("uint8")
    changed, turned = block.copy(), np.concatenate([block[:, 512:], block[:, :512]], axis=1)
    changed[1, 1000, 7] += 1
    assert len({checksum(each) for each in (block, changed, turned)}) == 3


class World:
    """Parts of a COG, one tile of nodata among them, and what they become."""

    def __init__(self, folder: Path, tile: int = 1024, bands: int = 1, **options: str) -> None:
        names = tuple(OutputBand(f"b{k}") for k in range(bands))
        kind, dtype = ("labels", "uint32") if bands == 1 else ("continuous", "float32")
        spec = OutputSpec("out.tif", dtype, names, 0, kind, {"COMPRESS": "NONE", **options})
        self.geobox = GeoBox((1301, 2200), Affine(10, 0, 0, 0, -10, 0), "EPSG:32618")
        self.parts = PackedParts(folder / "parts", spec, (1301, 2200))
        self.final = folder / "final" / "out.tif"
        self.final.parent.mkdir(parents=True)
        self.values = np.random.default_rng(1).integers(1, 9, (bands, 1301, 2200)).astype(dtype)
        self.stored = []
        for place in TilePlan((1301, 2200), tile):
            window = (slice(None), *place.core.toslices())
            if place.index == 1:
                self.values[window] = 0
            else:
                self.stored.append((place, self.parts.save(place, self.values[window])))

    def assemble(self) -> None:
        """Make the COG."""
        self.parts.assemble(self.final, self.geobox, lambda: iter(self.stored), 2)

    def part(self) -> Path:
        """Give the file of the last part."""
        return self.parts.path(self.stored[-1][0].index)


@pytest.fixture
def world(tmp_path):
    """Give parts of four tiles or more."""
    return World(tmp_path)


def flip(path: Path, position: int) -> None:
    """Flip a byte of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


def structure(path: Path):
    """Read the first directory of a file."""
    with path.open("rb") as file:
        return read_directory(file)


@pytest.mark.parametrize(("tile", "bands"), [(512, 1), (1024, 1), (1536, 2), (768, 12)])
def test_what_was_stored_is_in_the_file_and_decoded_once(tmp_path, monkeypatch, tile, bands):
    world = World(tmp_path, tile, bands)
    monkeypatch.setattr(packed, "matches", lambda *_, **__: pytest.fail("decoded again"))
    world.assemble()
    with rasterio.open(world.final) as dataset:
        np.testing.assert_array_equal(dataset.read(), world.values)


def test_blocks_smaller_than_pieces_are_decoded_twice(tmp_path, monkeypatch):
    """Windows of theirs would cut pieces."""
    world, called = World(tmp_path, BLOCKSIZE="256"), []
    matches = packed.matches
    monkeypatch.setattr(packed, "matches", lambda *a, **k: called.append(1) or matches(*a, **k))
    world.assemble()
    assert called
    flip(world.part(), structure(world.part()).first)
    with pytest.raises(OSError, match=DIFFER):
        world.assemble()


def test_a_part_that_changed_before_is_noticed(world):
    flip(world.part(), structure(world.part()).first + 8)
    with pytest.raises(OSError, match=DIFFER):
        world.assemble()


def test_a_part_that_changes_after_it_was_decoded_is_noticed(world, monkeypatch):
    fill = packed.fill_overviews

    def then_flip(*given):
        fill(*given)
        flip(world.part(), structure(world.part()).first + 8)

    monkeypatch.setattr(packed, "fill_overviews", then_flip)
    with pytest.raises(OSError, match=DIFFER):
        world.assemble()


@pytest.mark.parametrize(("tile", "other"), [(1, 0), (0, -1)])
def test_a_part_of_another_tile_is_noticed(tmp_path, tile, other):
    """Of a tile of the same size, and of one of another."""
    world = World(tmp_path, tile=512)
    first, second = (world.parts.path(world.stored[k][0].index) for k in (tile, other))
    first.write_bytes(second.read_bytes())
    with pytest.raises(OSError, match=DIFFER):
        world.assemble()


def pixel(directory):
    """A pixel of the last block."""
    return int(directory.offsets[-1]) + 8


def leader(directory):
    """The size before a block."""
    return int(directory.offsets[0]) - 4


def trailer(directory):
    """The last bytes of a block, after it."""
    return int(directory.offsets[0] + directory.sizes[0])


def offset(directory):
    """Where a block is said to begin."""
    return directory.table[0] + 1


@pytest.mark.parametrize("where", [pixel, leader, trailer, offset])
def test_a_byte_that_changes_in_the_file_is_noticed(world, monkeypatch, where):
    damaged(world, monkeypatch, lambda path: flip(path, where(structure(path))))


@pytest.mark.parametrize(("tag", "bands"), [(317, 2), (339, 1), (256, 1)])
def test_a_directory_that_says_otherwise_is_noticed(tmp_path, monkeypatch, tag, bands):
    """Of the predictor, the kind of samples, the width of the raster: GDAL reads on."""
    world = World(tmp_path, bands=bands, COMPRESS="DEFLATE", PREDICTOR="STANDARD")

    def change(path):
        data = bytearray(path.read_bytes())
        begin = structure(path).position
        count = struct.unpack_from("<H", data, begin)[0]
        entries = range(begin + 2, begin + 2 + 12 * count, 12)
        (entry,) = (k for k in entries if struct.unpack_from("<H", data, k)[0] == tag)
        data[entry + 8] ^= 3
        path.write_bytes(data)

    damaged(world, monkeypatch, change)


def test_blocks_that_changed_places_are_noticed(world, monkeypatch):
    def swap(path):
        place, dtype = structure(path).table
        size, data = np.dtype(dtype).itemsize, path.read_bytes()
        first, second = data[place : place + size], data[place + size : place + 2 * size]
        path.write_bytes(data[:place] + second + first + data[place + 2 * size :])

    damaged(world, monkeypatch, swap)


def test_an_overview_that_is_missing_is_noticed(world, monkeypatch):
    def cut(path):
        data = bytearray(path.read_bytes())
        begin = structure(path).position
        count = struct.unpack_from("<H", data, begin)[0]
        struct.pack_into("<I", data, begin + 2 + 12 * count, 0)
        path.write_bytes(data)

    damaged(world, monkeypatch, cut)


def damaged(world, monkeypatch, change):
    """Change the file after it was put together, before it is looked at."""
    complete = packed.complete

    def first(spec, final, same, crs):
        change(final)
        complete(spec, final, same, crs)

    monkeypatch.setattr(packed, "complete", first)
    with pytest.raises(OSError, match=DIFFER):
        world.assemble()
