"""Python processes that run this very stcli, whatever package lies where they are started.

Python looks for modules in the current directory first, and a checkout has one named stcli: its
kernels would be compiled in place of those at work.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Python that does not look into the current directory; what it is to run follows.
PYTHON = (sys.executable, "-P")


def environment() -> dict[str, str]:
    """Give the environment of such a process: this stcli is what it finds first."""
    root = str(Path(__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
