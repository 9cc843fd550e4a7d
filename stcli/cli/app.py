"""The ``stcli`` command: its verbs, and what an error becomes."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stcli import __version__
from stcli.cli import (
    assess,
    assess_downscaling,
    assess_segments,
    batch,
    check,
    classify,
    classify_patches,
    conserve,
    denoise,
    destripe,
    doctor,
    downscale,
    everywhere,
    info,
    merge,
    mnf,
    model,
    noise,
    objects,
    preview,
    rerun,
    sample_plan,
    segment,
    signals,
    train,
    unwhiten,
    whiten,
)
from stcli.cli.console import print_json
from stcli.cli.usage import usage
from stcli.errors import StcliError

_INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    help="Turn rasters larger than memory into maps, from a shell.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_VERBS = (
    *(info, segment, objects, assess_segments, classify, assess),
    *(downscale, conserve, noise, denoise, destripe, mnf, whiten, unwhiten),
    *(preview, merge, batch, rerun, doctor),
)
for verb in _VERBS:
    app.command()(verb.command)
app.command("sample-plan")(sample_plan.command)
app.command("classify-patches")(classify_patches.command)
app.command("assess-downscaling")(assess_downscaling.command)
app.add_typer(train.app, name="train")
app.add_typer(check.app, name="check")
app.add_typer(model.app, name="model")
everywhere.extend(app)


def _version(asked: bool) -> None:
    if asked:
        print(f"stcli {__version__}")
        raise typer.Exit


def _usage(context: typer.Context, asked: bool) -> None:
    if asked:
        print_json(usage(context.find_root().command))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    json_usage: Annotated[
        bool,
        typer.Option(
            "--json-usage",
            callback=_usage,
            is_eager=True,
            help="Describe every command and option as JSON.",
        ),
    ] = False,
) -> None:
    """Turn rasters larger than memory into maps, from a shell."""


def main(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str
        Without the program's name.
    """
    command: Any = typer.main.get_command(app)
    try:
        code = command.main(list(argv), "stcli", standalone_mode=False, obj=("stcli", *argv))
        if code == _INTERRUPTED:  # typer's own answer to an interrupt
            raise KeyboardInterrupt
        return int(code or 0)
    except StcliError as error:
        return _tell(str(error), error.exit_code, argv)
    except KeyboardInterrupt:
        return _tell("interrupted; no output was written.", signals.code(), argv)
    except SystemExit:  # typer's own answer to a reader that left; it has silenced stdout
        return 0
    except MemoryError:
        return _tell("memory ran out; give a smaller --memory or --tile-size.", 5, argv)
    except Exception as error:
        return _unexpected(error, argv)


def run() -> None:
    """Run the command line of this process."""
    signals.watch()
    code = main(sys.argv[1:])
    if code == signals.code():
        signals.leave(code)
    sys.exit(code)


def _unexpected(error: Exception, argv: Sequence[str]) -> int:
    """Tell wrong usage, which typer raises, from a bug."""
    show = getattr(error, "format_message", None)
    if show is not None:
        return _tell(str(show()), 2, argv)
    if type(error).__name__ == "Abort":
        return _tell("interrupted; no output was written.", signals.code(), argv)
    if isinstance(error, OSError) and error.errno in _FULL:
        place = error.filename or "a file of the program's own, such as its cache of kernels"
        return _tell(f"{place}: no space is left to write it; free some, then run again.", 4, argv)
    if {"-v", "--verbose"} & set(argv):
        traceback.print_exc()
    return _tell(f"a bug, {type(error).__name__}: {error} (-v shows where).", 1, argv)


def _tell(message: str, code: int, argv: Sequence[str]) -> int:
    if "--json" in argv:
        print_json({"error": {"message": message, "exit_code": code}}, sys.stderr)
    else:
        print(f"stcli: {message}", file=sys.stderr)
    return code
