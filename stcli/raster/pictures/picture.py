"""Draw a raster for the eye: colours, outlines of segments, a legend, a scale bar, north."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from PIL import Image as Images
from PIL import ImageDraw, ImageFont
from PIL.Image import Image

from stcli.raster.info import crs_name
from stcli.raster.writing.legend import Colour

_Rgb = NDArray[np.uint8]
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)
#: What has no data.
_NOTHING = (225, 225, 225)
_OUTLINE = np.array((255, 225, 0), np.float64)
_METRES_A_DEGREE = 111_320.0
#: Bands that make red, green and blue, by the names that sensors give them.
_TRUE_COLOUR = (("B04", "B03", "B02"), ("red", "green", "blue"), ("R", "G", "B"))
#: Black, violet, red, orange, yellow, white: rises in lightness, also for the colour-blind.
_RAMP = np.array(
    [(0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164)],
    np.float64,
)


@dataclass(frozen=True)
class Key:
    """What the colours mean.

    Attributes
    ----------
    classes : tuple of (name, colour)
        Of a class raster.
    ramp : (float, float, str) or None
        Lowest and highest value of one continuous band, and its unit.
    title : str
        Which bands are shown.
    """

    classes: tuple[tuple[str, Colour], ...] = ()
    ramp: tuple[float, float, str] | None = None
    title: str = ""


def bands_to_draw(names: Sequence[str]) -> list[int]:
    """Choose bands by their names: red, green and blue; else the first three, or the first."""
    for wanted in _TRUE_COLOUR:
        if set(wanted) <= set(names):
            return [names.index(name) for name in wanted]
    return [0, 1, 2] if len(names) >= 3 else [0]


def stretch(
    block: NDArray[Any], valid: NDArray[np.bool_], percentiles: tuple[float, float]
) -> tuple[_Rgb, list[tuple[float, float]]]:
    """Stretch one band or three between percentiles of the valid pixels.

    Parameters
    ----------
    block : ndarray, (1 or 3, row, col)
    valid : ndarray of bool, (row, col)
    percentiles : (float, float)
        Of the values that become darkest and lightest, 0 to 100.

    Returns
    -------
    ndarray of uint8, (row, col, 3), and the values at both ends for each band.
    """
    ends, shown = [], []
    for band in block:
        inside = band[valid].astype(np.float64)
        low, high = np.percentile(inside, percentiles) if inside.size else (0.0, 1.0)
        ends.append((float(low), float(high)))
        span = high - low if high > low else 1.0
        shown.append(np.clip((band.astype(np.float64) - low) / span, 0, 1))
    share = np.nan_to_num(np.stack(shown, -1))
    rgb = _along_ramp(share[..., 0]) if len(shown) == 1 else np.round(255 * share)
    return _blanked(rgb.astype(np.uint8), valid), ends


def _along_ramp(share: NDArray[np.float64]) -> NDArray[np.float64]:
    stops = np.linspace(0, 1, len(_RAMP))
    return np.stack([np.interp(share, stops, _RAMP[:, k]) for k in range(3)], -1)


def colour_classes(
    values: NDArray[Any], valid: NDArray[np.bool_], colours: Mapping[int, Colour]
) -> _Rgb:
    """Give each value its colour; values without one are drawn by `colour_labels`.

    Parameters
    ----------
    values : ndarray of int, (row, col)
    valid : ndarray of bool, (row, col)
    colours : mapping of int to (red, green, blue, alpha)

    Returns
    -------
    ndarray of uint8, (row, col, 3)
    """
    rgb = colour_labels(values, valid)
    for value, colour in colours.items():
        rgb[(values == value) & valid] = colour[:3]
    return rgb


def colour_labels(labels: NDArray[Any], valid: NDArray[np.bool_]) -> _Rgb:
    """Give labels colours that neighbours rarely share, the same at every call.

    Parameters
    ----------
    labels : ndarray of int, (row, col)
    valid : ndarray of bool, (row, col)

    Returns
    -------
    ndarray of uint8, (row, col, 3)
    """
    mixed = labels.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
    channels = [(mixed >> np.uint64(shift)) & np.uint64(127) for shift in (57, 50, 43)]
    rgb = np.stack(channels, -1).astype(np.uint8) + np.uint8(90)
    return _blanked(rgb, valid)


def _blanked(rgb: _Rgb, valid: NDArray[np.bool_]) -> _Rgb:
    rgb[~valid] = _NOTHING
    return rgb


def enlarge(array: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Repeat or drop pixels so that an array has a shape.

    Parameters
    ----------
    array : ndarray, (row, col) or (row, col, 3)
    shape : (int, int)
        Rows and columns wanted.

    Returns
    -------
    ndarray, of the array's dtype
    """
    rows = (np.arange(shape[0]) + 0.5) * array.shape[0] / shape[0]
    cols = (np.arange(shape[1]) + 0.5) * array.shape[1] / shape[1]
    sampled: NDArray[Any] = array[rows.astype(int)[:, None], cols.astype(int)]
    return sampled


def outline(rgb: _Rgb, labels: NDArray[Any]) -> _Rgb:
    """Draw the borders between labels on a picture of the same size.

    Parameters
    ----------
    rgb : ndarray of uint8, (row, col, 3)
    labels : ndarray of int, (row, col)

    Returns
    -------
    ndarray of uint8, (row, col, 3)
        A copy, with the last pixel before each border drawn over.
    """
    edges = np.zeros(labels.shape, bool)
    edges[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edges[:-1] |= labels[1:] != labels[:-1]
    drawn = rgb.copy()
    drawn[edges] = np.round(0.2 * rgb[edges] + 0.8 * _OUTLINE).astype(np.uint8)
    return drawn


def displayed(geobox: GeoBox, longest: int) -> tuple[int, int]:
    """Size of a picture, rows and columns, with the proportions of the ground."""
    width, height = _extent(geobox)
    scale = longest / max(width, height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _extent(geobox: GeoBox) -> tuple[float, float]:
    """Width and height, in metres where the CRS is geographic, else in its units."""
    t, (rows, cols) = geobox.transform, geobox.shape
    width, height = math.hypot(t.a, t.d) * cols, math.hypot(t.b, t.e) * rows
    if geobox.crs is not None and geobox.crs.geographic:
        box = geobox.boundingbox
        shrink = max(0.05, math.cos(math.radians((box.bottom + box.top) / 2)))
        return width * _METRES_A_DEGREE * shrink, height * _METRES_A_DEGREE
    return width, height


def compose(rgb: _Rgb, geobox: GeoBox, key: Key) -> Image:
    """Put colours (row, col, 3) on paper with their key, scale bar, north arrow and CRS."""
    height, width = rgb.shape[:2]
    font: Any = ImageFont.load_default(max(13, min(22, max(width, height) // 60)))
    line = round(font.size * 1.6)
    side = _key_width(key, font)
    foot = 2 * line + line // 2
    paper = Images.new("RGB", (width + side, max(height, _key_height(key, line)) + foot), _PAPER)
    paper.paste(Images.fromarray(rgb), (0, 0))
    draw = ImageDraw.Draw(paper)
    if side:
        _draw_key(draw, key, (width + line // 2, line // 2), font)
    top = paper.height - foot + line // 2
    end = _scale_bar(draw, geobox, width, (line // 2, top), font)
    _north(draw, geobox, (end + 2 * line, top + line // 2), line)
    text = "   ".join(filter(None, [key.title, crs_name(geobox)]))
    draw.text((line // 2, top + line), text, fill=_FAINT, font=font)
    return paper


def png(picture: Image) -> bytes:
    """Make a PNG file of a picture, the same bytes for the same picture."""
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    return data.getvalue()


def _key_width(key: Key, font: Any) -> int:
    names = [name for name, _ in key.classes]
    if key.ramp:
        names = [*_ends(key.ramp), key.ramp[2]]
    return round(max((font.getlength(name) for name in names), default=-60) + 60) if names else 0


def _key_height(key: Key, line: int) -> int:
    return line * (len(key.classes) + 1) if key.classes else 0


def _draw_key(draw: ImageDraw.ImageDraw, key: Key, at: tuple[int, int], font: Any) -> None:
    x, y = at
    line, box = round(font.size * 1.6), round(font.size)
    for name, colour in key.classes:
        draw.rectangle((x, y, x + box, y + box), fill=colour[:3], outline=_FAINT)
        draw.text((x + box + 8, y + box // 2), name, fill=_INK, font=font, anchor="lm")
        y += line
    if key.ramp:
        tall = 8 * line
        shares = 1 - (np.arange(tall) + 0.5) / tall
        colours = _along_ramp(shares).round().astype(int)
        for k, colour in enumerate(colours.tolist()):
            draw.line((x, y + k, x + box, y + k), fill=tuple(colour))
        low, high = _ends(key.ramp)
        draw.text((x + box + 8, y), high, fill=_INK, font=font, anchor="lt")
        draw.text((x + box + 8, y + tall), low, fill=_INK, font=font, anchor="lb")
        draw.text((x + box + 8, y + tall // 2), key.ramp[2], fill=_FAINT, font=font, anchor="lm")


def _ends(ramp: tuple[float, float, str]) -> tuple[str, str]:
    return f"{ramp[0]:.4g}", f"{ramp[1]:.4g}"


def _scale_bar(
    draw: ImageDraw.ImageDraw, geobox: GeoBox, width: int, at: tuple[int, int], font: Any
) -> int:
    """Draw a bar of a round length, at most a quarter of the picture; return where it ends."""
    ground, unit = _extent(geobox)[0], _unit(geobox)
    longest = ground / 4
    power = 10 ** math.floor(math.log10(longest))
    length = max(n * power for n in (1, 2, 5) if n * power <= longest)
    pixels = max(2, round(length * width / ground))
    x, y = at
    thick = max(3, round(font.size / 4))
    middle = y + round(font.size / 2)
    draw.rectangle((x, middle, x + pixels, middle + thick), fill=_INK)
    text = f"{length / 1000:g} km" if unit == "m" and length >= 1000 else f"{length:g} {unit}"
    draw.text((x + pixels + 8, middle + thick // 2), text, fill=_INK, font=font, anchor="lm")
    end: int = round(x + pixels + 8 + font.getlength(text))
    return end


def _unit(geobox: GeoBox) -> str:
    crs: Any = geobox.crs
    if crs is None:
        return "units"
    if crs.geographic:
        return "m"
    name = crs.units[0] if crs.units else "units"
    return {"metre": "m", "meter": "m"}.get(str(name), str(name))


def _north(draw: ImageDraw.ImageDraw, geobox: GeoBox, at: tuple[int, int], size: int) -> None:
    """Draw an arrow along the grid's y axis, where it points on the picture, and an N."""
    dx, dy = north_on_picture(geobox)
    (x, y), half = at, size / 2
    tip = (x + dx * half, y + dy * half)
    tails = [
        (x - dx * half + s * dy * half * 0.6, y - dy * half - s * dx * half * 0.6) for s in (1, -1)
    ]
    draw.polygon([tip, tails[0], (x - dx * half * 0.4, y - dy * half * 0.4), tails[1]], fill=_INK)
    font = ImageFont.load_default(max(12, round(size * 0.6)))
    draw.text((x + size, y), "N", fill=_INK, font=font, anchor="lm")


def north_on_picture(geobox: GeoBox) -> tuple[float, float]:
    """Point to rising y on the picture: a unit vector, x to the right and y down."""
    t = geobox.transform
    determinant = t.a * t.e - t.b * t.d
    col, row = -t.b / determinant, t.a / determinant
    across, down = col * math.hypot(t.a, t.d), row * math.hypot(t.b, t.e)
    length = math.hypot(across, down) or 1.0
    return across / length, down / length


def legend_key(
    names: Mapping[int, str], colours: Mapping[int, Colour], found: Sequence[int]
) -> Key:
    """Describe the classes in the picture, in order of their values, in the colours drawn."""
    shown = [value for value in found if value in names or value in colours]
    own = colour_classes(np.array([shown], int), np.ones((1, len(shown)), np.bool_), colours)[0]
    drawn = ((red, green, blue, 255) for red, green, blue in own.tolist())
    return Key(
        tuple((names.get(v, str(v)), colour) for v, colour in zip(shown, drawn, strict=True))
    )
