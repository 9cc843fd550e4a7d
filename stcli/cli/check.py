"""``stcli check``: one function a check, each in a file of its own."""

from __future__ import annotations

import typer

from stcli.cli import check_agreement, check_cf, check_cog, check_georef, check_seams

app = typer.Typer(help="Check files; exit 7 when one is not valid.", no_args_is_help=True)


@app.callback()
def check() -> None:
    """Check files; exit 7 when one is not valid."""


for name, verb in (
    ("cog", check_cog),
    ("cf", check_cf),
    ("georef", check_georef),
    ("seams", check_seams),
    ("agreement", check_agreement),
):
    app.command(name)(verb.command)
