"""``merge``: the shards of one job, or rasters on one grid, into one output."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox

from stcli.engine.journal import Header, Journal, read_header
from stcli.engine.memory import threads_of
from stcli.engine.tiling import TilePlan
from stcli.errors import InputError, OutputError
from stcli.raster.writing.netcdf_write import CubeWriter, create_cube
from stcli.raster.writing.output import OutputSpec, described, packing
from stcli.raster.writing.parts import Parts
from stcli.raster.writing.zarrstore import ZarrFromParts
from stcli.settings import RunSettings
from stcli.workflows.deposit import Deposit, parts_of, shard_path
from stcli.workflows.files.merge_cube import cube_of
from stcli.workflows.files.mosaic import mosaic
from stcli.workflows.job import Output, Progress, refuse_clash, silent


@dataclass(frozen=True)
class Merged:
    """What came out, of how many parts."""

    output: str
    parts: int
    run: dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """A finished shard on the disk."""

    path: str
    header: Header
    journal: Journal
    parts: Parts


def merge(
    paths: Sequence[str],
    target: str,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Merged:
    """Join shards into the output that the whole job would have written, or lay rasters out.

    Parameters
    ----------
    paths : sequence of str
        The directories that `--shard` left, in any order; or rasters of one grid, a Zarr among
        them, of which the first named is on top.
    target : str
        The output; NetCDF, a variable a band, by its suffix.
    output : Output
        Its creation options are added to those that the shards were run with.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    refuse_clash(paths, (target,))
    cube = output.netcdf(target)
    if any(read_header(Path(path)) for path in paths):
        return _merge_shards(paths, target, settings, output, cube)
    count, run = mosaic(paths, target, settings, output=output, progress=progress)
    return Merged(target, count, run)


def _merge_shards(
    paths: Sequence[str], target: str, settings: RunSettings, output: Output, cube: bool
) -> Merged:
    begun = time.perf_counter()
    shards = open_shards(paths)
    try:
        spec, geobox = described(shards[0].header.about or {})
        spec = replace(
            spec,
            path=target,
            creation_options={**spec.creation_options, **output.creation_options},
            overwrite=output.overwrite,
            driver=output.driver,
            threads=threads_of(settings),
        )
        if cube:
            spec = replace(spec, creation_options={})
            with create_cube(cube_of(spec, output), geobox) as writer:
                _fill(shards, writer)
        else:
            _join(shards, spec, geobox)
    finally:
        for shard in shards:
            shard.journal.close()
    tiles = len(shards[0].header.plan)
    seconds = round(time.perf_counter() - begun, 3)
    return Merged(target, len(shards), {"tiles": tiles, "seconds": seconds})


def open_shards(paths: Sequence[str]) -> list[Shard]:
    """Open the shards of one job, all of them, and refuse anything else by name.

    Raises
    ------
    InputError
        One is no shard, is of another job, is unfinished, is there twice, or is missing.
    """
    found: dict[int, Shard] = {}
    for path in paths:
        shard = _open(path)
        first = next(iter(found.values()), shard)
        if replace(shard.header, shard=(1, 1), about=None) != replace(
            first.header, shard=(1, 1), about=None
        ) or (shard.header.shard[1] != first.header.shard[1]):
            raise InputError(
                f"{path}: is of another job than {first.path} (other input, settings, tiles or "
                "version); run the shards of one job with the same words"
            )
        number = shard.header.shard[0]
        if number in found:
            raise InputError(f"{path}: is shard {number}, as {found[number].path} is; name it once")
        found[number] = shard
    _refuse_missing(found)
    return [found[number] for number in sorted(found)]


def _open(path: str) -> Shard:
    header = read_header(Path(path))
    if header is None:
        raise InputError(f"{path}: is no directory that --shard left, one is wanted")
    journal = Journal(Path(path), header, readonly=True)
    if tile := next(journal.remaining(), None):
        raise InputError(f"{path}: tile {tile.index} is missing; run that shard again")
    spec, geobox = described(header.about or {})
    shape = int(geobox.shape[0]), int(geobox.shape[1])
    return Shard(path, header, journal, Parts(Path(path) / "parts", spec, shape))


def _refuse_missing(found: dict[int, Shard]) -> None:
    one = next(iter(found.values()))
    count = one.header.shard[1]
    missing = [number for number in range(1, count + 1) if number not in found]
    if missing:
        base = one.path.removesuffix(shard_path("", one.header.shard)).rstrip("/")
        names = ", ".join(shard_path(base, (number, count)) for number in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise InputError(
            f"{names}{more}: {len(missing)} of {count} shards are missing; run them with "
            "--shard, or name them here"
        )


def _join(shards: list[Shard], spec: OutputSpec, geobox: GeoBox) -> None:
    """Assemble the parts of all shards, where they lie, into one output."""
    deposit = Deposit(spec, geobox)
    deposit.kept = None
    try:
        header = replace(shards[0].header, shard=(1, 1))
        deposit.begin(header)
        for tile in header.plan:
            deposit.note(tile, shards[tile.index % len(shards)].journal.checksum(tile.index))
        deposit.parts = _where_they_lie(shards, deposit, header.plan)
        try:
            deposit.finish(spec.threads or 1)
        except OutputError:
            _refuse_damaged(shards)
            raise
        deposit.publish()
    finally:
        deposit.close(keep=False)


def _fill(shards: list[Shard], cube: CubeWriter) -> None:
    """Write the parts of all shards into a cube, whose other pixels are nodata.

    Raises
    ------
    InputError
        A part is damaged.
    """
    for tile in shards[0].header.plan:
        shard = shards[tile.index % len(shards)]
        known = shard.journal.checksum(tile.index)
        if known is None:
            continue
        block = shard.parts.load(tile, known)
        if block is None:
            raise _damaged(shard, tile.index)
        cube.write(tile.core, block)


def _where_they_lie(shards: list[Shard], deposit: Deposit, plan: TilePlan) -> Parts:
    """Parts of the shards as those of the output."""
    spec, folders = deposit.spec, tuple(shard.parts.folder for shard in shards)
    kind = ZarrFromParts if spec.driver == "Zarr" else Parts
    found = kind(deposit.parts.folder, spec, deposit.shape, folders)
    same = spec.driver != "Zarr" and packing(spec) == packing(shards[0].parts.spec)
    return parts_of(found, plan) if same else found


def _refuse_damaged(shards: list[Shard]) -> None:
    """Name a part that is not what its journal says, if there is one."""
    for shard in shards:
        for tile in shard.journal.finished():
            known = shard.journal.checksum(tile.index)
            if known is not None and shard.parts.load(tile, known) is None:
                raise _damaged(shard, tile.index)


def _damaged(shard: Shard, index: int) -> InputError:
    return InputError(
        f"{shard.path}: tile {index} is damaged; run that shard again with --overwrite"
    )
