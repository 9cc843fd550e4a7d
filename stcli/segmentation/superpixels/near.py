"""Which cells of a block can reach its core."""

from __future__ import annotations

from dataclasses import dataclass

from stcli.segmentation.superpixels.cells import Layout


@dataclass(frozen=True)
class Cells:
    """A rectangle of a block's cells."""

    rows: range
    cols: range

    def pixels(self, layout: Layout) -> tuple[slice, slice]:
        """Rows and columns of the block's pixels that lie in these cells."""
        rows, cols = (
            slice(max(span.start * layout.step - at, 0), min(span.stop * layout.step - at, size))
            for span, at, size in zip(
                (self.rows, self.cols), layout.corner, layout.shape, strict=True
            )
        )
        return rows, cols


def within(layout: Layout, core: tuple[slice, slice] | None, reach: int) -> Cells:
    """Cells that lie within `reach` cells of a core's."""
    if core is None:
        return Cells(range(layout.cells[0]), range(layout.cells[1]))
    rows, cols = (
        range(
            max((at + part.start) // layout.step - reach, 0),
            min((at + part.stop - 1) // layout.step + 1 + reach, count),
        )
        for part, at, count in zip(core, layout.corner, layout.cells, strict=True)
    )
    return Cells(rows, cols)
