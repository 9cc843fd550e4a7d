"""Peak memory of every verb that makes a raster, beside what was predicted and allowed.

    python benchmarks/engine_memory.py [--verb NAME ...] [--memory SIZE ...] [--tiles N] [--side N]
        [--tile-size N]

The raster is a VRT that repeats the Sentinel-2 scene of ../shared/data over 40 000 x 40 000 pixels,
or `--side`: every tile is full. `downscale` takes it as the coarse raster; `conserve` gets another
one beside it. Each run does a shard of the plan for the whole raster, some N tiles: what a tile
needs does not depend on how many there are; where sides are compared, `--tile-size` is one for all.
First passes run over the whole raster, so verbs that have one are measured on the first `--rows`
rows of it. Finishing a file, which shards leave out, is measured apart (`--verb finish`): an
identity pass over 4 bands into a COG of 5 000 and of 10 000 pixels a side.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from engine import CLI, MODEL, told, watched
from engineworld import BANDS, SCENE, bar, mosaic, results

SIDE, ROWS = 40_000, 4_000
#: Words of each verb, and whether a first pass looks at the whole raster.
VERBS: dict[str, tuple[list[str], bool]] = {
    "segment": (["--size", "100", "--scaling", "0:4000"], False),
    "classify": (["--model", str(MODEL)], False),
    "downscale": (["--factor", "2"], False),
    "conserve": ([], False),
    "unwhiten": (["--along", "space"], False),
    "noise": ([], True),
    "denoise": ([], True),
    "mnf": ([], True),
    "destripe": ([], True),
    "whiten": (["--along", "space"], True),
}


def measure(folder: Path, verb: str, budget: str, tiles: int, sides: tuple[int, int, int]) -> None:
    """Run some tiles of a verb's plan for so many columns and rows, and print its bars."""
    words, passes = VERBS[verb]
    side, rows, tile_size = sides
    if tile_size:
        words = [*words, "--tile-size", str(tile_size)]
    inputs = rasters(folder, verb, side, rows if passes else side)
    name = f"{verb}_{budget.lower()}" + ("" if side == SIDE else f"_{side}")
    command = [*CLI, verb, *inputs, str(folder / f"{name}.tif"), *words, "--memory", budget]
    planned = subprocess.run([*command, "--dry-run", "--json"], capture_output=True, text=True)
    if planned.returncode:
        print(f"memory, {name}: exit {planned.returncode} before work ({told(planned.stderr)})")
        return
    plans = json.loads(planned.stdout)["passes"]
    plan = plans[-1]
    shards = max(1, plan["tiles"] // tiles)
    part = ["--tile-size", str(plan["tile_size"]), "-j", str(plan["jobs"])]
    ran, peak = watched([*command, *part, "--shard", f"1/{shards}", "--json", "-q"])
    if ran.returncode:
        print(f"memory, {name}: exit {ran.returncode} ({told(ran.stderr)})")
        return
    run = json.loads(ran.stdout)["run"]
    found = run["memory"]
    predicted = max(found["predicted"], *(each["memory"]["predicted"] for each in plans))
    terms = ", ".join(f"{term} {found[term] / 1e6:.0f}" for term in found if found[term])
    print(
        f"memory, {name}: {run['tiles']} tiles of {run['tile_size']} px, {run['jobs']} at once; "
        f"peak {peak / 1e6:.0f} MB; {terms}"
    )
    bar(f"memory_{name}_peak_over_predicted", peak / predicted, "<=", 1)
    bar(f"memory_{name}_predicted_over_allowed", predicted / found["allowed"], "<=", 1)


def rasters(folder: Path, verb: str, side: int, rows: int) -> list[str]:
    """Lay out what a verb reads."""
    path = mosaic(folder / f"m{rows}.vrt", side, rows)
    if verb == "conserve":
        return [str(path), str(mosaic(folder / f"c{rows}.vrt", side // 2, rows // 2, 20))]
    if verb == "unwhiten":
        names = [f"{band}:{part}" for band in BANDS[:1] for part in ("w1", "s1", "mean")]
        return [str(mosaic(folder / f"w{rows}.vrt", side, rows, names=names))]
    return [str(path)]


def finish(folder: Path, quick: bool) -> None:
    """Measure an identity pass to its end, for a raster and for one of four times its pixels."""
    peaks = []
    for side in (2500, 5000) if quick else (5000, 10_000):
        source = str(mosaic(folder / f"f{side}.vrt", side))
        command = [sys.executable, __file__, "--identity", source, str(folder / f"f{side}.tif")]
        ran, peak = watched(command)
        predicted = float(ran.stdout)
        peaks.append(peak)
        print(f"memory, finish {side}: peak {peak / 1e6:.0f} MB, {predicted / 1e6:.0f} predicted")
        bar(f"memory_finish_{side}_peak_over_predicted", peak / predicted, "<=", 1)
    bar("memory_finish_four_times_the_pixels", peaks[1] / peaks[0], "<=", 1.1)


def identity(source: str, path: str) -> None:
    """Copy a raster, and print what was predicted."""
    from engineworld import Identity

    from stcli.engine.memory import Cost
    from stcli.raster.writing.output import OutputBand, OutputSpec
    from stcli.settings import RunSettings
    from stcli.workflows.job import Inputs, Output
    from stcli.workflows.produce import Step, resumable

    with Inputs((source,)).open() as raster:
        bands = tuple(OutputBand(band.name) for band in raster.info.bands)
        spec = OutputSpec(path, "uint16", bands, None, "continuous", threads=2)
        with resumable((spec,), raster.info.geobox, Output()) as product:
            work = product.plan(raster, Cost(18, 16), RunSettings(512, None, 2))
            product.run(work, Step(Identity()), lambda *it: None, lambda *at: None)
    print(work.budget.predicted)


def main() -> int:
    """Measure what is asked for."""
    names = [*VERBS, "finish"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verb", nargs="*", choices=names, default=names)
    parser.add_argument("--memory", nargs="*", default=["512MB", "1GB", "4GB"])
    parser.add_argument("--tiles", type=int, default=12)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--tile-size", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--identity", nargs=2)
    asked = parser.parse_args()
    if asked.identity:
        identity(*asked.identity)
        return 0
    if not SCENE.exists():
        print(f"{SCENE} is missing: nothing measured")
        return 7
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        for verb in asked.verb:
            if verb == "finish":
                finish(folder, asked.quick)
                continue
            for budget in asked.memory:
                tiles = 4 if asked.quick else asked.tiles
                measure(folder, verb, budget, tiles, (asked.side, asked.rows, asked.tile_size))
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
