"""The ``stcli`` command: its verbs, and what an error becomes."""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import re
import resource
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from stcli import __version__
from stcli.cli import everywhere, signals, streams
from stcli.cli.console import print_json
from stcli.cli.usage import usage
from stcli.errors import OutputError, StcliError

_INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MANY = (errno.EMFILE, errno.ENFILE)
#: Words of tempfile and of matplotlib where no folder for temporary files can be written.
_TEMPORARY = "temporary directory"
#: Letters of a text that are told.
_SHORT = 80

#: Words of the command line, in the order of the help; each is a module, ``-`` being ``_``, of
#: which only the one that is called is loaded.
VERBS = (
    *("info", "preview", "segment", "objects", "assess-segments"),
    *("classify", "classify-patches", "sample-plan", "assess"),
    *("downscale", "conserve", "assess-downscaling"),
    *("noise", "denoise", "destripe", "mnf", "whiten", "unwhiten"),
    *("merge", "batch", "rerun", "doctor"),
)
GROUPS = ("train", "model", "check")


@cache
def application(*words: str) -> typer.Typer:
    """Make the application of some verbs and groups; of all where none is named."""
    app = typer.Typer(
        help="Turn rasters larger than memory into maps, from a shell.",
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "color": False},
    )
    app.callback()(_options)
    for word in words or (*VERBS, *GROUPS):
        module = importlib.import_module(f"stcli.cli.{word.replace('-', '_')}")
        if word in GROUPS:
            app.add_typer(module.app, name=word)
        else:
            app.command(word)(module.command)
    everywhere.extend(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        print(f"stcli {__version__}")
        raise typer.Exit


def _usage(context: typer.Context, asked: bool) -> None:
    if asked:
        print_json(usage(context.find_root().command))
        raise typer.Exit


def _options(
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
    command: Any = typer.main.get_command(application(*_called(argv)))
    try:
        if _told_help(command, argv):
            return 0
        _begin()
        _stand_somewhere()
        code = command.main(list(argv), "stcli", standalone_mode=False, obj=("stcli", *argv))
        sys.stdout.flush()  # a result that cannot be written is no success
        if code == _INTERRUPTED:  # typer's own answer to an interrupt
            raise KeyboardInterrupt
        return int(code or 0)
    except StcliError as error:
        return _tell(str(error), error.exit_code, argv)
    except KeyboardInterrupt:
        return _tell(f"interrupted; {signals.written()}.", signals.code(), argv)
    except (BrokenPipeError, SystemExit) as error:
        return _broken(error, argv)
    except MemoryError:
        return _tell("memory ran out; give a smaller --memory or --tile-size.", 5, argv)
    except Exception as error:
        return _unexpected(error, argv)


def _begin() -> None:
    """Forget what another command of this process wrote."""
    from stcli.workflows import remains

    remains.begin()


def _stand_somewhere() -> None:
    """Refuse to work where the working directory is gone: libraries end the process there."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise OutputError(
            "the working directory is gone, one that exists is wanted; go to another"
        ) from error


def _called(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the verb or group that a command line begins with; nothing where all are wanted."""
    completing = "_STCLI_COMPLETE" in os.environ
    known = bool(argv) and argv[0] in (*VERBS, *GROUPS) and not completing
    return (argv[0],) if known else ()


def _told_help(command: Any, argv: Sequence[str]) -> bool:
    """Print the help of a command that is asked for nothing else.

    To parse a line, typer loads pydantic, which takes longer than all the rest of a help.
    """
    if not argv or argv[-1] not in ("-h", "--help"):
        return False
    context = command.context_class(command, info_name="stcli", **command.context_settings)
    for word in argv[:-1]:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return False
        context = command.context_class(
            command, info_name=word, parent=context, **command.context_settings
        )
    print(command.get_help(context), flush=True)
    return True


def run() -> None:
    """Run the command line of this process."""
    streams.secure()
    signals.watch()
    _allow_files()
    _share_processors()
    code = main(sys.argv[1:])
    streams.settle()
    if code == signals.code():
        signals.leave(code)
    gc.freeze()  # the interpreter's end would search all that was imported for cycles
    sys.exit(code)


def _allow_files() -> None:
    """Let as many files be open as the machine grants: a stack of dates opens each of its files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _share_processors() -> None:
    """Let torch's threads sleep soon while they wait for each other, unless the user says how.

    By itself GNU's OpenMP spins for milliseconds at each step of a training; beside other programs
    that is the time in which the thread that all wait for could run.

    Half a millisecond costs a training with the machine to itself nothing; a twentieth of it, which
    libgomp takes where it knows of more threads than processors, costs up to a tenth.

    Source: libgomp's manual, ``OMP_WAIT_POLICY`` and ``GOMP_SPINCOUNT``. It reads them as torch is
    loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _broken(error: BaseException, argv: Sequence[str]) -> int:
    """Tell a reader of stdout that left, which is no error, from another pipe that broke.

    Typer exits where any did.
    """
    told = error.__context__ if isinstance(error, SystemExit) else error
    if isinstance(told, BrokenPipeError) and told.filename == streams.STDOUT:
        return 0
    return _unexpected(told if isinstance(told, Exception) else error, argv)


def _unexpected(error: BaseException, argv: Sequence[str]) -> int:
    """Tell wrong usage, which typer raises, from a bug."""
    if isinstance(error.__cause__, EOFError) and type(error).__name__ == "Abort":
        error = error.__cause__  # typer takes it for the end of what a user types
    show = getattr(error, "format_message", None)
    if show is not None:
        return _tell(_dashes(str(show()), argv), 2, argv)
    if type(error).__name__ == "Abort":
        return _tell(f"interrupted; {signals.written()}.", signals.code(), argv)
    if isinstance(error, UnicodeEncodeError):
        return _tell(
            f"{error.object[:_SHORT]!a}: cannot be written in {error.encoding}; rename the file, "
            "or choose a locale that has its letters, such as LC_ALL=C.UTF-8.",
            *(2, argv),
        )
    if isinstance(error, OSError) and error.filename == streams.STDOUT:
        why = "it is closed" if error.errno == errno.EBADF else error.strerror
        return _tell(f"stdout: cannot be written ({why}); send it elsewhere.", 4, argv)
    if isinstance(error, OSError) and error.errno in _FULL:
        place = error.filename or "a file of the program's own, such as its cache of kernels"
        return _tell(f"{place}: no space is left to write it; free some, then run again.", 4, argv)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        name = Path(str(error.filename)).name[:_SHORT]
        return _tell(
            f"{name}…: this name is too long for a file, a shorter one is wanted; files that "
            "belong to an output have its name and some letters more.",
            *(2, argv),
        )
    if isinstance(error, OSError) and error.errno in _MANY:
        return _tell("too many files are open; give fewer, or raise ulimit -n.", 3, argv)
    if isinstance(error, OSError) and error.filename is None and _TEMPORARY in str(error):
        return _tell(
            "no folder for temporary files can be written; set TMPDIR to one that can.", 4, argv
        )
    if {"-v", "--verbose"} & set(argv):
        traceback.print_exc()
    return _tell(f"a bug, {type(error).__name__}: {error} (-v shows where).", 1, argv)


def _dashes(message: str, argv: Sequence[str]) -> str:
    """Add to what typer says of ``-co`` as GDAL has it, of which it takes the first letter."""
    letter = message.removeprefix("No such option: -")
    word = next((w for w in argv if re.match(f"-{re.escape(letter)}[a-z_]", w)), None)
    if letter == message or word is None:
        return message
    return f"{message}, of {word}; a name of several letters has two dashes here: -{word}"


def _tell(message: str, code: int, argv: Sequence[str]) -> int:
    if "--json" in argv:
        print_json({"error": {"message": message, "exit_code": code}}, sys.stderr)
    else:
        print(f"stcli: {message}", file=sys.stderr)
    return code
