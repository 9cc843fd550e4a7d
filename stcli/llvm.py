"""LLVM's vectors of 16 numbers: the code that operations on lanes are made of.

Functions add instructions to a builder of llvmlite and return what these make.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils

WIDTH = 16
#: Numbers of a side of the squares that a transposition is made of.
HALF = WIDTH // 2
INT = ir.IntType(32)
#: (2^f - 1) / f for |f| <= 1/2, so fitted that 1 + f q(f) has the least relative error, 9.2e-8.
_EXP2 = (0.6931469776, 0.2402224208, 0.05550733754, 0.009671512870, 0.001326472389)
#: Lanes that an exchange between two vectors of 8 puts into the first and into the second.
_NUMBERS = ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15))
_PAIRS = ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
_HALVES = ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
#: 1.5 * 2^23: added to a float32, it leaves the nearest integer in the lowest bits.
_ROUND = 12582912.0
#: The same number's bits.
_ROUND_BITS = 0x4B400000


_config: Any = numba.config


def _spacious() -> bool:
    """Tell whether the processor compiled for holds 32 vectors of 16 numbers in registers."""
    if _config.CPU_FEATURES is not None:
        return "+avx512f" in _config.CPU_FEATURES
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))


#: Whether two vectors of each of six rows of a product, and what makes them, fit in registers.
SPACIOUS = _spacious()


def call(builder: Any, name: str, result: Any, argument: Any) -> Any:
    """Call one of LLVM's own functions of one argument."""
    insert: Any = cgutils.get_or_insert_function
    function = insert(builder.module, ir.FunctionType(result, [argument.type]), name)
    return builder.call(function, [argument])


def vector_of(dtype: Any, count: int = WIDTH) -> ir.VectorType:
    """Return LLVM's type of so many numbers of a type of numba."""
    if isinstance(dtype, types.Float):
        return ir.VectorType(ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType(), count)
    return ir.VectorType(ir.IntType(dtype.bitwidth), count)


def constant(vector: ir.VectorType, value: float) -> ir.Constant:
    """Return a vector of one number."""
    return ir.Constant(vector, [value] * vector.count)


def place_of(
    context: Any, builder: Any, kind: Any, array: Any, position: Any, count: int = WIDTH
) -> Any:
    """Point at so many numbers of an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [position]), vector_of(kind.dtype, count).as_pointer())


def read(builder: Any, kind: Any, pointer: Any) -> Any:
    """Read the numbers of an array that are pointed at, wherever it begins."""
    return builder.load(pointer, align=kind.dtype.bitwidth // 8)


def write(builder: Any, kind: Any, pointer: Any, values: Any) -> None:
    """Write as many to an array."""
    builder.store(values, pointer, align=kind.dtype.bitwidth // 8)


def spread(builder: Any, value: Any) -> Any:
    """Put one number into all lanes."""
    nothing = ir.Constant(ir.VectorType(value.type, WIDTH), ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(INT, 0))
    return builder.shuffle_vector(one, nothing, constant(ir.VectorType(INT, WIDTH), 0))


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose 8 vectors of 8 numbers: exchange numbers, then pairs, then halves.

    Numbers and pairs change places within the halves of a register, which costs least.
    """
    twos = [_exchanged(builder, rows[i], rows[i + 1], _NUMBERS) for i in range(0, HALF, 2)]
    fours = []
    for upper, lower in zip(twos[::2], twos[1::2], strict=True):
        pairs = zip(upper, lower, strict=True)
        fours.append([row for a, b in pairs for row in _exchanged(builder, a, b, _PAIRS)])
    eights = [_exchanged(builder, a, b, _HALVES) for a, b in zip(*fours, strict=True)]
    return [row[side] for side in (0, 1) for row in eights]


def _exchanged(
    builder: Any, left: Any, right: Any, masks: tuple[tuple[int, ...], ...]
) -> list[Any]:
    return [shuffled(builder, left, right, mask) for mask in masks]


def shuffled(builder: Any, left: Any, right: Any, lanes: Iterable[int]) -> Any:
    """Choose lanes of two vectors, the right one's counted on from the left one's."""
    numbers = list(lanes)
    mask = ir.Constant(ir.VectorType(INT, len(numbers)), numbers)
    return builder.shuffle_vector(left, right, mask)


def joined(builder: Any, parts: list[Any]) -> Any:
    """Put vectors side by side in one; as many as a power of two."""
    while len(parts) > 1:
        wide = range(2 * parts[0].type.count)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [shuffled(builder, *pair, wide) for pair in pairs]
    return parts[0]


def parted(builder: Any, vector: Any, count: int) -> list[Any]:
    """Cut a vector into equal ones."""
    width = vector.type.count // count
    starts = range(0, vector.type.count, width)
    return [shuffled(builder, vector, vector, range(at, at + width)) for at in starts]


def power(builder: Any, x: Any) -> Any:
    """2^x of x <= 0; see `stcli.lanes.exp2`."""
    return power_of_parts(builder, *parts_of(builder, x))


def parts_of(builder: Any, x: Any) -> tuple[Any, Any]:
    """Part x into k, the nearest integer, and f = x - k; float64 stays whole, twice.

    k comes as the float32 in whose lowest bits it lies.
    """
    vector = x.type
    if isinstance(vector.element, ir.DoubleType):
        return x, x
    rounded = builder.fadd(x, constant(vector, _ROUND))
    return rounded, builder.fsub(x, builder.fsub(rounded, constant(vector, _ROUND)))


def power_of_parts(builder: Any, rounded: Any, f: Any) -> Any:
    """2^x = 2^k (1 + f q(f)).

    Not x but k is held above -126, as an integer: beside the polynomial, not before it, and not by
    the units that multiply.
    """
    vector, bits = f.type, ir.VectorType(INT, f.type.count)
    if isinstance(vector.element, ir.DoubleType):
        return _power_double(builder, f)
    p = constant(vector, _EXP2[-1])
    for coefficient in (*_EXP2[-2::-1], 1.0):
        product = builder.fmul(p, f, flags=("contract",))
        p = builder.fadd(product, constant(vector, coefficient), flags=("contract",))
    k, least = builder.bitcast(rounded, bits), constant(bits, _ROUND_BITS - 126)
    k = builder.select(builder.icmp_signed(">", k, least), k, least)
    exponent = builder.shl(k, constant(bits, 23))
    return builder.bitcast(builder.add(builder.bitcast(p, bits), exponent), vector)


def _power_double(builder: Any, x: Any) -> Any:
    function = builder.module.declare_intrinsic("llvm.exp2", [x.type.element])
    out = ir.Constant(x.type, ir.Undefined)
    for lane in range(x.type.count):
        at = ir.Constant(INT, lane)
        value = builder.call(function, [builder.extract_element(x, at)])
        out = builder.insert_element(out, value, at)
    return out
