"""Warnings of a raster that is foreign to a model: pixels of another size, values of another unit.

Values are looked at where tiles are classified anyway, on a sample that is counted from the
raster's corner: no tiling changes what is told, at the end of the run. A shard tells of its tiles.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.tiling import Tile
from stcli.errors import few
from stcli.landcover.likeness import Likeness
from stcli.landcover.patchmodel import PatchClassifier
from stcli.landcover.prediction import Classifier
from stcli.raster.info import RasterInfo, pixel_size, same_pixels
from stcli.segmentation.space import LabelSpace
from stcli.settings import BandScaling
from stcli.workflows.landcover.stacks import clear_cells
from stcli.workflows.scaling import sample_block, sample_step

logger = logging.getLogger("stcli")

#: Pixels of a raster that are looked at, at most.
_LOOKED = 1 << 16
#: Patches whose middle value is so many times that of the training, or its part, are of another
#: unit: dark water beside bright sand is less.
_FAR = 20.0


def looked(
    block: NDArray[Any], valid: NDArray[np.bool_], where: Tile, space: LabelSpace, model: Classifier
) -> Likeness:
    """Compare the sampled pixels of a tile's core with the model's ranges.

    Parameters
    ----------
    block : ndarray (band, row, col), or of a stack (date · band, row, col)
        In the bands' own units; in a stack NaN where a date is not clear.
    valid : ndarray of bool (row, col)
    where : Tile
    space : LabelSpace
        Of the raster, whose shape says how dense the sample is.
    model : Classifier
    """
    sample = sample_block(block, valid, where, sample_step(space.shape, _LOOKED))
    bands = len(model.card.bands)
    return Likeness.of(clear_cells(sample, bands), model.scaling)


def tell_pixels(info: RasterInfo, model: Classifier) -> None:
    """Warn of pixels of another size than those of the training, where the card tells it."""
    sizes = pixel_size(info.geobox), model.card.resolution
    if min(sizes[1]) > 0 and not same_pixels(*sizes):
        found, wanted = (" x ".join(f"{side:g}" for side in size) for size in sizes)
        logger.warning(
            "%s: pixels of %s found (in units of the CRS), the model %s was trained with %s; "
            "its accuracy does not hold here: warp the raster with gdalwarp -tr, or take another "
            "model",
            *(info.path, found, model.folder, wanted),
        )


def tell_values(path: str, found: Likeness, model: Classifier) -> None:
    """Warn of values in another unit than those of the training, by what was counted."""
    far = np.flatnonzero(found.far_share > 0.5)
    if found.slight_share > 0.5:
        share = f"{_percent(found.slight_share)} of the pixels are next to 0 in all bands beside"
        _warn(path, share, list(range(len(model.card.bands))), model)
    elif len(far):
        shares = [f"{_percent(found.far_share[k])} of {model.card.bands[k].name}" for k in far]
        _warn(path, f"{few(shares)} lie far outside", far.tolist(), model)


def tell_ranges(path: str, found: BandScaling, model: Classifier) -> None:
    """Warn likewise, by the ranges (2 to 98 %) of a raster's bands."""
    both = Likeness.of(np.array([found.low, found.high]).T, model.scaling)
    far = np.flatnonzero(both.far == both.pixels)
    if both.slight == both.pixels:
        said = "nearly all pixels are next to 0 in all bands beside"
        _warn(path, said, list(range(len(model.card.bands))), model)
    elif len(far):
        names = few([model.card.bands[k].name for k in far])
        said = f"nearly all values of {names} lie far outside"
        _warn(path, said, far.tolist(), model)


def tell_magnitude(path: str, found: float, model: PatchClassifier) -> None:
    """Warn of patches whose median absolute value is far from that of the training."""
    if found > 0 and not 1 / _FAR < found / model.usual < _FAR:
        logger.warning(
            "%s: values of about %.3g found, the model %s was trained with about %.3g; its classes "
            "may mean nothing here: give the patches in the unit of the training, or take another "
            "model",
            *(path, found, model.folder, model.usual),
        )


def _warn(path: str, said: str, bands: list[int], model: Classifier) -> None:
    ranges = [model.card.bands[k] for k in bands]
    known = few([f"{b.name} {b.low:g} to {b.high:g}" for b in ranges])
    logger.warning(
        "%s: %s what the model %s was trained with (%s); its classes may mean nothing here: give "
        "the raster in the unit of the training, or take another model",
        *(path, said, model.folder, known),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
