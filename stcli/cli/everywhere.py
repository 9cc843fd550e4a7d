"""What every verb that reads INPUT and writes OUTPUT can do, added in one place."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import typer

from stcli.cli import options, parsing
from stcli.cli.console import Console, print_json
from stcli.errors import UsageError

_Command = Callable[..., Any]


def extend(app: typer.Typer) -> None:
    """Give ``--skip-existing`` to every command of an app that takes INPUT and OUTPUT."""
    for found in app.registered_commands:
        if found.callback is not None:
            found.callback = skipping(found.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            extend(group.typer_instance)


def skipping(command: _Command) -> _Command:
    """Wrap a command that writes: with ``--skip-existing`` outputs that all exist are left."""
    kinds = get_type_hints(command, include_extras=True)
    if kinds.get("paths") != options.Paths or "skip_existing" in kinds:
        return command
    kinds["skip_existing"] = options.SkipExisting
    signature = inspect.signature(command)

    @functools.wraps(command)
    def either(*args: Any, skip_existing: bool = False, **given: Any) -> Any:
        if skip_existing and _skipped(given, written(command)):
            return None
        return command(*args, **given)

    words = [p.replace(annotation=kinds[p.name]) for p in signature.parameters.values()]
    place = next((k for k, p in enumerate(words, 1) if p.name == "overwrite"), len(words))
    option = inspect.Parameter(
        "skip_existing",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=False,
        annotation=options.SkipExisting,
    )
    words.insert(place, option)
    either.__signature__ = signature.replace(parameters=words)  # type: ignore[attr-defined]
    either.__annotations__ = kinds
    return either


def written(command: _Command) -> tuple[str, ...]:
    """Name the parameters of a command whose values name outputs beside OUTPUT."""
    kinds = get_type_hints(command, include_extras=True)
    marks = {name: getattr(kind, "__metadata__", ()) for name, kind in kinds.items()}
    return tuple(name for name, found in marks.items() if options.WRITES in found)


def _skipped(given: dict[str, Any], beside: tuple[str, ...]) -> bool:
    from stcli.workflows.existing import all_there

    if given.get("overwrite"):
        raise UsageError("--skip-existing and --overwrite: one of them is wanted.")
    _, output = parsing.inputs_and_output(given["paths"])
    outputs = [output, *(given[name] for name in beside if given[name])]
    if not all_there(outputs, parsing.parse_shard(given.get("shard"), given.get("tile_size"))):
        return False
    with Console(given.get("quiet", False), given.get("verbose", False)) as console:
        console.say(f"{output}: exists already, skipped")
    if given.get("json"):
        print_json({"output": output, "skipped": True})
    return True
