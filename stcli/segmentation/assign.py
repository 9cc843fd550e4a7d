"""The two halves of a SLIC iteration over packed cells: assign pixels, move centres.

A kernel takes a range of rows of cells and holds no lock, so ranges run side by side. What each
centre sums are whole numbers, scaled bands in fixed point: adding them is exact, so neither the
order of pixels nor the threads that share them can show. And so a sum is kept up to date by the
pixels that change their choice, instead of being made anew. The totals of a range have a row more
above and below: what its pixels add to centres there, for another range to take over.

Cells of which none of the nine centres moved are passed over, exactly.

Distances are counted for five centres and then for four, sixteen pixels in the lanes of vectors:
each sum over bands is a chain of dependent additions, and it takes as many chains side by side to
keep a processor busy. `adaptive` is an empty tuple, or one of length 1 for a compactness that each
centre finds itself.
"""

from __future__ import annotations

from numba import njit
from numpy import empty as room
from numpy import float32, float64, inf, int64, isnan, uint8, uint64

from stcli.lanes import WIDTH, load, smaller, splat, store, store_bytes
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
                down += valid * int64(place[lane])
                across += valid * int64(place[lanes + lane])
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
    adaptive, pixels, place, numbers, first, last, choice, totals, centres, moved, touched,
    factor, spread,
):  # fmt: skip
    """Give each valid pixel to the nearest of the nine centres around its cell.

    On a tie the first in row order. `numbers` are the step, the weight of position and the unit;
    `touched` says which totals changed; `spread` is float32 (row, col, 9), the largest spectral
    distance to each centre, where adaptive.
    """
    step, weight, unit = numbers
    cols, lanes, bands = choice.shape[1], choice.shape[2], totals.shape[2] - 3
    own, near = room(bands + 2, dtype=float32), room((9, bands + 5), dtype=float32)
    local = room((bands + 2) * WIDTH, dtype=float32)
    which, differs = room(lanes, dtype=uint8), room(lanes, dtype=uint8)
    changed = room(lanes, dtype=int64)
    far = room(lanes if len(adaptive) else 0, dtype=float32)
    away, sums, marks = _away(cols, step), totals.ravel(), touched.ravel()
    for row in range(first, last):
        for col in range(cols):
            if isnan(centres[row, col, bands]) or not _around(moved, row, col):
                continue
            _gather(adaptive, centres, factor, row, col, (step, weight), own, near)
            cell, chosen = pixels[row, col], choice[row, col]
            _nearest(adaptive, cell, place, own, near, local, which, far)
            many = _differing(chosen, which, differs, changed)
            if many:
                at = row * cols + col, (first - 1) * cols
                _carry(cell, place, changed[:many], (chosen, which), unit, at, away, sums, marks)
            if len(adaptive):
                _spread(chosen, far, spread[row, col])


@njit(**OPTIONS)
def _away(cols, step):  # type: ignore[no-untyped-def]
    """Cells, rows and columns of pixels from a cell to each of the nine around it."""
    away = room((9, 3), dtype=int64)
    for k in range(9):
        down, across = k // 3 - 1, k % 3 - 1
        away[k, 0], away[k, 1], away[k, 2] = down * cols + across, down * step, across * step
    return away


@njit(**OPTIONS)
def _gather(  # type: ignore[no-untyped-def]
    adaptive, centres, factor, row, col, numbers, own, near
):
    """Put down what the distances to the nine centres around a cell are made of.

    With g the gap from the cell's own centre to another, a row of `near` is -2 g of each band and
    of row and column, these two times the weight of position; then the squares of g, spectral and
    positional; then the centre's factor. Where not adaptive all squares are in the first.
    """
    step, weight = numbers
    bands = centres.shape[2] - 2
    for j in range(bands + 2):
        own[j] = centres[row, col, j]
    for k in range(9):
        r, c = row + k // 3 - 1, col + k % 3 - 1
        inside = 0 <= r < centres.shape[0] and 0 <= c < centres.shape[1]
        if not inside or isnan(centres[r, c, bands]):
            for j in range(bands + 5):
                near[k, j] = float32(0.0)
            near[k, bands + 2 + len(adaptive)] = _NOWHERE
            continue
        spectral, position = float32(0.0), float32(0.0)
        for j in range(bands):
            gap = centres[r, c, j] - own[j]
            near[k, j] = float32(-2.0) * gap
            spectral += gap * gap
        for axis, away in enumerate((k // 3 - 1, k % 3 - 1)):
            gap = centres[r, c, bands + axis] + float32(away * step) - own[bands + axis]
            near[k, bands + axis] = float32(-2.0) * gap * weight
            position += gap * gap
        near[k, bands + 2] = spectral
        near[k, bands + 3] = position * weight
        if len(adaptive):
            near[k, bands + 4] = factor[r, c]
        else:
            near[k, bands + 2] += near[k, bands + 3]


@njit(**OPTIONS)
def _nearest(  # type: ignore[no-untyped-def]
    adaptive, cell, place, own, near, local, which, far
):
    """Find the nearest of nine centres for the pixels of a cell, sixteen at a time.

    With x a pixel and g a centre, both less the cell's own centre, |x - g|² = |x|² - 2 x·g + |g|².
    The first part is the same for all nine and left out, where not adaptive.
    """
    lanes, bands = which.size, near.shape[1] - 5
    for lane in range(0, lanes, WIDTH):
        square = splat(float32(0.0))
        for band in range(bands):
            x = load(cell, band * lanes + lane) - own[band]
            store(local, band * WIDTH, x)
            square = square + x * x
        for axis in range(2):
            x = load(place, axis * lanes + lane) - own[bands + axis]
            store(local, (bands + axis) * WIDTH, x)
        best, chosen, widest = splat(float32(inf)), splat(float32(0.0)), square
        a, b, c, d, e = _five(adaptive, local, near, square)
        best, chosen, widest = _closer(adaptive, a, float32(0), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, b, float32(1), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, c, float32(2), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, d, float32(3), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, e, float32(4), best, chosen, widest)
        a, b, c, d = _four(adaptive, local, near, square)
        best, chosen, widest = _closer(adaptive, a, float32(5), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, b, float32(6), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, c, float32(7), best, chosen, widest)
        best, chosen, widest = _closer(adaptive, d, float32(8), best, chosen, widest)
        store_bytes(which, lane, chosen)
        if len(adaptive):
            store(far, lane, widest)


@njit(inline="always", **OPTIONS)
def _five(adaptive, local, near, square):  # type: ignore[no-untyped-def]
    """Distances of sixteen pixels from the first five centres, and their spectral parts."""
    bands = near.shape[1] - 5
    at = bands + 2
    a, b, c = splat(near[0, at]), splat(near[1, at]), splat(near[2, at])
    d, e = splat(near[3, at]), splat(near[4, at])
    for j in range(bands if len(adaptive) else at):
        x = load(local, j * WIDTH)
        a, b, c = a + x * near[0, j], b + x * near[1, j], c + x * near[2, j]
        d, e = d + x * near[3, j], e + x * near[4, j]
    p, q, r, s, t = a, b, c, d, e
    if len(adaptive):
        x, y = load(local, bands * WIDTH), load(local, (bands + 1) * WIDTH)
        p, q, r = _part(a, square), _part(b, square), _part(c, square)
        s, t = _part(d, square), _part(e, square)
        a, b, c = _whole(p, x, y, near[0]), _whole(q, x, y, near[1]), _whole(r, x, y, near[2])
        d, e = _whole(s, x, y, near[3]), _whole(t, x, y, near[4])
    return (a, p), (b, q), (c, r), (d, s), (e, t)


@njit(inline="always", **OPTIONS)
def _four(adaptive, local, near, square):  # type: ignore[no-untyped-def]
    """As `_five`, from the last four centres."""
    bands = near.shape[1] - 5
    at = bands + 2
    a, b, c, d = splat(near[5, at]), splat(near[6, at]), splat(near[7, at]), splat(near[8, at])
    for j in range(bands if len(adaptive) else at):
        x = load(local, j * WIDTH)
        a, b = a + x * near[5, j], b + x * near[6, j]
        c, d = c + x * near[7, j], d + x * near[8, j]
    p, q, r, s = a, b, c, d
    if len(adaptive):
        x, y = load(local, bands * WIDTH), load(local, (bands + 1) * WIDTH)
        p, q, r, s = _part(a, square), _part(b, square), _part(c, square), _part(d, square)
        a, b = _whole(p, x, y, near[5]), _whole(q, x, y, near[6])
        c, d = _whole(r, x, y, near[7]), _whole(s, x, y, near[8])
    return (a, p), (b, q), (c, r), (d, s)


@njit(inline="always", **OPTIONS)
def _whole(spectral, row, col, near):  # type: ignore[no-untyped-def]
    """Weigh a spectral part and add the position's."""
    return spectral * near[-1] + near[-2] + row * near[-5] + col * near[-4]


@njit(inline="always", **OPTIONS)
def _closer(adaptive, found, number, best, chosen, widest):  # type: ignore[no-untyped-def]
    """Take another centre where it is nearer than the best so far."""
    distance, spectral = found
    chosen = smaller(distance, best, splat(number), chosen)
    if len(adaptive):
        widest = smaller(distance, best, spectral, widest)
    return smaller(distance, best, distance, best), chosen, widest


@njit(inline="always", **OPTIONS)
def _part(spectral, square):  # type: ignore[no-untyped-def]
    """Complete a spectral distance; rounding alone takes it below 0."""
    whole, nothing = spectral + square, splat(float32(0.0))
    return smaller(whole, nothing, nothing, whole)


@njit(**OPTIONS)
def _differing(choice, which, differs, changed):  # type: ignore[no-untyped-def]
    """List the valid pixels whose choice is another one now; return how many."""
    for lane in range(choice.size):
        differs[lane] = (choice[lane] != NONE) & (choice[lane] != which[lane])
    words, many = differs.view(uint64), 0
    for word in range(words.size):
        if words[word]:
            for lane in range(8 * word, 8 * word + 8):
                changed[many] = lane
                many += differs[lane]
    return many


@njit(**OPTIONS)
def _carry(  # type: ignore[no-untyped-def]
    cell, place, changed, choices, unit, at, away, sums, marks
):
    """Carry pixels from the totals of the centres that they leave to those of others.

    `sums` are the totals in one line, `marks` which centres' totals changed; `at` is the cell, and
    the one of which the first total is.
    """
    (chosen, which), (here, origin) = choices, at
    lanes = chosen.size
    bands = cell.size // lanes
    size = bands + 3
    for i in range(changed.size):
        lane = changed[i]
        old, new = int64(chosen[lane]), int64(which[lane])
        chosen[lane] = which[lane]
        left, joined = here + away[old, 0], here + away[new, 0]
        marks[left] = marks[joined] = True
        left, joined = (left - origin) * size, (joined - origin) * size
        for band in range(bands):
            value = int64(float64(cell[band * lanes + lane]) * unit)
            sums[left + band] -= value
            sums[joined + band] += value
        # offsets from the centre's own cell: the same in any block
        y, x = int64(place[lane]), int64(place[lanes + lane])
        sums[left + bands] -= y - away[old, 1]
        sums[joined + bands] += y - away[new, 1]
        sums[left + bands + 1] -= x - away[old, 2]
        sums[joined + bands + 1] += x - away[new, 2]
        sums[left + bands + 2] -= 1
        sums[joined + bands + 2] += 1


@njit(**OPTIONS)
def _spread(choice, far, spread):  # type: ignore[no-untyped-def]
    """Find the largest spectral distance of a cell's pixels to each centre that they chose."""
    spread[:] = float32(0.0)
    for lane in range(choice.size):
        k = choice[lane]
        if k != NONE:
            spread[k] = max(spread[k], far[lane])
