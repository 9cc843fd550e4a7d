"""``stcli denoise``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json
from stcli.settings import NoiseMapSettings, RunSettings, ShrinkSettings


def command(
    context: typer.Context,
    paths: options.Paths,
    noise: options.NoiseSource = "local",
    model: options.NoiseModel = "additive",
    levels: options.NoiseLevels = NoiseMapSettings.levels,
    window: options.NoiseWindow = NoiseMapSettings.window,
    wavelet: Annotated[
        str, typer.Option("--wavelet", help="Orthogonal wavelet, such as haar, db4 or sym8.")
    ] = ShrinkSettings.wavelet,
    depth: Annotated[
        int, typer.Option("--depth", help="Wavelet levels that are shrunk.")
    ] = ShrinkSettings.depth,
    passes: Annotated[
        int, typer.Option("--passes", help="1, or 2 to take energies from a first result.")
    ] = ShrinkSettings.passes,
    strength: Annotated[
        float, typer.Option("--strength", help="Factor on the measured noise.")
    ] = ShrinkSettings.strength,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    overwrite: options.Overwrite = False,
    co: options.CreationOptions = None,
    of: options.Format = "COG",
    resume: options.Resume = True,
    shard: options.Shard = None,
    fingerprint: options.Fingerprint = "stat",
    tile_size: options.TileSize = None,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    scheduler: options.Scheduler = "threads",
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Denoise a raster: wavelet shrinkage with a local noise map.

    Example: stcli denoise scene.tif clean.tif --noise local
    """
    from stcli.workflows.denoise import denoise
    from stcli.workflows.job import Inputs, Output

    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json)
    shrink = ShrinkSettings(wavelet=wavelet, depth=depth, passes=passes, strength=strength)
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    with Console(quiet, verbose, progress) as console:
        result = denoise(
            Inputs(sources, parsing.parse_bands(bands), resampling, assume_crs),
            path,
            noise,
            (NoiseMapSettings(levels=levels, window=window, model=model), shrink),
            RunSettings(tile_size, memory, jobs, scheduler=scheduler),
            output=Output(overwrite, pairs, context.obj, of, resume, part, fingerprint),
            progress=console.progress,
        )
    for band in result.bands:
        console.say(
            f"{band['band']}: noise {band['sigma']:.4g}, removed {band['removed']:.4g} "
            f"(standard deviations), mean changed by {band['bias']:.2g}"
        )
    if result.kept:
        console.say(f"{path}: {result.kept} values kept as they are, no noise measured there")
    if json:
        print_json(asdict(result))


command.__name__ = "denoise"
