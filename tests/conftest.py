"""What every test process shares: its threads do not wait for each other at full speed.

As many of these processes run side by side as there are processors, so that a second thread of one
has none of its own. Tests of several threads ask for them by number.
"""

from __future__ import annotations

import os

# before numpy and torch are loaded, which read them once
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
