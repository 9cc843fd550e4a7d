"""Merging: a raster of segments and a scene in; nested levels of objects, a band each, out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost, threads_of
from stcli.engine.tiling import Tile
from stcli.raster.ground import plain
from stcli.raster.reading.read import Raster
from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.raster.writing.write import create_raster
from stcli.segmentation.numbering import number
from stcli.segmentation.objects.adjacency import BORDERS_AN_OBJECT
from stcli.segmentation.objects.merge import Graph, graph_bytes, merge_levels
from stcli.segmentation.objects.shapes import ACROSS, DOWN, PIXELS
from stcli.settings import BandScaling, MergeSettings, RunSettings
from stcli.workflows.job import Output, Progress, fields, plan_pass, report
from stcli.workflows.passes import writing
from stcli.workflows.scaling import band_scaling
from stcli.workflows.segmentation.given import SCALING, Given
from stcli.workflows.segmentation.labels import list_labels
from stcli.workflows.segmentation.measure import Measured, Measures, measure

#: What a band's low and high become before merging: the scales of the field are those of 8 bits.
_WIDTH = 255.0
#: Tags of the segments that levels made of them keep.
_KEPT = ("STCLI_SLIC", SCALING)


@dataclass(frozen=True)
class Merged:
    """What came out: objects a level, and how it ran."""

    objects: tuple[int, ...]
    run: dict[str, Any]


def segment_graph(
    raster: Raster,
    scene: Raster,
    settings: RunSettings,
    progress: Progress,
    scaling: BandScaling | None = None,
) -> tuple[NDArray[np.int64], Graph]:
    """Measure the graph of a label raster's segments.

    Parameters
    ----------
    raster, scene : Raster
        One band of labels, and bands on the same grid.
    settings : RunSettings
    progress : Progress
    scaling : BandScaling, optional
        Of the scene's bands; measured by default.

    Returns
    -------
    labels : ndarray of int64 (segment,)
    graph : Graph

    Raises
    ------
    InputError, BudgetError
    """
    labels = list_labels(raster, settings, progress)
    scaling = scaling or band_scaling(scene, settings, progress)
    measures = Measures(plain(raster.info.shape[0]).weights, scene)
    more = graph_bytes(labels.size, BORDERS_AN_OBJECT * labels.size, scene.info.count)
    measured, _, _ = measure(raster, labels, measures, settings, progress, more)
    return labels, graph_of(measured, scaling)


def graph_of(measured: Measured, scaling: BandScaling) -> Graph:
    """Turn sums of segments, of plain pixels, into the graph that merges."""
    sums, count = measured.sums, measured.bands.count[:, None]
    factor = _WIDTH / (np.array(scaling.high) - np.array(scaling.low))
    means, deviations = measured.bands.moments()
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = deviations * (sums[:, PIXELS, None] / count)  # as if all pixels were valid
    pairs, lengths = measured.borders.table()
    return Graph(
        sums[:, PIXELS],
        sums[:, ACROSS] + sums[:, DOWN],
        measured.limits,
        (means - np.array(scaling.low)) * factor,
        spread * factor**2,
        pairs,
        lengths.sum(axis=1),
    )


def merge_segments(
    raster: Raster,
    scene: Raster,
    path: str,
    settings: tuple[MergeSettings, RunSettings],
    output: Output,
    progress: Progress,
) -> Merged:
    """Merge the segments of a label raster and write a band of labels a scale.

    Parameters
    ----------
    raster, scene : Raster
        One band of labels, which say the band scaling that made them, and bands on the same grid.
    path : str
        Label raster to write, of the same dtype. It keeps what the segments say of their making.

    Raises
    ------
    InputError, OutputError, BudgetError
    """
    begun = time.perf_counter()
    merging, running = settings
    scaling = Given(scaling=raster.info.path).band_scaling(scene.info)
    labels, graph = segment_graph(raster, scene, running, progress, scaling)
    levels = merge_levels(graph, merging)
    counts = tuple(int((level == np.arange(labels.size)).sum()) for level in levels)
    kept = {name: value for name, value in raster.info.tags.items() if name in _KEPT}
    spec = OutputSpec(
        path=path,
        dtype=raster.info.dtype.name,
        bands=tuple(OutputBand(f"scale {scale:g}") for scale in merging.scales),
        nodata=0,
        kind="labels",
        creation_options=output.creation_options,
        overwrite=output.overwrite,
        tags=output.tags(scene.info, merge=fields(merging)) | kept,
        driver=output.driver,
        threads=threads_of(running),
    )
    size = raster.info.dtype.itemsize
    once = labels.nbytes + levels.nbytes
    cost = writing(Cost(size + 1 + 4 + 8, 2 * len(levels) * size, once=once), (spec,))
    work = plan_pass(raster, cost, running)
    with create_raster(spec, raster.info.geobox) as writer:

        def sink(tile: Tile, block: NDArray[Any] | None) -> None:
            if block is not None:
                writer.write(tile.core, block)

        tally = work.run(_Relabel(labels, levels), sink, "merge", progress)
    return Merged(counts, report(work.budget, tally, time.perf_counter() - begun))


@dataclass(frozen=True)
class _Relabel:
    """The block function: the object's label at each level in place of the segment's."""

    labels: NDArray[np.int64]
    levels: NDArray[np.int32]

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> NDArray[Any]:
        numbers, distinct = number(block[0])
        index = np.searchsorted(self.labels, distinct)
        names = np.zeros((len(self.levels), distinct.size + 1), block.dtype)
        names[:, :-1] = self.labels[self.levels[:, index]]
        return names[:, numbers]  # number -1 takes the last, 0
