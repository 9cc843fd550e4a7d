"""The engine's promises: throughput, memory, start, overhead, workers that die.

    python benchmarks/engine.py [--quick] [--only NAME ...]

Names: throughput, start, overhead, workers, memory. Kills of the whole run and a full disk are
in engine_kill.py. The large rasters are VRTs that repeat the Sentinel-2 scene in ../shared/data.
The memory of a raster of 40 000 x 40 000 pixels is measured on shards of the plan for the whole
raster: all would take hours.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import engine_throughput
from engineworld import SCENE, Blank, Identity, Nothing, bar, mosaic, results

from stcli.engine.run import Job, Workers, run
from stcli.engine.tiling import TilePlan

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "sample_data" / "model"
CLI = [sys.executable, "-c", "from stcli.cli.app import run; run()"]


def throughput(folder: Path, quick: bool) -> None:
    """Measure the identity pass beside gdal_translate."""
    engine_throughput.measure(folder, 1 if quick else 3, 4000 if quick else 10_000)


# --- start --------------------------------------------------------------------------------------


def first_tile(source: str, begun: float) -> None:
    """Begin a job of a million tiles; print the time and peak memory at its first one, and end."""
    from stcli.engine.memory import Cost
    from stcli.raster.writing.output import OutputBand, OutputSpec
    from stcli.settings import RunSettings
    from stcli.workflows.job import Inputs, Output
    from stcli.workflows.produce import Step, resumable

    def sink(tile: Any, answer: Any) -> None:
        print(json.dumps([len(work.budget.plan), time.time() - begun, high()]), flush=True)
        os._exit(0)

    inputs = Inputs((source,))
    with inputs.open() as raster:
        bands = tuple(OutputBand(band.name) for band in raster.info.bands)
        spec = OutputSpec(f"{source}.tif", "uint16", bands, None, "continuous")
        with resumable((spec,), raster.info.geobox, Output()) as product:
            product.identify(**Output().identity(inputs, verb="identity"))
            work = product.plan(raster, Cost(18, 16), RunSettings(64, None, 2))
            product.run(work, Step(Identity()), sink, lambda *at: None)


def high() -> float:
    """Peak resident memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def start(folder: Path, quick: bool) -> None:
    """Measure the start of ten tiles and of a million, whole processes."""
    found = {}
    for side in (200, 64_000):
        source = str(mosaic(folder / f"start{side}.vrt", side))
        command = [sys.executable, __file__, "--first-tile", source, repr(time.time())]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        found[side] = json.loads(ran.stdout)
    tiles, seconds, peak = found[64_000]
    print(f"start: {found[200][1]:.2f} s for {found[200][0]} tiles, {seconds:.2f} s for {tiles}")
    bar("start_million_tiles_seconds", seconds, "<=", 3)
    bar("start_million_tiles_megabytes", peak / 1e6, "<=", 300)


# --- overhead -----------------------------------------------------------------------------------


def cost(kind: str, tiles: int) -> float:
    """Milliseconds a tile of a function that does nothing, from the first tile to the last."""
    plan = TilePlan((1, tiles), 1)
    first: list[float] = []

    def take(tile: Any, answer: Any) -> None:
        if not first:
            first.append(time.perf_counter())

    run(Job(plan, Blank(), Nothing(), take), Workers(kind, 2))  # type: ignore[arg-type]
    return (time.perf_counter() - first[0]) / tiles * 1000


def overhead(folder: Path, quick: bool) -> None:
    """Measure what scheduling costs a tile, for few tiles and for many."""
    many = 10_000 if quick else 100_000
    for kind, target, most in (("threads", 0.3, many), ("cluster", 5, 3000 if quick else many)):
        few, large = cost(kind, 1000), cost(kind, most)
        print(f"overhead, {kind}: {few:.4f} ms of 1000 tiles, {large:.4f} ms of {most}")
        bar(f"overhead_{kind}_ms", max(few, large), "<=", target)
        bar(f"overhead_{kind}_{most}_over_1000_tiles", large / few, "<=", 1.5)


# --- workers that die ---------------------------------------------------------------------------


def identity(source: str, path: str, scheduler: str) -> None:
    """Copy a raster tile by tile."""
    from stcli.engine.memory import Cost
    from stcli.raster.writing.output import OutputBand, OutputSpec
    from stcli.settings import RunSettings
    from stcli.workflows.job import Inputs, Output
    from stcli.workflows.produce import Step, resumable

    inputs, output = Inputs((source,)), Output(overwrite=True)
    with inputs.open() as raster:
        bands = tuple(OutputBand(band.name) for band in raster.info.bands)
        spec = OutputSpec(path, "uint16", bands, None, "continuous", overwrite=True)
        with resumable((spec,), raster.info.geobox, output) as product:
            product.identify(**output.identity(inputs, verb="identity"))
            settings = RunSettings(128, None, 2, scheduler=scheduler)
            work = product.plan(raster, Cost(18, 16), settings)
            product.run(work, Step(Identity()), lambda tile, answer: None, lambda *at: None)


def workers(folder: Path, quick: bool) -> None:
    """Kill one worker of a cluster in each of ten runs; compare what comes out."""
    source, wanted = str(mosaic(folder / "workers.vrt", 2000)), folder / "wanted.tif"
    identity(source, str(wanted), "threads")
    rounds, equal, killed = (3 if quick else 10), 0, 0
    chance = random.Random(0)
    for number in range(rounds):
        path, deaths = folder / f"w{number}.tif", []
        killer = threading.Thread(target=kill_one, args=(folder, path, chance, deaths))
        killer.start()
        identity(source, str(path), "local")
        killer.join()
        killed += len(deaths)
        equal += filecmp.cmp(path, wanted, shallow=False)
        path.unlink()
    print(f"workers: {killed} of {rounds} runs lost a worker, {equal} complete and equal")
    bar("worker_kills_in_runs", killed, ">=", rounds)
    bar("worker_kill_equal_runs", equal, ">=", rounds)


def kill_one(folder: Path, path: Path, chance: random.Random, deaths: list[int]) -> None:
    """Kill a random worker once some tiles are done."""
    import psutil

    wanted = chance.randrange(5, 100)
    until = time.monotonic() + 60
    while time.monotonic() < until and not deaths:
        parts = len(list(folder.glob(f".{path.name}*/**/*.tif")))
        found = [p for p in psutil.Process().children(recursive=True) if is_worker(p)]
        if parts >= wanted and found:
            victim = chance.choice(found)
            victim.kill()
            deaths.append(victim.pid)
        time.sleep(0.005)


def is_worker(process: Any) -> bool:
    """Tell a spawned worker from multiprocessing's own helpers."""
    with contextlib.suppress(Exception):
        return "spawn_main" in " ".join(process.cmdline())
    return False


# --- memory -------------------------------------------------------------------------------------


def memory(folder: Path, quick: bool) -> None:
    """Measure peaks of shards of a large raster against what was predicted and allowed."""
    sides = (10_000, 40_000) if quick else (10_000, 40_000, 100_000)
    rasters = {side: str(mosaic(folder / f"m{side}.vrt", side)) for side in sides}
    verbs = {"segment": ["--size", "100"], "classify": ["--model", str(MODEL)]}
    for budget in ("512MB", "1GB", "4GB"):
        for verb, words in verbs.items():
            peak_of(verb, words, rasters[40_000], budget, folder, 4 if quick else 12)
    flat = [
        peak_of("classify", verbs["classify"], rasters[side], "1GB", folder, 4) for side in sides
    ]
    known = [peak for peak in flat if peak]
    bar(f"memory_classify_{sides[-1]}_over_{sides[0]}", known[-1] / known[0], "<=", 1.1)


def peak_of(
    verb: str, words: list[str], source: str, budget: str, folder: Path, tiles: int
) -> float | None:
    """Run `tiles` tiles of the plan for a raster; print bars; return the peak in bytes."""
    name = f"{Path(source).stem}_{verb}_{budget.lower()}"
    output = str(folder / f"{name}.tif")
    command = [*CLI, verb, source, output, *words, "--memory", budget, "--json", "-q"]
    planned = subprocess.run([*command, "--dry-run"], capture_output=True, text=True)
    if planned.returncode == 5:
        print(f"memory, {name}: refused before work ({told(planned.stderr)})")
        return None
    plan = json.loads(planned.stdout)["passes"][-1]
    shards = max(1, plan["tiles"] // tiles)
    part = ["--tile-size", str(plan["tile_size"]), "--shard", f"1/{shards}"]
    ran, peak = watched([*command, *part])
    if ran.returncode:
        print(f"memory, {name}: exit {ran.returncode} ({told(ran.stderr)})")
        return None
    found = json.loads(ran.stdout)["run"]["memory"]
    terms = ", ".join(f"{term} {found[term] / 1e6:.0f}" for term in found if found[term])
    print(f"memory, {name}: {peak / 1e6:.0f} MB; {terms}")
    bar(f"memory_{name}_peak_over_predicted", peak / found["predicted"], "<=", 1)
    bar(f"memory_{name}_predicted_over_allowed", found["predicted"] / found["allowed"], "<=", 1)
    return peak


def told(text: str) -> str:
    """Read the sentence of an error."""
    with contextlib.suppress(ValueError, KeyError, IndexError):
        return str(json.loads(text.strip().splitlines()[-1])["error"]["message"])
    return text.strip()[-200:]


def watched(command: list[str]) -> tuple[Any, float]:
    """Run a command and tell its peak resident memory in bytes."""
    code = (
        "import resource, subprocess, sys\n"
        "ran = subprocess.run(sys.argv[1:])\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "print(f'\\nPEAK {peak}', file=sys.stderr)\n"
        "sys.exit(ran.returncode)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    said, _, peak = ran.stderr.rpartition("\nPEAK ")
    ran.stderr = said
    return ran, float(peak)


PARTS = {
    "throughput": throughput,
    "start": start,
    "overhead": overhead,
    "workers": workers,
    "memory": memory,
}


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--first-tile", nargs=2)
    asked = parser.parse_args()
    if asked.first_tile:
        first_tile(asked.first_tile[0], float(asked.first_tile[1]))
        return 0
    if not SCENE.exists():
        print(f"{SCENE} is missing: nothing measured")
        return 7
    with tempfile.TemporaryDirectory(dir=".") as name:
        for part in asked.only:
            PARTS[part](Path(name).resolve(), asked.quick)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
