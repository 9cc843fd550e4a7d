"""``classify``: a raster and a model in; classes, probabilities and uncertainty out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.memory import Cost, threads_of
from stcli.engine.tiling import Tile
from stcli.errors import ModelError
from stcli.landcover import architectures
from stcli.landcover.network import network_cpu
from stcli.landcover.network.windows import Scene
from stcli.landcover.prediction import Classifier, load_model
from stcli.landcover.refinement import Changes
from stcli.nn.device import compute
from stcli.nn.likeness import Likeness
from stcli.nn.weights import ClassCard
from stcli.raster.info import RasterInfo
from stcli.raster.reading.frames import nameless
from stcli.raster.reading.read import Raster
from stcli.raster.reading.timecube import count_dates
from stcli.raster.writing.output import OutputSpec
from stcli.segmentation.space import LabelSpace
from stcli.segmentation.superpixels.slic import KERNELS, Block, halo, rehearse, slic
from stcli.settings import RunSettings
from stcli.workflows.empty import no_valid_pixel
from stcli.workflows.job import (
    Inputs,
    Output,
    Progress,
    fields,
    plan_pass,
    refuse_clash,
    report,
    silent,
)
from stcli.workflows.kernels import LOADED, compile_apart, loading
from stcli.workflows.landcover.foreign import looked, tell_pixels
from stcli.workflows.landcover.products import (
    Products,
    count_classes,
    decided,
    layers,
    legend,
    legend_values,
    specs_of,
)
from stcli.workflows.landcover.refining import Resegmenting, refining_bytes, told
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Noted, Step, resumable
from stcli.workflows.segmentation.superpixels import PIXEL, REHEARSAL, label_space, slic_bytes
from stcli.workflows.unlike import tell_values

#: A pixel's way through the network takes a microsecond; reading and segmenting it a thirtieth.
TOIL = 30.0
_REHEARSAL = "from stcli.landcover.network import network_cpu; network_cpu.rehearse()"


@dataclass(frozen=True)
class Classified:
    """What came out: each class's share of the valid pixels, and how it ran."""

    output: str
    shares: dict[str, float]
    pixels: dict[str, int]
    pixel_area: float
    run: dict[str, Any]
    refined: dict[str, Any] | None = None


def classify(
    inputs: Inputs,
    products: Products,
    model_folder: Path,
    settings: RunSettings,
    *,
    output: Output = Output(),
    progress: Progress = silent,
) -> Classified:
    """Classify land cover with a trained model.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    begun = time.perf_counter()
    refuse_clash(inputs.paths, products.paths)
    model = load_model(model_folder, compute(settings.device, settings.scan))
    products = decided(products, model)
    with matched(inputs, model).open() as raster:
        info = raster.info
        _check(raster, model, bool(inputs.bands))
        specs = specs_of(info, products, model.card, output, threads_of(settings))
        function = ClassifyStep(model, label_space(info, model.slic), products)
        step, found = Step(function, stage="classify"), Counted(model)
        with resumable(specs, info.geobox, output) as product:
            product.identify(**_identity(inputs, model, products, output))
            work = product.plan(raster, cost(info, model, specs, products), settings, *reach(model))
            with loading(compiled(model, progress)):
                tally = product.run(work, step, found.take, progress)
            if tally.empty == tally.tiles and output.shard is None:
                raise no_valid_pixel(raster)
    ran = report(work.budget, tally, time.perf_counter() - begun) | model.where.to_json()
    result = found.classified(products.classes, legend(model.card, products), info, ran)
    below = products.decision.refine
    tell_values(info.path, found.likeness, model)
    if below is None:
        return result
    changed = told(found.changes, model.card, below, sum(result.pixels.values()))
    return replace(result, refined=changed)


def compiled(model: Classifier, progress: Progress) -> Callable[[], None]:
    """Compile the kernels of a model's run, and return what loads them."""
    known = (architectures.GLOCAL, architectures.ENSEMBLE)
    if model.card.architecture not in known or model.where.device != "cpu":
        compile_apart(KERNELS, (REHEARSAL,), progress)
        return rehearse
    compile_apart((*KERNELS, *network_cpu.KERNELS), (REHEARSAL, _REHEARSAL), progress)
    return network_cpu.rehearse


def plan_classify(
    inputs: Inputs,
    products: Products,
    model_folder: Path,
    settings: RunSettings,
    *,
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `classify` would do: its pass, memory by term, outputs. Nothing is done.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    refuse_clash(inputs.paths, products.paths)
    model = load_model(model_folder, compute(settings.device, settings.scan))
    products = decided(products, model)
    with matched(inputs, model).open() as raster:
        info = raster.info
        _check(raster, model, bool(inputs.bands))
        threads = threads_of(settings)
        specs = specs_of(info, products, model.card, output, threads)
        work = plan_pass(
            raster, writing(cost(info, model, specs, products), specs), settings, *reach(model)
        )
    return planned({"classify": work}, specs, info.shape, output.shard)


def _check(raster: Raster, model: Classifier, chosen: bool) -> None:
    """Refuse a raster of other bands than the model's, and warn of pixels of another size."""
    info = raster.info
    model.check_bands(info.path, info.band_names, chosen=chosen or nameless(raster))
    tell_pixels(info, model)


def reach(model: Classifier) -> tuple[int, int]:
    """Halo that a tile needs, and what its cores are aligned to."""
    return model.margin + halo(model.slic), model.stride


def matched(inputs: Inputs, model: Classifier) -> Inputs:
    """Choose the model's bands by name where the raster has more, or in another order.

    Raises
    ------
    ModelError
        Where it has not, for it is a stack of dates.
    """
    if inputs.bands:
        return inputs
    wanted = tuple(band.name for band in model.card.bands)
    with inputs.open() as raster:
        path, names = raster.info.path, raster.info.band_names
        has_all = set(wanted) <= set(names)
        dates = 0 if has_all else count_dates(raster)
    if dates > 1 and len(names) > len(wanted):
        raise ModelError(
            f"{path}: a stack of {dates} dates found, the model {model.folder} is of one date; "
            "give --fuse score, or choose the bands of one date with -b."
        )
    return replace(inputs, bands=wanted) if has_all else inputs


@dataclass(frozen=True)
class ClassifyStep:
    """The block function: segment, classify, refine, measure doubt.

    Returns what `layers` makes of the probabilities of a tile's core, with a note for `Counted`.
    """

    model: Classifier
    space: LabelSpace
    products: Products

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Noted:
        """Classify a block."""
        model = self.model
        part = Block(block, valid, where.lattice)
        segments = slic(part, model.scaling, model.slic, self.space)
        scene = Scene(block, valid, segments, where.lattice)
        chances = model.probabilities(scene, where.trim)
        like = looked(block, valid, where, self.space, model)
        values, below = legend_values(model.card, self.products), self.products.decision.refine
        if below is None:
            return noted(layers(chances, self.products, values), like)
        again = Resegmenting(model, part, self.space)
        refined = model.refinement(below).refine(scene, where.trim, chances, again)
        blocks = layers(refined.probabilities, self.products, values, refined.disagreement)
        return noted(blocks, like, refined.changes)


def noted(blocks: Sequence[NDArray[Any]], like: Likeness, changes: Changes | None = None) -> Noted:
    """Add to a tile's blocks what `Counted` wants to know of it.

    Parameters
    ----------
    blocks : sequence of ndarray (band, row, col)
        A tile's products, the classes first.
    like : Likeness
        Of the tile's sampled pixels.
    changes : Changes, optional
        What refinement changed.
    """
    changed = [] if changes is None else [changes.to_list()]
    return Noted(blocks, [count_classes(blocks), like.to_list(), *changed])


class Counted:
    """Pixels of each class value in all tiles, how like the training they are, what was refined."""

    def __init__(self, model: Classifier) -> None:
        self.counts = np.zeros(256, dtype=np.int64)
        self.likeness = Likeness.none(len(model.card.bands))
        self.changes = Changes.none(len(model.card.classes))

    def take(self, tile: Tile, told: list[Any] | None) -> None:
        """Add a tile's note; None for a tile without a pixel."""
        if told is None:
            return
        pairs, like, *changed = told
        for value, count in pairs:
            self.counts[value] += count
        self.likeness += Likeness.of_list(like)
        for changes in changed:
            self.changes += Changes.of(changes)

    def classified(
        self, path: str, entries: Sequence[ClassCard], info: RasterInfo, run: dict[str, Any]
    ) -> Classified:
        """Say what came out, for the entries of the legend."""
        pixels = {c.name: int(self.counts[c.value]) for c in entries}
        total = max(1, sum(pixels.values()))
        shares = {name: n / total for name, n in pixels.items()}
        return Classified(path, shares, pixels, abs(info.geobox.transform.determinant), run)


def _identity(
    inputs: Inputs, model: Classifier, products: Products, output: Output
) -> dict[str, Any]:
    """All that can change the result; the networks' floats depend on what they run on."""
    where = model.where.to_json()
    how = {"device": where["device"], "scan": where["scan"], "decision": fields(products.decision)}
    return output.identity(inputs, verb="classify", model=model.card.digest, **how)


def cost(
    info: RasterInfo, model: Classifier, specs: Sequence[OutputSpec], products: Products
) -> Cost:
    """Bytes that a tile needs: SLIC over what is read, the outputs and their temporaries."""
    outputs = sum(len(spec.bands) * np.dtype(spec.dtype).itemsize for spec in specs)
    needs, again = model.needs, (0, 0, 0)
    if products.decision.refine is not None:
        again = refining_bytes(model, info.dtype.itemsize)
    return Cost(
        slic_bytes(info, model.slic) + 4 + needs.read_pixel + again[0],
        2 * outputs + needs.core_pixel + 16 + again[1],
        window=needs.window + again[2],
        kernels=LOADED,
        pixel=PIXEL,
        toil=TOIL,
    )
