"""Vectors of 16 numbers as values of numba: what is written over lanes needs no luck to vectorise.

``load(array, position)`` makes `Lanes` of an array's next 16 numbers, ``+ - *`` act on lanes and on
lanes with a number, ``smaller`` chooses lane by lane, ``store`` writes them back. They become
LLVM's ``<16 x float>`` or ``<16 x double>``, which any machine has: one AVX-512 register, two of
AVX2, four of NEON. A product that is added becomes one fused operation where there is one.

Arrays are one-dimensional and contiguous; positions are not checked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 16
_INT = ir.IntType(32)
_instruction: Any = intrinsic
#: (2^f - 1) / f for |f| <= 1/2, so fitted that 1 + f q(f) has the least relative error, 9.2e-8.
_EXP2 = (0.6931469776, 0.2402224208, 0.05550733754, 0.009671512870, 0.001326472389)
#: 1.5 * 2^23: added to a float32, it leaves the nearest integer in the lowest bits.
_ROUND = 12582912.0


class Lanes(types.Type):
    """Numba's type of 16 float32 or float64 numbers."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _vector(lanes.dtype))  # type: ignore[no-untyped-call]


@_instruction
def load(typing, array, position):  # type: ignore[no-untyped-def]
    """Return the 16 numbers of an array from a position."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _read(builder, array, _place(context, builder, array, *arguments))

    return Lanes(array.dtype)(array, types.intp), code


@_instruction
def store(typing, array, position, lanes):  # type: ignore[no-untyped-def]
    """Write 16 numbers to an array from a position."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _write(builder, array, _place(context, builder, array, *arguments[:2]), arguments[2])
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), code


@_instruction
def store_bytes(typing, array, position, lanes):  # type: ignore[no-untyped-def]
    """Write 16 whole numbers from 0 to 255 to an array of uint8 from a position."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        numbers, narrow = (ir.VectorType(ir.IntType(bits), WIDTH) for bits in (32, 8))
        whole = builder.fptosi(arguments[2], numbers)
        data = context.make_array(array)(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), narrow.as_pointer())
        builder.store(builder.trunc(whole, narrow), pointer, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), code


@_instruction
def smaller(typing, left, right, yes, no):  # type: ignore[no-untyped-def]
    """Return `yes` in the lanes where ``left < right``, `no` in the others."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        less = builder.fcmp_ordered("<", arguments[0], arguments[1])
        return builder.select(less, arguments[2], arguments[3])

    return yes(left, right, yes, no), code


@_instruction
def splat(typing, number):  # type: ignore[no-untyped-def]
    """Return one float in all lanes."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _spread(builder, arguments[0])

    return Lanes(number)(number), code


@_instruction
def total(typing, lanes):  # type: ignore[no-untyped-def]
    """Return the sum of all lanes, by halves."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = arguments[0].type
        name = f"llvm.vector.reduce.fadd.v{WIDTH}f{lanes.dtype.bitwidth}"
        kind = ir.FunctionType(vector.element, [vector.element, vector])
        insert: Any = cgutils.get_or_insert_function
        function = insert(builder.module, kind, name)
        zero = ir.Constant(vector.element, 0.0)
        return builder.call(function, [zero, arguments[0]], fastmath=("reassoc",))

    return lanes.dtype(lanes), code


@_instruction
def exp2(typing, lanes):  # type: ignore[no-untyped-def]
    """Return 2^x of x <= 0.

    float32: by polynomial, relative error below 2e-7; below x = -126 it stays at 2^-126. float64:
    the C library's.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        power = _power_single if lanes.dtype.bitwidth == 32 else _power_double
        return power(builder, arguments[0])

    return lanes(lanes), code


@_instruction
def transpose(typing, source, first, stride, target, place, step):  # type: ignore[no-untyped-def]
    """Copy 16 x 16 numbers: ``target[place + i * step + j] = source[first + j * stride + i]``."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, start, apart, out, to, far = arguments
        rows = []
        for row in range(WIDTH):
            position = builder.add(start, builder.mul(apart, ir.Constant(start.type, row)))
            rows.append(_read(builder, source, _place(context, builder, source, array, position)))
        for row, values in enumerate(_transposed(builder, rows)):
            position = builder.add(to, builder.mul(far, ir.Constant(to.type, row)))
            _write(builder, target, _place(context, builder, target, out, position), values)
        return context.get_dummy_value()

    at = types.intp
    return types.void(source, at, at, target, at, at), code


def _operation(symbol: Callable[..., Any], instruction: str) -> None:
    """Define an operator on lanes with lanes, and on lanes with a number."""

    @_instruction
    def act(typing, left, right):  # type: ignore[no-untyped-def]
        lanes = left if isinstance(left, Lanes) else right
        kinds = [kind if isinstance(kind, Lanes) else lanes.dtype for kind in (left, right)]

        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            values = [
                value if isinstance(kind, Lanes) else _spread(builder, value)
                for kind, value in zip(kinds, arguments, strict=True)
            ]
            return getattr(builder, instruction)(*values, flags=("contract",))

        return lanes(*kinds), code

    @overload(symbol)
    def chosen(left, right):  # type: ignore[no-untyped-def]
        if isinstance(left, Lanes) or isinstance(right, Lanes):
            return lambda left, right: act(left, right)
        return None


_operation(operator.add, "fadd")
_operation(operator.sub, "fsub")
_operation(operator.mul, "fmul")


def _vector(dtype: Any) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType(), WIDTH)


def _all(vector: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(vector, [value] * WIDTH)


def _place(context: Any, builder: Any, kind: Any, array: Any, position: Any) -> Any:
    """Point at 16 numbers of an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [position]), _vector(kind.dtype).as_pointer())


def _read(builder: Any, kind: Any, pointer: Any) -> Any:
    return builder.load(pointer, align=kind.dtype.bitwidth // 8)


def _write(builder: Any, kind: Any, pointer: Any, values: Any) -> None:
    builder.store(values, pointer, align=kind.dtype.bitwidth // 8)


def _spread(builder: Any, value: Any) -> Any:
    """Put one number into all lanes."""
    nothing = ir.Constant(ir.VectorType(value.type, WIDTH), ir.Undefined)
    one = builder.insert_element(nothing, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, nothing, _all(ir.VectorType(_INT, WIDTH), 0))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose 16 vectors: interleave the first half's rows with the second's, four times."""
    half = WIDTH // 2
    kind = ir.VectorType(_INT, WIDTH)
    low, high = (
        ir.Constant(kind, [lane for i in range(start, start + half) for lane in (i, i + WIDTH)])
        for start in (0, half)
    )
    for _ in range(4):
        rows = [
            builder.shuffle_vector(rows[i], rows[i + half], mask)
            for i in range(half)
            for mask in (low, high)
        ]
    return rows


def _power_single(builder: Any, x: Any) -> Any:
    """2^x = 2^k (1 + f q(f)) with k the nearest integer and f = x - k."""
    vector, bits = x.type, ir.VectorType(_INT, WIDTH)
    least = _all(vector, -126.0)
    x = builder.select(builder.fcmp_ordered(">", x, least), x, least)
    rounded = builder.fadd(x, _all(vector, _ROUND))
    f = builder.fsub(x, builder.fsub(rounded, _all(vector, _ROUND)))
    p = _all(vector, _EXP2[-1])
    for coefficient in (*_EXP2[-2::-1], 1.0):
        product = builder.fmul(p, f, flags=("contract",))
        p = builder.fadd(product, _all(vector, coefficient), flags=("contract",))
    exponent = builder.shl(builder.bitcast(rounded, bits), _all(bits, 23))
    return builder.bitcast(builder.add(builder.bitcast(p, bits), exponent), vector)


def _power_double(builder: Any, x: Any) -> Any:
    function = builder.module.declare_intrinsic("llvm.exp2", [x.type.element])
    out = ir.Constant(x.type, ir.Undefined)
    for lane in range(WIDTH):
        at = ir.Constant(_INT, lane)
        value = builder.call(function, [builder.extract_element(x, at)])
        out = builder.insert_element(out, value, at)
    return out
