"""Which of 16 places hold something, as bits of an int64, the first place the lowest.

For kernels that look for changes along a row: they come to what differs by counting zeros, and pass
over 64 places at once where nothing does. As `stcli.lanes`, made of LLVM's vectors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from stcli.llvm import WIDTH, place_of, read, spread

#: Places that the bits of an int64 tell of.
WORD = 64
_instruction: Any = intrinsic


@_instruction
def unequal(typing, left, position, right, place, but):  # type: ignore[no-untyped-def]
    """Tell in which of 16 places two arrays of uint8 differ, the left one's `but` passed over.

    They begin at a position of the left one and a place of the right one.
    """

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        bytes_ = ir.VectorType(ir.IntType(8), WIDTH)
        found = []
        for kind, array, at in ((left, *arguments[:2]), (right, *arguments[2:4])):
            data = context.make_array(kind)(context, builder, array).data
            place = builder.bitcast(builder.gep(data, [at]), bytes_.as_pointer())
            found.append(builder.load(place, align=1))
        passed = builder.icmp_unsigned("!=", found[0], spread(builder, arguments[4]))
        return _bits(builder, builder.and_(passed, builder.icmp_unsigned("!=", *found)))

    return types.int64(left, types.intp, right, types.intp, types.uint8), code


@_instruction
def differ(typing, array, position, other):  # type: ignore[no-untyped-def]
    """Tell in which of 16 places the numbers from one position are not those from another."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        here, there = (
            read(builder, array, place_of(context, builder, array, arguments[0], where))
            for where in arguments[1:]
        )
        return _bits(builder, builder.icmp_unsigned("!=", here, there))

    return types.int64(array, types.intp, types.intp), code


@_instruction
def there(typing, array, position):  # type: ignore[no-untyped-def]
    """Tell in which of 16 places, from a position, a whole number is not 0."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        numbers = read(builder, array, place_of(context, builder, array, *arguments))
        return _bits(builder, builder.icmp_unsigned("!=", numbers, ir.Constant(numbers.type, None)))

    return types.int64(array, types.intp), code


@_instruction
def count_bits(typing, bits):  # type: ignore[no-untyped-def]
    """Count the bits that are set of an int64."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), code


@_instruction
def lowest(typing, bits):  # type: ignore[no-untyped-def]
    """Return the place of the lowest bit that is set of an int64 other than 0."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


def _bits(builder: Any, flags: Any) -> Any:
    """Make bits of an int64 of the flags of 16 places."""
    return builder.zext(builder.bitcast(flags, ir.IntType(WIDTH)), ir.IntType(64))
