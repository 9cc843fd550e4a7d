"""Colours for classes: a familiar one where the name says what it is, a distinct one otherwise."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

_FAMILIAR = {
    "water": "#2f6fb5",
    "wetland": "#6fa8a0",
    "marsh": "#6fa8a0",
    "forest": "#1f6b3a",
    "tree": "#1f6b3a",
    "shrub": "#8a9a3b",
    "grass": "#a8c95f",
    "low vegetation": "#a8c95f",
    "crop": "#e3c84c",
    "bare": "#c49a6c",
    "barren": "#c49a6c",
    "soil": "#c49a6c",
    "sand": "#dcc9a3",
    "built": "#c8453b",
    "urban": "#c8453b",
    "impervious": "#b0423a",
    "road": "#5b5560",
    "snow": "#f2f5f8",
    "ice": "#d5e4ee",
}
_GOLDEN = 0.61803398875


def colors(names: Sequence[str]) -> tuple[str, ...]:
    """Choose a colour ``#rrggbb`` for each class; no two alike."""
    chosen: list[str] = []
    for number, name in enumerate(names):
        familiar = [c for word, c in _FAMILIAR.items() if word in name.lower()]
        fresh = [c for c in familiar if c not in chosen]
        chosen.append(fresh[-1] if fresh else _distinct(number, chosen))
    return tuple(chosen)


def rgba(color: str) -> tuple[int, int, int, int]:
    """Turn ``#rrggbb`` into red, green, blue, alpha of 0 to 255."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue, 255


def _distinct(number: int, taken: Sequence[str]) -> str:
    """Step around the hues by the golden ratio until a colour is free."""
    while True:
        parts = colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.55, 0.85)
        color = "#" + "".join(f"{round(255 * part):02x}" for part in parts)
        if color not in taken:
            return color
        number += 1
