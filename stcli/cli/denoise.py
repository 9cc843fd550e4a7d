"""``stcli denoise``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, print_plan
from stcli.errors import UsageError
from stcli.settings import NoiseMapSettings, RunSettings, ShrinkSettings, SimilarSettings, given

#: What a deviation of the noise is of, by model; nothing for the band's own unit.
_OF = {"additive": "", "multiplicative": " of the value", "poisson": " once made even"}


def command(
    context: typer.Context,
    paths: options.Paths,
    noise: Annotated[
        str,
        typer.Option(
            "--noise",
            metavar="local|global|FILE",
            help="Noise at each pixel, one for all pixels, or a raster that stcli noise wrote.",
        ),
    ] = "local",
    model: options.Model = None,
    levels: options.NoiseLevels = NoiseMapSettings.levels,
    window: options.NoiseWindow = NoiseMapSettings.window,
    method: options.Method = None,
    wavelet: Annotated[
        str | None,
        typer.Option(
            "--wavelet", help="Orthogonal wavelet, such as haar, db4 or sym8. [default: db4]"
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option("--depth", help="Number of wavelet levels that are shrunk. [default: 4]"),
    ] = None,
    passes: Annotated[
        int | None,
        typer.Option(
            "--passes", help="1; or 2, which takes energies from a first result. [default: 2]"
        ),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(
            "--search", help="Side of the square searched for similar pixels, odd. [default: 25]"
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength", help="Factor on the measured noise. [default: 1; of similar: 0.8]"
        ),
    ] = None,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
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
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Remove noise from a raster.

    Shrinks wavelet coefficients, or averages similar pixels, by the measured noise.

    Example: stcli denoise scene.tif clean.tif --noise local
    """
    from stcli.workflows.job import Assumed, Inputs, Output
    from stcli.workflows.noise.denoise import denoise, plan_denoise

    assumed = Assumed(assume_crs, assume_nodata)
    sources, path = parsing.inputs_and_output(paths)
    parsing.refuse_mixed((path,), json and not dry_run)
    method = method or ("similar" if model == "multiplicative" else "wavelet")
    own = {"wavelet": wavelet, "depth": depth, "passes": passes, "search": search}
    how = _settings(method, {**own, "strength": strength})
    pairs = parsing.parse_pairs(co, "--co")
    part = parsing.parse_shard(shard, tile_size)
    output = Output(overwrite, pairs, context.obj, of, resume, part, fingerprint)
    asked = (
        Inputs(sources, parsing.parse_bands(bands), resampling, assumed),
        path,
        noise,
        (NoiseMapSettings(levels=levels, window=window, **given(model=model)), how),
        RunSettings(tile_size, memory, jobs, scheduler=scheduler),
    )
    with Console(quiet, verbose, progress) as console:
        if dry_run:
            return print_plan(plan_denoise(*asked, output=output), json)
        result = denoise(*asked, output=output, progress=console.progress)
    for band in result.bands:
        sigma = "unknown" if band["sigma"] is None else f"{band['sigma']:.4g}"
        console.say(
            f"{band['band']}: noise {sigma}{_OF[result.model]}, removed {band['removed']:.4g} "
            f"(standard deviations), mean changed by {band['bias']:.2g}"
        )
    if result.kept:
        console.say(f"{path}: {result.kept} values kept as they are, no noise measured there")
    if json:
        print_json(asdict(result))


def _settings(method: str, asked: dict[str, Any]) -> ShrinkSettings | SimilarSettings:
    """Make a method's settings of the options given.

    Raises
    ------
    UsageError
        A method that does not denoise, or an option of the other one.
    """
    kinds: dict[str, Any] = {"wavelet": ShrinkSettings, "similar": SimilarSettings}
    if method not in kinds:
        raise UsageError(f"--method: found {method}, wanted wavelet or similar to denoise.")
    named, kind = given(**asked), kinds[method]
    for name in sorted(named.keys() - kind.__dataclass_fields__.keys()):
        other = "wavelet" if method == "similar" else "similar"
        raise UsageError(f"--{name}: belongs to --method {other}, found with --method {method}.")
    settings: ShrinkSettings | SimilarSettings = kind(**named)
    return settings
