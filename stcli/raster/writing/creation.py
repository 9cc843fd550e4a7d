"""The creation options that GDAL's drivers take, asked of the GDAL at work.

A driver says in its metadata which options it takes and of what kind. GDAL itself passes over what
it does not know, with a warning at most, so that a slip of the pen makes another file. rasterio
does not hand this metadata out; the library that it is linked to does.
"""

from __future__ import annotations

import ctypes
import difflib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio._base

from stcli.errors import UsageError
from stcli.raster.writing.output import OutputSpec

#: Sides of blocks; GDAL cuts them in multiples of this many pixels, strips aside.
_SIDES, _STEP = ("BLOCKSIZE", "BLOCKXSIZE", "BLOCKYSIZE"), 16
_BOOLEAN = ("YES", "NO", "TRUE", "FALSE", "ON", "OFF", "1", "0")
#: What makes another grid or other numbers of an output, which is for a tool of its own.
_CHANGING = {
    *("TARGET_SRS", "TILING_SCHEME", "RES", "EXTENT", "ALIGNED_LEVELS", "WARP_RESAMPLING"),
    *("ZOOM_LEVEL", "ZOOM_LEVEL_STRATEGY", "ADD_ALPHA", "PIXELTYPE"),
}
#: What loses digits, and so makes other classes and labels.
_LOSSY = {"JPEG", "WEBP"}
#: What a COG's driver takes beside what it says: the number of no predictor.
_UNSAID = {("COG", "PREDICTOR"): ("1",)}
#: Codecs that write nothing of bands that do not suit them, without an error, and what suits them.
_CODECS: dict[str, tuple[Callable[[np.dtype[Any], int], bool], str]] = {
    "JPEG": (lambda dtype, bands: dtype == np.uint8, "a band of 8 bits"),
    "WEBP": (
        lambda dtype, bands: dtype == np.uint8 and bands in (3, 4),
        "an output of 3 or 4 bands of 8 bits",
    ),
    "LERC": (lambda dtype, bands: dtype.kind == "f" or dtype.itemsize < 8, "a band of 32 bits"),
}


def refuse_options(spec: OutputSpec) -> None:
    """Refuse creation options that the output's driver does not know, and values it cannot take.

    Raises
    ------
    UsageError
    """
    known = refuse_unknown(spec.driver, spec.creation_options)
    if known is None:
        return
    given = {key.upper(): value for key, value in spec.creation_options.items()}
    for key, value in given.items():
        wanted = _wanted(known[key], value) or _unfit(spec, key, value)
        if key in _SIDES and not wanted and given.get("TILED", "YES").upper() in _BOOLEAN[::2]:
            wanted = "" if _is_side(value) else f"a multiple of {_STEP}"
        if wanted and value not in _UNSAID.get((spec.driver, key), ()):
            raise UsageError(f"--co {key}={value}: {wanted} is wanted.")
        _refuse_change(spec, key, value)


def refuse_unknown(
    driver: str, options: Mapping[str, str]
) -> dict[str, ElementTree.Element] | None:
    """Refuse names of creation options that a driver does not know, whatever is written.

    Parameters
    ----------
    driver : str
    options : mapping of str to str

    Returns
    -------
    dict or None
        The options that it takes, by name; None where nothing is to be asked of it.

    Raises
    ------
    UsageError
    """
    if driver == "Zarr" or not options:  # GDAL writes no Zarr here
        return None
    known = _known(driver)
    if known is None:
        return None
    for key in map(str.upper, options):
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3) or sorted(known)
            raise UsageError(
                f"--co {key}: unknown to {driver}, one of its options is wanted, such as "
                f"{', '.join(near)}."
            )
    return known


def _refuse_change(spec: OutputSpec, key: str, value: str) -> None:
    """Refuse what would write another grid, or other numbers where each of them means something.

    Raises
    ------
    UsageError
    """
    if key in _CHANGING:
        raise UsageError(
            f"--co {key}: would change the grid or the numbers; write the output without it, and "
            "let gdalwarp or gdal_translate do that."
        )
    loses = value.upper() in _LOSSY or (key == "MAX_Z_ERROR" and float(value) != 0)
    if spec.kind != "continuous" and loses:
        raise UsageError(f"--co {key}={value}: for {spec.kind} a codec without loss is wanted.")


@cache
def _known(driver: str) -> dict[str, ElementTree.Element] | None:
    """Read a driver's own list of its creation options, by name; None where it cannot be asked."""
    try:
        # a library's handle finds what the libraries it is linked to have; not so on Windows
        gdal = ctypes.CDLL(rasterio._base.__file__)
        driver_of, item = gdal.GDALGetDriverByName, gdal.GDALGetMetadataItem
    except (OSError, AttributeError):
        return None
    driver_of.argtypes, driver_of.restype = [ctypes.c_char_p], ctypes.c_void_p
    item.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    item.restype = ctypes.c_char_p
    with rasterio.Env():  # which registers the drivers
        text = item(driver_of(driver.encode()), b"DMD_CREATIONOPTIONLIST", None)
    return {option.attrib["name"]: option for option in ElementTree.fromstring(text)}


def _wanted(option: ElementTree.Element, value: str) -> str:
    """Say what is wanted instead of a value; nothing where it will do."""
    kind = option.attrib.get("type", "string")
    if kind in _NUMBERS:
        read, words = _NUMBERS[kind]
        return "" if _reads(read, value) else words
    if kind == "boolean":
        return "" if value.upper() in _BOOLEAN else "YES or NO"
    names = [(choice.text or "", choice.attrib.get("alias", "")) for choice in option]
    fits = value.upper() in {name.upper() for pair in names for name in pair if name}
    if kind != "string-select" or fits:
        return ""
    return "one of " + ", ".join(name for name, _ in names)


def _unfit(spec: OutputSpec, key: str, value: str) -> str:
    """Say what is wanted for a codec to write the output; nothing where it can."""
    codec = value.upper().partition("_")[0]
    if not key.endswith("COMPRESS") or codec not in _CODECS:
        return ""
    suits, words = _CODECS[codec]
    dtype, bands = np.dtype(spec.dtype), len(spec.bands)
    return "" if suits(dtype, bands) else f"found with {bands} of {dtype.name}, {words}"


_NUMBERS: dict[str, tuple[Callable[[str], object], str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
}


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def _is_side(value: str) -> bool:
    return int(value) > 0 and int(value) % _STEP == 0
