"""Kernels that measure objects are compiled for a run's data types, and apart from it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stcli.itself import environment

#: Rehearses, then says which kernels were compiled while the verb's own functions run.
PROBE = """
import sys
import numpy as np
from stcli.workflows.segmentation import rehearsal
rehearsal.rehearse({labels!r}, {bands!r}, True)
from numba.core import event
class Told(event.Listener):
    def on_start(self, told): print(told.data["dispatcher"])
    def on_end(self, told): pass
event.register("numba:compile", Told())
from stcli.cli.app import main
folder = {folder!r}
import rasterio
rng = np.random.default_rng(0)
grid = dict(driver="GTiff", height=90, width=80, crs="EPSG:32618")
rows, cols = np.indices((90, 80)) // 9
with rasterio.open(folder + "/l.tif", "w", count=1, dtype={labels!r}, nodata=0, **grid) as d:
    d.write((1 + cols + 9 * rows).astype({labels!r})[None])
with rasterio.open(folder + "/s.tif", "w", count=2, dtype={bands!r}, **grid) as d:
    d.write((100 * rng.random((2, 90, 80))).astype({bands!r}))
more = ["--percentiles", "50", "--texture", "--tile-size", "64", "-q", "--overwrite"]
sys.exit(main(["objects", folder + "/l.tif", folder + "/s.tif", folder + "/o.parquet", *more]))
"""


@pytest.mark.long
@pytest.mark.parametrize(("labels", "bands"), [("uint32", "uint16"), ("int64", "float32")])
def test_a_rehearsal_leaves_nothing_to_compile(tmp_path, labels, bands):
    """With kernels that earlier runs kept, none would be compiled whatever was rehearsed."""
    code = PROBE.format(labels=labels, bands=bands, folder=str(tmp_path))
    env = {**os.environ, **environment(), "NUMBA_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == []
