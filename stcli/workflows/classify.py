"""``classify``: a raster and a model in; classes, probabilities and uncertainty out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost, processors
from stcli.engine.tiling import Tile
from stcli.errors import InputError
from stcli.landcover.legend import rgba
from stcli.landcover.prediction import UNCERTAINTY, Model, classes, uncertainty, window_bytes
from stcli.landcover.windows import Scene, most_tokens
from stcli.nn.device import compute
from stcli.nn.weights import Card
from stcli.raster.info import RasterInfo
from stcli.raster.output import OutputBand, OutputSpec
from stcli.raster.write import RasterWriter, create_rasters, refuse_output
from stcli.segmentation.slic import Block, LabelSpace, halo, slic
from stcli.settings import RunSettings
from stcli.workflows.job import (
    Inputs,
    Output,
    Progress,
    plan_pass,
    refuse_clash,
    report,
    silent,
)
from stcli.workflows.segment import WRITER, label_space, slic_bytes


@dataclass(frozen=True)
class Products:
    """Where the outputs go; None for those not wanted."""

    classes: str
    proba: str | None = None
    uncertainty: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Those that are wanted."""
        return tuple(p for p in (self.classes, self.proba, self.uncertainty) if p is not None)


@dataclass(frozen=True)
class Classified:
    """What came out: each class's share of the valid pixels, and how it ran."""

    output: str
    shares: dict[str, float]
    pixels: dict[str, int]
    pixel_area: float
    run: dict[str, Any]


def classify(
    inputs: Inputs,
    products: Products,
    model_folder: Path,
    settings: RunSettings,
    *,
    output: Output | None = None,
    progress: Progress = silent,
) -> Classified:
    """Classify land cover with a trained model.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    begun, output = time.perf_counter(), output or Output()
    refuse_clash(inputs.paths, products.paths)
    model = Model(model_folder, compute(settings.device, settings.scan))
    with matched(inputs, model).open() as raster:
        info = raster.info
        model.check_bands(info.path, info.band_names, chosen=bool(inputs.bands))
        specs = _specs(info, products, model.card, output, settings.jobs or processors())
        for spec in specs:
            refuse_output(spec)
        around = model.settings.margin + halo(model.slic)
        work = plan_pass(raster, cost(info, model, specs), settings, around, model.settings.stride)
        step = _Step(model, label_space(info, model.slic), products)
        counts = np.zeros(256, dtype=np.int64)
        with create_rasters(specs, info.geobox) as writers:

            def sink(tile: Tile, results: Sequence[NDArray[Any]] | None) -> None:
                if results is not None:
                    _write(tile, results, writers)
                    counts[:] += np.bincount(results[0].ravel(), minlength=256)

            tally = work.run(step, sink, "classify", progress)
            if tally.empty == tally.tiles:
                raise InputError(f"{info.path}: no valid pixel found, at least one is wanted.")
    found = {c.name: int(counts[c.value]) for c in model.card.classes}
    total = max(1, sum(found.values()))
    return Classified(
        products.classes,
        {name: n / total for name, n in found.items()},
        found,
        abs(info.geobox.transform.determinant),
        report(work.budget, tally, time.perf_counter() - begun) | model.where.to_json(),
    )


def matched(inputs: Inputs, model: Model) -> Inputs:
    """Choose the model's bands by name where the raster has more, or in another order."""
    if inputs.bands:
        return inputs
    wanted = tuple(band.name for band in model.card.bands)
    with inputs.open() as raster:
        has_all = set(wanted) <= set(raster.info.band_names)
    return replace(inputs, bands=wanted) if has_all else inputs


class _Step:
    """The block function: segment, classify, measure doubt."""

    def __init__(self, model: Model, space: LabelSpace, products: Products) -> None:
        self.model, self.space, self.products = model, space, products
        self.values = np.array([0, *(c.value for c in model.card.classes)], dtype=np.uint8)

    def __call__(
        self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile
    ) -> list[NDArray[Any]]:
        model = self.model
        part = Block(block, valid, where.lattice)
        segments = slic(part, model.scaling, model.slic, self.space)
        scene = Scene(block, valid, segments, where.lattice)
        chances = model.probabilities(scene, where.trim)
        results: list[NDArray[Any]] = [self.values[classes(chances)][None]]
        if self.products.proba is not None:
            results.append(chances)
        if self.products.uncertainty is not None:
            results.append(uncertainty(chances))
        return results


def _write(tile: Tile, results: Sequence[NDArray[Any]], writers: Sequence[RasterWriter]) -> None:
    for writer, result in zip(writers, results, strict=True):
        writer.write(tile.core, result)


def cost(info: RasterInfo, model: Model, specs: Sequence[OutputSpec]) -> Cost:
    """Bytes that a tile needs: SLIC over what is read, the outputs and their temporaries."""
    outputs = sum(len(spec.bands) * np.dtype(spec.dtype).itemsize for spec in specs)
    tokens = most_tokens(model.settings, model.slic.step)
    core = 2 * outputs + 3 * 4 * len(model.card.classes) + 16
    return Cost(
        slic_bytes(info, model.slic) + 4,
        core,
        worker=window_bytes(model.settings, info.count, len(model.card.classes), tokens),
        once=WRITER * len(specs),
    )


def _specs(
    info: RasterInfo, products: Products, card: Card, output: Output, threads: int
) -> list[OutputSpec]:
    """Describe the outputs wanted."""
    tags = output.tags(info, model_sha256=card.sha256)
    common: dict[str, Any] = {
        "creation_options": output.creation_options,
        "overwrite": output.overwrite,
        "tags": tags,
        "threads": threads,
    }
    names = [""] * (max(c.value for c in card.classes) + 1)
    for c in card.classes:
        names[c.value] = c.name
    table = {0: (0, 0, 0, 0), **{c.value: rgba(c.color) for c in card.classes}}
    band = OutputBand("class", table, tuple(names))
    specs = [OutputSpec(products.classes, "uint8", (band,), 0, "classes", **common)]
    floats = (
        (products.proba, [c.name for c in card.classes]),
        (products.uncertainty, list(UNCERTAINTY)),
    )
    for path, titles in floats:
        if path is not None:
            bands = tuple(OutputBand(title) for title in titles)
            specs.append(OutputSpec(path, "float32", bands, np.nan, "continuous", **common))
    return specs
