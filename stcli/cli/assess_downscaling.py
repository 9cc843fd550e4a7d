"""``stcli assess-downscaling``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json, table
from stcli.settings import RunSettings

_MEASURES = ("rmse", "mae", "bias", "psnr", "ssim", "spectral_error", "mass_violation")
_SPREAD = ("crps", "crps_over_ibp", "spread_skill")


def command(
    fine: Annotated[str, typer.Argument(metavar="FINE", help="Fine raster to measure.")],
    truth: Annotated[str, typer.Argument(metavar="TRUTH", help="Truth on the same grid.")],
    factor: options.Factor = None,
    margin: Annotated[
        int, typer.Option("--margin", min=0, help="Coarse pixels to leave out at the edges.")
    ] = 8,
    assume_crs: options.AssumeCrs = None,
    assume_nodata: options.AssumeNodata = None,
    memory: options.Memory = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Measure a fine raster against the truth.

    Cubic interpolation and back-projection of the block means of TRUTH are measured beside it.

    Example: stcli assess-downscaling fine.tif truth.tif --json
    """
    from stcli.workflows.downscaling.assess_downscaling import assess_downscaling
    from stcli.workflows.job import Assumed, Inputs

    assumed = Assumed(assume_crs, assume_nodata)
    with Console(quiet, verbose, progress) as console:
        result = assess_downscaling(
            Inputs((fine,), assumed=assumed),
            Inputs((truth,), assumed=assumed),
            parsing.one_factor(factor),
            margin,
            RunSettings(memory=memory),
            progress=console.progress,
        ).to_json()
    if json:
        print_json(result)
    else:
        print(_table(result["bands"]))


def _table(bands: list[dict[str, Any]]) -> str:
    spread = [key for key in _SPREAD if any(key in band for band in bands)]
    rows = [
        (
            "band",
            "method",
            *(name.replace("_", " ") for name in _MEASURES),
            "over ibp",
            "median",
            *(name.replace("_", " ") for name in spread),
        )
    ]
    for band in bands:
        peers = {"fine": band, **band["peers"]}
        for name, found in peers.items():
            ratios = [band[k] for k in ("rmse_over_ibp", "median_block_over_ibp")]
            ratios += [band.get(key) for key in spread]
            both = ratios if name == "fine" else [None] * len(ratios)
            figures = (*(found[key] for key in _MEASURES), *both)
            rows.append((band["band"], name, *("–" if f is None else f"{f:.4g}" for f in figures)))
    return table(rows)
