"""What every verb shares: named inputs, a named output, a budgeted pass, provenance."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from stcli import __version__
from stcli.errors import UsageError
from stcli.raster.identity import Fingerprint, files_of, identify
from stcli.raster.info import RasterInfo
from stcli.raster.reading.assumed import NOTHING, Assumed
from stcli.raster.reading.read import NETCDF_SUFFIXES, Raster, open_raster
from stcli.raster.reading.stack import Resampling
from stcli.raster.reading.stdin import on_stdin, readable
from stcli.raster.writing.hidden import is_own, sweep
from stcli.raster.writing.output import STDOUT, Driver
from stcli.raster.writing.provenance import inputs_tag
from stcli.workflows.pace import Progress
from stcli.workflows.passes import Pass, plan_pass, report

__all__ = [
    "Assumed",
    "Inputs",
    "Output",
    "Pass",
    "Progress",
    "fields",
    "plan_pass",
    "refuse_clash",
    "report",
    "silent",
]


def silent(stage: str, done: int, total: int, note: str = "", /) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Inputs:
    """Rasters that are read as one.

    Attributes
    ----------
    paths : tuple of str
        Stacked as bands on the grid of the finest.
    bands : tuple of int or str
        1-based numbers or names; empty for all.
    resampling : str
        ``"nearest"`` or ``"bilinear"``, for bands on a coarser grid.
    assumed : Assumed
        CRS and nodata value of files that have none.
    """

    paths: tuple[str, ...]
    bands: tuple[int | str, ...] = ()
    resampling: Resampling = "nearest"
    assumed: Assumed = NOTHING

    def open(self) -> Raster:
        """Open them; raises `InputError`."""
        return open_raster(
            self.paths,
            bands=self.bands,
            resampling=self.resampling,
            assumed=self.assumed,
        )


@dataclass(frozen=True)
class Output:
    """How outputs are written.

    Attributes
    ----------
    overwrite : bool
        Replace what exists.
    creation_options : dict
        GDAL's, values untouched.
    argv : tuple of str
        The command, for the provenance in the file.
    driver : str
        ``"COG"``, ``"GTiff"`` or ``"Zarr"``.
    resume : bool
        Take up the finished tiles of a run that ended early.
    shard : (int, int) or None
        Do only the tiles of this shard of so many, into a directory of parts.
    fingerprint : str
        ``"stat"`` or ``"full"``; see `stcli.raster.identity.identify`.
    keep : bool
        Keep the finished tiles beside the complete output, for the steps that follow.
    """

    overwrite: bool = False
    creation_options: Mapping[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    driver: Driver = "COG"
    resume: bool = True
    shard: tuple[int, int] | None = None
    fingerprint: Fingerprint = "stat"
    keep: bool = False

    @property
    def kept(self) -> bool:
        """Whether it asks for what only outputs that are kept through a kill can have."""
        return not self.resume or self.shard is not None or self.fingerprint != "stat"

    @property
    def command(self) -> str:
        """The command, without the words that say how this run takes part; its name for none."""
        return shlex.join(_lasting(self.argv)) or "stcli"

    def netcdf(self, path: str) -> bool:
        """Tell whether a path names a NetCDF file and no other format is asked for.

        Raises
        ------
        UsageError
            Creation options, which are GDAL's: it does not write NetCDF here.
        """
        found = Path(path).suffix.lower() in NETCDF_SUFFIXES and self.driver == "COG"
        if found and self.creation_options:
            raise UsageError(f"{path}: --co found, none is wanted for NetCDF.")
        return found

    def taking_up(self, path: str, *beside: str) -> Output:
        """Go on where a run of outputs that appear together was killed between two of them.

        Parameters
        ----------
        path : str
            The output.
        *beside : str
            What is written with it.

        Returns
        -------
        Output
            One that may overwrite what that run left under their names; what else it left is gone.
        """
        for each in (path, *beside):
            if each not in STDOUT:
                sweep(Path(each))
        return replace(self, overwrite=self.overwrite or is_own(path, *beside))

    def identity(self, inputs: Inputs, **settings: Any) -> dict[str, Any]:
        """All that can change a result, in plain facts, for the journal's fingerprint.

        Parameters
        ----------
        inputs : Inputs
        **settings
            Of the verb: what it is, its settings, its model's hash.
        """
        paths = [readable(path) for path in inputs.paths]
        return {
            **settings,
            "version": __version__,
            "inputs": identify(paths, self.fingerprint),
            "chosen": [list(inputs.bands), inputs.resampling, *astuple(inputs.assumed)],
        }

    def tags(self, info: RasterInfo, **settings: Any) -> dict[str, str]:
        """Provenance as dataset tags; ``AREA_OR_POINT`` is passed on from the input.

        Settings that are no text are written as JSON. See `stcli.raster.writing.provenance`.
        """
        tags = {
            "STCLI_VERSION": __version__,
            "STCLI_COMMAND": self.command if self.argv else "",
            "STCLI_INPUT": info.origin,
            "STCLI_INPUTS": inputs_tag(info.sources or (info.path,)),
        }
        for name, value in settings.items():
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            tags[f"STCLI_{name.upper()}"] = text
        if "AREA_OR_POINT" in info.tags:
            tags["AREA_OR_POINT"] = info.tags["AREA_OR_POINT"]
        return {name: value for name, value in tags.items() if value}


def _lasting(argv: Sequence[str]) -> list[str]:
    """Leave out the words that say how this run takes part in making the output."""
    words = iter(argv)
    kept = []
    for word in words:
        if word == "--shard":
            next(words, None)
        elif not word.startswith("--shard=") and word not in ("--resume", "--no-resume"):
            kept.append(word)
    return kept


def refuse_clash(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse an output that is an input or a file of one, and two on stdin or in one place.

    Raises
    ------
    UsageError
    """
    if sum(map(on_stdin, inputs)) > 1:
        raise UsageError("-: two inputs come through stdin, one is wanted; name the other's file.")
    named = [path for path in inputs if not on_stdin(path)]
    if any(path not in STDOUT and Path(path).exists() for path in outputs):
        named = [file for path in named for file in _read(path)]
    read = {_place(file) for file in named}
    written: dict[object, str] = {}
    for path in outputs:
        place = _place(path)
        if place in read:
            raise UsageError(f"{path}: is an input and an output too, another output is wanted.")
        if place in written:
            raise UsageError(f"{path}: two outputs go there, one for each is wanted.")
        written[place] = path


def _read(path: str) -> list[str]:
    """List what an input is read from: of a plain file that is no VRT, no other could be written.

    So tables are not opened as rasters, which would read them through.
    """
    plain = Path(path).is_file() and not path.lower().endswith(".vrt")
    return [path] if plain else files_of(path)


def _place(path: str) -> object:
    """Name a place alike for all names of one file: by inode, or by where it would be made."""
    if path in STDOUT:
        return STDOUT
    with contextlib.suppress(OSError):
        found = Path(path).stat()
        return found.st_dev, found.st_ino
    return os.path.realpath(path)  # unlike Path.resolve, of a link to itself too


def fields(settings: Any) -> dict[str, Any]:
    """Fields of a settings dataclass as plain values."""
    return asdict(settings)
