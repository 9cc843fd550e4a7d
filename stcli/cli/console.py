"""Talking: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO

from stcli.cli import streams

#: Version of what ``--json`` prints, described in docs/json.md. Fields may be added under one
#: version; a field that goes, or means something else, makes a new one.
SCHEMA = "stcli-json-1"
#: Seconds between progress lines where there is no terminal.
_QUIET_STEP = 60.0


class Console:
    """What a command says while it runs.

    Parameters
    ----------
    quiet : bool
        Say nothing but errors.
    verbose : bool
        Say more.
    progress : bool or None
        Force progress on or off; None for on unless quiet.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, progress: bool | None = None):
        self.quiet = quiet
        self.shows = progress if progress is not None else not quiet
        self._bar: Any = None
        self._stage = ""
        self._task: Any = None
        self._spoke = time.monotonic()
        self._trained: tuple[int, float] | None = None
        listen(quiet, verbose)

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Write a line to stderr, unless quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show how far a stage is: a bar on a terminal, a line a minute otherwise."""
        if not self.shows:
            return
        if _terminal(sys.stderr):
            self._move(stage, done, total, note)
        elif time.monotonic() - self._spoke >= _QUIET_STEP:
            self._spoke = time.monotonic()
            print(f"stcli: {stage} {done}/{total} {note}".rstrip(), file=sys.stderr, flush=True)

    def epochs(self, epoch: int, epochs: int, figures: dict[str, float]) -> None:
        """Show how far training is, with its figures."""
        note = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        first, begun = self._trained = self._trained or (epoch, time.monotonic())
        if first < epoch < epochs and not _terminal(sys.stderr):  # a bar has its own
            left = (time.monotonic() - begun) / (epoch - first) * (epochs - epoch)
            note += f"  {left / 60:.1f} min left"
        self.progress("train", epoch, epochs, note)

    def _move(self, stage: str, done: int, total: int, note: str) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.start()
        if stage != self._stage:
            self._stage, self._task = stage, self._bar.add_task(stage, total=total, note="")
        self._bar.update(self._task, completed=done, total=total, note=note)


def print_json(value: dict[str, Any], stream: TextIO | None = None) -> None:
    """Write one JSON object with the version of its schema, to stdout by default.

    Where the stream's encoding lacks a letter, all but ASCII is escaped as JSON does.
    """
    out, facts = stream or sys.stdout, {"schema": SCHEMA, **value}
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(facts, allow_nan=False)
    print(text, file=out, flush=True)


def print_plan(plan: dict[str, Any], as_json: bool) -> None:
    """Write what a command would do to stdout: as JSON, or for people."""
    if as_json:
        return print_json(plan)
    for work in plan["passes"]:
        terms = dict(work["memory"])
        predicted, allowed = (terms.pop(name) / 1e6 for name in ("predicted", "allowed"))
        print(
            f"{work['stage']}: {work['tiles']} tiles of {work['tile_size']} px, halo "
            f"{work['halo']} px ({work['overcompute']:g} pixels read for each), {work['jobs']} at "
            f"once by {work['scheduler']}; {predicted:.0f} MB of {allowed:.0f} MB allowed"
        )
        parts = (f"{name} {size / 1e6:.0f}" for name, size in terms.items() if size)
        print(f"  MB: {', '.join(parts)}")
    for made in plan["outputs"]:
        shape = " x ".join(map(str, made["shape"]))
        size = f"{made['bytes'] / 1e6:,.0f} MB before compression"
        print(f"{made['path']}: {shape} {made['dtype']}, {size}", flush=True)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Lay rows out in columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write a number of things; `many` where their plural is not an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def percent(share: float | None) -> str:
    """Format a share of one; a dash where it is not defined."""
    return "–" if share is None or share != share else f"{100 * share:.1f}"


def listen(quiet: bool, verbose: bool) -> None:
    """Send warnings of stcli to stderr; those of libraries only when verbose."""
    logging.captureWarnings(True)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("stcli: %(levelname)s: %(message)s"))
    handler.addFilter(_Once())
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.WARNING
    for name, threshold in (
        ("stcli", level),
        ("", logging.WARNING if verbose else logging.CRITICAL),
    ):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(threshold)
    logging.getLogger("stcli").propagate = False


class _Once(logging.Filter):
    """Lets each warning through once a command: a raster that is opened twice warns twice."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether it is new; what is less than a warning is let through as it comes."""
        told = record.getMessage()
        new = record.levelno != logging.WARNING or told not in self._said
        self._said.add(told)
        return new


def _bar() -> Any:
    from rich.console import Console as Rich
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
        Remaining(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(TextColumn("{task.description}"), *columns, console=Rich(file=streams.drawn()))


def _terminal(stream: TextIO) -> bool:
    import os

    return stream.isatty() and os.environ.get("TERM") != "dumb"
