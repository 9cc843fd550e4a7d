"""The hidden folder of an output that is on its way.

Beside an output ``NAME`` lies, while a job lasts and after it was killed::

    .NAME.stcli/lock        held by the process at work
                job/        what a later run may continue: job.json, journal, parts
                final/      the finished file, until it is renamed
                published   which files are about to be renamed
                staged/     what a job of several steps keeps of the first ones
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from stcli.raster.writing.draft import Drafts, discard, sync
from stcli.raster.writing.hidden import (
    ALIVE,
    STAGED,
    hidden_home,
    is_own,
    make_folder,
    mark,
    sweep,
    unmark,
)
from stcli.raster.writing.output import STDOUT, OutputSpec
from stcli.raster.writing.publish import publish, refuse_place

#: What a directory holds that is a shard, and may be overwritten.
SHARD = ("job.json",)


class Folder:
    """Names and housekeeping of an output's folder; what is in ``job/`` is its users' matter.

    Parameters
    ----------
    spec : OutputSpec
        An output on stdout has a folder of its own in ``CPL_TMPDIR``, which no later run finds.
    shard : bool
        The output is a directory: the job itself, when it is done.

    Raises
    ------
    OutputError
        The output cannot be written; see `refuse_place`.
    """

    def __init__(self, spec: OutputSpec, shard: bool = False) -> None:
        self.spec = spec
        self._directory = SHARD if shard else None
        target = Path(spec.path)
        self.lasting = spec.path not in STDOUT
        if self.lasting:
            sweep(target)
        self.refuse()
        self.path = hidden_home(target) if self.lasting else make_folder(None)
        self.lock = self.path / ("lock" if self.lasting else ALIVE)
        self.job = self.path / "job"
        self.final = self.path / "final" / (target.name if self.lasting else "final.tif")

    def refuse(self) -> None:
        """Refuse an output that cannot be written, or exists and is not this job's own."""
        mine = self.lasting and is_own(self.spec.path)
        refuse_place(replace(self.spec, overwrite=self.spec.overwrite or mine), self._directory)

    def empty(self) -> None:
        """Forget the job; what says so first, so that a kill meanwhile leaves no half of it."""
        (self.job / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self.job, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what a killed run left half done, and make the folders."""
        shutil.rmtree(self.final.parent, ignore_errors=True)
        for pattern in ("*.tmp", "*.partial"):  # ours, and zarr's
            for draft in self.job.rglob(pattern):
                discard(draft)
        for folder in (self.job, self.final.parent):
            folder.mkdir(parents=True, exist_ok=True)

    def publish(self, finished: Path, beside: Drafts) -> None:
        """Put a finished file or directory under the output's name, and just before what is beside.

        Parameters
        ----------
        finished : Path
        beside : Drafts
            Noted in this folder; `Drafts.ready` was called.
        """
        self.refuse()  # another program may have been quicker
        if self.lasting:
            mark(self.path, (finished,))
        beside.appear(finished)
        publish(self.spec, finished)

    def flush_job(self) -> Path:
        """Flush the job itself to the disk; it is what a shard ends as."""
        for path in (*self.job.rglob("*"), self.job):
            sync(path)
        return self.job

    def remove(self) -> None:
        """Remove all but the lock, which its holder removes last."""
        self.empty()
        shutil.rmtree(self.final.parent, ignore_errors=True)
        shutil.rmtree(self.path / STAGED, ignore_errors=True)  # of a command that was given up
        unmark(self.path)
        if not self.lasting:
            shutil.rmtree(self.path, ignore_errors=True)
