"""One output on its way: its folder, its lock, its journal, its parts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from odc.geo.geobox import GeoBox

from stcli.engine.journal import Header, Journal, read_header, write_header
from stcli.engine.lock import Lock
from stcli.engine.tiling import Tile
from stcli.errors import UsageError
from stcli.raster.folder import Folder
from stcli.raster.output import STDOUT, OutputSpec, describe
from stcli.raster.parts import Parts
from stcli.raster.publish import reported

logger = logging.getLogger("stcli")


class Deposit:
    """Takes the finished tiles of one output, and knows those of an earlier run.

    Parameters
    ----------
    spec : OutputSpec
    geobox : GeoBox
        Grid of the output.
    shard : (int, int) or None
        Which shard of how many; a shard ends as a directory of parts beside the output.

    Attributes
    ----------
    kept : Header or None
        The job that an earlier run left.

    Raises
    ------
    OutputError
        The output cannot be written, or another run is writing it.
    """

    def __init__(
        self, spec: OutputSpec, geobox: GeoBox, shard: tuple[int, int] | None = None
    ) -> None:
        self.spec, self.geobox, self.shard = spec, geobox, shard
        self.shape = int(geobox.shape[0]), int(geobox.shape[1])
        path = spec.path if shard is None else shard_path(spec.path, shard)
        if shard is not None and spec.path in STDOUT:
            raise UsageError("--shard: parts cannot go to stdout, name a file.")
        self.folder = Folder(replace(spec, path=path))
        self.lock = Lock(self.folder.lock, path)
        self.kept = read_header(self.folder.job)
        self.parts = Parts(self.folder.job / "parts", spec, self.shape)
        self.journal: Journal | None = None

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
            write_header(self.folder.job, replace(header, about=describe(self.spec, self.geobox)))
            self.journal = Journal(self.folder.job, header)
        return self.journal

    def note(self, tile: Tile, checksum: int | None) -> None:
        """Journal a finished tile."""
        if self.journal is not None:
            with reported(self.spec, self.shape):
                self.journal.add(tile.index, checksum)

    def finish(self, threads: int) -> None:
        """Make the finished file of the parts; with a shard the parts are all there is."""
        if self.journal is None or self.shard is not None:
            return
        with reported(self.spec, self.shape):
            self.parts.assemble(self.folder.final, self.geobox, self._stored, threads)

    def _stored(self) -> Iterator[tuple[Tile, int]]:
        """Tiles that have a part, with the checksums of their pixels."""
        if self.journal is not None:
            for tile in self.journal.finished():
                known = self.journal.checksum(tile.index)
                if known is not None:
                    yield tile, known

    def publish(self) -> None:
        """Put the output under its name."""
        with reported(self.spec, self.shape):
            if self.shard is None:
                self.folder.publish()
            else:
                self.folder.publish_job()

    def close(self, keep: bool) -> None:
        """Let go of the output; what a later run may continue stays if `keep`."""
        if self.journal is not None:
            self.journal.close()
        keep = keep and self.folder.lasting
        if not keep:
            self.folder.remove()
        self.lock.release(remove=not keep)


def shard_path(path: str, shard: tuple[int, int]) -> str:
    """Directory of a shard's parts: ``NAME.shard-2-of-8``."""
    return f"{path}.shard-{shard[0]}-of-{shard[1]}"
