"""``batch``: one verb over many files, each file's fate told in one record."""

from __future__ import annotations

import contextlib
import glob
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from stcli.engine.machine import default_memory, processors
from stcli.errors import InputError, ModelError, OutputError, StcliError, UsageError
from stcli.lock import Lock
from stcli.raster.writing import appeared
from stcli.raster.writing.creation import refuse_unknown
from stcli.raster.writing.publish import withdraw
from stcli.settings.checking import check
from stcli.workflows.existing import all_there
from stcli.workflows.job import Output, Progress, refuse_clash, silent

#: Held in the folder of the outputs while a batch is at work there.
LOCK = ".stcli-batch.lock"
DONE, SKIPPED, FAILED, LEFT = "done", "skipped", "failed", "left"
#: What no file may be to blame for, by its exit code.
_BLAMED: dict[int, type[StcliError]] = {kind.exit_code: kind for kind in (UsageError, ModelError)}
#: Name of an input that is not there.
_NOWHERE = ".stcli-batch.nowhere"


@dataclass(frozen=True)
class Answer:
    """What a run on one file gave: its exit code, its result, or its error and warnings."""

    code: int
    result: dict[str, Any] | None = None
    error: str = ""


class Runner(Protocol):
    """Runs a verb on one input and output; called from several threads."""

    def __call__(self, source: str, target: str) -> Answer:
        """Run it; what fails is in the answer."""

    def stop(self) -> None:
        """End what is running, soon, and start nothing more."""


@dataclass(frozen=True)
class Orders:
    """Which files, and where to.

    Attributes
    ----------
    inputs : tuple of str
        Files, or patterns for them (``*``, ``?``, ``[…]``, ``**``).
    folder : Path
        Where outputs go; made if its parent exists.
    name : str
        Name of an output; ``{stem}`` is the input's.
    skip_existing : bool
        A file whose outputs are all there is done already.
    settle : float
        Seconds for which an input must not have changed.
    files : int
        Files at once.
    beside : tuple of (str, str)
        Options that name outputs of the verb beside its first, and the names, {stem} in them.
    """

    inputs: tuple[str, ...]
    folder: Path
    name: str = "{stem}.tif"
    skip_existing: bool = False
    settle: float = 2.0
    files: int = 1
    beside: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        check(0 <= self.settle < math.inf, "--settle", self.settle, ">= 0 and finite")
        check(self.files >= 1, "--files", self.files, ">= 1")
        if "{stem}" not in self.name or "/" in self.name:
            raise UsageError(f"--name: '{self.name}' found, a name with {{stem}} in it wanted.")

    def output(self, path: str) -> str:
        """Name the output of an input."""
        return str(self.folder / fill(self.name, path))

    def outputs(self, path: str) -> tuple[str, ...]:
        """Name the output of an input, and those beside it."""
        return self.output(path), *(fill(name, path) for _, name in self.beside)


def fill(name: str, path: str) -> str:
    """Put the stem of an input into a name, where it says ``{stem}``."""
    return name.replace("{stem}", Path(path).stem)


@dataclass(frozen=True)
class Record:
    """The fate of one file."""

    input: str
    output: str
    status: str
    exit_code: int = 0
    seconds: float = 0.0
    note: str = ""
    result: dict[str, Any] | None = None


def find(patterns: Sequence[str]) -> tuple[str, ...]:
    """List the inputs, each once, in order of their names.

    What is there under a pattern's own name is meant itself: a shell puts ``s[1].tif`` for ``*``.

    Raises
    ------
    InputError
        A pattern looks into a folder that is not there, or fits none of the files that are there.
        (That there is none is no error: a drop folder may be empty.)
    """
    found: set[str] = set()
    for pattern in patterns:
        if not glob.has_magic(pattern) or Path(pattern).exists():
            found.add(pattern)
            continue
        still = Path(*_before_magic(pattern))
        if not still.is_dir():
            raise InputError(f"{pattern}: there is no directory {still}; check the pattern")
        fitting = glob.glob(pattern, recursive=True)  # noqa: PTH207 (keeps the pattern's own form)
        if not fitting and (other := _any_file(pattern, still)):
            raise InputError(
                f"{pattern}: matches no file, but others such as {other} exist; check the pattern"
            )
        found |= set(fitting)
    return tuple(sorted(found))


def _any_file(pattern: str, still: Path) -> str:
    """Name a file, whatever its name, that lies where a pattern looks; '' where there is none."""
    parts = Path(pattern).parts[len(still.parts) :]
    wide = str(still.joinpath(*("**" if part == "**" else "*" for part in parts)))
    files = glob.iglob(wide, recursive=True)  # noqa: PTH207 (leaves hidden files out)
    return next((Path(path).name for path in files if Path(path).is_file()), "")


def _before_magic(pattern: str) -> Iterator[str]:
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            return
        yield part


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this batch; raises `OutputError` where another one holds it."""
    lock = Lock(folder / LOCK, str(folder), own=False)
    try:
        yield
    finally:
        lock.release(remove=True)


def batch(
    orders: Orders,
    runner: Runner,
    tell: Callable[[Record], None],
    progress: Progress = silent,
) -> Counter[str]:
    """Run a verb over files; a file that fails does not keep the others from being done.

    Parameters
    ----------
    orders : Orders
    runner : Runner
    tell : callable
        Told each record as soon as all before it are told: in order of the inputs' names.
    progress : callable

    Returns
    -------
    Counter
        How many files were ``done``, ``skipped``, ``failed`` and ``left``.

    Raises
    ------
    UsageError, ModelError
        Two files would write one output, or the verb refuses its options, or its model, whatever
        the input: then no file can go well.
    InputError, OutputError
        Nothing can be looked for, or another batch is at work in the folder.
    """
    inputs = find(orders.inputs)
    _refuse_same_outputs(orders, inputs)
    _make(orders.folder)
    tally: Counter[str] = Counter()
    with locked(orders.folder), ThreadPoolExecutor(orders.files) as pool:
        one = _One(orders, runner, inputs)
        pending = [pool.submit(one, path) for path in inputs]
        try:
            for done, future in enumerate(pending, start=1):
                record = future.result()
                if record.exit_code in _BLAMED and one.hopeless(record):
                    raise _BLAMED[record.exit_code](record.note)
                if record.status == DONE:
                    appeared.note(record.output)
                tell(record)
                tally[record.status] += 1
                progress("batch", done, len(inputs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            raise
    return tally


def refuse_creation(name: str, output: Output) -> None:
    """Refuse creation options that the format of the outputs does not know; raises `UsageError`."""
    if not output.netcdf(name):
        refuse_unknown(output.driver, output.creation_options)


def share(files: int, jobs: int | None, memory: int | None) -> tuple[int, int]:
    """Divide tiles at once and the memory budget, in bytes, among files at once."""
    total = jobs or processors()
    return max(1, total // files), max(1, (memory or default_memory()) // files)


def _refuse_same_outputs(orders: Orders, inputs: Sequence[str]) -> None:
    for option, name in orders.beside:
        if len(inputs) > 1 and "{stem}" not in name:
            raise UsageError(
                f"{option}: '{name}' found, but {len(inputs)} files want one each; "
                "write {stem} in the name."
            )
    owner: dict[str, str] = {}
    for path in inputs:
        other = owner.setdefault(orders.output(path), path)
        if other != path:
            raise UsageError(
                f"{path}: would have the output {orders.output(path)}, and so would {other}; "
                "run them into two folders"
            )
    refuse_clash(inputs, [made for path in inputs for made in orders.outputs(path)])


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}); choose another --out-dir"
        ) from error


class _One:
    """The fate of one file, found by working on it."""

    def __init__(self, orders: Orders, runner: Runner, inputs: Sequence[str]) -> None:
        self.orders, self.runner = orders, runner
        self.seen = {path: _state(path) for path in inputs}
        now, settle = time.time(), orders.settle
        ages = (now - state[1] for state in self.seen.values() if state)
        if any(age < settle for age in ages):
            time.sleep(settle)  # one wait for all that were touched a moment ago

    @cached_property
    def _nowhere(self) -> Answer:
        """What the verb says where there is no input to look at."""
        nowhere = str(self.orders.folder / _NOWHERE)
        return self.runner(nowhere, self.orders.output(nowhere))

    def hopeless(self, record: Record) -> bool:
        """Tell whether a file failed for what no file can do better: options, or the one model."""
        said = self._nowhere
        same = said.error == record.note or record.exit_code == UsageError.exit_code
        return said.code == record.exit_code and same

    def __call__(self, path: str) -> Record:
        output = self.orders.output(path)
        try:
            if self.orders.skip_existing and all_there(self.orders.outputs(path)):
                return Record(path, output, SKIPPED, note=_stale(path, output))
        except OutputError as error:
            return Record(path, output, FAILED, error.exit_code, note=str(error))
        if _state(path) != self.seen[path]:
            note = "it is still changing, and is left for the next run"
            return Record(path, output, LEFT, note=note)
        begun = time.perf_counter()
        answer = self.runner(path, output)
        seconds = round(time.perf_counter() - begun, 3)
        if answer.code:
            return Record(path, output, FAILED, answer.code, seconds, answer.error)
        if _state(path) != self.seen[path]:
            for made in self.orders.outputs(path):
                withdraw(made)
            note = "it changed while it was read: its output is removed, the next run takes it"
            return Record(path, output, LEFT, 0, seconds, note)
        return Record(path, output, DONE, 0, seconds, answer.error, answer.result)


def _state(path: str) -> tuple[int, float] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None  # the verb will say why
    return found.st_size, found.st_mtime


def _stale(path: str, output: str) -> str:
    state, made = _state(path), _state(output)
    if state and made and state[1] > made[1]:
        return "the input is newer than its output; remove the output to have it made again"
    return ""
