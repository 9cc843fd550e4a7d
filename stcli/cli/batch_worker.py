"""A process that runs command lines, one after the other, for ``stcli batch``.

It reads ``{"argv": […]}`` from its stdin and answers ``{"code": …, "out": …, "err": …}`` on its
stdout, a line each. What is imported and compiled once serves all files; a file that takes the
process down with it costs that file alone. It ends when its parent does, however that ended: a file
that it went on with would be locked for the next run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import threading
import time

from stcli.cli.app import main

#: Seconds between looks for the parent.
_LOOK = 0.2


def serve() -> None:
    """Answer until stdin ends."""
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    answers = os.dup(1)
    os.dup2(2, 1)  # what a C library prints is talk
    for line in sys.stdin:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(json.loads(line)["argv"])
        answer = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
        left = json.dumps(answer).encode() + b"\n"
        while left:
            left = left[os.write(answers, left) :]


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # there is nothing to clean up between two files
        serve()
