"""``assess-segments``: a label raster in; figures of its quality, and a scale to merge to, out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import UsageError
from stcli.raster.ground import plain
from stcli.raster.info import refuse_other_grid
from stcli.raster.reading.read import Raster
from stcli.segmentation.numbering import number
from stcli.segmentation.objects.merge import graph_bytes, merge_levels
from stcli.segmentation.objects.quality import (
    Overlaps,
    agreement,
    boundaries,
    explained_variation,
    near,
    overlaps,
    size_distribution,
)
from stcli.segmentation.objects.scale import suggest, variance_and_moran
from stcli.segmentation.objects.shapes import PIXELS
from stcli.settings import MergeSettings, RunSettings
from stcli.settings.checking import check
from stcli.workflows.job import Inputs, Progress, plan_pass, report, silent
from stcli.workflows.scaling import band_scaling
from stcli.workflows.segmentation.labels import list_labels, open_label_raster, open_scene
from stcli.workflows.segmentation.levels import graph_of
from stcli.workflows.segmentation.measure import Measured, Measures, measure
from stcli.workflows.segmentation.rehearsal import compile_measuring


@dataclass(frozen=True)
class Against:
    """What segments are held against.

    Attributes
    ----------
    reference : str or None
        A raster of regions or classes on the same grid.
    scene : Inputs or None
        The bands that were cut.
    radius : int
        Pixels within which boundaries agree.
    band : int or None
        1-based band of labels; None for the only one, or the first level.
    """

    reference: str | None = None
    scene: Inputs | None = None
    radius: int = 2
    band: int | None = None


def assess_segments(
    path: str,
    against: Against,
    settings: RunSettings,
    *,
    candidates: MergeSettings | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure the quality of the segments of a label raster.

    Parameters
    ----------
    candidates : MergeSettings or None
        Scales to choose from; None for no suggestion.

    Returns
    -------
    dict
        Plain values for `json.dumps`; None for a figure that has no value.

    Raises
    ------
    UsageError, InputError, BudgetError
    """
    begun = time.perf_counter()
    check(against.radius >= 0, "--radius", against.radius, ">= 0 pixels")
    if candidates is not None and against.scene is None:
        raise UsageError("--suggest-scale: compares objects by their bands; name a --scene.")
    with (
        open_label_raster(path, against.band) as raster,
        open_scene(against.scene, raster) as scene,
    ):
        labels = list_labels(raster, settings, progress)
        compile_measuring(raster, scene, progress, candidates is not None)
        measures = Measures(plain(raster.info.shape[0]).weights, scene)
        bands = measures.bands
        more = graph_bytes(labels.size, 3 * labels.size, bands) if candidates else 0
        measured, budget, tally = measure(raster, labels, measures, settings, progress, more)
        found = {"segments": labels.size, "sizes": size_distribution(measured.sums[:, PIXELS])}
        if scene is not None:
            varied = explained_variation(measured.bands.count, *measured.bands.moments())
            found["explained_variation"] = _plain(varied)
        if against.reference is not None:
            found |= _with_reference(raster, labels, against, settings, progress)
        if candidates is not None and scene is not None:
            found["scales"] = _scales(measured, scene, candidates, settings, progress)
    return found | {"run": report(budget, tally, time.perf_counter() - begun)}


@dataclass(frozen=True)
class _Compare:
    """The block function: overlaps, and boundary pixels found and met."""

    truth: Raster
    radius: int

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Any:
        regions, known = self.truth.read(where.read)
        own, other = np.where(known, block[0], 0), regions[0].astype(np.int64)
        other = np.where(known & (block[0] != 0), other + _SHIFT, 0)
        ours, theirs = boundaries(own), boundaries(other)
        met = theirs & near(ours, self.radius), ours & near(theirs, self.radius)
        counts = [int(marks[where.trim].sum()) for marks in (theirs, met[0], ours, met[1])]
        a, a_names = number(np.ascontiguousarray(own[where.trim]))
        b, b_names = number(np.ascontiguousarray(other[where.trim]))
        pairs, shared = overlaps(a, b)
        named = np.stack([a_names[pairs[:, 0]], b_names[pairs[:, 1]]], axis=1)
        return np.array(counts), named, shared


#: Added to a reference's values, of which 0 may be a region: 0 means none here.
_SHIFT = 1 << 40


def _with_reference(
    raster: Raster,
    labels: NDArray[np.int64],
    against: Against,
    settings: RunSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Compare with a reference in one pass."""
    overlap, counts = Overlaps(), np.zeros(4, np.int64)

    def sink(tile: Tile, part: Any) -> None:
        if part is not None:
            counts[:] += part[0]
            overlap.add(*part[1:])

    with open_label_raster(str(against.reference), 1) as truth:
        refuse_other_grid(truth.info, raster.info)
        size = raster.info.dtype.itemsize + truth.info.dtype.itemsize
        once = 24 * 4 * (3 * labels.size + (1 << 18))
        cost = Cost(2 * size + 2 + 16 + 24 + 8, 8, once=once)
        # a pixel's boundary mark needs its neighbours, and it is met up to the radius away
        work = plan_pass(raster, cost, settings, halo=against.radius + 1)
        work.run(_Compare(truth, against.radius), sink, "reference", progress)
    shares = {"boundary_recall": counts[1::-1], "boundary_precision": counts[3:1:-1]}
    found = {name: _plain(n / total if total else math.nan) for name, (n, total) in shares.items()}
    figures = {name: _plain(value) for name, value in agreement(overlap).items()}
    return {"radius": against.radius, **found, **figures}


def _scales(
    measured: Measured,
    scene: Raster,
    candidates: MergeSettings,
    settings: RunSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Merge to each candidate and compare them."""
    graph = graph_of(measured, band_scaling(scene, settings, progress))
    levels = merge_levels(graph, candidates)
    figures = [variance_and_moran(graph, level) for level in levels]
    best, scores = suggest([v for v, _ in figures], [moran for _, moran in figures])
    each = [
        {
            "scale": scale,
            "objects": int(np.unique(level).size),
            "variance": _plain(v),
            "moran": _plain(moran),
            "score": score,
        }
        for scale, level, (v, moran), score in zip(
            candidates.scales, levels, figures, scores, strict=True
        )
    ]
    return {"suggested": candidates.scales[best], "candidates": each}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
