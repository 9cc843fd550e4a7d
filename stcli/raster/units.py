"""Units of bands: whether two texts are known to mean different ones."""

from __future__ import annotations

import re

#: What a unit is called, in small letters, and its symbol.
_SYMBOLS = {
    **dict.fromkeys(("kelvin", "kelvins", "degk", "deg_k", "degree_kelvin", "degrees_kelvin"), "K"),
    **dict.fromkeys(("celsius", "degc", "deg_c", "degree_c", "degrees_c", "°c"), "degC"),
    **dict.fromkeys(("degree_celsius", "degrees_celsius", "degree celsius"), "degC"),
    **dict.fromkeys(("metre", "metres", "meter", "meters"), "m"),
    **dict.fromkeys(("percent", "pct"), "%"),
}


def differ(one: str | None, other: str | None) -> bool:
    """Tell whether two units differ; one that is not told differs from none.

    Parameters
    ----------
    one, other : str or None
        Names and symbols of common units are one: ``kelvin`` is ``K``; so are signs of powers,
        ``m s**-1`` and ``m s-1``.
    """
    return bool(one and other) and _plain(str(one)) != _plain(str(other))


def _plain(unit: str) -> str:
    text = re.sub(r"\*\*|\^", "", " ".join(unit.split()))
    return _SYMBOLS.get(text.lower(), text)
