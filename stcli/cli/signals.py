"""Ctrl-C, SIGTERM and SIGHUP: an orderly stop, and an end within five seconds whatever runs."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from types import FrameType

#: Seconds after a signal in which everything may still be put in order.
LIMIT = 4.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[int] = []


def watch() -> None:
    """Answer the first signal with `KeyboardInterrupt`, and end the process `LIMIT` seconds later.

    Python hears a signal only between two of its own steps; a kernel or a driver may be at work
    for longer. The operating system writes the signal's number to a pipe at once, and a thread of
    its own waits there.
    """
    ours, theirs = _pipe()
    os.set_blocking(theirs, False)
    threading.Thread(target=_insist, args=(ours,), daemon=True).start()
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as of nohup
            signal.signal(number, _stop)
    signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)


def code() -> int:
    """Exit code of an interrupted command: 130, 143 of SIGTERM, 129 of SIGHUP."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def written() -> str:
    """Say which outputs were written; nothing is imported: a step may hold the lock."""
    remains = sys.modules.get("stcli.workflows.remains")
    return "no output was written" if remains is None else str(remains.written())


def leave(code: int) -> None:
    """End the process at once, and those it started: a tile still at work must not hold it up."""
    sys.stdout.flush()
    sys.stderr.flush()
    started = sys.modules.get("multiprocessing")
    for child in started.active_children() if started else ():
        child.kill()
    os._exit(code)


def _pipe() -> tuple[int, int]:
    """Make a pipe above the standard streams, of which one that is closed must stay so."""
    low = os.pipe()
    ours, theirs = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in low)
    for end in low:
        os.close(end)
    return ours, theirs


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if len(_received) == 1:  # what puts things in order is not interrupted again
        raise KeyboardInterrupt


def _insist(pipe: int) -> None:
    number = 0
    while number not in _SIGNALS:
        number = os.read(pipe, 1)[0]
    time.sleep(LIMIT)
    told = f"stcli: interrupted in the middle of a step; {written()}."
    print(f"{_kept()}{told}", file=sys.stderr)
    leave(128 + number)


def _kept() -> str:
    """Say what the next run can take up; nothing is imported, as above."""
    remains = sys.modules.get("stcli.workflows.remains")
    return "" if remains is None else str(remains.told())
