"""The sample of a noise pass: put in order without holding it twice."""

from __future__ import annotations

import subprocess
import sys

CODE = r"""
import re
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from stcli.engine.machine import resident
from stcli.workflows.noise.noise_pass import _sorted

def tile(number):
    places = np.arange(8000, dtype=np.int64) * 100 + number
    return places, [np.full((8000, 2), p + 0.5) for p in range(6)], np.zeros((2, 2))

with ThreadPoolExecutor(2) as pool:
    tiles = list(pool.map(tile, range(100)))
before, part = resident(), 800_000 * 2 * 8
found = _sorted(tiles)
assert found.sigma.shape == (800_000, 2, 3) and (found.sigma[:, :, 2] == 5.5).all()
peak = 1024 * int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
print((peak - before) / part)
"""


def test_a_sample_is_not_held_twice():
    """Beside the tiles' six parts there are the places, a part joined and one put in order."""
    words = [sys.executable, "-c", CODE]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 2 + 3 / 2
