"""``stcli train downscaler``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json
from stcli.errors import UsageError
from stcli.settings import DownscalerTraining, RunSettings, UpscalerSettings, given, psf_of_mtf


def command(
    context: typer.Context,
    folder: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT]",
            help="One fine raster or several (stacked as bands); or --coarse and --fine.",
            show_default=False,
        ),
    ] = None,
    coarse: Annotated[
        list[str] | None,
        typer.Option(
            "--coarse", help="With --fine: coarse bands of another source, to learn from pairs."
        ),
    ] = None,
    fine: Annotated[
        list[str] | None,
        typer.Option("--fine", help="With --coarse: the fine counterparts, instead of INPUT."),
    ] = None,
    factor: options.Factor = None,
    guide: options.Guide = None,
    steps: Annotated[
        int, typer.Option("--steps", help="Most steps of the training.")
    ] = DownscalerTraining.steps,
    patience: options.Patience = None,
    transfer: Annotated[
        bool,
        typer.Option("--transfer", help="For use at another scale: train on blurred copies, too."),
    ] = False,
    mtf: Annotated[
        str | None,
        typer.Option(
            "--mtf",
            metavar="M,…",
            help="Modulation transfer at a pixel's Nyquist frequency, one a band or one for all.",
        ),
    ] = None,
    psf: Annotated[
        str | None,
        typer.Option(
            "--psf",
            metavar="S,…",
            help="Or deviation of its point spread in pixels, beyond the pixel's own box.",
        ),
    ] = None,
    architecture: Annotated[
        Literal["shuffle", "latent"],
        typer.Option(
            "--architecture",
            help="shuffle: convolutions at the coarse resolution; latent: a Swin network.",
        ),
    ] = "shuffle",
    width: Annotated[
        int, typer.Option("--width", help="Number of channels of the network.")
    ] = UpscalerSettings.width,
    blocks: Annotated[
        int, typer.Option("--blocks", help="Number of residual blocks of the network.")
    ] = UpscalerSettings.blocks,
    seed: options.Seed = DownscalerTraining.seed,
    bands: options.Bands = None,
    resampling: options.Resampling = "nearest",
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    overwrite: options.Overwrite = False,
    memory: options.Memory = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "-j",
            "--jobs",
            metavar="N",
            parser=parsing.parse_jobs,
            help="Threads of the training; the weights' last digits depend on it. Default: 1.",
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Train a model that makes rasters finer.

    Learns from fine rasters, which it coarsens, or from pairs of a coarse and a fine raster.

    Example: stcli train downscaler scene.tif --factor 2,4 -o model/
    """
    from stcli.workflows.downscaling.train_downscaler import Given, train_downscaler
    from stcli.workflows.job import Assumed, Inputs, Output

    assumed = Assumed(assume_crs, assume_nodata)
    network = UpscalerSettings(architecture, width, blocks, **given(factors=factor))
    training = DownscalerTraining(
        steps=steps,
        transfer=transfer,
        psf=_psf(mtf, psf),
        seed=seed,
        **given(patience=patience),
    )
    read = partial(
        Inputs,
        bands=parsing.parse_bands(bands),
        resampling=resampling,
        assumed=assumed,
    )
    shown, small = _pair(inputs, coarse, fine)
    guides = Inputs(tuple(guide), assumed=assumed) if guide else None
    fields = Given(read(shown), guides, read(small) if small else None)
    with Console(quiet, verbose, progress) as console:
        model = train_downscaler(
            fields,
            folder,
            network,
            training,
            RunSettings(memory=memory, jobs=jobs),
            output=Output(overwrite, argv=context.obj),
            figures=console.epochs,
        )
    for s, ratio in model.ratios.items():
        verdict = "better than ibp" if ratio < 1 else "NO BETTER THAN IBP: used only with --force"
        console.say(
            f"{folder}: factor {s}: error {ratio:.3f} of ibp's on held-out blocks, {verdict}"
        )
    if json:
        card = model.card.model_dump(by_alias=True)
        figures = {"history": model.history, "seconds": model.seconds}
        print_json({"output": str(folder), **figures, "card": card})


def _pair(
    inputs: list[str] | None, coarse: list[str] | None, fine: list[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tell the fine rasters and, of pairs, the coarse ones."""
    if bool(coarse) != bool(fine) or bool(inputs) == bool(fine):
        raise UsageError("INPUT, --coarse, --fine: INPUT alone or both options are wanted.")
    return tuple(inputs or fine or ()), tuple(coarse or ())


def _psf(mtf: str | None, psf: str | None) -> tuple[float, ...]:
    """Read the point spread, given either way."""
    if mtf and psf:
        raise UsageError("--psf: found beside --mtf, one of them is wanted.")
    if not mtf:
        return parsing.parse_list(psf, "--psf")
    found = parsing.parse_list(mtf, "--mtf")
    if not all(0 < value <= 1 for value in found):
        raise UsageError(f"--mtf: '{mtf}' found, numbers above 0 and up to 1 are wanted.")
    return tuple(psf_of_mtf(value) for value in found)
