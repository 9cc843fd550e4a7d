"""Reports: one file that needs nothing else, with every text escaped and every figure readable."""

from __future__ import annotations

import base64
import doctest
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from stcli.errors import OutputError
from stcli.raster.pictures import page as pages
from stcli.raster.pictures.figures import (
    Axis,
    Line,
    draw_beside,
    draw_confusion,
    draw_lines,
    draw_reliability,
)
from stcli.raster.pictures.page import Page, Section, Swatch, figure, paragraph, table, write_page

EPOCHS = np.arange(1, 31)


def lines():
    losses = [Line("training", EPOCHS, 1 / EPOCHS), Line("held out", EPOCHS, 1.3 / EPOCHS + 0.1)]
    return draw_lines(losses, Axis("epoch"), Axis("loss"), mark=12)


def spectra():
    k = np.linspace(0.01, 0.5, 60)
    each = [Line(name, k, k**-slope) for name, slope in (("truth", 2), ("ibp", 3), ("net", 2.2))]
    return draw_lines(
        each, Axis("wavenumber [1/pixel]", log=True), Axis("power [K² pixel]", log=True)
    )


def confusion():
    names = ("water", "forest", "meadow", "built-up, dense", "a & b")
    counts = np.random.default_rng(1).integers(0, 4000, (5, 5)) + 30_000 * np.eye(5, dtype=int)
    return draw_confusion(counts, names)


def reliability():
    middle = (np.arange(10) + 0.5) / 10
    right = np.where(middle < 0.2, np.nan, middle**1.2)
    n = np.where(middle < 0.2, 0, 2 ** np.arange(10))
    return draw_reliability(middle, right, n, "expected calibration error 0.04")


def beside():
    truth = np.add.outer(np.sin(np.arange(60) / 5), np.cos(np.arange(80) / 7)) + 280
    truth[:8, :8] = np.nan
    coarse = truth[8:, 8:].reshape(13, 4, 18, 4).mean((1, 3))
    return draw_beside([coarse, truth, truth], ("coarse", "finer", "truth"), "temperature [K]")


FIGURES = (lines, spectra, confusion, reliability, beside)


def report():
    return Page(
        "Land cover <of> scene.tif",
        {"overall accuracy": 0.93456, "classes": 5, "model": "a&b"},
        (
            Section("Text", (paragraph("5 < 6 & 'so on'"),)),
            Section("Numbers", (table(("class", "F1"), [("<b>", 0.5), ("c", None)], "By class"),)),
            *(Section(draw.__name__, (figure(draw(), draw.__name__),)) for draw in FIGURES),
        ),
        "stcli 0.1.0",
    )


class Tags(HTMLParser):
    """Collect tags with their attributes; refuse those that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_report_needs_no_other_file_and_runs_no_script():
    text = report().html()
    tags = Tags(text)
    assert tags.open == []
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags.seen}
    named = [value for _, attrs in tags.seen for name, value in attrs.items() if name != "content"]
    assert not [v for v in named if v and re.search(r"^(?!data:).*(//|\.(css|js|png)$)", v)]
    assert "url(" not in text
    assert "@import" not in text
    assert len([tag for tag, _ in tags.seen if tag == "img"]) == len(FIGURES)


def test_texts_are_escaped_and_numbers_have_four_digits():
    text = report().html()
    assert "Land cover &lt;of&gt; scene.tif" in text
    assert "<p>5 &lt; 6 &amp; &#x27;so on&#x27;</p>" in text
    assert '<tr><td>&lt;b&gt;</td><td class="number">0.5</td></tr>' in text
    assert "<tr><td>c</td><td>–</td></tr>" in text
    assert "<th>model</th><td>a&amp;b</td>" in text
    assert ">0.9346<" in text


def test_a_table_has_a_cell_for_each_column():
    with pytest.raises(ValueError, match="zip"):
        table(("a", "b"), [(1,)])
    assert "<tbody>\n</tbody>" in table(("a", "b"), [])


def test_a_colour_is_shown_and_said():
    square = '<span class="swatch" style="background: #2f6fb5"></span>#2f6fb5'
    assert f"<td>{square}</td>" in table(("class", "colour"), [("water", Swatch("#2f6fb5"))])
    assert "&quot;" in table(("colour",), [(Swatch('"><b>'),)])


@pytest.mark.long
@pytest.mark.parametrize("draw", FIGURES)
def test_a_figure_is_a_png_the_same_each_time(draw):
    data = draw()
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.format == "PNG"
        assert min(shown.size) > 250
        assert len(np.unique(np.asarray(shown))) > 10  # not blank
    assert data == draw()
    assert base64.b64encode(data).decode() in figure(data, "x")


def test_nothing_known_is_drawn_all_the_same():
    empty = np.full((4, 5), np.nan)
    assert draw_beside([empty], ["none"], "K")
    assert draw_confusion(np.zeros((2, 2), int), ("a", "b"))
    assert draw_reliability([np.nan], [np.nan], [0])
    assert draw_lines([Line("one", [1], [0.5])], Axis("epoch"), Axis("loss"))


def test_a_report_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.html"
    write_page(str(path), report())
    assert path.read_text() == report().html()
    with pytest.raises(OutputError, match="exists already"):
        write_page(str(path), Page("other"))
    write_page(str(path), Page("other"), overwrite=True)
    assert "<h1>other</h1>" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_example_of_the_module_holds():
    assert doctest.testmod(pages).failed == 0
