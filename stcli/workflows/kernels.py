"""Kernels are compiled once on a machine: in processes of their own, which take a compiler along.

A process that has compiled keeps twice the memory of one that loads what is compiled, and gives
none of it back; a plan cannot be larger only because it is the first.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stcli.itself import PYTHON, environment
from stcli.jit import compiling
from stcli.workflows.pace import Progress

#: Bytes that kernels add to a process that loads them, measured: numba's own modules most of all.
LOADED = 80_000_000
_STAGE = "compile kernels (once)"


def compile_apart(
    kernels: Sequence[Any], codes: Sequence[str], progress: Progress, dtypes: Sequence[str] = ()
) -> None:
    """Compile kernels that numba's cache does not hold, in processes of their own.

    Parameters
    ----------
    kernels : sequence of numba dispatchers
        If these are in the cache, so are the others that are compiled with them.
    codes : sequence of str
        Python that calls all of them, in as many processes side by side.
    progress : callable
        Told that it takes a while: up to half a minute, once on a machine.
    dtypes : sequence of str
        For each kernel the data type of an array that it is to take; by default any.
    """
    wanted = tuple(itertools.zip_longest(kernels, dtypes, fillvalue=""))
    if all(itertools.starmap(cached, wanted)):
        return
    progress(_STAGE, 0, 1)
    with compiling():
        done = all(itertools.starmap(cached, wanted)) or _compiled(codes)
    progress(_STAGE, 1, 1)
    if not done:
        logging.getLogger("stcli").warning(
            "kernels could not be compiled beforehand: this run may need %d MB more than predicted",
            LOADED // 1_000_000,
        )


def _compiled(codes: Sequence[str]) -> bool:
    """Run codes in processes of their own, which end with this call; tell whether all went well."""
    nothing = subprocess.DEVNULL
    with contextlib.ExitStack() as running:
        children = []
        for code in codes:
            line = [*PYTHON, "-c", code]
            child = subprocess.Popen(
                line, stdin=nothing, stdout=nothing, stderr=nothing, env=environment()
            )
            running.callback(child.wait)
            running.callback(child.kill)  # which does nothing to one that has ended
            children.append(child)
        ended = [child.wait() for child in children]
    return not any(ended)


@contextlib.contextmanager
def loading(rehearse: Callable[[], None]) -> Iterator[None]:
    """Load compiled kernels beside what the block does, which mostly waits for files.

    Left to the first tiles, all threads would wait for one that loads.
    """
    loader = threading.Thread(target=rehearse, daemon=True)
    loader.start()
    try:
        yield
    finally:
        loader.join()


def cached(kernel: Any, dtype: str = "") -> bool:
    """Tell whether numba's cache holds a kernel, by its own index, which no other can read.

    With a data type, whether for an array of it.
    """
    found = kernel._cache._cache_file._load_index()
    return any(not dtype or f"({dtype}, " in str(signature) for signature, *_ in found)
