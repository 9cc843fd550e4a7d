"""Runs killed at random moments and resumed, and a disk that fills in the middle.

    python benchmarks/engine_kill.py [--quick] [--runs N] [--seed N] [--only NAME ...]

Names: full_disk, geotiff, packed_geotiff, zarr. `stcli segment` of a crop of the sample scene in 36
tiles, as a COG, as a plain GeoTIFF whose blocks are of one tile each, and as a Zarr. Each run is
killed with SIGKILL one to three times, at moments drawn evenly over the processor time that an
uninterrupted run takes after its imports (so that what else the machine does shifts nothing), and
then let end. It counts if at each kill nothing lay under the output's name
(or, killed after its end, all of it), and if at last the output is byte for byte that of the
uninterrupted run and nothing else is left. The peer of each run is that uninterrupted run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import rasterio
from rasterio.windows import Window

ROOT = Path(__file__).parents[1]
SCENE, SIDE = ROOT / "sample_data" / "scene.tif", 380
#: Imports what a run needs once, before any thread is there; then each run is a process of its own,
#: forked from it, so that kills fall into the work and not into imports.
NURSERY = """
import json, os, sys
from stcli.cli.app import main
import stcli.raster.writing.zarrstore, stcli.workflows.segmentation.segment, zarr
print("ready", flush=True)
for line in sys.stdin:
    folder, log, argv = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os._exit(main(argv))
    print(child, flush=True)
    _, status, used = os.wait4(child, 0)
    print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, flush=True)
"""
_BLOCKS = ["--co", "BLOCKXSIZE=64", "--co", "BLOCKYSIZE=64"]
#: Output and options of each format.
FORMATS = {
    "geotiff": ("out.tif", []),
    "packed_geotiff": ("packed.tif", ["--of", "GTiff", *_BLOCKS]),
    "zarr": ("out.zarr", ["--of", "Zarr", "--co", "BLOCKSIZE=64"]),
}
results: list[bool] = []


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target}[op]
    results.append(holds)
    print(f"BAR engine.{name} {value:.4g} {op} {target:g} {'ok' if holds else 'short'}", flush=True)


class Nursery:
    """Starts runs."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "stderr"
        self.used = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def run(self, folder: Path, argv: list[str], kill_after: float | None = None) -> int:
        """Run a command in a folder, perhaps kill it; return its code, negative for a signal.

        `kill_after` is in seconds of processor time.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(folder), str(self.log), argv]) + "\n")
        self._process.stdin.flush()
        child = int(self._line())
        if kill_after is not None:
            while processor_seconds(child) < kill_after:
                time.sleep(0.0005)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        code, used = self._line().split()
        self.used = float(used)
        return int(code)

    def close(self) -> None:
        """Start no more."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def processor_seconds(process: int) -> float:
    """Processor time of a process; infinite once it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return float("inf")
    if fields[0] == "Z":
        return float("inf")
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def content(path: Path) -> dict[str, bytes]:
    """All bytes of a file or a directory, by name."""
    if path.is_file():
        return {"": path.read_bytes()}
    files = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def command(folder: Path, output: str) -> list[str]:
    """Segment the crop, quickly."""
    crop = str(folder / "crop.tif")
    quick = ["--iterations", "1", "--size", "36"]
    return ["segment", crop, output, "-q", "-j", "2", "--tile-size", "64", *quick]


def save_crop(path: Path) -> None:
    """Cut the middle of the sample scene out."""
    window = Window(150, 150, SIDE, SIDE)
    with rasterio.open(SCENE) as dataset:
        profile = {**dataset.profile, "width": SIDE, "height": SIDE}
        profile["transform"] = dataset.window_transform(window)
        with rasterio.open(path, "w", **profile) as target:
            target.write(dataset.read(window=window))


def names(folder: Path) -> list[str]:
    """Names of what is in a folder."""
    return [path.name for path in folder.iterdir()]


@dataclass(frozen=True)
class Trial:
    """A command, what it makes, and the processor time that it takes."""

    argv: list[str]
    output: str
    expected: dict[str, bytes]
    seconds: float

    def killed(self, nursery: Nursery, folder: Path, chance: random.Random) -> tuple[bool, int]:
        """Kill a run up to three times, let it end; tell whether all was as promised, and kills."""
        target, fair, kills = folder / self.output, True, 0
        for _ in range(chance.randint(1, 3)):
            moment = chance.random() * self.seconds
            kills += nursery.run(folder, self.argv, moment) == -signal.SIGKILL
            if target.exists():  # killed at its very end, or not in time
                fair &= content(target) == self.expected
                break
        if names(folder) != [self.output] and nursery.run(folder, self.argv):
            print(nursery.log.read_text())
            return False, kills
        same, alone = content(target) == self.expected, names(folder) == [self.output]
        if not (fair and same and alone):
            print(f"{folder}: fair {fair}, same {same}, alone {alone}", *folder.rglob("*"))
        return fair and same and alone, kills


def trial(nursery: Nursery, folder: Path, output: str, options: list[str]) -> Trial:
    """Run a command to its end, twice: the second gives its processor time."""
    argv = [*command(folder.parent, output), *options]
    seconds = 0.0
    for name in ("first", "second"):
        (folder / name).mkdir(parents=True)
        if nursery.run(folder / name, argv):
            raise SystemExit(nursery.log.read_text())
        seconds = nursery.used
    contents = [content(folder / name / output) for name in ("first", "second")]
    if contents[0] != contents[1]:
        raise SystemExit(f"{output}: two uninterrupted runs differ; nothing can be compared")
    return Trial(argv, output, contents[0], seconds)


def kills(nursery: Nursery, folder: Path, kind: str, runs: int, chance: random.Random) -> None:
    """Kill and resume runs of a format."""
    output, options = FORMATS[kind]
    made = trial(nursery, folder / output, output, options)
    good = shots = 0
    for number in range(runs):
        place = folder / output / f"run{number}"
        place.mkdir()
        held, count = made.killed(nursery, place, chance)
        good, shots = good + held, shots + count
        shutil.rmtree(place)
    print(
        f"{kind}: {good} of {runs} runs as promised, killed {shots} times in all; "
        f"uninterrupted a run takes {made.seconds:.2f} s of processor time",
        flush=True,
    )
    bar(f"kill_{kind}", good / runs, ">=", 1)


def full_disk(nursery: Nursery, folder: Path) -> None:
    """Fill a small disk in the middle of a run, make room, and run the same command again."""
    disk, free = folder / "disk", folder / "free"
    disk.mkdir()
    free.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        print("full disk: a tmpfs cannot be mounted here; not measured")
        return
    argv = command(folder, "out.tif")
    try:
        nursery.run(free, argv)
        ballast = disk / "ballast"
        ballast.write_bytes(b"\1" * (shutil.disk_usage(disk).free - 60_000))
        code, told = nursery.run(disk, argv), nursery.log.read_text()
        print("full disk:", told.strip())
        said = "out.tif: the disk is full" in told and "bytes are free" in told
        clean = not (disk / "out.tif").exists()
        bar("full_disk_exit_4", float(code == 4 and said and clean), ">=", 1)
        kept = len(list(disk.rglob("*.tif")))
        print(f"full disk: {kept} parts are kept")
        ballast.unlink()
        again = nursery.run(disk, argv)
        same = again == 0 and content(disk / "out.tif") == content(free / "out.tif")
        bar("full_disk_resumed", float(same and kept > 0 and names(disk) == ["out.tif"]), ">=", 1)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def main() -> int:
    """Run all; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    names = ["full_disk", *FORMATS]
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stcli-kill-") as name:
        folder = Path(name)
        save_crop(folder / "crop.tif")
        nursery = Nursery(folder)
        if "full_disk" in asked.only:
            full_disk(nursery, folder)
        chance = random.Random(asked.seed)
        for kind in FORMATS:
            if kind in asked.only:
                kills(nursery, folder, kind, 5 if asked.quick else asked.runs, chance)
        nursery.close()
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
