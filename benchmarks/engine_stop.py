"""Ctrl-C and SIGTERM in the middle of work: how soon a run ends, and that it can be resumed.

    python benchmarks/engine_stop.py [--quick] [--verb NAME ...] [--how KIND ...] [--times N]

Each run of a verb on a mosaic of the Sentinel-2 scene of ../shared/data gets a signal at a random
moment after its first finished tile, or (`finish`) while GDAL makes the finished file. It must be
gone within 5 seconds with exit code 130 or 143, with no process of its own left, say that the same
command continues, and leave nothing but its hidden folder; the same command must then take up the
finished tiles.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine import CLI, MODEL
from engineworld import SCENE, bar, mosaic, results

#: Words of each verb, columns of its raster, and side of its tiles: a few seconds each at most.
VERBS: dict[str, tuple[list[str], int, int]] = {
    "segment": (["--size", "100", "--scaling", "0:4000"], 8000, 2048),
    "classify": (["--model", str(MODEL)], 4000, 768),
    "denoise": (["--depth", "3"], 3000, 512),
    "downscale": (["--factor", "3"], 3000, 768),
    "finish": (["--size", "100", "--scaling", "0:4000"], 8000, 2048),
}
KINDS = ("threads", "processes", "local")
LIMIT, PATIENCE = 5.0, 600.0


def stop(folder: Path, verb: str, kind: str, number: signal.Signals) -> tuple[float, list[str]]:
    """Signal a run in its middle; give the seconds that it took to end, and what was wrong."""
    words, side, tile = VERBS[verb]
    source = mosaic(folder / f"{verb}.vrt", side)
    out = folder / f"{verb}.tif"
    name = "segment" if verb == "finish" else verb
    command = [*CLI, name, str(source), str(out), *words, "--tile-size", str(tile), "-j", "2"]
    command += ["--scheduler", kind]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    hidden = folder / f".{out.name}.stcli"
    _await(run, hidden / ("final" if verb == "finish" else "job/parts"))
    time.sleep(random.uniform(0, 0.4 if verb == "finish" else 2))  # a file takes a second
    if run.poll() is not None:
        return 0.0, ["ended before the signal"]
    begun = time.monotonic()
    run.send_signal(number)
    _, told = run.communicate()
    seconds = time.monotonic() - begun
    wrong = [] if run.returncode == 128 + number else [f"exit {run.returncode}"]
    wrong += [] if "the same command continues" in told else [f"told {told.splitlines()[-3:]}"]
    time.sleep(0.5)
    wrong += [f"left {line}" for line in _session(run.pid)]
    wrong += [f"left {path.name}" for path in folder.glob(f"*{out.name}*") if path != hidden]
    again = subprocess.run([*command, "--json"], capture_output=True, text=True)
    if again.returncode or "tiles were finished already" not in again.stderr:
        wrong.append(f"not resumed: {again.returncode} {again.stderr[-300:]}")
    for path in folder.glob(f"{out.name}*"):  # the statistics beside it too
        path.unlink()
    return seconds, wrong


def _await(run: subprocess.Popen[str], place: Path) -> None:
    """Wait until a file is in a folder, or the run has ended."""
    until = time.monotonic() + PATIENCE
    while run.poll() is None and time.monotonic() < until:
        if any(path.is_file() for path in place.rglob("*")):
            return
        time.sleep(0.02)


def _session(leader: int) -> list[str]:
    """List the processes of a session that are still there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == leader:
                words = (folder / "cmdline").read_text().replace("\0", " ").split()
                found += [" ".join(words)[:80]] if words else []  # none: it has ended
        except OSError:
            continue
    return found


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verb", nargs="*", choices=list(VERBS), default=list(VERBS))
    parser.add_argument("--how", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if not SCENE.exists():
        print(f"{SCENE} is missing: nothing measured")
        return 7
    random.seed(7)
    kinds = asked.how[:1] if asked.quick else asked.how
    with tempfile.TemporaryDirectory(dir=".") as name:
        for verb in asked.verb:
            for kind in kinds:
                taken, bad = [], 0
                for turn in range(1 if asked.quick else asked.times):
                    number = (signal.SIGINT, signal.SIGTERM)[turn % 2]
                    seconds, wrong = stop(Path(name).resolve(), verb, kind, number)
                    print(f"{verb}, {kind}, {number.name}: {seconds:.2f} s; {wrong}", flush=True)
                    taken.append(seconds)
                    bad += bool(wrong)
                bar(f"stop_{verb}_{kind}_seconds", max(taken), "<=", LIMIT)
                bar(f"stop_{verb}_{kind}_not_in_order", bad, "<=", 0)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
