"""CF coordinates of rows and columns: their names and units, as they are read and written."""

from __future__ import annotations

import math

from odc.geo.crs import CRS

_FOOT, _SURVEY_FOOT = 0.3048, 1200 / 3937
#: Metres of what files call a unit; the names that are written first.
_METRES = {
    **dict.fromkeys(("m", "metre", "metres", "meter", "meters"), 1.0),
    **dict.fromkeys(("km", "kilometre", "kilometres", "kilometer", "kilometers"), 1000.0),
    **dict.fromkeys(("foot", "feet", "ft", "international_foot"), _FOOT),
    **dict.fromkeys(("US_survey_foot", "US_survey_feet", "US survey foot", "ftUS"), _SURVEY_FOOT),
}


def in_crs_units(unit: str, crs: CRS | None) -> float | None:
    """Tell how many units of a CRS (metres without one) a coordinate's unit is.

    Parameters
    ----------
    unit : str
        A length; "" and "1" are the CRS's own.
    crs : CRS or None

    Returns
    -------
    float or None
        None for what is no length.
    """
    own = _own(crs)
    if unit in ("", "1", own):
        return 1.0
    metres = _METRES.get(unit)
    if metres is None or crs is None or own is None:
        return metres
    factor = metres / float(crs.proj.axis_info[0].unit_conversion_factor)
    return 1.0 if math.isclose(factor, 1, rel_tol=1e-12) else factor


def axis_names(crs: CRS | None) -> tuple[str, str]:
    """Name the dimensions of rows and columns."""
    if crs is None or not crs.geographic:
        return "y", "x"
    return ("rlat", "rlon") if crs.proj.is_derived else ("lat", "lon")


def axis_attrs(crs: CRS | None, axis: str) -> dict[str, str]:
    """Give the CF attributes of a coordinate; `axis` is ``"X"`` or ``"Y"``."""
    if crs is None:
        return {"axis": axis}
    if crs.geographic:
        word = "latitude" if axis == "Y" else "longitude"
        direction = "north" if axis == "Y" else "east"
        told = (word, f"degrees_{direction}")
        if crs.proj.is_derived:  # a turned pole: CF has other words for these
            told = (f"grid_{word}", "degrees")
    else:
        own = str(_own(crs))
        found = _METRES.get(own)
        unit = next((name for name, metres in _METRES.items() if metres == found), own)
        told = (f"projection_{axis.lower()}_coordinate", unit)
    return {"axis": axis, "standard_name": told[0], "units": told[1]}


def _own(crs: CRS | None) -> str | None:
    """Name the unit of a CRS of lengths."""
    return None if crs is None or crs.geographic else str(crs.units[0])
