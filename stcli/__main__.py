"""``python -m stcli``: the command, where its script is not on the path."""

from stcli.cli.app import run

run()
