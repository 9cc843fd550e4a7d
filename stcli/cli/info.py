"""``stcli info``."""

from __future__ import annotations

from stcli.cli import options
from stcli.cli.console import Console, print_json


def command(
    inputs: options.Rasters,
    bands: options.Bands = None,
    assume_crs: options.AssumeCrs = None,
    resampling: options.Resampling = "nearest",
    verbose: options.Verbose = False,
) -> None:
    """Describe rasters as stcli reads them, as JSON.

    Example: stcli info scene.tif
    """
    from stcli.workflows.info import describe
    from stcli.workflows.job import Inputs

    with Console(verbose=verbose):
        source = Inputs(tuple(inputs), options.parse_bands(bands), resampling, assume_crs)
        print_json(describe(source))


command.__name__ = "info"
