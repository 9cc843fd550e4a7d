"""A raster that is foreign to a model: pixels of another size, and what is compared of a tile."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.tiling import Tile
from stcli.landcover.prediction import Classifier
from stcli.nn.likeness import Likeness
from stcli.raster.info import RasterInfo, pixel_size, same_pixels
from stcli.segmentation.space import LabelSpace
from stcli.workflows.landcover.stacks import clear_cells
from stcli.workflows.unlike import sampled

logger = logging.getLogger("stcli")


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
    sample = sampled(block, valid, where, space.shape)
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
