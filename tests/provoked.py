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
from collections import Counter
from functools import cache
from pathlib import Path

from errors_page import messages

TESTS = Path(__file__).parent
#: Own characters of a message that a string must hold, or all that the message has.
OWN = 14
#: Where strings are no evidence: the lists themselves.
SILENT = {"errors_page.py", "provoked.py", "test_messages.py"}
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


def score(text, template, least=0):
    """Count the template's own characters in a string that is a stretch of it; 0 for others.

    And 0 where they are fewer than `least`, which is known soon.
    """
    signs = list(template.replace(_GAP, "\0"))
    best = dict.fromkeys(range(len(signs) + 1), 0)  # place in the template: own characters so far
    for read, letter in enumerate(text, start=1):
        after = {}
        for k, own in best.items():
            if k < len(signs) and signs[k] == "\0":
                for place in (k, k + 1):
                    after[place] = max(after.get(place, -1), own)
            j = k + 1 if k < len(signs) and signs[k] == "\0" else k  # a gap may be empty
            if j < len(signs) and signs[j] == letter:
                after[j + 1] = max(after.get(j + 1, -1), own + 1)
        best = after
        if not best or max(best.values()) + len(text) - read < least:
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
    wanted = {template: min(OWN, len(template.replace(_GAP, ""))) for template in known}
    told, least = set(), min(wanted.values())
    for text in strings():
        near = Counter()
        for k in range(len(text) - 5):
            near.update(grams.get(text[k : k + 6], ()))
        top, scores = least, {}
        for template, _ in near.most_common():  # the likeliest first: others are soon behind it
            scores[template] = score(text, template, top)
            top = max(top, scores[template])
        for template, own in scores.items():
            if own == top >= wanted[template]:
                told.add(template)
    return [template for template in known if template not in told]


if __name__ == "__main__":
    print(*unprovoked(), sep="\n")
