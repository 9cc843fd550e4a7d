"""Vectors of 16 numbers as values of numba: what is written over lanes needs no luck to vectorise.

``load(array, position)`` makes `Lanes` of an array's next 16 numbers, ``+ - * /`` act on lanes and
on lanes with a number, ``smaller`` chooses lane by lane, ``store`` writes them back. They become
LLVM's ``<16 x float>`` or ``<16 x double>``, which any machine has: one AVX-512 register, two of
AVX2, four of NEON. A product that is added becomes one fused operation where there is one. Whole
numbers can be loaded and stored.

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

from stcli.llvm import (
    HALF,
    INT,
    call,
    constant,
    joined,
    parted,
    parts_of,
    place_of,
    power,
    power_of_parts,
    read,
    shuffled,
    spread,
    transposed,
    vector_of,
    write,
)
from stcli.llvm import WIDTH as WIDTH

#: Of kernels over lanes: kept on disk, without Python's lock, dividing as the machine does.
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_instruction: Any = intrinsic
#: Of LLVM's prefetch: to be read, into the nearest cache, data.
_READ_SOON = (0, 3, 1)
#: 1.5 * 2^52: added to a float64, it leaves the nearest integer in the lowest bits; and its bits.
_WHOLE, _WHOLE_BITS = 1.5 * 2.0**52, 0x4338000000000000


class Lanes(types.Type):
    """Numba's type of 16 float32 or float64 numbers."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, vector_of(lanes.dtype))  # type: ignore[no-untyped-call]


@_instruction
def load(typing, array, position):  # type: ignore[no-untyped-def]
    """Return the 16 numbers of an array from a position."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return read(builder, array, place_of(context, builder, array, *arguments))

    return Lanes(array.dtype)(array, types.intp), code


@_instruction
def load_single(typing, array, position):  # type: ignore[no-untyped-def]
    """Return as float32 the 16 numbers of an array from a position: whole ones, or float32."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        numbers = read(builder, array, place_of(context, builder, array, *arguments))
        if array.dtype == types.float32:
            return numbers
        convert = builder.sitofp if array.dtype.signed else builder.uitofp
        return convert(numbers, vector_of(types.float32))

    return Lanes(types.float32)(array, types.intp), code


@_instruction
def store(typing, array, position, lanes):  # type: ignore[no-untyped-def]
    """Write 16 numbers to an array from a position."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        write(builder, array, place_of(context, builder, array, *arguments[:2]), arguments[2])
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
def fill(typing, array, position, number):  # type: ignore[no-untyped-def]
    """Write a number to 16 places of an array from a position."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place = place_of(context, builder, array, *arguments[:2])
        write(builder, array, place, spread(builder, arguments[2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), code


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
        return spread(builder, arguments[0])

    return Lanes(number)(number), code


@_instruction
def repeat(typing, array, position):  # type: ignore[no-untyped-def]
    """Return an array's number at a position in all lanes."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(array)(context, builder, arguments[0]).data
        return spread(builder, builder.load(builder.gep(data, [arguments[1]])))

    return Lanes(array.dtype)(array, types.intp), code


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
def whole_total(typing, array, position, unit):  # type: ignore[no-untyped-def]
    """Return the sum of 16 float32 numbers times a float64 `unit`, each cut to a whole, as int64.

    Products below 2^51.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        double = ir.VectorType(ir.DoubleType(), WIDTH)
        numbers = read(builder, array, place_of(context, builder, array, *arguments[:2]))
        products = builder.fmul(builder.fpext(numbers, double), spread(builder, arguments[2]))
        cut = call(builder, f"llvm.trunc.v{WIDTH}f64", double, products)
        wide = ir.VectorType(ir.IntType(64), WIDTH)
        bits = builder.bitcast(builder.fadd(cut, constant(double, _WHOLE)), wide)
        wholes = builder.sub(bits, constant(wide, _WHOLE_BITS))
        return call(builder, f"llvm.vector.reduce.add.v{WIDTH}i64", wide.element, wholes)

    return types.int64(array, types.intp, types.float64), code


@_instruction
def root(typing, lanes):  # type: ignore[no-untyped-def]
    """Return the square root of each lane."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = arguments[0].type
        return call(builder, f"llvm.sqrt.v{WIDTH}f{lanes.dtype.bitwidth}", vector, arguments[0])

    return lanes(lanes), code


@_instruction
def exp2(typing, lanes):  # type: ignore[no-untyped-def]
    """Return 2^x of x <= 0.

    float32: of finite x only, by polynomial, relative error below 2e-7; below x = -126 it stays
    near 2^-126. float64: the C library's.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return power(builder, arguments[0])

    return lanes(lanes), code


@_instruction
def exp2_parts(typing, several):  # type: ignore[no-untyped-def]
    """Part each x of a tuple of Lanes for `exp2_each`: a tuple of twice as many."""
    tuple_of: Any = types.UniTuple
    two = tuple_of(several.dtype, 2 * several.count)

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        tuples: Any = cgutils
        x = joined(builder, tuples.unpack_tuple(builder, arguments[0], several.count))
        found = (parted(builder, part, several.count) for part in parts_of(builder, x))
        return context.make_tuple(builder, two, [part for parts in found for part in parts])

    return two(several), code


@_instruction
def exp2_each(typing, parts):  # type: ignore[no-untyped-def]
    """Return 2^x, as `exp2`, of each x that `exp2_parts` has parted.

    Their operations stand side by side in the code, so that one's wait is another's work: a chain
    of a dozen dependent operations is longer than a processor looks ahead. It parts them by other
    units than those that multiply: where the next x are parted before these are raised, both work.
    """
    tuple_of: Any = types.UniTuple
    count = parts.count // 2
    powers = tuple_of(parts.dtype, count)

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        tuples: Any = cgutils
        each = tuples.unpack_tuple(builder, arguments[0], parts.count)
        both = (joined(builder, each[:count]), joined(builder, each[count:]))
        found = parted(builder, power_of_parts(builder, *both), count)
        return context.make_tuple(builder, powers, found)

    return powers(parts), code


@_instruction
def outer_add(typing, sums, numbers, position, step, vectors):  # type: ignore[no-untyped-def]
    """Return a tuple of sums, to each of which a number times a vector is added.

    Sum ``r * len(vectors) + v`` gets ``numbers[position + r * step] * vectors[v]``: the step of a
    product of matrices. Sums and vectors are tuples of Lanes.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(numbers)(context, builder, arguments[1]).data
        tuples: Any = cgutils
        before = tuples.unpack_tuple(builder, arguments[0], sums.count)
        beside = tuples.unpack_tuple(builder, arguments[4], vectors.count)
        after: list[Any] = []
        at = arguments[2]
        for _ in range(sums.count // vectors.count):
            number = spread(builder, builder.load(builder.gep(data, [at])))
            for vector in beside:
                product = builder.fmul(number, vector, flags=("contract",))
                after.append(builder.fadd(before[len(after)], product, flags=("contract",)))
            at = builder.add(at, arguments[3])
        return context.make_tuple(builder, sums, after)

    return sums(sums, numbers, types.intp, types.intp, vectors), code


@_instruction
def prefetch(typing, array, position):  # type: ignore[no-untyped-def]
    """Ask for the cache line of an array's number at a position; beyond its end nothing happens."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(array)(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, INT, INT, INT])
        insert: Any = cgutils.get_or_insert_function
        function = insert(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [pointer, *(ir.Constant(INT, flag) for flag in _READ_SOON)])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@_instruction
def pairs(typing, array, position):  # type: ignore[no-untyped-def]
    """Return an array's next 32 numbers as two Lanes: the first of each two, and the second."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        source, at = arguments
        after = builder.add(at, ir.Constant(at.type, WIDTH))
        near, far = (
            read(builder, array, place_of(context, builder, array, source, where))
            for where in (at, after)
        )
        two = [shuffled(builder, near, far, range(first, 2 * WIDTH, 2)) for first in (0, 1)]
        return context.make_tuple(builder, signature.return_type, two)

    two: Any = types.UniTuple
    return two(Lanes(array.dtype), 2)(array, types.intp), code


@_instruction
def transpose(typing, source, first, stride, target, place, step):  # type: ignore[no-untyped-def]
    """Copy 16 x 16 numbers: ``target[place + i * step + j] = source[first + j * stride + i]``.

    By quarters, which fit the registers of AVX2. A row's last numbers are written before its
    first, and rows in order: what falls on the next row, where rows are shorter, is overwritten.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, start, apart, out, to, far = arguments

        def pointer(kind: Any, values: Any, base: Any, stride: Any, row: int, column: int) -> Any:
            down = builder.mul(stride, ir.Constant(base.type, row))
            at = builder.add(builder.add(base, ir.Constant(base.type, column)), down)
            return place_of(context, builder, kind, values, at, HALF)

        for i in (0, HALF):
            for j in (HALF, 0):
                places = [pointer(source, array, start, apart, j + k, i) for k in range(HALF)]
                rows = [read(builder, source, place) for place in places]
                for k, values in enumerate(transposed(builder, rows)):
                    write(builder, target, pointer(target, out, to, far, i + k, j), values)
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
                value if isinstance(kind, Lanes) else spread(builder, value)
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
_operation(operator.truediv, "fdiv")
