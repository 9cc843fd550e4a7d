"""Which refusals of docs/errors.md a test insists on, found in the source of the tests.

A test that provokes a message looks for its words, as ``match=…`` or in what stood on stderr, and
fails when it did not come. So a message counts as provoked when a string of a test fits it: the
string is a stretch of the message, ``{…}`` standing for anything, and enough of it are the
message's own words. A string counts for the messages it fits best.

Run ``python tests/provoked.py`` for a list of those without a test.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from errors_page import messages

TESTS = Path(__file__).parent
#: Own characters of a message that a string must hold, or all that the message has.
OWN = 14
#: Where strings are no evidence: the lists themselves.
SILENT = {"errors_page.py", "provoked.py", "test_messages.py"}
#: Messages that still wait for a test; the list only becomes shorter.
WAITING = frozenset(
    {
        "--bands-noise drop: every band is mostly noise; use weight or none.",
        "--best-date: wants --fuse score; a series has no best date.",
        "--class-names: '{…}' found, {…}",
        "--dates, --season, --mask-band: are for a stack of dates; give --fuse score "
        "with a model of one date, as {…} is.",
        "--mask-band and --clear belong together: one of them is missing.",
        "--season: '{…}' found, a date such as 2018-09-01 wanted.",
        "--tau: {…} found, 0.01 to 1000000 wanted.",
        "a method '{…}' found, {…} or network wanted.",
        "patches: {…} class found in a training part, at least two are wanted; label more groups.",
        "patches: {…} {…} found, at least two are wanted for the folds.",
        "{…}: .csv, .json or .tif wanted, or - for CSV on stdout.",
        "{…}: a model {…}.",
        "{…}: a raster found; --patch says how many pixels a patch is wide.",
        "{…}: column {…} holds no numbers ({…})",
        "{…}: dates {…} to {…}: {…}, a third is wanted; give more dates, or --season",
        "{…}: no column {…} found among {…}, one is wanted",
        "{…}: no row found, labelled series are wanted",
        "{…}: no row found, one for each patch is wanted.",
        "{…}: no two valid pixels beside each other found.",
        "{…}: no variable {…} among {…}; --mask-band names one",
        "{…}: patches of {…} px and {…} bands ({…}), the model {…} wants {…} px and {…} ({…}).",
        "{…}: rows without a date found, each wants one",
        "{…}: samples without longitude or latitude found",
        "{…}: the columns {…} found, '{…}' wanted.",
        "{…}: times in '{…}' are no dates ({…})",
        "{…}: variables {…}; the model wants {…}, of which {…} is not there; name the bands so.",
        "{…}: {…} classes found ({…}), 2 to 255 wanted.",
        "{…}: {…} classes in {…} blocks found, at least two of each are wanted; choose a "
        "smaller --block",
        "{…}: {…} has {…} rows, {…} columns and the bands {…}; {…} rows and columns and "
        "{…} wanted, as the first raster has.",
        "{…}: {…} holds no dates ({…})",
        "{…}: {…} samples have a date twice, each once is wanted; a column id tells "
        "samples of one place apart",
        "{…}: {…} samples without a label found",
    }
)
_GAP = "{…}"


@cache
def templates():
    """Find every message, without its module."""
    return sorted({text for entries in messages().values() for text, _ in entries})


@cache
def strings():
    """Collect the strings of the tests, cut where they leave something open."""
    found = set()
    for path in sorted(TESTS.rglob("*.py")):
        if path.name not in SILENT:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            documented = ast.Module | ast.ClassDef | ast.FunctionDef
            docs = {
                ast.get_docstring(n, False) for n in ast.walk(tree) if isinstance(n, documented)
            }
            texts = {
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            for text in texts - docs:
                found |= set(re.split(r"\.\*|\.\+|\\d\+|\\S\+|[|\n]", text))
    return {" ".join(re.sub(r"\\(.)", r"\1", text).split()) for text in found if len(text) >= 8}


def score(text, template):
    """Count the template's own characters in a string that is a stretch of it; 0 for others."""
    signs = list(template.replace(_GAP, "\0"))
    best = dict.fromkeys(range(len(signs) + 1), 0)  # place in the template: own characters so far
    for letter in text:
        after = {}
        for k, own in best.items():
            if k < len(signs) and signs[k] == "\0":
                for place in (k, k + 1):
                    after[place] = max(after.get(place, -1), own)
            j = k + 1 if k < len(signs) and signs[k] == "\0" else k  # a gap may be empty
            if j < len(signs) and signs[j] == letter:
                after[j + 1] = max(after.get(j + 1, -1), own + 1)
        best = after
        if not best:
            return 0
    return max(best.values())


def unprovoked():
    """List the messages that no test looks for."""
    grams = {}
    known = templates()
    for template in known:
        for piece in template.split(_GAP):
            for k in range(max(1, len(piece) - 5)):
                grams.setdefault(piece[k : k + 6], set()).add(template)
    told = set()
    for text in strings():
        near = set().union(*(grams.get(text[k : k + 6], ()) for k in range(len(text) - 5)))
        scores = {template: score(text, template) for template in near}
        top = max(scores.values(), default=0)
        for template, own in scores.items():
            if own == top >= min(OWN, len(template.replace(_GAP, ""))):
                told.add(template)
    return [template for template in known if template not in told]


if __name__ == "__main__":
    print(*unprovoked(), sep="\n")
