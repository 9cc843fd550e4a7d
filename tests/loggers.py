"""The loggers that the command line sets up, as they were before."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def as_they_were() -> Iterator[None]:
    """Undo what the block does to handlers, levels and warnings."""
    loggers = [logging.getLogger(name) for name in ("", "stcli")]
    before = [(log.handlers[:], log.level, log.propagate) for log in loggers]
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for log, (handlers, level, propagate) in zip(loggers, before, strict=True):
            log.handlers[:], log.propagate = handlers, propagate
            log.setLevel(level)
