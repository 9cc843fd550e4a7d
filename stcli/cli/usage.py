"""``stcli --json-usage``: every command and option, for programs that build command lines."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path
from typing import Any

from stcli import __version__
from stcli.errors import StcliError


def usage(root: Any) -> dict[str, Any]:
    """Describe a command line.

    Parameters
    ----------
    root : command
        With its commands and groups beneath.

    Returns
    -------
    dict
        ``commands``, a list in which each command has ``path`` (its words), ``help``,
        ``example``, ``arguments`` and ``options``; ``exit_codes``.
    """
    return {
        "program": "stcli",
        "version": __version__,
        "commands": [_command(path, node) for path, node in walk(root)],
        "exit_codes": exit_codes(),
    }


def walk(node: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """List every command that does something, with its words; groups are only walked through."""
    if not hasattr(node, "commands"):
        return [(path, node)]
    return [found for name, child in node.commands.items() for found in walk(child, (*path, name))]


def exit_codes() -> dict[str, str]:
    """Say what each exit code means, from the errors' own words."""
    codes = {"0": "done", "1": "a bug", "130": "interrupted"}
    for kind in StcliError.__subclasses__():
        text = (kind.__doc__ or "").splitlines()[0].split(" (exit")[0]
        known = codes.get(str(kind.exit_code))
        codes[str(kind.exit_code)] = f"{known}; {text}" if known else text
    return dict(sorted(codes.items(), key=lambda pair: int(pair[0])))


def _command(path: tuple[str, ...], node: Any) -> dict[str, Any]:
    text = inspect.cleandoc(node.help or "")
    summary, _, example = text.partition("Example: ")
    kinds: dict[str, list[dict[str, Any]]] = {"argument": [], "option": []}
    for param in node.params:
        kinds[param.param_type_name].append(_param(param))
    return {
        "path": list(path),
        "help": " ".join(summary.split()),
        "example": example.strip() or None,
        "arguments": kinds["argument"],
        "options": kinds["option"],
    }


def _param(param: Any) -> dict[str, Any]:
    option = param.param_type_name == "option"
    kind, choices = _kind(param.type_descriptor.annotation)
    return {
        "name": param.name,
        "words": [*param.opts, *param.secondary_opts] if option else [param.metavar or param.name],
        "help": param.help,
        "type": kind,
        "choices": choices,
        "metavar": param.metavar,
        "default": _plain(param.default),
        "required": bool(param.required),
        "repeated": bool(param.multiple if option else param.nargs == -1),
    }


def _kind(annotation: Any) -> tuple[str, list[str] | None]:
    """Name a type: what a value is, without the None and the list around it."""
    inside = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    if typing.get_origin(annotation) is typing.Literal:
        return "choice", [str(choice) for choice in inside]
    if inside:
        return _kind(inside[0])
    names = {int: "integer", float: "number", bool: "flag", str: "text", Path: "path"}
    return names.get(annotation, "text"), None


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
