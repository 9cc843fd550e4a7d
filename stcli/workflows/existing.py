"""Outputs that are there before a run: what ``--skip-existing`` goes by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stcli.errors import OutputError
from stcli.raster.writing.hidden import hidden_home, sweep_job


def all_there(outputs: Sequence[str], shard: tuple[int, int] | None = None) -> bool:
    """Tell whether all outputs of a run are there, so that it can be skipped.

    Parameters
    ----------
    outputs : sequence of str
    shard : (int, int), optional
        The run makes this shard of them; they may be whole already, too.

    Raises
    ------
    OutputError
        Some are there and some are not: they may be another run's, and are not replaced unasked.
        Where a run was killed between them it is for the verb to go on, or to refuse.
    """
    if shard is not None and not all(Path(path).exists() for path in outputs):
        from stcli.workflows.deposit import shard_path  # loads GDAL

        outputs = [shard_path(path, shard) for path in outputs]
    there = [path for path in outputs if Path(path).exists()]
    missing = [path for path in outputs if path not in there]
    if there and missing and not _left_off(outputs):
        raise OutputError(
            f"{there[0]}: exists already, but {missing[0]}, which is wanted with it, does not; "
            f"remove {there[0]}, or give --overwrite in place of --skip-existing"
        )
    if not missing:
        for path in outputs:
            sweep_job(Path(path), done=True)
    return not missing


def _left_off(outputs: Sequence[str]) -> bool:
    """Tell whether a run was killed that may have put one of the outputs under its name."""
    return any(hidden_home(Path(path)).exists() for path in outputs)
