"""``info``: rasters in, their description out."""

from __future__ import annotations

from typing import Any

from stcli.workflows.job import Inputs


def describe(inputs: Inputs) -> dict[str, Any]:
    """Describe rasters as stcli reads them.

    Raises
    ------
    InputError
    """
    with inputs.open() as raster:
        return raster.info.to_json()
