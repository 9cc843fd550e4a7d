"""Runs killed at random moments and resumed, and a disk that fills in the middle.

    python benchmarks/engine_kill.py [--quick] [--runs N] [--seed N]

`stcli segment` of the sample scene in small tiles, as a COG and as a Zarr. Each run is killed with
SIGKILL one to three times, at moments drawn evenly over the time that an uninterrupted run takes
after its imports, and then let end. It counts if at each kill nothing lay under the output's name
(or, killed after its end, all of it), and if at last the output is byte for byte that of the
uninterrupted run and nothing else is left. The peer of each run is that uninterrupted run.
"""

from __future__ import annotations

import argparse
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

ROOT = Path(__file__).parents[1]
SCENE = ROOT / "sample_data" / "scene.tif"
#: Imports what a run needs, then waits for a line, so that kills fall into the work.
CHILD = """
import sys
from stcli.cli.app import main
import stcli.raster.zarrstore, stcli.workflows.segment, zarr
print("ready", flush=True)
sys.stdin.readline()
sys.exit(main(sys.argv[1:]))
"""
results: list[bool] = []


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target}[op]
    results.append(holds)
    print(f"BAR engine.{name} {value:.4g} {op} {target:g} {'ok' if holds else 'short'}", flush=True)


def start(folder: Path, argv: list[str]) -> subprocess.Popen[str]:
    """Start a command in a folder and wait until it is ready to go."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Let it go."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def content(path: Path) -> dict[str, bytes]:
    """All bytes of a file or a directory, by name."""
    if path.is_file():
        return {"": path.read_bytes()}
    files = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def names(folder: Path) -> list[str]:
    """Names of what is in a folder."""
    return [path.name for path in folder.iterdir()]


@dataclass(frozen=True)
class Trial:
    """A command, what it makes, and how long it takes."""

    argv: list[str]
    output: str
    expected: dict[str, bytes]
    seconds: float

    def killed(self, folder: Path, chance: random.Random) -> bool:
        """Kill a run one to three times, let it end, and tell whether all was as promised."""
        target, fair = folder / self.output, True
        for _ in range(chance.randint(1, 3)):
            process = start(folder, self.argv)
            go(process)
            time.sleep(chance.random() * self.seconds)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            if target.exists():
                fair &= content(target) == self.expected
                break
        if not target.exists() or any(path.name != self.output for path in folder.iterdir()):
            process = start(folder, self.argv)
            go(process)
            _, told = process.communicate()
            if process.returncode:
                print(told)
                return False
        same = content(target) == self.expected
        alone = names(folder) == [self.output]
        if not (fair and same and alone):
            print(folder, f"fair {fair}, same {same}, alone {alone}", *folder.rglob("*"))
        return fair and same and alone


def trial(folder: Path, output: str, options: list[str]) -> Trial:
    """Run a command to its end, twice: the second gives its time."""
    argv = ["segment", str(SCENE), output, "-q", "-j", "2", "--tile-size", "64", *options]
    seconds = 0.0
    for name in ("first", "second"):
        (folder / name).mkdir(parents=True)
        process = start(folder / name, argv)
        begun = time.perf_counter()
        go(process)
        _, told = process.communicate()
        seconds = time.perf_counter() - begun
        if process.returncode:
            raise SystemExit(told)
    contents = [content(folder / name / output) for name in ("first", "second")]
    if contents[0] != contents[1]:
        raise SystemExit(f"{output}: two uninterrupted runs differ; nothing can be compared")
    return Trial(argv, output, contents[0], seconds)


def kills(folder: Path, runs: int, chance: random.Random) -> None:
    """Kill and resume runs of each format."""
    for output, options in (
        ("out.tif", []),
        ("out.zarr", ["--of", "Zarr", "--co", "BLOCKSIZE=64"]),
    ):
        made = trial(folder / output, output, options)
        good = 0
        for number in range(runs):
            place = folder / output / f"run{number}"
            place.mkdir()
            good += made.killed(place, chance)
            shutil.rmtree(place)
        kind = {"out.tif": "geotiff", "out.zarr": "zarr"}[output]
        print(f"{kind}: {good} of {runs} as promised; a run takes {made.seconds:.1f} s")
        bar(f"kill_{kind}", good / runs, ">=", 1)


def full_disk(folder: Path) -> None:
    """Fill a small disk in the middle of a run, make room, and run the same command again."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        print("full disk: a tmpfs cannot be mounted here; not measured")
        return
    try:
        argv = ["segment", str(SCENE), "out.tif", "-q", "-j", "2", "--tile-size", "64"]
        free = folder / "free"
        free.mkdir()
        codes, told = [], []
        for place in (free, disk, disk):
            if place is disk and len(codes) == 1:
                room = shutil.disk_usage(disk).free
                (disk / "ballast").write_bytes(b"\1" * (room - 100_000))
            process = start(place, argv)
            go(process)
            told.append(process.communicate()[1])
            codes.append(process.returncode)
            if len(codes) == 2:
                clean = not (disk / "out.tif").exists()
                (disk / "ballast").unlink()
        same = codes[2] == 0 and content(disk / "out.tif") == content(free / "out.tif")
        print("full disk:", told[1].strip())
        said = "out.tif: the disk is full" in told[1] and "bytes are free" in told[1]
        bar("full_disk_exit_4", float(codes[1] == 4 and said and clean), ">=", 1)
        bar("full_disk_resumed", float(same and names(disk) == ["out.tif"]), ">=", 1)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def main() -> int:
    """Run all; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stcli-kill-") as name:
        full_disk(Path(name))
        kills(Path(name), 5 if asked.quick else asked.runs, random.Random(asked.seed))
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
