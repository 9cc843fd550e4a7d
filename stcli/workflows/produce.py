"""Outputs made tile by tile, kept through a kill, and finished together.

A run that ends early leaves the finished tiles in hidden folders beside the outputs. The same
command finds them, reads them back, tells the sink of them as if they had just run, and does the
others. Whatever else a sink is told is made of the tiles' blocks (`Step.summary`), so a resumed
run ends in the state of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from stcli.engine.journal import Header, fingerprint
from stcli.engine.memory import Cost
from stcli.engine.run import BlockFunction, Sink, Tally
from stcli.engine.tiling import Tile, TilePlan
from stcli.engine.work import Strip, StripFunction
from stcli.errors import BudgetError, InputError, ModelError, UsageError
from stcli.heap import lean
from stcli.raster.writing.draft import NO_DRAFTS
from stcli.raster.writing.output import OutputSpec
from stcli.raster.writing.parts import Parts
from stcli.settings import RunSettings
from stcli.workflows import remains
from stcli.workflows.deposit import Deposit, Form
from stcli.workflows.job import Output, Pass, Progress, plan_pass
from stcli.workflows.passes import Planned, writing

logger = logging.getLogger("stcli")

#: What a block function returns: an array (band, row, col) over the core for each output.
Blocks = Sequence[NDArray[Any]]
#: After these the inputs or options are to blame: the finished tiles are of no use.
_HOPELESS = (InputError, ModelError, UsageError)


@dataclass(frozen=True)
class Noted:
    """A tile's blocks, and what of its input the sink must know.

    Attributes
    ----------
    blocks : sequence of ndarray
    note : list
        Of numbers and lists of them. It is kept in the journal: a resumed run tells the sink of it.
    """

    blocks: Blocks
    note: list[Any]


@dataclass(frozen=True)
class Step:
    """What is done with each tile.

    Attributes
    ----------
    function : callable
        ``function(block, valid, where) -> Blocks``, or `Noted`; or a `StripFunction` that makes
        one output.
    summary : callable or None
        ``summary(blocks)``: what the sink is told of a tile, small; None for its note, if it has
        one. Both can be pickled; the summary must follow from the blocks alone.
    stage : str
        Name of the pass in progress reports.
    merged : callable or None
        ``merged(summaries)``: the summary of a tile from those of its strips.
    """

    function: BlockFunction | StripFunction
    summary: Callable[[Blocks], Any] | None = None
    stage: str = "tiles"
    merged: Callable[[list[Any]], Any] | None = None

    def summed(self, blocks: Blocks, note: Any) -> Any:
        """Say what the sink is told."""
        return note if self.summary is None else self.summary(blocks)


def unheard(tile: Tile, told: Any, /) -> None:
    """Take what a tile has to tell, of which a pass makes no use: a `Sink`."""


@dataclass(frozen=True)
class _Answer:
    """What came of a tile with valid pixels."""

    checksums: tuple[int, ...]
    summary: Any
    note: list[Any] | None


@dataclass(frozen=True)
class _Store:
    """Stores a tile's blocks where the tile runs; can be pickled."""

    parts: tuple[Parts, ...]
    step: Step
    plan: TilePlan  # of the outputs

    @property
    def anywhere(self) -> bool:
        return all(parts.anywhere for parts in self.parts)

    def __call__(self, tile: Tile, result: Any) -> _Answer:
        noted = isinstance(result, Noted)
        blocks, note = (result.blocks, result.note) if noted else (result, None)
        pairs = zip(self.parts, blocks, strict=True)
        made = self.plan[tile.index]
        checksums = tuple(parts.save(made, block) for parts, block in pairs)
        return _Answer(checksums, self.step.summed(blocks, note), note)

    def strips(self, tile: Tile, strips: Iterator[Strip]) -> _Answer | None:
        """Store the only output's strips; see `stcli.engine.work.Store`."""
        told: list[Any] = []

        def rows() -> Iterator[NDArray[Any]]:
            for block, some in strips:
                if some:
                    told.append(self.step.summed([block], None))
                yield block

        (parts,), made = self.parts, self.plan[tile.index]
        found = parts.save_strips(made, rows())
        if not told:
            parts.drop(made)
            return None
        summary = self.step.merged(told) if self.step.merged else None
        return _Answer((found,), summary, None)


class Product:
    """The outputs of one run; see `resumable`."""

    def __init__(
        self,
        specs: Sequence[OutputSpec],
        geobox: GeoBox,
        output: Output,
        factor: int = 1,
        form: Form | None = None,
    ) -> None:
        self.shard, self.factor = output.shard, factor
        self.deposits: list[Deposit] = []
        self._facts: dict[str, Any] = {}
        self._threads = 1
        #: Files that appear just before the outputs, whose block lies around this one.
        self.beside = NO_DRAFTS
        try:
            for spec in specs:
                self.deposits.append(Deposit(spec, geobox, output.shard, form))
        except BaseException:
            self._let_go()
            raise
        if not output.resume:
            for deposit in self.deposits:
                deposit.kept = None

    def plan(
        self,
        raster: Planned,
        cost: Cost,
        settings: RunSettings,
        halo: int = 0,
        align: int = 1,
        origin: tuple[int, int] | None = None,
    ) -> Pass:
        """Choose tiles within the memory budget: those of a kept job, if they still fit.

        See `stcli.workflows.passes.plan_pass`.
        """
        where = halo, align, origin
        cost = writing(cost, [deposit.spec for deposit in self.deposits])
        kept = self._kept_tile_size()
        free = plan_pass(raster, cost, settings, *where)
        if settings.tile_size is not None:
            return free
        if kept is None:
            tile_size = free.budget.plan.tile_size // self._side * self._side
            if align > 1 or tile_size in (0, free.budget.plan.tile_size):
                return free
            with contextlib.suppress(BudgetError):  # the process may have grown since
                asked = replace(settings, tile_size=tile_size, jobs=free.budget.jobs)
                return plan_pass(raster, cost, asked, *where)
            return free
        for jobs in range(settings.jobs or free.budget.jobs, 0, -1):
            with contextlib.suppress(BudgetError):
                asked = replace(settings, tile_size=kept, jobs=jobs)
                return plan_pass(raster, cost, asked, *where)
        logger.warning("memory: finished tiles of %d px do not fit now; other tiles are cut", kept)
        return free

    def identify(self, **facts: Any) -> None:
        """Say all that can change a result; finished tiles are kept only under the same facts."""
        self._facts |= facts

    def tag(self, tags: dict[str, str]) -> None:
        """Add tags to all outputs that were not known when they were opened; before `run`."""
        for deposit in self.deposits:
            deposit.tag(tags)

    def run(self, work: Pass, step: Step, sink: Sink, progress: Progress) -> Tally:
        """Do all tiles of the pass that are not finished yet.

        Parameters
        ----------
        sink : callable
            ``sink(tile, summary)`` for every tile of the job, finished earlier or now; None for
            a tile without a valid pixel. Calls never overlap; their order is not fixed.

        Returns
        -------
        Tally
            Of all tiles of the job.
        """
        plan = work.budget.plan
        self._begin(work)
        kept = self._recall(step, lambda t, told: sink(plan[t.index], told), progress)

        def take(tile: Tile, answer: _Answer | None) -> None:
            sink(tile, None if answer is None else answer.summary)
            for k, deposit in enumerate(self.deposits):
                if answer is None:
                    deposit.note(tile, None)
                else:
                    deposit.note(tile, answer.checksums[k], answer.note)

        store = _Store(
            tuple(deposit.parts for deposit in self.deposits), step, plan.magnified(self.factor)
        )
        rest = (plan[tile.index] for tile in self._tiles(finished=False))
        tally = work.run(
            step.function, take, step.stage, progress, store=store, tiles=rest, done=kept.tiles
        )
        return Tally(kept.tiles + tally.tiles, kept.empty + tally.empty)

    def finish(self) -> None:
        """Finish all outputs, then put each under its name."""
        with lean():
            for deposit in self.deposits:
                deposit.finish(self._threads)
        self.beside.ready()
        for deposit in self.deposits:
            deposit.publish(self.beside)

    def close(self, keep: bool) -> None:
        """Let go of all outputs; see `Deposit.close`."""
        remains.drop(self.name)
        for deposit in self.deposits:
            deposit.close(keep)

    def leave(self, error: BaseException) -> None:
        """Keep what a later run may continue, and say so; or nothing."""
        if any(deposit.journal is None for deposit in self.deposits):
            self._let_go()
            return
        done = self._done()
        keep = bool(done) and self._lasting and not isinstance(error, _HOPELESS)
        self.close(keep)
        if keep:
            logger.warning("%s: %d tiles are kept; the same command continues", self.name, done)

    @property
    def name(self) -> str:
        """Path of the first output."""
        return self.deposits[0].spec.path

    @property
    def _lasting(self) -> bool:
        return all(deposit.folder.lasting for deposit in self.deposits)

    def _done(self) -> int:
        """Tiles that are finished in all outputs."""
        return int(self._known().sum())

    def _let_go(self) -> None:
        """Leave everything as it was found."""
        for deposit in self.deposits:
            deposit.close(keep=deposit.kept is not None)

    def _kept_tile_size(self) -> int | None:
        kept = {d.kept.plan.tile_size if d.kept else None for d in self.deposits}
        size = kept.pop() if len(kept) == 1 else None
        return None if size is None or size % self.factor else size // self.factor

    @property
    def _side(self) -> int:
        """Pixels of the input whose multiples tiles are best cut at."""
        side = max(deposit.chunk for deposit in self.deposits)
        return math.lcm(side, self.factor) // self.factor

    def _begin(self, work: Pass) -> None:
        self._threads = work.budget.jobs
        for deposit in self.deposits:
            facts = {**self._facts, "output": deposit.facts}
            plan = work.budget.plan.magnified(self.factor)
            header = Header(fingerprint(facts), plan, deposit.shard or (1, 1))
            deposit.begin(header)
        if self._lasting:
            remains.keep(self.name, self._done)

    def _journals(self) -> list[Any]:
        return [deposit.journal for deposit in self.deposits]

    def _known(self) -> NDArray[np.bool_]:
        """Whether each tile of the plan is finished in all outputs."""
        known: NDArray[np.bool_] = np.all([journal.known for journal in self._journals()], axis=0)
        return known

    def _tiles(self, finished: bool) -> Iterator[Tile]:
        """Tiles of this job that are finished in all outputs, or those that are not."""
        tiles: Iterator[Tile] = self._journals()[0].header.tiles(self._known() == finished)
        return tiles

    def _recall(self, step: Step, sink: Sink, progress: Progress) -> Tally:
        """Read finished tiles back, a few at once, and tell the sink of them."""
        jobs = self._threads
        done = empty = lost = 0
        finished, total = self._tiles(finished=True), len(self._journals()[0].header)
        with ThreadPoolExecutor(jobs) as pool:
            while batch := list(islice(finished, jobs)):
                for tile, answer in zip(batch, pool.map(self._load, batch), strict=True):
                    if answer is None:
                        lost += 1
                        continue
                    note = self._journals()[0].note(tile.index)
                    sink(tile, step.summed(answer, note) if answer else None)
                    done, empty = done + 1, empty + (not answer)
                    progress(step.stage, done, total)
        if done or lost:
            logger.warning("%s: %d of %d tiles were finished already", self.name, done, total)
        if lost:
            logger.warning("%d finished tiles are damaged and are done again", lost)
        return Tally(done, empty)

    def _load(self, tile: Tile) -> Blocks | None:
        """Blocks of a finished tile; none for one without a valid pixel; None if damaged."""
        blocks = []
        for deposit, journal in zip(self.deposits, self._journals(), strict=True):
            known = journal.checksum(tile.index)
            block = None if known is None else deposit.parts.load(tile, known)
            if known is not None and block is None:
                for each in self._journals():
                    each.forget(tile.index)
                return None
            if block is not None:
                blocks.append(block)
        return blocks


@contextlib.contextmanager
def resumable(
    specs: Sequence[OutputSpec],
    geobox: GeoBox,
    output: Output,
    factor: int = 1,
    form: Form | None = None,
) -> Iterator[Product]:
    """Make outputs on one grid; they appear under their names when the block ends.

    An error or an interrupt leaves the finished tiles for the next run, and nothing else; what
    is wrong with an input leaves nothing at all.

    Parameters
    ----------
    specs : sequence of OutputSpec
    geobox : GeoBox
        Grid of the outputs.
    output : Output
        Whether finished tiles are taken up, and which shard is done.
    factor : int
        Pixels of the outputs along a side of one of the raster whose tiles are planned.
    form : callable, optional
        Turns parts into such that end in another form, such as `CubeForm`.

    Yields
    ------
    Product
        To be told of all that can change a result (`Product.identify`), then planned, then run.

    Raises
    ------
    OutputError
        An output exists, or cannot be written, or another run is writing it.
    """
    product = Product(specs, geobox, output, factor, form)
    try:
        yield product
        product.finish()
    except BaseException as error:
        product.leave(error)
        raise
    try:
        product.close(keep=output.keep)
    except KeyboardInterrupt:  # all is under its name: what was left to tidy is tidied
        product.close(keep=output.keep)
