"""``stcli doctor``."""

from __future__ import annotations

from stcli.cli import options
from stcli.cli.console import Console, print_json
from stcli.errors import CheckError


def command(json: options.Json = False, verbose: options.Verbose = False) -> None:
    """Check what this machine can run.

    Says what is installed, which scan is used, and what is missing.

    Example: stcli doctor
    """
    from stcli.workflows.doctor import doctor, healthy, to_json

    with Console(verbose=verbose):
        findings = doctor()
    if json:
        print_json(to_json(findings))
    else:
        width = max(len(f.name) for f in findings)
        for f in findings:
            print(f"{f.name:{width}}  {f.found}" + (f"  → {f.fix}" if f.fix else ""))
    if not healthy(findings):
        raise CheckError("doctor: the main job cannot run here; see the fixes above.")
