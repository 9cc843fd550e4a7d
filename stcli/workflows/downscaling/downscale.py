"""``downscale``: a coarse raster in, a finer one that agrees with it out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio import Affine

from stcli.downscaling.conserve import conserve, residual
from stcli.engine.memory import Cost, threads_of
from stcli.engine.run import Tally
from stcli.engine.tiling import Tile
from stcli.errors import ModelError, UsageError
from stcli.nn.likeness import Likeness
from stcli.nn.weights import load_card
from stcli.raster.reading.read import Raster
from stcli.settings import Conserving, DownscaleSettings, RunSettings
from stcli.settings.checking import check
from stcli.workflows.downscaling.conserve import refuse_unreachable
from stcli.workflows.downscaling.members import suffixes
from stcli.workflows.downscaling.upscalers import Guide, Interpolation, Upscaler, linear_guide
from stcli.workflows.each_band import EachBand
from stcli.workflows.empty import none_valid
from stcli.workflows.job import (
    Inputs,
    Output,
    Pass,
    Progress,
    fields,
    plan_pass,
    refuse_clash,
    report,
    silent,
)
from stcli.workflows.passes import planned, writing
from stcli.workflows.produce import Noted, Step, resumable
from stcli.workflows.target import Target
from stcli.workflows.unlike import sampled, tell_values


@dataclass(frozen=True)
class Downscaled:
    """What came out: where, by which method, how well it agrees with its input, how it ran."""

    output: str
    method: str
    factor: int
    conserve: str
    residual: float
    run: dict[str, Any]


@dataclass(frozen=True)
class Help:
    """What may stand beside interpolation.

    Attributes
    ----------
    model : Path or None
        A trained model; without one back-projection runs.
    guide : Inputs or None
        Finer bands of the same scene.
    force : bool
        Use a model that was no better than ibp where it was validated.
    members : int
        Of an ensemble, two at least; None for none.
    seed : int
        Of the members' noise.
    """

    model: Path | None = None
    guide: Inputs | None = None
    force: bool = False
    members: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.members is not None and self.members < 2:
            raise UsageError(f"--members: {self.members} found, 2 or more wanted.")
        if self.force and self.model is None:
            raise UsageError("--force: no --model found, one is wanted; leave it out.")
        if self.members and self.model is None:
            raise UsageError("--members: no --model found, one is wanted: members come from it.")
        check(0 <= self.seed < 2**63, "--seed", self.seed, "from 0 to 2**63 - 1")


def downscale(
    inputs: Inputs,
    path: str,
    how: DownscaleSettings,
    settings: RunSettings,
    *,
    help: Help = Help(),
    output: Output = Output(),
    progress: Progress = silent,
) -> Downscaled:
    """Make a raster finer by a whole factor.

    Parameters
    ----------
    inputs : Inputs
    path : str
        Fine raster to write: float32, or float64 where the input's values need it; NaN for no
        value; its grid is the input's with pixels
        divided by the factor.
    how : DownscaleSettings
    settings : RunSettings
    help : Help, optional

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    begun = time.perf_counter()
    worst = _Worst()
    with _opened(inputs, path, how, settings, (help, output)) as ready:
        work, tally = _made(ready, inputs, settings, worst, progress)
        if ready.upscaler.model is not None and worst.likeness is not None:
            tell_values(ready.raster.info.path, worst.likeness, ready.upscaler.model)
    ran = report(work.budget, tally, time.perf_counter() - begun)
    return Downscaled(path, ready.upscaler.name, how.factor, how.conserve, worst.found, ran)


def plan_downscale(
    inputs: Inputs,
    path: str,
    how: DownscaleSettings,
    settings: RunSettings,
    *,
    help: Help = Help(),
    output: Output = Output(),
) -> dict[str, Any]:
    """Say what `downscale` would do: its pass, memory by term, output.

    Nothing is done, but that a linear guide is learned.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    with _opened(inputs, path, how, settings, (help, output)) as ready:
        work = plan_pass(EachBand(ready.raster), *ready.needs(settings))
        rows, cols = (int(side) for side in ready.grid.shape)
        target, shard = ready.target, output.shard
        return planned(
            {"downscale": work}, (target.spec,), (rows, cols), shard, cubes=target.netcdf
        )


@dataclass(frozen=True)
class _Ready:
    """What a run is made of: opened, matched, and its output not refused."""

    raster: Raster
    upscaler: Upscaler
    target: Target
    how: DownscaleSettings
    help: Help

    @property
    def grid(self) -> GeoBox:
        """The output's."""
        return finer(self.raster.info.geobox, self.how.factor)

    @property
    def step(self) -> _Step:
        """The block function."""
        info = self.raster.info
        return _Step(self.upscaler, self.how, info.path, info.shape, self.target.dtype)

    def needs(self, settings: RunSettings) -> tuple[Cost, RunSettings, int, int]:
        """Say what its pass is planned by: cost, settings, halo and alignment."""
        cost = _cost(self.raster, self.upscaler, self.how, self.help.members)
        cost = writing(cost, (self.target.spec,))
        return cost, settings, self.upscaler.halo, self.upscaler.align

    def refuse_none(self, tally: Tally) -> None:
        """Refuse a raster without a value.

        Raises
        ------
        InputError
        """
        if tally.empty == tally.tiles:
            raise none_valid(self.raster.info.path)


@contextlib.contextmanager
def _opened(
    inputs: Inputs,
    path: str,
    how: DownscaleSettings,
    settings: RunSettings,
    more: tuple[Help, Output],
) -> Iterator[_Ready]:
    """Open what is read, and choose what runs and where it goes; raises as `downscale`."""
    help, output = more
    guides = help.guide.paths if help.guide else ()
    refuse_clash((*inputs.paths, *guides), (path,))
    if help.model is not None:
        load_card(help.model)  # a model that is not there is told whatever the input is
    with inputs.open() as raster, _guide(help.guide) as fine:
        guide = None if fine is None else Guide.of(fine, raster, how.factor)
        upscaler = choose(raster, guide, how, help)
        target = Target.of(raster, path, output, threads=threads_of(settings))
        target = target.saying(method=upscaler.name, factor=how.factor, conserve=how.conserve)
        if upscaler.model is not None:
            target = target.saying(**upscaler.model.card.marks)
        if fine is not None:
            target = target.saying(guide=fine.info.path)
        if help.members:
            target = target.holding(suffixes(help.members))
            target = target.saying(members=help.members, seed=help.seed)
        ready = _Ready(raster, upscaler, target, how, help)
        target.refuse(ready.grid)
        yield ready


class _Worst:
    """The largest relative residual over the tiles, and how like a model's training they are."""

    found = 0.0
    likeness: Likeness | None = None

    def take(self, tile: Tile, told: tuple[float, list[int] | None] | None) -> None:
        """Take a tile's; None for one without a valid pixel."""
        if told is None:
            return
        self.found = max(self.found, told[0])
        if told[1] is not None:
            like = Likeness.of_list(told[1])
            self.likeness = like if self.likeness is None else self.likeness + like


def _made(
    ready: _Ready, inputs: Inputs, settings: RunSettings, worst: _Worst, progress: Progress
) -> tuple[Pass, Tally]:
    """Make the output tile by tile, kept through a kill."""
    target, factor = ready.target, ready.how.factor
    form = target.form
    with resumable((target.spec,), ready.grid, target.output, factor, form) as product:
        work = product.plan(EachBand(ready.raster), *ready.needs(settings))
        product.identify(**_identity(ready, inputs))
        tally = product.run(work, Step(ready.step, stage="downscale"), worst.take, progress)
        if target.output.shard is None:
            ready.refuse_none(tally)
    return work, tally


def _identity(ready: _Ready, inputs: Inputs) -> dict[str, Any]:
    """All that can change the result; the guide and the model too."""
    output, help = ready.target.output, ready.help
    facts = {
        "verb": "downscale",
        "how": fields(ready.how),
        "method": ready.upscaler.name,
        "model": ready.upscaler.checksum,
        "members": [help.members, help.seed],
        "guide": output.identity(help.guide)["inputs"] if help.guide else None,
    }
    return output.identity(inputs, **facts)


def choose(
    raster: Raster,
    guide: Guide | None,
    how: DownscaleSettings,
    help: Help,
) -> Upscaler:
    """Choose what runs: the model, the linear guide, or interpolation alone.

    Raises
    ------
    UsageError
        Options that contradict each other.
    ModelError
        The model does not fit, or was no better than ibp and is not forced.
    """
    if (how.method == "latent") != (help.model is not None):
        raise UsageError(f"--method {how.method}: latent and --model go together, both or none.")
    if help.model is not None:
        return _learned(raster, guide, how, help.model, help)
    if guide is not None and how.method != "ibp":
        raise UsageError(f"--guide: --method {how.method} found, ibp or a model is wanted.")
    if guide is not None:
        return linear_guide(raster, guide, how)
    return Interpolation(how)


def _learned(
    raster: Raster, guide: Guide | None, how: DownscaleSettings, folder: Path, help: Help
) -> Upscaler:
    """Load a model, if it fits and is worth it."""
    from stcli.downscaling.ensemble import Ensemble  # loads torch
    from stcli.downscaling.prediction import Model
    from stcli.workflows.downscaling.learned import Learned

    model = Model(folder)
    ensemble = Ensemble(help.members, help.seed) if help.members else None
    learned = Learned.of(model, raster, how.factor, guide, ensemble)
    ratio = model.ratios[how.factor]
    if ratio >= 1 and not help.force:
        raise ModelError(
            f"{folder}: its error on held-out blocks was {ratio:.3f} of ibp's, below 1 is wanted; "
            "use --method ibp, or --force."
        )
    return learned


@contextlib.contextmanager
def _guide(inputs: Inputs | None) -> Iterator[Raster | None]:
    if inputs is None:
        yield None
    else:
        with inputs.open() as raster:
            yield raster


def finer(geobox: GeoBox, factor: int) -> GeoBox:
    """Divide a grid's pixels: the transform times ``scale(1 / factor)``, to the bit."""
    rows, cols = (int(n) * factor for n in geobox.shape)
    return GeoBox((rows, cols), geobox.transform @ Affine.scale(1 / factor), geobox.crs)


def _cost(raster: Raster, upscaler: Upscaler, how: DownscaleSettings, members: int | None) -> Cost:
    """Bytes a coarse pixel: what is read; the output twice, and one band being conserved."""
    info, own = raster.info, upscaler.bytes(raster.info, how.factor)
    read = info.count * (info.dtype.itemsize + 1 + EachBand(raster).dtype.itemsize) + 1
    bands = info.count * (members + 2 if members else 1)
    core = how.factor**2 * (2 * EachBand(raster).dtype.itemsize * bands + 8 * 8 * (members or 1))
    return Cost(read + own.read_pixel, core + own.core_pixel, own.worker, own.once)


@dataclass(frozen=True)
class _Step:
    """The block function: each band made finer and conserved.

    Noted: the largest residual, and how like its training a model finds the tile.
    """

    upscaler: Upscaler
    how: DownscaleSettings
    path: str
    shape: tuple[int, int]
    dtype: str

    def __call__(self, block: NDArray[Any], valid: NDArray[np.bool_], where: Tile) -> Noted:
        how, core = self.how, block[:, where.trim[0], where.trim[1]]
        refuse_unreachable(core, Conserving(how.conserve, how.limits), self.path)
        written, worst = [], 0.0
        for x, fine in zip(core, self.upscaler.fine(block, where), strict=True):
            kept = conserve(fine, x, how.factor, how.conserve, how.limits).astype(self.dtype)
            worst = max(worst, float(np.nanmax(residual(kept, x, how.factor)[1], initial=0.0)))
            written.append(_summed_up(kept) if kept.ndim > 2 else kept[None])
        like = self.upscaler.liken(sampled(block, valid, where, self.shape))
        return Noted([np.concatenate(written)], [worst, None if like is None else like.to_list()])


def _summed_up(members: NDArray[Any]) -> NDArray[Any]:
    """Put the mean and the standard deviation (of a sample) before the members."""
    mean = members.mean(axis=0, dtype=np.float64)
    deviation = members.std(axis=0, ddof=1, dtype=np.float64)
    return np.concatenate([np.stack([mean, deviation]).astype(members.dtype), members])
