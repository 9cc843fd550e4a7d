"""Check that a GeoTIFF is cloud optimised: its directories first, overviews before what they show.

A reader over a network fetches the front of the file once and then only the blocks it wants. So
all directories must stand at the front in order of falling size, the blocks of the smallest
overview must come first and those of the full resolution last, and blocks must be tiles. The
rules are those of GDAL's page "Cloud Optimized GeoTIFF" and of its two usual validators; where
GDAL's structural metadata promise more (blocks in row order, each between its size and a
repetition of its last four bytes), the promise is checked too.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from stcli.checks.findings import Checked, Findings
from stcli.raster.reading.stdin import readable
from stcli.raster.writing.tiff import Directory, Tiff, read_tiff

#: Sides up to this need no tiles and no overviews, in pixels.
_SMALL = 512
#: Strips up to this width are tolerated, in pixels: GDAL's validator sets it.
_STRIP = 1024
#: Blocks whose leader and trailer are read, of one directory; spread evenly.
_SAMPLE = 4096


def check_cog(path: str) -> Checked:
    """Check a file.

    Parameters
    ----------
    path : str
        A local file, or stdin.

    Returns
    -------
    Checked
        Figures: the directories with size, block and positions, from the full resolution down.

    Raises
    ------
    InputError
        It is no TIFF.
    """
    tiff, found = read_tiff(path), Findings()
    main, *rest = [d for d in tiff.directories if not d.mask]
    overviews = [d for d in rest if d.reduced]
    levels = [main, *overviews]
    found.error(Path(f"{path}.ovr").exists(), "overviews lie in an .ovr file, not inside")
    edited = "KNOWN_INCOMPATIBLE_EDITION=YES" in tiff.ghost
    found.error(edited, "it was a COG and was changed in place since")
    _front(tiff, found)
    _sizes(main, overviews, found)
    _order(levels, found)
    for number, level in enumerate(levels):
        _blocks(path, tiff, level, _name(number), found)
    return found.of(path, levels=[_figures(level) for level in levels])


def _name(number: int) -> str:
    return f"overview {number}" if number else "the full resolution"


def _front(tiff: Tiff, found: Findings) -> None:
    first = tiff.directories[0].position
    found.error(
        first not in (8, 16, tiff.front),
        f"the first directory is at byte {first}, it belongs at the front, at byte {tiff.front}",
    )


def _sizes(main: Directory, overviews: list[Directory], found: Findings) -> None:
    large = max(main.width, main.height) > _SMALL
    found.warning(large and not overviews, f"it has no overviews and a side above {_SMALL} pixels")
    for number, level in enumerate((main, *overviews)):
        stripped = not level.tiled or level.block[0] == level.width
        wide = stripped and level.width > _STRIP and (number > 0 or large)
        found.error(wide, f"{_name(number)} is not tiled")
        narrow = not level.tiled and large and not wide and number == 0
        found.warning(narrow, f"{_name(number)} is in strips, tiles are wanted")
    for number, (finer, coarser) in enumerate(pairwise((main, *overviews)), start=1):
        grows = coarser.width > finer.width or coarser.height > finer.height
        found.error(grows, f"{_name(number)} is larger than {_name(number - 1)}")


def _order(levels: list[Directory], found: Findings) -> None:
    for number, (finer, coarser) in enumerate(pairwise(levels), start=1):
        found.error(
            coarser.position < finer.position,
            f"the directory of {_name(number)} (byte {coarser.position}) stands before that of "
            f"{_name(number - 1)} (byte {finer.position})",
        )
        found.error(
            0 < finer.first < coarser.first,
            f"the blocks of {_name(number - 1)} (byte {finer.first}) stand before those of "
            f"{_name(number)} (byte {coarser.first})",
        )
    last = levels[-1]
    found.error(
        0 < last.first < last.position,
        f"the blocks of {_name(len(levels) - 1)} stand before its directory",
    )


def _blocks(path: str, tiff: Tiff, level: Directory, name: str, found: Findings) -> None:
    """Check what GDAL's structural metadata promise of the blocks."""
    written = np.flatnonzero(level.offsets)
    offsets, sizes = level.offsets[written], level.sizes[written]
    if "BLOCK_ORDER=ROW_MAJOR" in tiff.ghost:
        found.error(bool((np.diff(offsets.astype(np.int64)) < 0).any()), f"{name}: blocks jump")
    ends = int((offsets + sizes).max(initial=0))
    total = Path(readable(path)).stat().st_size
    found.error(ends > total, f"{name}: blocks end at byte {ends}, the file at {total}")
    leader = "BLOCK_LEADER=SIZE_AS_UINT4" in tiff.ghost
    trailer = "BLOCK_TRAILER=LAST_4_BYTES_REPEATED" in tiff.ghost
    if ends > total or not (leader or trailer):
        return
    step = max(1, len(offsets) // _SAMPLE)
    wrong = 0
    with Path(readable(path)).open("rb") as file:
        for offset, size in zip(offsets[::step].tolist(), sizes[::step].tolist(), strict=True):
            file.seek(offset - 4)
            before = file.read(4)
            file.seek(offset + size - min(4, size))
            after = file.read(min(4, size) + 4)
            wrong += leader and int.from_bytes(before, "little") != size
            wrong += trailer and size >= 4 and after[:4] != after[4:]
    found.error(wrong > 0, f"{name}: {wrong} blocks do not stand as its structural metadata say")


def _figures(level: Directory) -> dict[str, object]:
    return {
        "width": level.width,
        "height": level.height,
        "block": list(level.block),
        "tiled": level.tiled,
        "directory": level.position,
        "first_block": level.first,
    }
