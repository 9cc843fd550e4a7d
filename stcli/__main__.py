"""``python -m stcli``: the command, where its script is not on the path."""

from stcli.cli.app import run

if __name__ == "__main__":
    run()
