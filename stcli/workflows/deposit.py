"""One output on its way: its folder, its lock, its journal, its parts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from odc.geo.geobox import GeoBox

from stcli.engine.journal import Header, Journal, read_header, write_header
from stcli.engine.tiling import Tile, TilePlan
from stcli.errors import UsageError
from stcli.lock import Lock
from stcli.raster.writing.draft import NO_DRAFTS, Drafts
from stcli.raster.writing.folder import Folder
from stcli.raster.writing.output import STDOUT, OutputSpec, block_side, describe, packing
from stcli.raster.writing.packed import PackedParts
from stcli.raster.writing.parts import Parts
from stcli.raster.writing.publish import refuse_name, reported
from stcli.raster.writing.stream import streamable
from stcli.raster.writing.zarrlayout import refuse_rotated, zarr_options
from stcli.raster.writing.zarrstore import ZarrFromParts, ZarrStore

logger = logging.getLogger("stcli")

#: Turns parts into such that end in another form.
Form = Callable[[Parts], Parts]


class Deposit:
    """Takes the finished tiles of one output, and knows those of an earlier run.

    Parameters
    ----------
    spec : OutputSpec
    geobox : GeoBox
        Grid of the output.
    shard : (int, int) or None
        Which shard of how many; a shard ends as a directory of parts beside the output.
    form : callable, optional
        Turns parts into such that end in another form than the specification says.

    Attributes
    ----------
    kept : Header or None
        The job that an earlier run left.

    Raises
    ------
    UsageError
        The name is that of another format.
    OutputError
        The output cannot be written, or another run is writing it.
    """

    def __init__(
        self,
        spec: OutputSpec,
        geobox: GeoBox,
        shard: tuple[int, int] | None = None,
        form: Form | None = None,
    ) -> None:
        spec = streamable(spec)
        if form is None:  # a shard's too: it is the name of what the shards become
            refuse_name(spec.path, spec.driver)
        self.spec, self.geobox, self.shard, self.form = spec, geobox, shard, form
        self.shape = int(geobox.shape[0]), int(geobox.shape[1])
        path = spec.path if shard is None else shard_path(spec.path, shard)
        if spec.driver == "Zarr":
            zarr_options(spec)
            refuse_rotated(spec, geobox)
        self.folder = Folder(replace(spec, path=path), shard is not None)
        self.lock = Lock(self.folder.lock, path)
        self.kept = read_header(self.folder.job)
        self.parts = Parts(self.folder.job / "parts", spec, self.shape)
        self._finished = self.folder.final
        self.journal: Journal | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What of the output's specification is in its parts."""
        spec = self.spec
        found = {"dtype": spec.dtype, "bands": len(spec.bands), "nodata": spec.nodata}
        if (packed := packing(spec)) is not None:
            found["packing"] = packed
        in_place = spec.driver == "Zarr" and self.shard is None
        return found | ({"zarr": zarr_options(spec)} if in_place else {})

    @property
    def chunk(self) -> int:
        """Pixels whose multiples tiles are best cut at."""
        if self.spec.driver == "Zarr":
            return int(zarr_options(self.spec)["side"])
        return block_side(self.spec) or 1

    def tag(self, tags: dict[str, str]) -> None:
        """Add tags to the output; before `begin`."""
        self.spec = replace(self.spec, tags=self.spec.tags | tags)
        self.parts.spec = self.spec

    def begin(self, header: Header) -> Journal:
        """Open the journal; tiles of another job are dropped first, and that is said."""
        if self.kept is not None and not self.kept.same_tiles(header):
            logger.warning(
                "%s: finished tiles of another job (other input, settings, tiles or version) "
                "are dropped",
                self.spec.path,
            )
            self.kept = None
        with reported(self.spec, self.shape):
            if self.kept is None:
                self.folder.empty()
            self.folder.tidy()
            self.parts = parts_of(self.parts, header.plan, self.shard is not None)
            if self.form is not None:
                self.parts = self.form(self.parts)
            self.parts.prepare(self.geobox)
            write_header(self.folder.job, replace(header, about=describe(self.spec, self.geobox)))
            self.journal = Journal(self.folder.job, header)
        return self.journal

    def note(self, tile: Tile, checksum: int | None, note: list[Any] | None = None) -> None:
        """Journal a finished tile."""
        if self.journal is not None:
            with reported(self.spec, self.shape):
                self.journal.add(tile.index, checksum, note)

    def finish(self, threads: int) -> None:
        """Make the finished file of the parts; with a shard the parts are all there is."""
        with reported(self.spec, self.shape):
            if self.shard is not None:
                self._finished = self.folder.flush_job()
            else:
                final = self.folder.final
                self._finished = self.parts.assemble(final, self.geobox, self._stored, threads)

    def _stored(self) -> Iterator[tuple[Tile, int]]:
        """Tiles that have a part, with the checksums of their pixels."""
        if self.journal is not None:
            for tile in self.journal.finished():
                known = self.journal.checksum(tile.index)
                if known is not None:
                    yield tile, known

    def publish(self, beside: Drafts = NO_DRAFTS) -> None:
        """Put the output under its name, and first what is beside it; see `Folder.publish`."""
        with reported(self.spec, self.shape):
            self.folder.publish(self._finished, beside)

    def close(self, keep: bool) -> None:
        """Let go of the output; what a later run may continue stays if `keep`."""
        if self.journal is not None:
            self.journal.close()
        keep = keep and self.folder.lasting
        if not keep:
            self.folder.remove()
        self.lock.release(remove=not keep)


def shard_path(path: str, shard: tuple[int, int]) -> str:
    """Directory of a shard's parts: ``NAME.shard-2-of-8``.

    Raises
    ------
    UsageError
        The output is stdout.
    """
    if path in STDOUT:
        raise UsageError("--shard: parts cannot go to stdout, name a file.")
    return f"{path}.shard-{shard[0]}-of-{shard[1]}"


def parts_of(parts: Parts, plan: TilePlan, shard: bool = False) -> Parts:
    """Choose how tiles are stored: as the output is, where each of its blocks is of one tile."""
    spec = parts.spec
    if spec.driver == "Zarr":
        if shard:
            return parts
        kind = ZarrStore if meets(plan, zarr_options(spec)["side"]) else ZarrFromParts
        return kind(parts.folder, spec, parts.shape)
    side = block_side(spec)
    if side is None or not meets(plan, side):
        return parts
    return PackedParts(parts.folder, spec, parts.shape, parts.shards)


def meets(plan: TilePlan, side: int) -> bool:
    """Tell whether all tiles are cut at multiples of `side` pixels from the raster's corner."""
    rows, cols = plan.grid
    second = [plan[min(cols, len(plan) - 1)].core.row_off, plan[min(1, cols - 1)].core.col_off]
    inner = all(start % side == 0 for start in second)
    return inner and (max(rows, cols) <= 2 or plan.tile_size % side == 0)
