"""A process that runs command lines, one after the other, for ``stcli batch``.

It reads ``{"argv": […]}`` from its stdin and answers ``{"code": …, "out": …, "err": …}`` on its
stdout, a line each. What is imported and compiled once serves all files; a file that takes the
process down with it costs that file alone.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

from stcli.cli.app import main


def serve() -> None:
    """Answer until stdin ends."""
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


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # there is nothing to clean up between two files
        serve()
