"""Every message that stcli can refuse with, found in its source: the text of docs/errors.md.

Run ``python tests/errors_page.py > docs/errors.md`` after a message has changed.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "stcli"

HEAD = """# Errors

Look up an error message here. Each is one sentence on stderr: the path, what was found, what was \
wanted, what to do; with `--json` it is the `message` of an object (see [json.md](json.md)). The \
page lists every message by exit code; `{…}` stands for what changes. `tests/errors_page.py` \
writes it from the source, and a test compares the two.

Whatever is not on this page and ends with exit code 1 is a bug: run it again with `-v` and report \
the traceback. For an option that does not exist or a missing argument, the command-line library \
prints a message of its own, with exit code 2.
"""

MEANING = {
    2: "wrong usage",
    3: "an input cannot be read or used",
    4: "an output exists or cannot be written",
    5: "does not fit the memory budget or the device",
    6: "the model does not fit the data, or is damaged",
    7: "a check failed",
    8: "some tiles or files failed",
}


def codes():
    """Exit code of each class of errors, by its name."""
    found = {}
    for node in ast.parse((PACKAGE / "errors.py").read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name != "StcliError":
            values = [n.value.value for n in node.body if isinstance(n, ast.Assign)]
            found[node.name] = values[0]
    return found


def text_of(node):
    """Text of a string expression, with {…} for what changes; None for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else "{…}" for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [text_of(side) for side in (node.left, node.right)]
        return "".join("{…}" if side is None else side for side in sides)
    if isinstance(node, ast.IfExp):
        return "{…}"
    return None


def messages():
    """All messages with their exit code and module, in order."""
    kinds = codes()
    found = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = ast.unparse(node.func).split(".")[-1]
            if name in kinds and not module.endswith("/checking.py"):
                text = text_of(node.args[0])
                code = kinds[name]
            elif name == "check" and len(node.args) == 4:
                option, wanted = (text_of(node.args[k]) or "{…}" for k in (1, 3))
                text, code = f"{option}: found {{…}}, wanted {wanted}.", 2
            elif name == "_tell" and module.endswith("app.py"):
                text = text_of(node.args[0])
                code = node.args[1].value if isinstance(node.args[1], ast.Constant) else 130
            else:
                continue
            if text and re.sub(r"\{…\}|\W", "", text):
                found[code].add((" ".join(text.split()), module))
    return found


def page():
    """Text of docs/errors.md."""
    lines = [HEAD]
    for code, entries in sorted(messages().items()):
        title = MEANING.get(code, "a bug" if code == 1 else "interrupted")
        lines += [f"## Exit code {code}: {title}", ""]
        lines += [f"- `{text}` ({module})" for text, module in sorted(entries)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
