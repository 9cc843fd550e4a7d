"""A noise map that ``noise`` wrote, read beside the raster that it is of."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.raster.info import RasterInfo, grid_difference
from stcli.raster.reading.read import Raster, open_raster
from stcli.workflows.each_band import OwnMasks
from stcli.workflows.noise.noise import noise_names


def of_file(noise: str) -> bool:
    """Tell whether the noise is a raster of its own."""
    return noise not in ("local", "global")


class Paired:
    """Two rasters on one grid, read as one; the first alone decides what is valid."""

    def __init__(self, raster: OwnMasks, noise: Raster) -> None:
        self.raster, self.noise = raster, noise

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a window of both (band, row, col), invalid noise as 0, and the first's valid."""
        block, valid = self.raster.read(window)
        sigma, _ = self.noise.read_each(window)
        both = np.concatenate([block.astype(np.float64), sigma.astype(np.float64)])
        return both, valid


def with_noise(raster: OwnMasks, noise: str, model: str, stack: ExitStack) -> Any:
    """Open what is read: the raster, and its noise beside it where that is a raster of its own.

    Parameters
    ----------
    raster : OwnMasks
    noise : str
    model : str
        By which the noise is taken away: see `stcli.noise.space.models`.
    stack : ExitStack
        Closes what is opened.

    Raises
    ------
    InputError
        A noise map of another grid, of other bands or of another model.
    """
    if not of_file(noise):
        return raster
    with open_raster(noise) as found:
        bands = _bands_of(raster.info, found.info)
        _refuse_model(raster.info.path, found.info, model)
    return Paired(raster, stack.enter_context(open_raster(noise, bands=bands)))


def _bands_of(info: RasterInfo, noise: RasterInfo) -> tuple[str, ...]:
    """Choose a noise map's bands by those of its raster; none where all of them stand as wanted.

    Raises
    ------
    InputError
    """
    differs = grid_difference(info.geobox, noise.geobox)
    if differs:
        raise InputError(
            f"{noise.path}: is no noise map of {info.path}: {differs}; run stcli noise on it."
        )
    has = noise.band_names
    if list(has) == noise_names(info, max(1, noise.count // info.count)):
        return ()
    levels = 1
    while set(noise_names(info, levels + 1)) <= set(has):
        levels += 1
    wanted = tuple(noise_names(info, levels))
    if not set(wanted) <= set(has):
        raise InputError(
            f"{noise.path}: bands {', '.join(has[:8])} found, {', '.join(wanted[:8])} wanted as "
            f"stcli noise writes them for {info.path}."
        )
    return wanted


def _refuse_model(path: str, noise: RasterInfo, model: str) -> None:
    """Refuse shares of the value where deviations in the band's unit are wanted, and the reverse.

    Raises
    ------
    InputError
    """
    told = noise.tags.get("STCLI_NOISE")
    found = json.loads(told).get("model", model) if told else model
    if (found == "multiplicative") != (model == "multiplicative"):
        raise InputError(
            f"{noise.path}: noise of --model {found} found, of --model {model} wanted; run stcli "
            f"noise --model {model} on {path}, or denoise with --model {found}."
        )
