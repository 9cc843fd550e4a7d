"""An identity pass beside gdal_translate: the same input, format and creation options.

    python benchmarks/engine_throughput.py [--quick] [--rounds N]

Times are of whole processes, in turn; ratios are of medians.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from engineworld import Identity, bar, mosaic, results, timed

from stcli.raster.writing.output import OutputBand, OutputSpec
from stcli.settings import RunSettings

ZSTD = {"COMPRESS": "ZSTD", "PREDICTOR": "2", "NUM_THREADS": "2"}
OPTIONS = {
    "GTiff": {
        **ZSTD,
        "ZSTD_LEVEL": "1",
        "TILED": "YES",
        "BLOCKXSIZE": "512",
        "BLOCKYSIZE": "512",
        "BIGTIFF": "IF_SAFER",
    },
    "COG": {**ZSTD, "LEVEL": "1", "BLOCKSIZE": "512", "BIGTIFF": "IF_SAFER"},
}


def identity(source: str, path: str, driver: str) -> None:
    """Copy a raster through the engine, as a verb would."""
    from stcli.engine.machine import MB
    from stcli.engine.memory import Cost
    from stcli.workflows.job import Inputs, Output
    from stcli.workflows.produce import Step, resumable

    inputs = Inputs((source,))
    output = Output(overwrite=True, creation_options=OPTIONS[driver], driver=driver)
    with inputs.open() as raster:
        info = raster.info
        bands = tuple(OutputBand(band.name) for band in info.bands)
        spec = OutputSpec(
            path,
            info.dtype.name,
            bands,
            info.bands[0].nodata,
            "continuous",
            OPTIONS[driver],
            overwrite=True,
            driver=driver,
            threads=2,
        )
        cost = Cost(2 * 8 + 2, core_pixel=16, writer=96 * MB)
        with resumable((spec,), info.geobox, output) as product:
            product.identify(**output.identity(inputs, verb="identity"))
            work = product.plan(raster, cost, RunSettings(jobs=2))
            begun = time.perf_counter()
            product.run(work, Step(Identity()), lambda tile, answer: None, lambda *at: None)
            ran = time.perf_counter() - begun
        done = time.perf_counter() - begun
    print(f"{driver}: tiles {ran:.2f} s, finish {done - ran:.2f} s", file=sys.stderr)


def compare(driver: str, source: Path, folder: Path, rounds: int) -> None:
    """Measure both, in turn, and print the bar."""
    words = [word for k, v in OPTIONS[driver].items() for word in ("-co", f"{k}={v}")]
    ours, theirs = [], []
    for _ in range(rounds):
        target = str(folder / "theirs.tif")
        peer = ["gdal_translate", "-q", "-of", driver, *words, str(source), target]
        theirs.append(timed(peer))
        Path(target).unlink()
        this = [sys.executable, __file__, "--one", driver, str(source), str(folder / "ours.tif")]
        ours.append(timed(this))
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"{driver}: gdal_translate {theirs}, engine {ours}")
    bar(f"identity_{driver.lower()}_over_gdal_translate", ratio, "<=", 1.3)


def measure(folder: Path, rounds: int, side: int, drivers: Sequence[str] = tuple(OPTIONS)) -> None:
    """Make the input, and compare for each format."""
    source = folder / "source.tif"
    words = [word for k, v in OPTIONS["GTiff"].items() for word in ("-co", f"{k}={v}")]
    timed(["gdal_translate", "-q", *words, str(mosaic(folder / "a.vrt", side)), str(source)])
    print(f"{side} x {side} x 4 uint16, {source.stat().st_size / 1e6:.0f} MB compressed")
    for driver in drivers:
        compare(driver, source, folder, rounds)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(OPTIONS))
    parser.add_argument("--one", nargs=3)
    asked = parser.parse_args()
    if asked.one:
        identity(asked.one[1], asked.one[2], asked.one[0])
        return 0
    if shutil.which("gdal_translate") is None:
        print("gdal_translate is missing: nothing measured")
        return 7
    drivers = [asked.only] if asked.only else list(OPTIONS)
    with tempfile.TemporaryDirectory(dir=".") as name:
        measure(Path(name), asked.rounds, 4000 if asked.quick else 10_000, drivers)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
