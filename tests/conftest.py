"""What every test process shares: its threads do not wait for each other at full speed.

As many of these processes run side by side as there are processors, so that a second thread of one
has none of its own. Tests of several threads ask for them by number.

Programs that tests start find this package compiled, whatever the environment says: there are some
hundred of them.

Nor does a test hear less because the command line, called by another one, let nothing through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import loggers
import pytest

# before numpy and torch are loaded, which read them once
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Leave loggers as they were, whatever a test calls."""
    with loggers.as_they_were():
        yield
