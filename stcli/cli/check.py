"""``stcli check``: one function a check, each in a file of its own."""

from __future__ import annotations

import typer

from stcli.cli import check_agreement

app = typer.Typer(help="Check files; exit 7 when one is not valid.", no_args_is_help=True)


@app.callback()
def check() -> None:
    """Check files; exit 7 when one is not valid."""


app.command()(check_agreement.command)
