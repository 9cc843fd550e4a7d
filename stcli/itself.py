"""Python processes that run this very stcli, whatever package lies where they are started.

Python looks for modules in the current directory first, and a checkout has one named stcli: its
kernels would be compiled in place of those at work.
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

#: Python that does not look into the current directory; what it is to run follows.
PYTHON = (sys.executable, "-P")


def environment() -> dict[str, str]:
    """Give the environment of such a process: this stcli is what it finds first.

    What is installed it finds by itself; named here, all that lies beside it would come before
    the standard library.
    """
    root = str(Path(__file__).parents[1])
    if root in (*site.getsitepackages(), site.getusersitepackages()):
        return dict(os.environ)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
