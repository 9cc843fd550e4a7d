"""What the checks say of files, and the exit code that follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from stcli.cli.console import print_json
from stcli.errors import CheckError, InputError

Files = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Files to check.", show_default=False)
]


def tell(check: str, results: Sequence[Any], json: bool, quiet: bool) -> None:
    """Print each file's verdict, and refuse if one is not valid.

    Raises
    ------
    CheckError
        A file is not valid.
    InputError
        None is found not valid, but one could not be read.
    """
    unread = [r for r in results if not hasattr(r, "valid")]
    bad = [r for r in results if hasattr(r, "valid") and not r.valid]
    if json:
        told = [r.to_json() if r not in unread else _unread(r) for r in results]
        print_json({"check": check, "valid": not bad and not unread, "files": told})
    elif not quiet:
        for result in results:
            _print(result)
    if bad:
        raise CheckError(
            f"{bad[0].path}: not valid ({check}): {_first(bad[0])}"
            + (f"; {len(bad)} of {len(results)} files are not valid" if len(results) > 1 else "")
        )
    if unread:
        raise InputError(unread[0].error)


def _first(result: Any) -> str:
    return next(str(f.text) for f in result.findings if f.level == "error")


def _unread(result: Any) -> dict[str, Any]:
    return {"path": result.path, "valid": None, "unreadable": result.error}


def _print(result: Any) -> None:
    if not hasattr(result, "valid"):
        print(f"{result.path}: cannot be checked")
        return
    print(f"{result.path}: {'valid' if result.valid else 'NOT valid'}")
    for finding in result.findings:
        print(f"  {finding.level}: {finding.text}")
