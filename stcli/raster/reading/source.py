"""One opened file, as the stack sees it: plain facts, and a way to read a window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from stcli.raster.info import KEPT, BandInfo, Held
from stcli.raster.reading.stdin import on_stdin

#: What can make a pixel valid, strongest first.
RULES = ("mask", "nodata", "assumed", "alpha", "nan", "all")


@dataclass(frozen=True)
class SourceInfo:
    """What one file declares, all of its bands included.

    Attributes
    ----------
    path, driver, geobox, tags
        As in ``RasterInfo``.
    bands : tuple of BandInfo
        Every band, alpha too.
    rules : tuple of str
        For each band, the one of ``RULES`` that its valid mask comes from.
    default : tuple of int
        1-based numbers of the bands that are read when none is named.
    times : tuple of str
        For each band its ISO time, ``''`` where it has none.
    tiles : int
        Side in pixels of the square tiles that the file is made of; 0 for any other layout.
    rows : int
        Rows of the blocks, tiles or strips, that the file is made of; 0 where that is not known.
    held : Held
        What reading it holds.
    """

    path: str
    driver: str
    geobox: GeoBox
    bands: tuple[BandInfo, ...]
    rules: tuple[str, ...]
    default: tuple[int, ...]
    times: tuple[str, ...]
    tags: dict[str, str] = field(default_factory=dict)
    tiles: int = 0
    rows: int = 0
    held: Held = field(default_factory=Held)

    @property
    def alpha(self) -> int:
        """1-based number of the band that is alpha and no data, the first of several; else 0."""
        others = (i for i in range(1, len(self.bands) + 1) if i not in self.default)
        return next(others, 0)


class Source(Protocol):
    """A file that can be read by windows, from several threads, and pickled."""

    @property
    def info(self) -> SourceInfo:
        """What the file declares."""

    def read(
        self, window: Window, indexes: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands by 1-based numbers: block (band, row, col), unpacked, and valid (row, col).

        Values of invalid pixels are whatever the file holds.
        """

    def close(self) -> None:
        """Let go of the file; a later read opens it anew."""


@runtime_checkable
class Apart(Protocol):
    """A source that gives a valid mask for each band as fast as one for all."""

    def read_each(
        self, window: Window, indexes: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands as `Source.read`, with valid (band, row, col)."""


@runtime_checkable
class Keeping(Protocol):
    """A source of variables made of chunks, which it keeps."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Name each band's variable."""

    def keep(self, size: int) -> None:
        """Keep so many bytes of the chunks of each variable."""


def share_out(files: Iterable[tuple[Source, tuple[int, ...]]]) -> None:
    """Share out among the variables of files what is kept of their chunks.

    Parameters
    ----------
    files : iterable of (Source, tuple of int)
        Each with the 1-based numbers of the bands that will be read.
    """
    keeping = [(source, indexes) for source, indexes in files if isinstance(source, Keeping)]
    count = sum(len({source.variables[i - 1] for i in indexes}) for source, indexes in keeping)
    for source, _ in keeping:
        source.keep(KEPT // count)


def read_apart(
    source: Source, window: Window, indexes: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read bands with a valid mask each: block (band, row, col), valid (band, row, col)."""
    if isinstance(source, Apart):
        return source.read_each(window, indexes)
    dtype = np.result_type(*(source.info.bands[i - 1].block_dtype for i in indexes))
    block = np.empty((len(indexes), window.height, window.width), dtype)
    valid = np.empty(block.shape, bool)
    for k, index in enumerate(indexes):
        part, valid[k] = source.read(window, (index,))
        block[k] = part[0]
    return block, valid


def stem(path: str) -> str:
    """Name a file's bands after it where it does not name them; ``stdin`` for stdin."""
    return "stdin" if on_stdin(path) else Path(path).stem


def from_anywhere(path: str) -> str:
    """Name a file so that a process which stands in another directory finds it, too."""
    return str(Path(path).absolute()) if Path(path).exists() else path


def unpack(stored: NDArray[Any], band: BandInfo) -> NDArray[Any]:
    """Turn stored values (band, row, col) into units: float32(stored * scale + offset)."""
    if not band.packed:
        return stored
    values: NDArray[np.float64] = stored.astype(np.float64)
    values *= band.scale
    values += band.offset
    with np.errstate(over="ignore", invalid="ignore"):  # a nodata sentinel may overflow
        return values.astype(np.float32)
