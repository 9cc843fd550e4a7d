"""Spectral indices of objects by name, from the objects' band means (`spyndex`).

An index of means is not the mean of an index: what is described is the object's mean spectrum.
Constants of an index (L, C1, …) take the defaults of the list of Awesome Spectral Indices; its
formulas mostly expect reflectances between 0 and 1.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.errors import UsageError


def band_letters(names: tuple[str, ...], given: dict[str, str]) -> dict[str, int]:
    """Tell which band stands for which letter of the formulas.

    A band is known by its letter (``N``) or common name (``nir``); others must be given.

    Parameters
    ----------
    names : tuple of str
    given : dict of str
        Letter to band name; wins over what the names say.

    Raises
    ------
    UsageError
        A letter or a band that is unknown.
    """
    import spyndex

    letters = {str(letter): str(spyndex.bands[letter].common_name) for letter in spyndex.bands}
    known = {
        letter: position
        for position, name in enumerate(names)
        for letter, common in letters.items()
        if name == letter or name.lower() == common
    }
    for letter, name in given.items():
        if letter not in letters:
            listed = ", ".join(f"{k} ({v})" for k, v in letters.items())
            raise UsageError(f"--index-bands: letter {letter} found, one of {listed} wanted.")
        if name not in names:
            raise UsageError(f"--index-bands: band {name} found, one of {', '.join(names)} wanted.")
        known[letter] = names.index(name)
    return known


def check_indices(wanted: tuple[str, ...], letters: dict[str, int]) -> None:
    """Refuse indices that are unknown, or whose bands or constants are.

    Raises
    ------
    UsageError
    """
    import spyndex

    for name in wanted:
        if name not in spyndex.indices:
            near = get_close_matches(name.upper(), list(spyndex.indices), 5, 0.4)
            near = near or sorted(spyndex.indices)[:5]
            raise UsageError(
                f"--index: {name} found, a name of the Awesome Spectral Indices wanted; near it "
                f"are {', '.join(near)}."
            )
        missing = [part for part in spyndex.indices[name].bands if _value(part, letters) is None]
        if missing:
            example = f"--index-bands {missing[0]}=NAME"
            raise UsageError(
                f"--index: {name} wants {', '.join(missing)}, which no band is known to be; "
                f"say which it is, as in {example}."
            )


def indices(
    wanted: tuple[str, ...], means: NDArray[np.float64], letters: dict[str, int]
) -> dict[str, NDArray[np.float64]]:
    """Compute indices of objects.

    Parameters
    ----------
    wanted : tuple of str
        Checked by `check_indices`.
    means : ndarray of float64 (object, band)

    Returns
    -------
    dict of ndarray of float64 (object,)
        NaN where the formula has no value.
    """
    import spyndex

    found = {}
    for name in wanted:
        parts = {p: _value(p, letters) for p in spyndex.indices[name].bands}
        terms = {p: means[:, letters[p]] if p in letters else v for p, v in parts.items()}
        with np.errstate(all="ignore"):
            value = np.asarray(spyndex.computeIndex(name, terms), dtype=np.float64)
        value = np.broadcast_to(value, len(means))
        found[name] = np.where(np.isfinite(value), value, np.nan)
    return found


def _value(part: str, letters: dict[str, int]) -> Any:
    """Position of a band, or the default of a constant; None for neither."""
    import spyndex

    if part in letters:
        return letters[part]
    return spyndex.constants[part].default if part in spyndex.constants else None
