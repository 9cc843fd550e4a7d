"""``preview``: a raster in, a picture out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import UsageError
from stcli.raster.info import RasterInfo, refuse_other_grid
from stcli.raster.pictures.picture import (
    Key,
    bands_to_draw,
    colour_classes,
    colour_labels,
    compose,
    displayed,
    enlarge,
    legend_key,
    outline,
    png,
    stretch,
)
from stcli.raster.reading.read import Raster, open_raster
from stcli.raster.reading.thumbnail import Thumbnail, part_of, thumbnail
from stcli.raster.writing.draft import refuse_file, write_whole
from stcli.raster.writing.legend import Colour, read_colours
from stcli.raster.writing.output import STDOUT
from stcli.raster.writing.publish import refuse_name
from stcli.settings.checking import check
from stcli.workflows.job import Inputs, refuse_clash
from stcli.workflows.legends import class_names

_LABEL_BYTES = 4


@dataclass(frozen=True)
class View:
    """How to draw.

    Attributes
    ----------
    longest : int
        Pixels of the picture's longer side, without its key.
    percentiles : (float, float)
        Of the values that become darkest and lightest.
    bounds : (float, float, float, float) or None
        Min x, min y, max x, max y of the part to show, in CRS units.
    outlines : str or None
        Label raster on the same grid, whose borders are drawn.
    """

    longest: int = 1200
    percentiles: tuple[float, float] = (2.0, 98.0)
    bounds: tuple[float, float, float, float] | None = None
    outlines: str | None = None

    def __post_init__(self) -> None:
        sides = 16 <= self.longest <= 20_000
        check(sides, "--longest", self.longest, "from 16 to 20000 pixels")
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise UsageError(f"--stretch: {low:g},{high:g} found, wanted two rising percentiles.")


@dataclass(frozen=True)
class Drawing:
    """A picture: its PNG file, its size in pixels, what it shows, and how it was stretched.

    Attributes
    ----------
    png : bytes
    width, height : int
    shows : {"classes", "labels", "continuous"}
    stretch : list of (float, float)
        Values at both ends, for each band; empty for classes and labels.
    """

    png: bytes
    width: int
    height: int
    shows: str
    stretch: list[tuple[float, float]]


@dataclass(frozen=True)
class Previewed:
    """What came out: the picture's name and size, what it shows, and how it was stretched."""

    output: str
    width: int
    height: int
    shows: str
    stretch: list[tuple[float, float]]


def preview(inputs: Inputs, path: str, view: View, overwrite: bool = False) -> Previewed:
    """Draw a raster as PNG.

    Classes are drawn in their colours with a legend, labels in colours of their own, one band
    along a ramp, three bands as red, green and blue.

    Parameters
    ----------
    inputs : Inputs
    path : str
        PNG file to write, or ``-`` for stdout.
    view : View
    overwrite : bool
        Replace an existing picture.

    Raises
    ------
    UsageError, InputError, OutputError
    """
    outlines = (view.outlines,) if view.outlines else ()
    refuse_clash((*inputs.paths, *outlines), (path,))
    if path not in STDOUT:
        refuse_name(path, "PNG")
        refuse_file(path, overwrite)
    drawing = draw(inputs, view)
    write_whole(path, drawing.png, overwrite)
    return Previewed(path, drawing.width, drawing.height, drawing.shows, drawing.stretch)


def draw(inputs: Inputs, view: View) -> Drawing:
    """Draw a raster on paper, with its key and scale.

    Raises
    ------
    UsageError, InputError
    """
    with inputs.open() as whole:
        shown = _shown(whole.info, bool(inputs.bands))
    inputs = replace(inputs, bands=shown)
    with inputs.open() as raster:
        classes, colours = _legend(raster)
        kind = _kind(raster.info, classes, colours)
        window = part_of(raster.info.geobox, view.bounds)
        small = thumbnail(raster, window, view.longest, kind == "continuous")
        rgb, key, ends = _draw(small, raster.info, kind, (classes, colours), view)
        shape = displayed(small.geobox, view.longest)
        rgb = enlarge(rgb, shape)
        if view.outlines:
            rgb = outline(rgb, _labels(view.outlines, raster, view, shape))
    picture = compose(rgb, small.geobox, key)
    return Drawing(png(picture), picture.width, picture.height, kind, ends)


def _shown(info: RasterInfo, chosen: bool) -> tuple[int | str, ...]:
    """Choose the bands to draw: those asked for, true colour, or the first one or three."""
    names = info.band_names
    if chosen:
        if len(names) not in (1, 3):
            raise UsageError(f"--bidx: {len(names)} bands found, one or three wanted.")
        return names
    return tuple(names[place] for place in bands_to_draw(names))


def _legend(raster: Raster) -> tuple[dict[int, str], dict[int, Colour]]:
    """Give names and colours of classes; of one integer band alone, colours where GDAL has any."""
    info = raster.info
    if info.count > 1 or info.dtype.kind not in "iu" or len(info.sources) > 1:
        return {}, {}
    return class_names(raster), {} if info.driver in ("netCDF", "Zarr") else read_colours(info.path)


def _kind(info: RasterInfo, names: dict[int, str], colours: dict[int, Colour]) -> str:
    if names or colours:
        return "classes"
    labels = info.count == 1 and info.dtype.kind in "iu" and info.dtype.itemsize >= _LABEL_BYTES
    return "labels" if labels else "continuous"


def _draw(
    small: Thumbnail,
    info: RasterInfo,
    kind: str,
    legend: tuple[dict[int, str], dict[int, Colour]],
    view: View,
) -> tuple[NDArray[np.uint8], Key, list[tuple[float, float]]]:
    first: NDArray[Any] = small.block[0]
    if kind == "classes":
        found = [int(v) for v in np.unique(first[small.valid])]
        key = legend_key(*legend, found)
        return colour_classes(first, small.valid, legend[1]), key, []
    if kind == "labels":
        return colour_labels(first, small.valid), Key(title=info.band_names[0]), []
    rgb, ends = stretch(small.block, small.valid, view.percentiles)
    if len(ends) > 1:
        return rgb, Key(title=", ".join(info.band_names)), ends
    unit = info.bands[0].units or ""
    key = Key(ramp=(*ends[0], "" if unit == "1" else unit), title=info.band_names[0])
    return rgb, key, ends


def _labels(path: str, raster: Raster, view: View, shape: Sequence[int]) -> NDArray[Any]:
    with open_raster(path, bands=(1,)) as segments:
        refuse_other_grid(segments.info, raster.info)
        window = part_of(segments.info.geobox, view.bounds)
        small = thumbnail(segments, window, 2 * view.longest, False)
    return enlarge(np.where(small.valid, small.block[0], 0), (shape[0], shape[1]))
