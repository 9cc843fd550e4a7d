"""Which series share a spectrum, and how a file of spectra is laid out for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.tiling import Tile
from stcli.errors import InputError
from stcli.noise.time.dates import Dates, in_order, lattice
from stcli.noise.time.frame import SHORTEST, frame
from stcli.noise.time.spectrum import Spectrum
from stcli.noise.time.stationary import segment_length
from stcli.raster.info import lattice_origin
from stcli.raster.reading.timecube import Cube
from stcli.raster.tables.spectra import SpectraFile, SpectraLayout
from stcli.raster.writing.layout import variable_attrs
from stcli.settings import WhitenSettings

#: Units of time, in the singular, as UDUNITS abbreviates them.
_TIME_UNITS = {"day": "d", "hour": "h", "second": "s", "minute": "min"}


def dates_of(times: NDArray[np.float64], path: str, settings: WhitenSettings) -> Dates:
    """Put times on an even lattice, or refuse them.

    Parameters
    ----------
    times : ndarray of float64, (date,)
        Rising.
    path : str
        Named in a refusal.
    settings : WhitenSettings

    Raises
    ------
    InputError
    """
    if times.size < SHORTEST:
        raise InputError(f"{path}: {times.size} dates found, {SHORTEST} at least are wanted")
    found = in_order(times) if settings.uneven == "order" else lattice(times)
    if found is None:
        raise InputError(
            f"{path}: dates lie on no even lattice, within a tenth of a step; --uneven order takes "
            "them in order as if they were even"
        )
    return found


def places_of(times: NDArray[np.float64], layout: SpectraLayout, path: str) -> Dates:
    """Put times on the lattice of a file of spectra, or refuse them.

    Parameters
    ----------
    times : ndarray of float64, (date,)
        Rising.
    layout : SpectraLayout
    path : str
        Of the file.

    Raises
    ------
    InputError
    """
    for uneven in ("refuse", "order"):
        try:
            found = dates_of(times, path, WhitenSettings(uneven=uneven))
        except InputError:
            continue
        if found.samples == layout.samples and np.isclose(found.step, layout.step, rtol=1e-9):
            return found
    raise InputError(
        f"{path}: was made for series of {layout.samples} places {layout.step:g} "
        f"{layout.time_unit} apart, other dates found; unwhiten what was whitened with it"
    )


def refuse_apart(path: str, *pairs: tuple[str, object, object]) -> None:
    """Refuse what a file of spectra was not made for.

    Parameters
    ----------
    path : str
        Of the file.
    *pairs : (str, object, object)
        What is compared, what the file has, and what there is.

    Raises
    ------
    InputError
    """
    for word, has, found in pairs:
        if has != found:
            raise InputError(
                f"{path}: was made for {word} {has}, these are {found}; unwhiten what was whitened "
                "with it"
            )


def layout_of(cube: Cube, dates: Dates, settings: WhitenSettings) -> SpectraLayout:
    """Lay out the spectra of a cube."""
    info = cube.raster.info
    origin = lattice_origin(info.geobox)
    first = tuple(o // settings.share for o in origin)
    last = [(o + n - 1) // settings.share for o, n in zip(origin, info.shape, strict=True)]
    units = [info.bands[place].units or "1" for place in cube.places[0]]
    where = frame(dates.samples, settings.rows)
    return SpectraLayout(
        bands=cube.variables,
        units=tuple(units),
        samples=dates.samples,
        before=where.before,
        rows=where.tiling.rows,
        times=where.tiling.times,
        bins=segment_length(dates.samples, settings.share**2) // 2 + 1,
        step=dates.step,
        time_unit=time_unit(cube.times.units.split(" since ")[0]),
        blocks=(last[0] - first[0] + 1, last[1] - first[1] + 1),
        shape=info.shape,
        first=(first[0], first[1]),
        share=settings.share,
        attrs=tuple(variable_attrs(cube.raster, place) for place in cube.places[0]),
        names=cube.band_names,
        axis=cube.times,
        places=dates.places,
    )


def time_unit(unit: str) -> str:
    """Abbreviate a unit of time, which one file may spell and another not."""
    return _TIME_UNITS.get(unit.removesuffix("s"), unit)


def whitened_attrs(name: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Give the attributes of a variable that stay true when it is whitened."""
    untrue = {"standard_name", "cell_methods"}
    kept = {key: value for key, value in attrs.items() if key not in untrue}
    return kept | {"long_name": f"whitened {attrs.get('long_name', name)}"}


def same_layout(found: SpectraLayout, wanted: SpectraLayout, path: str) -> None:
    """Refuse spectra made for other series.

    Raises
    ------
    InputError
    """
    pairs = {
        "series of {} places": (found.samples, wanted.samples),
        "a step of {} ": (round(found.step, 9), round(wanted.step, 9)),
        "times in {}": (time_unit(found.time_unit), time_unit(wanted.time_unit)),
        "bands {}": (found.bands, wanted.bands),
        "values in {}": (found.units, wanted.units),
        "{} frequency rows": (found.rows, wanted.rows),
    }
    if found.blocks != (1, 1):
        pairs["blocks {}"] = (
            (found.blocks, found.first, found.share),
            (wanted.blocks, wanted.first, wanted.share),
        )
    for text, (has, wants) in pairs.items():
        if has != wants:
            raise InputError(
                f"{path}: was made for {text.format(has).strip()}, these are "
                f"{text.format(wants).strip()}; whiten with spectra of the same kind of series"
            )


def stored_spectrum(file: SpectraFile, key: tuple[int, int, int]) -> Spectrum:
    """Read a group's spectrum; the only one where a file holds a single group."""
    layout = file.layout
    where = frame(layout.samples, layout.rows)
    single = layout.blocks == (1, 1)
    density, relative = file.get((key[0], 0, 0) if single else key)
    return Spectrum(density, relative, where, layout.step)


def group_windows(
    where: Tile, layout: SpectraLayout
) -> Iterator[tuple[tuple[int, int], slice, slice]]:
    """List the groups of a tile: their place in the file, and their rows and columns."""
    spans = []
    for axis, size in enumerate((where.read.height, where.read.width)):
        start, side = where.lattice[axis], layout.share
        first, last = start // side, (start + size - 1) // side
        spans.append(
            [
                (k - layout.first[axis], slice(max(k * side - start, 0), (k + 1) * side - start))
                for k in range(first, last + 1)
            ]
        )
    for row, rows in spans[0]:
        for col, cols in spans[1]:
            yield (row, col), rows, cols
