"""Reports: one HTML file that needs nothing else, no script, no font, no address.

Parts are made by `paragraph`, `table` and `figure`, which escape every text they are given; a
`Page` puts them under headings. Figures come as PNG, from `figures` or from the drawing of a
preview.

>>> from stcli.raster.pictures.figures import Axis, Line, draw_lines
>>> losses = Line("training", [1, 2, 3], [1.2, 0.8, 0.7])
>>> page = Page(
...     "Land cover from scene.tif",
...     {"overall accuracy": "0.93", "classes": "7"},
...     (
...         Section("How it learned", (
...             paragraph("The epoch marked was kept."),
...             figure(draw_lines([losses], Axis("epoch"), Axis("loss"), mark=2), "Loss by epoch"),
...         )),
...         Section("Classes", (table(("class", "F1"), [("water", 0.98), ("forest", 0.91)]),)),
...     ),
... )
>>> page.html().startswith("<!DOCTYPE html>")
True

`write_page` writes it.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NewType

from stcli.raster.writing.draft import write_whole

#: HTML that is safe to put on a page.
Part = NewType("Part", str)

#: What is shown of a number: enough to compare, not more than was measured.
_DIGITS = 4
_STYLE = """
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1e1e1e; background: #fff;
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid #e4e4e4;
  overflow-wrap: anywhere; vertical-align: top; }
td.number, th.number { text-align: right; }
th + td.number { text-align: left; }
.scroll { overflow-x: auto; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .9rem; }
.swatch { display: inline-block; width: 1.1em; height: 1.1em; margin-right: .5em;
  vertical-align: text-bottom; border: 1px solid #777; print-color-adjust: exact; }
footer { margin-top: 3rem; color: #777; font-size: .85rem; }
@media print { body { margin: 0; } h2, figure { break-inside: avoid; } }
"""


class Swatch(str):
    """A colour as ``#rrggbb``: a table shows it as a filled square before its text."""


@dataclass(frozen=True)
class Section:
    """Parts under a heading."""

    heading: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes
    ----------
    title : str
    summary : mapping of str to str, int or float
        Key figures, shown first.
    sections : tuple of Section
    foot : str
        What made it: version and command.
    """

    title: str
    summary: Mapping[str, object] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    foot: str = ""

    def html(self) -> str:
        """Make the whole file; the same page gives the same text."""
        rows = "".join(_row((name, value), "th") for name, value in self.summary.items())
        summary = f"<table>\n{rows}</table>\n" if rows else ""
        title = html.escape(self.title)
        sections = "".join(
            f"<section>\n<h2>{html.escape(section.heading)}</h2>\n{''.join(section.parts)}"
            "</section>\n"
            for section in self.sections
        )
        foot = f"<footer>{html.escape(self.foot)}</footer>\n" if self.foot else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
            f"<body>\n<h1>{title}</h1>\n{summary}{sections}{foot}</body>\n</html>\n"
        )


def paragraph(text: str) -> Part:
    """Make a paragraph of plain text."""
    return Part(f"<p>{html.escape(text)}</p>\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> Part:
    """Make a table; numbers stand to the right, floats with four digits, None as a dash.

    Parameters
    ----------
    head : sequence of str
        Names of the columns, with units.
    rows : iterable of sequences
        As many cells each as the head has.
    caption : str
    """
    body = [tuple(row) for row in rows]
    columns = zip(head, *body, strict=True)
    numbers = [any(_number(cell) for cell in column[1:]) for column in columns]
    names = "".join(
        f"<th{_KIND[right]}>{html.escape(name)}</th>"
        for name, right in zip(head, numbers, strict=True)
    )
    above = f"<caption>{html.escape(caption)}</caption>\n" if caption else ""
    lines = "".join(_row(row, "td") for row in body)
    return Part(
        f'<div class="scroll"><table>\n{above}<thead><tr>{names}</tr></thead>\n'
        f"<tbody>\n{lines}</tbody>\n</table></div>\n"
    )


def figure(png: bytes, caption: str) -> Part:
    """Put a picture on the page, inside the file.

    Parameters
    ----------
    png : bytes
        A whole PNG file.
    caption : str
        What it shows; also read out where pictures are not seen.
    """
    data = base64.b64encode(png).decode("ascii")
    words = html.escape(caption)
    return Part(
        f'<figure>\n<img alt="{words}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{words}</figcaption>\n</figure>\n"
    )


def write_page(path: str, page: Page, overwrite: bool = False) -> None:
    """Write a report, whole or not at all, or to stdout for ``-``.

    Raises
    ------
    OutputError
    """
    write_whole(path, page.html().encode(), overwrite)


_KIND = {True: ' class="number"', False: ""}


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _row(cells: Sequence[object], first: str) -> str:
    each = []
    for k, cell in enumerate(cells):
        tag = first if k == 0 else "td"
        each.append(
            f"<{tag}{_KIND[_number(cell)]}>{_square(cell)}{html.escape(_text(cell))}</{tag}>"
        )
    return f"<tr>{''.join(each)}</tr>\n"


def _square(cell: object) -> str:
    """Draw a swatch's colour; nothing for what is no swatch."""
    if not isinstance(cell, Swatch):
        return ""
    return f'<span class="swatch" style="background: {html.escape(cell)}"></span>'


def _text(value: object) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else str(value)
