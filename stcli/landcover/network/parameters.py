"""Names and shapes of the network's weights, so that those of another network are refused."""

from __future__ import annotations

from collections.abc import Callable

from stcli.landcover.network.tokens import SHAPE_FEATURES
from stcli.settings import NetworkSettings

Shapes = dict[str, tuple[int, ...]]


def shapes(bands: int, classes: int, settings: NetworkSettings) -> Shapes:
    """Name the weights of a network of one date and their shapes."""
    c, d = settings.local_width, settings.model_width
    found = _linear("embed", 2 * (bands + c) + SHAPE_FEATURES, d)
    for n in range(settings.layers):
        found |= _named(f"mix.{n}", _both_ways(d, settings.state))
    found |= _norm("token_norm", d) | _linear("token_head", d, classes)
    found |= _linear("from_pixel", c or bands, d) | _linear("from_token", d, d)
    found |= _linear("head", d, classes)
    return found | (_named("local", _branch(bands, settings)) if c else {})


def _branch(bands: int, settings: NetworkSettings) -> Shapes:
    c = settings.local_width
    residual: Callable[[int], Shapes] = (
        _separable if settings.convolution == "separable" else _residual
    )
    found = _convolution("stem", bands + 1, c, 3) | _norm("out", c)
    found |= _named("fine", residual(c)) if settings.fine else {}
    found |= _convolution("to_middle", c, 2 * c, 2) | _named("middle", residual(2 * c))
    found |= _convolution("to_coarse", 2 * c, 3 * c, 2) | _named("coarse", _residual(3 * c))
    return (
        found
        | _convolution("from_coarse", 3 * c, 2 * c, 1)
        | _convolution("from_middle", 2 * c, c, 1)
    )


def _residual(width: int) -> Shapes:
    first, second = (_convolution(name, width, width, 3) for name in ("first", "second"))
    return _norm("norm", width) | first | second


def _separable(width: int) -> Shapes:
    alone = _convolution("first", 1, width, 3) | _convolution("second", 1, width, 3)
    mixes = {f"{name}.weight": (width, width, 1, 1) for name in ("mix", "out")}
    return _norm("norm", width) | alone | mixes


def _both_ways(width: int, states: int) -> Shapes:
    inner, rank = 2 * width, -(-width // 16)
    block = {
        "in_proj.weight": (2 * inner, width),
        "conv1d.weight": (inner, 1, 4),
        "conv1d.bias": (inner,),
        "x_proj.weight": (rank + 2 * states, inner),
        "A_log": (inner, states),
        "D": (inner,),
        "out_proj.weight": (width, inner),
    } | _linear("dt_proj", rank, inner)
    return _norm("norm", width) | _named("along", block) | _named("against", block)


def _linear(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def _convolution(name: str, before: int, after: int, side: int) -> Shapes:
    return {f"{name}.weight": (after, before, side, side), f"{name}.bias": (after,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _named(name: str, part: Shapes) -> Shapes:
    return {f"{name}.{key}": shape for key, shape in part.items()}
