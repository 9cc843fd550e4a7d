"""What workers in other processes import: sources and block functions that can be pickled."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.windows import Window
from scipy.ndimage import maximum_filter, minimum_filter
from tblib.pickling_support import install

from stcli.engine.run import Job, Workers, run
from stcli.engine.tiling import Tile, TilePlan
from stcli.errors import InputError

KINDS = ("serial", "threads", "processes", "cluster")


@dataclass(frozen=True)
class Made:
    """A source whose pixels follow from their place: nothing to send, nothing to open."""

    shape: tuple[int, int]
    holes: bool = True

    def read(self, window):
        rows, cols = np.mgrid[window.toslices()]
        values = (rows * 7919 + cols * 104_729) % 1009
        valid = (values % 11 > 0) | (not self.holes)
        if self.holes:
            valid &= ~((rows > self.shape[0] // 3) & (cols < self.shape[1] // 2))
        return np.where(valid, values, 0)[None], valid


@dataclass(frozen=True)
class Reach:
    """A function of the whole halo, edges and holes included."""

    halo: int

    def __call__(self, block, valid, where: Tile):
        size = 2 * self.halo + 1
        high = maximum_filter(np.where(valid, block[0], -1), size, mode="constant", cval=-1)
        low = minimum_filter(np.where(valid, block[0], 9999), size, mode="constant", cval=9999)
        return (high * 10_000 + low)[where.trim]


@dataclass(frozen=True)
class ReachByStrips:
    """`Reach` of a few rows after the other, each read by itself, in memory that is used again."""

    halo: int
    rows: int

    def strips(self, source, where: Tile):
        core, width = where.core, where.core.width
        room = np.empty((1, self.rows, width), np.int64)
        for top in range(0, core.height, self.rows):
            some = min(self.rows, core.height - top)
            first = max(core.row_off + top - self.halo, where.read.row_off)
            last = min(
                core.row_off + top + some + self.halo, where.read.row_off + where.read.height
            )
            block, valid = source.read(
                Window(where.read.col_off, first, where.read.width, last - first)
            )
            rows = slice(core.row_off + top - first, core.row_off + top - first + some)
            part = Tile(where.index, core, where.read, (rows, where.trim[1]), where.lattice)
            room[0, :some] = Reach(self.halo)(block, valid, part)
            yield room[:, :some], bool(valid[part.trim].any())


@dataclass(frozen=True)
class Stuck:
    """A function that does its first tile and is lost in the next, deaf to all but SIGKILL."""

    def __call__(self, block, valid, where: Tile):
        if where.index:
            time.sleep(2)  # the first tile's answer leaves the process
            re.match("(a+)+$", "a" * 34 + "b")  # hours, and no other thread has a turn
        return block


@dataclass(frozen=True)
class Kept:
    """A store: a file a tile; the answer is what the tile sums to."""

    folder: Path

    def __call__(self, tile: Tile, result):
        if isinstance(result, list):  # strips that were joined where they were made
            result = result[0][0]
        draft = self.folder / f"{tile.index}.{os.getpid()}.tmp"
        draft.write_bytes(result.astype("int64").tobytes())
        draft.replace(self.folder / str(tile.index))
        return int(result.sum())

    def strips(self, tile: Tile, strips):
        found = [(block.copy(), some) for block, some in strips]
        if not any(some for _, some in found):
            return None
        return self(tile, np.concatenate([block for block, _ in found], axis=1)[0])


@dataclass(frozen=True)
class Deadly:
    """Kills the process that works on some tiles: once each, or always."""

    folder: Path
    tiles: tuple[int, ...]
    always: bool = False

    def __call__(self, block, valid, where: Tile):
        if where.index in self.tiles:
            token = self.folder / f"died-{where.index}"
            if self.always or not token.exists():
                token.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return where.index


@dataclass(frozen=True)
class Slow:
    """Takes its time."""

    seconds: float

    def __call__(self, block, valid, where: Tile):
        time.sleep(self.seconds)
        return where.index


@dataclass(frozen=True)
class Bad:
    """Fails on one tile."""

    def __call__(self, block, valid, where: Tile):
        if where.index == 5:
            raise ValueError("tile 5")
        return where.index


class Caused:
    """Refuses an input for a reason that no pickle takes."""

    def __call__(self, block, valid, where: Tile):
        install()  # as dask does: causes are pickled, too
        try:
            raise UnpicklableError
        except UnpicklableError as error:
            raise InputError("in.tif: cannot be read") from error


class UnpicklableError(Exception):
    """Has arguments that none can set, as errors of GDAL have."""

    @property
    def args(self):
        return ("of its own",)


def painted(kind: str, plan: TilePlan, halo: int, address: str = "local", jobs: int = 2):
    """Paint what `Reach` finds; count how often each pixel was answered for."""
    result, seen = np.full(plan.shape, -5), np.zeros(plan.shape, int)

    def sink(tile, part):
        at = tile.core.toslices()
        seen[at] += 1
        if part is not None:
            result[at] = part

    tally = run(Job(plan, Made(plan.shape), Reach(halo), sink), Workers(kind, jobs, address))
    return result, seen, tally
