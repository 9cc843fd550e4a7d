"""Cost of downscaling by its pixels: memory kept to a budget, time linear.

    python benchmarks/downscaling_scale.py [--quick]

Back-projection makes the four 10 m bands of ../shared/data's Sentinel-2 scene (1933 x 1947) finer
by 4 under ``--memory 4GB``, and the upper left quarter of it by the same command. Each run is a
process of its own; processor time is that of all its threads. `--quick` takes a ninth of the scene
and prints no bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import rasterio
from rasterio.windows import Window

DATA = Path(__file__).parents[2] / "shared" / "data" / "s2-eastern-shore-l1c"
RUN = """
import resource, sys
from stcli.cli.app import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print("USED", used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)
"""
results: list[bool] = []


def cut(folder: Path, share: int) -> tuple[Path, int]:
    """Write the upper left part of the scene, one over `share` a side; give its pixels too."""
    path = folder / f"part{share}.tif"
    bands = []
    for name in ("B02", "B03", "B04", "B08"):
        with rasterio.open(DATA / f"{name}.tif") as source:
            window = Window(0, 0, source.width // share, source.height // share)
            bands.append(source.read(1, window=window))
            profile = {**source.profile, "width": window.width, "height": window.height}
    profile = {**profile, "driver": "GTiff", "count": len(bands), "tiled": True}
    with rasterio.open(path, "w", **{**profile, "blockxsize": 256, "blockysize": 256}) as out:
        for number, band in enumerate(bands, start=1):
            out.write(band, number)
    return path, bands[0].size


def downscaled(path: Path) -> tuple[float, int, dict[str, Any]]:
    """Run it; give processor seconds, peak bytes, and what the run says of itself."""
    argv = ["downscale", path, path.with_suffix(".x4.tif"), "--factor", 4, "--memory", "4GB"]
    command = [sys.executable, "-c", RUN, *map(str, argv), "--json", "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise SystemExit(done.stderr)
    line = next(line for line in done.stderr.splitlines() if line.startswith("USED"))
    seconds, peak = line.split()[1:]
    said: dict[str, Any] = json.loads(done.stdout)
    path.with_suffix(".x4.tif").unlink()
    return float(seconds), int(peak), said


def bar(name: str, value: float, target: float) -> None:
    """Print one bar (lower is better) and remember whether it holds."""
    holds = value <= target
    results.append(holds)
    print(f"BAR downscaling_scale.{name} {value:.4g} <= {target:g} {'ok' if holds else 'short'}")


def main() -> int:
    """Measure; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    if not DATA.exists():
        print(f"no {DATA}: nothing is measured")
        return 0
    each, peaks, said = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for share in (3,) if quick else (2, 1):
            path, pixels = cut(Path(folder), share)
            seconds, peak, said = downscaled(path)
            each.append(seconds / pixels)
            peaks.append(peak)
            print(
                f"{pixels} pixels of 4 bands x4: {seconds:.1f} s of processors, "
                f"{1e-6 * pixels * 64 / seconds:.2f} million values a second, "
                f"peak {peak / 1e9:.2f} GB (predicted "
                f"{said['run']['memory']['predicted'] / 1e9:.2f}), block means within "
                f"{said['residual']:.2g}",
                flush=True,
            )
    if not quick:
        bar("peak_gb", peaks[-1] / 1e9, 4.0)
        bar("seconds_a_pixel_whole_over_quarter", each[1] / each[0], 1.1)
        bar("block_residual", said["residual"], 1e-6)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
