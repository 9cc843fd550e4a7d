"""What is said of a whitened result."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stcli.errors import CheckError, InputError
from stcli.noise.time.diagonal import Sums, inside_cells
from stcli.noise.time.spectrum import Spectrum
from stcli.raster.pictures.plots import draw_whitening
from stcli.raster.tables.spectra import SpectraFile, SpectraLayout

logger = logging.getLogger("stcli")


def refuse_failed(found: dict[str, Any], strict: bool, path: str) -> None:
    """Refuse what fails the checks, where that is asked for; raises `CheckError`."""
    if strict and found["failed"]:
        raise CheckError(f"{path}: {describe(found)}; --strict was given, so nothing is written")


def refuse_other(tags: Mapping[str, str], path: str, spectra: SpectraFile) -> None:
    """Refuse a raster that says it was whitened otherwise; warn where it does not say.

    The report of a whitening is in its result and in its spectra, and no two are alike.

    Parameters
    ----------
    tags : mapping of str to str
        Of the raster at `path`.

    Raises
    ------
    InputError
    """
    said = {key.lower(): value for key, value in tags.items()}.get("stcli_diagonal")
    if said is None:
        logger.warning(
            "%s: does not say that whiten made it (its tags were lost, or it never was whitened); "
            "it is taken as what %s belongs to",
            path,
            spectra.path,
        )
    elif said != spectra.report:
        raise InputError(
            f"{path}: was whitened by another run than the one that wrote {spectra.path}; give the "
            "file that its own whiten --psd-out wrote"
        )


def refuse_units(names: Sequence[str], units: Sequence[str | None], path: str) -> None:
    """Refuse values that have a unit, which whitened ones have not; raises `InputError`."""
    for name, unit in zip(names, units, strict=True):
        if unit not in (None, "", "1"):
            raise InputError(
                f"{path}: {name} is in {unit}, whitened values have no unit; give what whiten wrote"
            )


def describe(found: dict[str, Any]) -> str:
    """Say in a line how white a result is."""
    band, part = (found["where"][key] for key in ("frequency", "time"))
    text = (
        f"largest correlation {found['max_correlation']:.3f} "
        f"(floor {found['correlation_floor']:.3f}) in {band[0]:.0%} to {band[1]:.0%} of the band, "
        f"{part[0]:.0%} to {part[1]:.0%} of the time; {found['steep_share']:.1%} of cells steep; "
        f"variance {found['variance']:.3f}; autocorrelation {found['autocorrelation']:.3f} "
        f"(floor {found['autocorrelation_floor']:.3f}) at lag {found['autocorrelation_lag']}; "
        f"kurtosis {found['kurtosis']:.2f}"
    )
    return f"{text}; not white: {', '.join(found['failed'])}" if found["failed"] else text


def draw(draft: Path, spectrum: Spectrum, counts: NDArray[Any], layout: SpectraLayout) -> None:
    """Draw a spectrum and how whitened values lie.

    Parameters
    ----------
    draft : Path
        PNG to make, of a file that `drafts` publishes.
    spectrum : Spectrum
    counts : ndarray of int, (bin,)
        Of whitened values, of `counts_of`.
    layout : SpectraLayout
        Whose units are told.
    """
    cells, unit = spectrum.on_cells()[:, inside_cells(spectrum)], layout.time_unit
    length, nyquist = spectrum.step * spectrum.frame.tiling.rows, 0.5 / spectrum.step
    words = (unit, f"({layout.units[0]})² {unit}")
    draw_whitening(draft, (cells, length, nyquist), counts, words)


def total_of(sums: Sequence[Sums]) -> Sums:
    """Add sums up in their order."""
    total = sums[0]
    for more in sums[1:]:
        total = total + more
    return total
