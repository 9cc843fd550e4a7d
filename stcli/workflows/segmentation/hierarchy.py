"""``segment`` with what follows from it: merged levels, and the table of objects."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stcli.errors import UsageError
from stcli.raster.writing.draft import drafts, put, refuse_file
from stcli.raster.writing.hidden import STAGED, hidden_home, is_marked
from stcli.raster.writing.output import STDOUT
from stcli.settings import MergeSettings, ObjectSettings, RunSettings, SlicSettings
from stcli.workflows.job import Inputs, Output, Progress, refuse_clash, silent
from stcli.workflows.segmentation.given import Given
from stcli.workflows.segmentation.labels import open_label_raster
from stcli.workflows.segmentation.levels import merge_segments
from stcli.workflows.segmentation.objects import Segments, Tables, check_tables, write_objects
from stcli.workflows.segmentation.rehearsal import compile_measuring
from stcli.workflows.segmentation.segment import segment
from stcli.workflows.segmentation.staged import staged


@dataclass(frozen=True)
class Segmentation:
    """What came out: segments, objects a level, and how it ran."""

    output: str
    segments: int
    objects: tuple[int, ...]
    run: dict[str, Any]


def segment_objects(
    inputs: Inputs,
    path: str,
    settings: tuple[SlicSettings, RunSettings, Given],
    wanted: tuple[MergeSettings | None, tuple[str | None, str | None], ObjectSettings],
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Segmentation:
    """Segment a raster, merge the segments, and write the objects.

    Nothing appears under its name before all of it is done. Segments are kept through a kill;
    merging and measuring, which look at all of them, begin anew.

    Parameters
    ----------
    settings : (slic, run, given)
        How to segment, as in `stcli.workflows.segmentation.segment.segment`.
    wanted : (merge, (objects, borders), object settings)
        Levels to merge into, or None for the segments themselves; tables of the objects of the
        first level and of their borders, or None; what to write of each object.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    refuse_parts(path, output)
    (slic, run, given), (merging, (objects, borders), described) = settings, wanted
    tables = Tables(objects, borders) if objects is not None else None
    paths = (path, *(tables.paths if tables else ()))
    refuse_clash(inputs.paths, paths)
    if tables is not None:
        check_tables(tables, described)
    mine = all(is_marked(hidden_home(Path(path)) / STAGED, Path(each)) for each in paths)
    overwrite = output.overwrite or mine
    for each in paths:
        refuse_file(each, overwrite)
    with staged(path, output.resume) as place:
        first, labels = place / "segments.tif", place / "levels.tif"
        kept = replace(output, keep=True, overwrite=True)
        if merging is not None:
            kept = replace(kept, driver="GTiff", creation_options={})  # read once, then removed
        done = segment(inputs, str(first), slic, run, given=given, output=kept, progress=progress)
        levels: tuple[int, ...] = ()
        if merging is not None:
            merged = replace(output, overwrite=True)
            levels = _merge(inputs, (first, labels), (merging, run), merged, progress)
        else:
            labels = first
        with drafts(paths, overwrite, place) as hidden:
            if tables is not None:
                made, places = Segments(str(labels), inputs, shown=path), (tables, hidden[1:])
                write_objects(made, places, described, run, output, progress)
            put(labels, hidden[0])
    ran = {**done.run, "seconds": round(time.perf_counter() - begun, 3)}
    return Segmentation(path, done.segments, levels, ran)


def refuse_parts(path: str, output: Output) -> None:
    """Refuse an output that is not one file on a disk: objects are read from it.

    Raises
    ------
    UsageError
    """
    if path in STDOUT:
        raise UsageError("--scale and --objects: the labels are wanted in a file, not on stdout.")
    if output.shard is not None:
        raise UsageError("--shard: not with --scale or --objects, which look at all tiles at once.")
    if output.driver == "Zarr":
        raise UsageError("--of Zarr: not with --scale or --objects, COG or GTiff is wanted.")


def _merge(
    inputs: Inputs,
    paths: tuple[Path, Path],
    settings: tuple[MergeSettings, RunSettings],
    output: Output,
    progress: Progress,
) -> tuple[int, ...]:
    with open_label_raster(str(paths[0])) as raster, inputs.open() as scene:
        compile_measuring(raster, scene, progress, merging=True)
        done = merge_segments(raster, scene, str(paths[1]), settings, output, progress)
    return done.objects
