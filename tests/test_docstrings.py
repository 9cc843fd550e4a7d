"""Public functions say what they take, give and raise: shapes of arrays, and errors.

The rule (docs/contributing.md): arrays that are taken stand in a section Parameters, those that
are returned in Returns; or the text has the shape of each, as ``(band, row, col)``; a function
that does what another does, or undoes it, may name that one instead. A function that raises an
error of stcli by itself names it.
"""

from __future__ import annotations

import ast
import re

import pytest
from errors_page import codes
from test_house import MODULES, public, relative

#: Annotations of arrays.
ARRAYS = re.compile(r"\b(NDArray|ArrayLike|Tensor|Plane|FloatArray|_Rgb)\b")
SHAPE = re.compile(r"\([^()]*[\w'’…·*](\([^()]*\))?[^()]*,[^()]*\)")
ELSEWHERE = re.compile(r"\b(see|as|of|undo|undoes|to that of|`\S+` has)\b[^.]*`", re.IGNORECASE)
ERRORS = set(codes())


def is_array(annotation):
    """Tell annotations of arrays, alone or in tuples, from others: of callables, of states."""
    if annotation is None:
        return False
    text = ast.unparse(annotation)
    return bool(ARRAYS.search(text)) and not re.search(r"Callable|dict\[str, Tensor\]", text)


def own(node):
    """Walk a function without the functions inside it."""
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, ast.FunctionDef | ast.Lambda):
            yield part
            yield from own(part)


def lacks(node):
    """List what the docstring of a function does not say."""
    doc = ast.get_docstring(node) or ""
    words = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    arrays = [word.arg for word in words if is_array(word.annotation)]
    told = bool(SHAPE.search(doc) or ELSEWHERE.search(doc))
    missing = []
    if arrays and "Parameters\n---" not in doc:
        enough = ELSEWHERE.search(doc) or len(SHAPE.findall(doc)) >= len(arrays)
        missing += [] if enough else [f"Parameters ({', '.join(arrays)})"]
    if is_array(node.returns) and not re.search(r"(Returns|Yields)\n---", doc) and not told:
        missing.append("Returns")
    raised = {
        ast.unparse(part.exc.func).split(".")[-1]
        for part in own(node)
        if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call)
    }
    missing += [f"Raises {name}" for name in sorted(raised & ERRORS) if name not in doc]
    return missing


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.parent.name not in ("cli", "stcli")], ids=relative
)
def test_public_functions_say_what_they_take_give_and_raise(path):
    functions = [(name, node) for name, node in public(path) if isinstance(node, ast.FunctionDef)]
    found = {f"line {node.lineno}: {name}": lacks(node) for name, node in functions}
    assert {name: missing for name, missing in found.items() if missing} == {}


def function(text):
    return ast.parse(text).body[0]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ('def f(a: NDArray, b: NDArray):\n    "Add (row, col) and others."', ["Parameters (a, b)"]),
        ('def f(a: Tensor) -> Tensor:\n    "Double."', ["Parameters (a)", "Returns"]),
        ('def f(a: Tensor) -> Tensor:\n    "Double (batch, length)."', []),
        ('def f(a: Tensor, b: Tensor):\n    "Undo `g`."', []),
        ('def f(a: int):\n    "Count."\n    raise InputError("x")', ["Raises InputError"]),
        ('def f(a: int):\n    "Count; raises `InputError`."\n    raise InputError("x")', []),
    ],
)
def test_the_rule_itself(text, missing):
    assert lacks(function(text)) == missing
