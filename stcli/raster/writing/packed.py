"""Parts that are packed as the output is: the finished file takes their blocks as they are."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox

from stcli.raster.writing.finish import Matches, complete
from stcli.raster.writing.output import block_side, grid, packed_profile
from stcli.raster.writing.overviews import fill_overviews
from stcli.raster.writing.parts import Parts, Placed, Stored, matches
from stcli.raster.writing.proof import Proof, provable
from stcli.raster.writing.tiff import Directory, read_directory
from stcli.raster.writing.tiffblocks import PackedTiff


class PackedParts(Parts):
    """Parts of a GeoTIFF, a COG too, whose tiles are all cut at multiples of its blocks."""

    def profile(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Pack a tile's pixels as the output's blocks are."""
        return packed_profile(self.spec, shape)

    def assemble(self, final: Path, geobox: GeoBox, stored: Stored, threads: int) -> Path:
        """Line the parts' blocks up in the finished file; see `Parts.assemble`."""
        same: Matches = functools.partial(matches, tiles=stored, threads=threads)
        place = grid(self.spec, geobox)
        with PackedTiff(final, self.spec, place) as target:
            if len(target.levels) > 1:
                whole = self.mosaic(final.parent, geobox, (tile for tile, _ in stored()))
                see = None
                if provable(self.spec):
                    proof = Proof(self, target.levels, stored())
                    see, same = proof.see, proof.same
                fill_overviews(whole, target, threads, see)
            tiles = (tile for tile, _ in stored())
            for _, row in itertools.groupby(tiles, key=lambda tile: int(tile.core.row_off)):
                self._line_up(target, list(row))
        complete(self.spec, final, same, place["crs"])
        return final

    def _line_up(self, target: PackedTiff, row: Sequence[Placed]) -> None:
        """Append the blocks of a row of tiles, one row of blocks after the other."""
        side = block_side(self.spec) or 1
        down = -(-int(row[0].core.height) // side)
        top = int(row[0].core.row_off) // side
        directories = [self._directory(tile) for tile in row]
        for k in range(down):
            for tile, directory in zip(row, directories, strict=True):
                across = -(-directory.width // side)
                first = (top + k) * target.across + int(tile.core.col_off) // side
                with self.path(tile.index).open("rb") as file:
                    blocks = slice(k * across, (k + 1) * across)
                    target.put(first, file.fileno(), directory, blocks)

    def _directory(self, tile: Placed) -> Directory:
        with self.path(tile.index).open("rb") as file:
            return read_directory(file)
