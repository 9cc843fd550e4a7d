"""The two halves of a SLIC iteration over packed cells: assign pixels, move centres.

A kernel takes a range of rows of cells and holds no lock, so ranges run side by side. What each
centre sums are whole numbers, scaled bands in fixed point: adding them is exact, so neither the
order of pixels nor the threads that share them can show. And so a sum is kept up to date by the
pixels that change their choice, instead of being made anew. The totals of a range have a row more
above and below: what its pixels add to centres there, for another range to take over.

Cells of which none of the nine centres moved are passed over, exactly.

The number of bands comes as the length of a tuple, a constant of its type: the loop over bands
unrolls and the loop over pixels becomes vector instructions. An empty tuple is the kernel for any
number of bands, which adds band after band into memory, in the same order, to the same bits.
`adaptive` is an empty tuple, or one of length 1 for a compactness that each centre finds itself.
"""

from __future__ import annotations

from numba import njit
from numpy import empty as room
from numpy import float32, float64, inf, int32, int64, isnan, uint8, uint64

from stcli.segmentation.cells import NONE, OPTIONS

#: First value of a centre that is not there: its distance is never the smallest.
_NOWHERE = float32(1e18)


@njit(**OPTIONS)
def start(pixels, place, unit, first, last, choice, totals):  # type: ignore[no-untyped-def]
    """Sum each cell's pixels, all given to their own cell.

    `totals` is int64 (row + 2, col, band + 3), its second row that of `first`: bands in units of
    ``1 / unit``, then rows and columns in the centre's own cell, then how many.
    """
    lanes, bands = choice.shape[2], totals.shape[2] - 3
    totals[:] = 0
    for row in range(first, last):
        at = row - first + 1
        for col in range(choice.shape[1]):
            cell = pixels[row, col]
            for band in range(bands):
                total = int64(0)
                for lane in range(lanes):
                    total += int64(float64(cell[band * lanes + lane]) * unit)
                totals[at, col, band] = total
            down, across, count = int64(0), int64(0), int64(0)
            for lane in range(lanes):
                valid = int64(choice[row, col, lane] != NONE)
                down += valid * int64(place[0, lane])
                across += valid * int64(place[1, lane])
                count += valid
            totals[at, col, bands] = down
            totals[at, col, bands + 1] = across
            totals[at, col, bands + 2] = count


@njit(**OPTIONS)
def move(totals, touched, unit, first, last, centres, moved):  # type: ignore[no-untyped-def]
    """Move centres to the mean of their pixels; a centre without pixels stays.

    `centres` is float32 (row, col, band + 2), the last two row and column in the centre's own
    cell, NaN for none yet; `moved` says which differ from before.
    """
    bands = totals.shape[2] - 3
    for row in range(first, last):
        for col in range(totals.shape[1]):
            at, moved[row, col] = row - first + 1, False
            count = float64(totals[at, col, bands + 2])
            if not touched[row, col] or count == 0.0:
                continue
            touched[row, col] = False
            for j in range(bands + 2):
                total = float64(totals[at, col, j]) / (unit if j < bands else 1.0)
                mean = float32(total / count)
                if mean != centres[row, col, j]:
                    centres[row, col, j] = mean
                    moved[row, col] = True


@njit(**OPTIONS)
def adapt(spread, least, first, last, factor, moved):  # type: ignore[no-untyped-def]
    """Weigh a centre's spectral distances by the largest among its pixels, `least` or more."""
    rows, cols = factor.shape
    for row in range(first, last):
        for col in range(cols):
            largest = least
            for k in range(9):
                r, c = row - (k // 3 - 1), col - (k % 3 - 1)
                if 0 <= r < rows and 0 <= c < cols:
                    largest = max(largest, spread[r, c, k])
            weight = float32(1.0) / largest
            if weight != factor[row, col]:
                factor[row, col] = weight
                moved[row, col] = True


@njit(**OPTIONS)
def _around(marks, row, col):  # type: ignore[no-untyped-def]
    """Tell whether any of the 3x3 cells around a cell is marked."""
    found = False
    for r in range(max(row - 1, 0), min(row + 2, marks.shape[0])):
        for c in range(max(col - 1, 0), min(col + 2, marks.shape[1])):
            found |= marks[r, c]
    return found


@njit(**OPTIONS)
def assign(  # type: ignore[no-untyped-def]
    bands, adaptive, pixels, place, numbers, first, last, choice, totals, centres, moved,
    touched, factor, spread,
):  # fmt: skip
    """Give each valid pixel to the nearest of the nine centres around its cell.

    On a tie the first in row order. `numbers` are the step, the weight of position and the unit;
    `touched` says which totals changed; `spread` is float32 (row, col, 9), the largest spectral
    distance to each centre, where adaptive.
    """
    step, weight, unit = numbers
    lanes, count = choice.shape[2], totals.shape[2] - 3
    near = room((9, count + 3), dtype=float32)
    best, which = room(lanes, dtype=float32), room(lanes, dtype=int32)
    differs = room(lanes, dtype=uint8)
    words = differs.view(uint64)
    spectral = room(0 if len(bands) else lanes, dtype=float32)
    far = room(lanes if len(adaptive) else 0, dtype=float32)
    for row in range(first, last):
        for col in range(choice.shape[1]):
            if not _around(moved, row, col):
                continue
            _gather(centres, factor, row, col, step, near)
            cell, own = pixels[row, col], choice[row, col]
            if len(bands):
                _nearest(bands, adaptive, cell, place, near, weight, best, which, far)
            else:
                _nearest_of_many(adaptive, cell, place, near, weight, spectral, best, which, far)
            _compare(own, which, differs)
            for word in range(words.size):
                if words[word] == 0:
                    continue
                for lane in range(8 * word, 8 * word + 8):
                    if differs[lane]:
                        old, new = int64(own[lane]), int64(which[lane])
                        own[lane] = new
                        at = row, row - first + 1, col
                        _carry(cell, place, lane, (old, new), at, step, unit, totals, touched)
            if len(adaptive):
                _spread(own, far, spread[row, col])


@njit(**OPTIONS)
def _gather(centres, factor, row, col, step, near):  # type: ignore[no-untyped-def]
    """Copy the nine centres around a cell, their places as offsets from that cell."""
    bands = centres.shape[2] - 2
    for k in range(9):
        r, c = row + k // 3 - 1, col + k % 3 - 1
        inside = 0 <= r < centres.shape[0] and 0 <= c < centres.shape[1]
        if not inside or isnan(centres[r, c, bands]):
            for j in range(bands + 2):
                near[k, j] = float32(0.0)
            near[k, 0] = _NOWHERE
            near[k, bands + 2] = float32(1.0)
            continue
        for j in range(bands):
            near[k, j] = centres[r, c, j]
        near[k, bands] = centres[r, c, bands] + float32((k // 3 - 1) * step)
        near[k, bands + 1] = centres[r, c, bands + 1] + float32((k % 3 - 1) * step)
        near[k, bands + 2] = factor[r, c] if factor.size else float32(1.0)


@njit(**OPTIONS)
def _nearest(  # type: ignore[no-untyped-def]
    bands, adaptive, cell, place, near, weight, best, which, far
):
    """Find the nearest of nine centres for the pixels of a cell."""
    lanes, count = best.size, len(bands)
    for lane in range(lanes):
        best[lane] = float32(inf)
    for k in range(9):
        number = int32(k)
        for lane in range(lanes):
            spectral = float32(0.0)
            for band in range(len(bands)):
                gap = cell[band * lanes + lane] - near[k, band]
                spectral += gap * gap
            y, x = place[0, lane] - near[k, count], place[1, lane] - near[k, count + 1]
            scaled = spectral * near[k, count + 2] if len(adaptive) else spectral
            distance = scaled + weight * (y * y + x * x)
            less = distance < best[lane]
            which[lane] = number if less else which[lane]
            best[lane] = distance if less else best[lane]
            if len(adaptive):
                far[lane] = spectral if less else far[lane]


@njit(**OPTIONS)
def _nearest_of_many(  # type: ignore[no-untyped-def]
    adaptive, cell, place, near, weight, spectral, best, which, far
):
    """As `_nearest`, for any number of bands, one after the other."""
    lanes, count = best.size, near.shape[1] - 3
    for lane in range(lanes):
        best[lane] = float32(inf)
    for k in range(9):
        number = int32(k)
        for lane in range(lanes):
            spectral[lane] = float32(0.0)
        for band in range(count):
            for lane in range(lanes):
                gap = cell[band * lanes + lane] - near[k, band]
                spectral[lane] += gap * gap
        for lane in range(lanes):
            y, x = place[0, lane] - near[k, count], place[1, lane] - near[k, count + 1]
            scaled = spectral[lane] * near[k, count + 2] if len(adaptive) else spectral[lane]
            distance = scaled + weight * (y * y + x * x)
            less = distance < best[lane]
            which[lane] = number if less else which[lane]
            best[lane] = distance if less else best[lane]
            if len(adaptive):
                far[lane] = spectral[lane] if less else far[lane]


@njit(**OPTIONS)
def _compare(choice, which, differs):  # type: ignore[no-untyped-def]
    """Mark the valid pixels whose choice is another one now."""
    for lane in range(choice.size):
        old = choice[lane]
        differs[lane] = (old != NONE) & (int32(old) != which[lane])


@njit(**OPTIONS)
def _carry(  # type: ignore[no-untyped-def]
    cell, place, lane, choices, at, step, unit, totals, touched
):
    """Carry a pixel from the total of one centre around its cell to that of another."""
    (old, new), (row, turn, col), lanes = choices, at, place.shape[1]
    bands = totals.shape[2] - 3
    up, left, down, right = old // 3 - 1, old % 3 - 1, new // 3 - 1, new % 3 - 1
    touched[row + up, col + left] = True
    touched[row + down, col + right] = True
    for band in range(bands):
        value = int64(float64(cell[band * lanes + lane]) * unit)
        totals[turn + up, col + left, band] -= value
        totals[turn + down, col + right, band] += value
    # offsets from the centre's own cell: the same in any block
    y, x = int64(place[0, lane]), int64(place[1, lane])
    totals[turn + up, col + left, bands] -= y - up * step
    totals[turn + down, col + right, bands] += y - down * step
    totals[turn + up, col + left, bands + 1] -= x - left * step
    totals[turn + down, col + right, bands + 1] += x - right * step
    totals[turn + up, col + left, bands + 2] -= 1
    totals[turn + down, col + right, bands + 2] += 1


@njit(**OPTIONS)
def _spread(choice, far, spread):  # type: ignore[no-untyped-def]
    """Find the largest spectral distance of a cell's pixels to each centre that they chose."""
    spread[:] = float32(0.0)
    for lane in range(choice.size):
        k = choice[lane]
        if k != NONE:
            spread[k] = max(spread[k], far[lane])
