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
from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 16
#: Places that the bits of an int64 tell of.
WORD = 64
#: Of kernels over lanes: kept on disk, without Python's lock, dividing as the machine does.
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_INT = ir.IntType(32)
_instruction: Any = intrinsic
#: (2^f - 1) / f for |f| <= 1/2, so fitted that 1 + f q(f) has the least relative error, 9.2e-8.
_EXP2 = (0.6931469776, 0.2402224208, 0.05550733754, 0.009671512870, 0.001326472389)
#: Lanes that an exchange between two vectors of 8 puts into the first and into the second.
_NUMBERS = ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15))
_PAIRS = ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
_HALVES = ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
#: Of LLVM's prefetch: to be read, into the nearest cache, data.
_READ_SOON = (0, 3, 1)
#: 1.5 * 2^23: added to a float32, it leaves the nearest integer in the lowest bits.
_ROUND = 12582912.0
#: The same number's bits.
_ROUND_BITS = 0x4B400000
#: As these, for float64 and an int64: 1.5 * 2^52.
_WHOLE, _WHOLE_BITS = 1.5 * 2.0**52, 0x4338000000000000


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
def unequal(typing, left, right, position, but):  # type: ignore[no-untyped-def]
    """Tell in which of 16 places two arrays of uint8 differ, the left one's `but` passed over.

    The places are bits of an int64, the first the lowest.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        bytes_ = ir.VectorType(ir.IntType(8), WIDTH)
        read = []
        for kind, array in zip((left, right), arguments[:2], strict=True):
            data = context.make_array(kind)(context, builder, array).data
            place = builder.bitcast(builder.gep(data, [arguments[2]]), bytes_.as_pointer())
            read.append(builder.load(place, align=1))
        passed = builder.icmp_unsigned("!=", read[0], _spread(builder, arguments[3]))
        flags = builder.and_(passed, builder.icmp_unsigned("!=", *read))
        return builder.zext(builder.bitcast(flags, ir.IntType(WIDTH)), ir.IntType(64))

    return types.int64(left, right, types.intp, types.uint8), code


@_instruction
def steps(typing, array, position):  # type: ignore[no-untyped-def]
    """Tell in which of 16 places, from a position, an array's number is not the one before.

    The places are bits of an int64, the first the lowest.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        source, at = arguments
        before = builder.sub(at, ir.Constant(at.type, 1))
        here, there = (
            _read(builder, array, _place(context, builder, array, source, where))
            for where in (at, before)
        )
        flags = builder.icmp_unsigned("!=", here, there)
        return builder.zext(builder.bitcast(flags, ir.IntType(WIDTH)), ir.IntType(64))

    return types.int64(array, types.intp), code


@_instruction
def fill(typing, array, position, number):  # type: ignore[no-untyped-def]
    """Write a number to 16 places of an array from a position."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place = _place(context, builder, array, *arguments[:2])
        _write(builder, array, place, _spread(builder, arguments[2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), code


@_instruction
def lowest(typing, bits):  # type: ignore[no-untyped-def]
    """Return the place of the lowest bit that is set of an int64 other than 0."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


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
def repeat(typing, array, position):  # type: ignore[no-untyped-def]
    """Return an array's number at a position in all lanes."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(array)(context, builder, arguments[0]).data
        return _spread(builder, builder.load(builder.gep(data, [arguments[1]])))

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
        read = _read(builder, array, _place(context, builder, array, *arguments[:2]))
        products = builder.fmul(builder.fpext(read, double), _spread(builder, arguments[2]))
        cut = _call(builder, f"llvm.trunc.v{WIDTH}f64", double, products)
        wide = ir.VectorType(ir.IntType(64), WIDTH)
        bits = builder.bitcast(builder.fadd(cut, _all(double, _WHOLE)), wide)
        wholes = builder.sub(bits, _all(wide, _WHOLE_BITS))
        return _call(builder, f"llvm.vector.reduce.add.v{WIDTH}i64", wide.element, wholes)

    return types.int64(array, types.intp, types.float64), code


@_instruction
def root(typing, lanes):  # type: ignore[no-untyped-def]
    """Return the square root of each lane."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        vector = arguments[0].type
        return _call(builder, f"llvm.sqrt.v{WIDTH}f{lanes.dtype.bitwidth}", vector, arguments[0])

    return lanes(lanes), code


@_instruction
def exp2(typing, lanes):  # type: ignore[no-untyped-def]
    """Return 2^x of x <= 0.

    float32: of finite x only, by polynomial, relative error below 2e-7; below x = -126 it stays
    near 2^-126. float64: the C library's.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _power(builder, arguments[0])

    return lanes(lanes), code


@_instruction
def exp2_each(typing, several):  # type: ignore[no-untyped-def]
    """Return 2^x, as `exp2`, of each of a tuple of Lanes.

    Their operations stand side by side in the code, so that one's wait is another's work: a chain
    of a dozen dependent operations is longer than a processor looks ahead.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        tuples: Any = cgutils
        parts = tuples.unpack_tuple(builder, arguments[0], several.count)
        powers = _power(builder, _joined(builder, parts))
        return context.make_tuple(builder, several, _parted(builder, powers, several.count))

    return several(several), code


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
            number = _spread(builder, builder.load(builder.gep(data, [at])))
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
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _INT, _INT, _INT])
        insert: Any = cgutils.get_or_insert_function
        function = insert(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [pointer, *(ir.Constant(_INT, flag) for flag in _READ_SOON)])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@_instruction
def pairs(typing, array, position):  # type: ignore[no-untyped-def]
    """Return an array's next 32 numbers as two Lanes: the first of each two, and the second."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        source, at = arguments
        after = builder.add(at, ir.Constant(at.type, WIDTH))
        near, far = (
            _read(builder, array, _place(context, builder, array, source, where))
            for where in (at, after)
        )
        two = [_shuffled(builder, near, far, range(first, 2 * WIDTH, 2)) for first in (0, 1)]
        return context.make_tuple(builder, signature.return_type, two)

    two: Any = types.UniTuple
    return two(Lanes(array.dtype), 2)(array, types.intp), code


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
_operation(operator.truediv, "fdiv")


def _call(builder: Any, name: str, result: Any, argument: Any) -> Any:
    """Call one of LLVM's own functions of one argument."""
    insert: Any = cgutils.get_or_insert_function
    function = insert(builder.module, ir.FunctionType(result, [argument.type]), name)
    return builder.call(function, [argument])


def _vector(dtype: Any) -> ir.VectorType:
    if isinstance(dtype, types.Float):
        return ir.VectorType(ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType(), WIDTH)
    return ir.VectorType(ir.IntType(dtype.bitwidth), WIDTH)


def _all(vector: ir.VectorType, value: float) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


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
    """Transpose 16 vectors by quarters of 8 x 8, which fit the registers of AVX2."""
    half = WIDTH // 2
    columns = []
    for first in (0, half):
        parts = [_shuffled(builder, row, row, range(first, first + half)) for row in rows]
        upper, lower = (_transposed_quarter(builder, parts[at : at + half]) for at in (0, half))
        pairs = zip(upper, lower, strict=True)
        columns += [_shuffled(builder, *pair, range(WIDTH)) for pair in pairs]
    return columns


def _transposed_quarter(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose 8 vectors of 8 numbers: exchange numbers, then pairs, then halves.

    Numbers and pairs change places within the halves of a register, which costs least.
    """
    twos = [_exchanged(builder, rows[i], rows[i + 1], _NUMBERS) for i in range(0, 8, 2)]
    fours = []
    for upper, lower in zip(twos[::2], twos[1::2], strict=True):
        pairs = zip(upper, lower, strict=True)
        fours.append([row for a, b in pairs for row in _exchanged(builder, a, b, _PAIRS)])
    eights = [_exchanged(builder, a, b, _HALVES) for a, b in zip(*fours, strict=True)]
    return [row[side] for side in (0, 1) for row in eights]


def _exchanged(
    builder: Any, left: Any, right: Any, masks: tuple[tuple[int, ...], ...]
) -> list[Any]:
    return [_shuffled(builder, left, right, mask) for mask in masks]


def _shuffled(builder: Any, left: Any, right: Any, lanes: Iterable[int]) -> Any:
    """Choose lanes of two vectors, the right one's counted on from the left one's."""
    numbers = list(lanes)
    mask = ir.Constant(ir.VectorType(_INT, len(numbers)), numbers)
    return builder.shuffle_vector(left, right, mask)


def _joined(builder: Any, parts: list[Any]) -> Any:
    """Put vectors side by side in one; as many as a power of two."""
    while len(parts) > 1:
        wide = range(2 * parts[0].type.count)
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [_shuffled(builder, *pair, wide) for pair in pairs]
    return parts[0]


def _parted(builder: Any, vector: Any, count: int) -> list[Any]:
    """Cut a vector into equal ones."""
    width = vector.type.count // count
    starts = range(0, vector.type.count, width)
    return [_shuffled(builder, vector, vector, range(at, at + width)) for at in starts]


def _power(builder: Any, x: Any) -> Any:
    single = isinstance(x.type.element, ir.FloatType)
    return _power_single(builder, x) if single else _power_double(builder, x)


def _power_single(builder: Any, x: Any) -> Any:
    """2^x = 2^k (1 + f q(f)) with k the nearest integer and f = x - k.

    Not x but k is held above -126, as an integer: beside the polynomial, not before it, and not by
    the units that multiply.
    """
    vector, bits = x.type, ir.VectorType(_INT, x.type.count)
    rounded = builder.fadd(x, _all(vector, _ROUND))
    f = builder.fsub(x, builder.fsub(rounded, _all(vector, _ROUND)))
    p = _all(vector, _EXP2[-1])
    for coefficient in (*_EXP2[-2::-1], 1.0):
        product = builder.fmul(p, f, flags=("contract",))
        p = builder.fadd(product, _all(vector, coefficient), flags=("contract",))
    k, least = builder.bitcast(rounded, bits), _all(bits, _ROUND_BITS - 126)
    k = builder.select(builder.icmp_signed(">", k, least), k, least)
    exponent = builder.shl(k, _all(bits, 23))
    return builder.bitcast(builder.add(builder.bitcast(p, bits), exponent), vector)


def _power_double(builder: Any, x: Any) -> Any:
    function = builder.module.declare_intrinsic("llvm.exp2", [x.type.element])
    out = ir.Constant(x.type, ir.Undefined)
    for lane in range(x.type.count):
        at = ir.Constant(_INT, lane)
        value = builder.call(function, [builder.extract_element(x, at)])
        out = builder.insert_element(out, value, at)
    return out
