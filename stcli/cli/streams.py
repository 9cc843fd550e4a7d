"""The standard streams: always there, each failing in its own way.

What is printed on stdout is a result: where it cannot be written the command has failed. What is
printed on stderr is talk: where nobody hears it the work goes on.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO

#: Control characters but those of a text's lines and columns, as JSON escapes them: the names of
#: files, bands and classes may come from others, and would command a terminal.
_ESCAPED = {n: f"\\u{n:04x}" for n in (*range(32), *range(127, 160)) if chr(n) not in "\t\n"}
#: What errors of writing a result name as their file.
STDOUT = "stdout"


def secure() -> None:
    """Put both streams in order; before anything is printed, and before a file is opened.

    The number of a stream that is closed would be the next file's, and what C libraries print
    would go there. So the null device holds it: for stdout opened such that printing fails.
    """
    _hold(1, os.O_RDONLY)
    _hold(2, os.O_WRONLY)
    sys.stdout = _text(_Result(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Talk(2, "w", closefd=False), sys.stderr, by_lines=True)


def settle() -> None:
    """Flush stdout at the end; what cannot be flushed is given up, so that no one tries again."""
    if sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        with contextlib.suppress(OSError):
            sys.stdout.flush()


def drawn() -> TextIO:
    """Give stderr to who draws on a terminal: what commands it is obeyed."""
    return _text(_Talk(2, "w", closefd=False), sys.stderr, True, io.TextIOWrapper)


class _Plain(io.TextIOWrapper):
    """Shows control characters in place of obeying them."""

    def write(self, text: str, /) -> int:
        super().write(text.translate(_ESCAPED))
        return len(text)


class _Result(io.FileIO):
    """Names itself in errors."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STDOUT
            raise


class _Talk(io.FileIO):
    """Lets what cannot be written pass."""

    def write(self, data: Any, /) -> int:
        with contextlib.suppress(OSError):
            written = super().write(data)
            if written is not None:  # which would mean: not now
                return written
        return len(data)


def _hold(number: int, how: int) -> None:
    """Open the null device under a number that is closed; another stays as it is."""
    try:
        os.fstat(number)
    except OSError:
        held = os.open(os.devnull, how)
        if held != number:
            os.dup2(held, number)
            os.close(held)
        os.set_inheritable(number, True)  # or a child would have the same trouble


def _text(
    raw: io.FileIO,
    before: TextIO | None,
    by_lines: bool = False,
    kind: type[io.TextIOWrapper] = _Plain,
) -> TextIO:
    """Write text of the encoding that Python chose; what it has no letters for is escaped."""
    return kind(
        io.BufferedWriter(raw),
        encoding=None if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=by_lines or raw.isatty(),
    )
