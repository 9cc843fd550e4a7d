"""``stcli batch``."""

from __future__ import annotations

import json as js
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from stcli.cli import everywhere, options, parsing
from stcli.cli.batch_pool import Pool
from stcli.cli.console import Console, print_json
from stcli.errors import FilesError, UsageError


def command(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="VERB INPUT... [-- OPTIONS]",
            help="A command, files or quoted patterns, and after -- the command's own options.",
            show_default=False,
        ),
    ],
    folder: Annotated[Path, typer.Option("--out-dir", help="Folder of the outputs.")],
    name: Annotated[
        str,
        typer.Option(
            "--name",
            help="Name of an output. {stem} is the input's name without suffix, also after --.",
        ),
    ] = "{stem}.tif",
    skip_existing: options.SkipExisting = False,
    overwrite: options.Overwrite = False,
    files: Annotated[
        int, typer.Option("--files", help="Files worked on at once; they share -j.")
    ] = 1,
    settle: Annotated[
        float,
        typer.Option(
            "--settle", help="Seconds that an input must not have changed before it is taken."
        ),
    ] = 2.0,
    memory: options.Memory = None,
    jobs: options.Jobs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    progress: options.Progress = None,
) -> None:
    """Run a command over many files.

    Prints one line of JSON for each file; the exit code is 8 if any failed.

    Example: stcli batch segment 'in/*.tif' --out-dir out/ --skip-existing -- --size 50
    """
    from stcli.workflows.files.batch import Orders, batch, refuse_creation, share
    from stcli.workflows.job import Output

    verb, inputs, more = _split(words, context.obj)
    if skip_existing and overwrite:
        raise UsageError("--skip-existing and --overwrite: one of them is wanted.")
    orders = Orders(inputs, folder, name, skip_existing, settle, files)
    node = _node(verb)
    tiles, budget = share(files, jobs, memory)
    how = [*_ours(node, tiles, budget, overwrite), *more]
    given = _parsed(node, verb, how)
    pairs = parsing.parse_pairs(given.get("co"), "--co")
    refuse_creation(name, Output(creation_options=pairs, driver=given.get("of", "COG")))
    orders = replace(orders, beside=_beside(node, given))
    with Console(quiet, verbose, progress) as console, Pool(files) as pool:
        tally = batch(orders, _Runner(pool, [verb, *how]), _tell, console.progress)
    counts = ", ".join(f"{tally[state]} {state}" for state in ("done", "skipped", "left"))
    if tally["failed"]:
        raise FilesError(
            f"batch: {tally['failed']} of {tally.total()} files failed ({counts}); "
            "the lines of JSON name them, run again when they are repaired"
        )
    console.say(f"batch: {counts} of {tally.total()} files")


def _split(words: list[str], argv: tuple[str, ...]) -> tuple[str, tuple[str, ...], list[str]]:
    """Tell verb, inputs and what came after ``--`` apart."""
    after = len(argv) - argv.index("--") - 1 if "--" in argv else 0
    verb, *inputs = words[: len(words) - after]
    if not inputs:
        raise UsageError(f"batch {verb}: no INPUT found, files or a quoted pattern wanted.")
    return verb, tuple(inputs), words[len(words) - after :]


def _node(verb: str) -> Any:
    """Find the verb; it must read INPUT and write OUTPUT."""
    from stcli.cli.app import application  # which loads this module

    root: Any = typer.main.get_command(application())
    fitting = {
        name: node
        for name, node in root.commands.items()
        if any(param.metavar == "INPUT OUTPUT" for param in node.params)
    }
    if verb not in fitting:
        raise UsageError(f"batch: '{verb}' found, one of {', '.join(fitting)} wanted.")
    return fitting[verb]


def _ours(node: Any, tiles: int, budget: int, overwrite: bool) -> list[str]:
    """Options that every file gets before the user's, as far as the verb knows them."""
    known = {word for param in node.params for word in (*param.opts, *param.secondary_opts)}
    wanted = [("--json",), ("--no-progress",), ("--jobs", str(tiles)), ("--memory", str(budget))]
    wanted += [("--overwrite",)] if overwrite else []
    return [word for option in wanted if option[0] in known for word in option]


def _parsed(node: Any, verb: str, how: list[str]) -> dict[str, Any]:
    """Let the verb parse its options once: wrong usage is told before any work.

    Raises
    ------
    UsageError
        An option that makes no whole output of each file.
    """
    given: dict[str, Any] = node.make_context(verb, [*how, "--", "INPUT", "OUTPUT"]).params
    for name in ("dry_run", "shard"):
        if given.get(name):
            word = "--" + name.replace("_", "-")
            raise UsageError(f"batch: {word} found, which makes no whole outputs; leave it out.")
    return given


def _beside(node: Any, given: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Name the options that name outputs beside OUTPUT, and the names."""
    words = {param.name: param.opts[-1] for param in node.params}
    named = everywhere.written(node.callback)
    return tuple((words[name], given[name]) for name in named if given[name])


class _Runner:
    """Run the verb on a file in one of the pool's processes, with its stem in the options."""

    def __init__(self, pool: Pool, before: list[str]) -> None:
        self.pool, self.before = pool, before
        self.stop = pool.stop

    def __call__(self, source: str, target: str) -> Any:
        from stcli.workflows.files.batch import Answer, fill

        words = [fill(word, source) for word in self.before]
        answer = self.pool.run([*words, "--", source, target])
        lines = answer["err"].splitlines()
        if answer["code"]:
            return Answer(answer["code"], error=_message(lines))
        result = js.loads(answer["out"]) if answer["out"].strip() else None
        return Answer(0, result, " ".join(line for line in lines if "WARNING" in line))


def _message(lines: list[str]) -> str:
    last = lines[-1] if lines else "no reason was given"
    try:
        return str(js.loads(last)["error"]["message"])
    except ValueError:
        return last.removeprefix("stcli: ")


def _tell(record: Any) -> None:
    print_json({key: value for key, value in asdict(record).items() if value not in ("", None)})
