"""The journal of a job: which of its tiles are finished, and under which fingerprint.

Two files lie in a job's folder. ``job.json`` says what the job is: the fingerprint of all that
can change a result, and the plan its tiles are cut by. ``journal`` gets one line a finished tile::

    12 8f3a2b1c     tile 12 is stored, and its pixels have this checksum
    13 --------     tile 13 has no valid pixel
    14 07be33d0 [[2.5, 1.0], 3]     as 12; what else is known of it, as JSON

A line is handed to the system in one call when its tile is stored. Neither is flushed to the disk:
after a power cut a line may be torn or lack its tile. So a line of another form is skipped, and a
stored tile counts only if the checksum of what is read back is that of its line.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.engine.tiling import Tile, TilePlan

_LINE = re.compile(rb"(\d{1,15}) ([0-9a-f]{8}|-{8})( \[.*\])?")
_UNKNOWN, _STORED, _EMPTY = 0, 1, 2


def fingerprint(facts: dict[str, Any]) -> str:
    """Hash of plain facts (numbers, texts, lists, dicts), in any order of their names."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Header:
    """What a job is.

    Attributes
    ----------
    fingerprint : str
        Of inputs, settings, model and version; see `fingerprint`.
    plan : TilePlan
    shard : (int, int)
        This job does the tiles whose number leaves ``shard[0] - 1`` when divided by ``shard[1]``.
    about : dict
        Plain facts for who reads the folder later, such as the output's specification.
    """

    fingerprint: str
    plan: TilePlan
    shard: tuple[int, int] = (1, 1)
    about: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain facts."""
        return asdict(self)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Header:
        """Read what `to_json` gave; raises ValueError, KeyError or TypeError for other facts."""
        plan = dict(facts["plan"])
        shape, origin = tuple(plan.pop("shape")), tuple(plan.pop("origin"))
        first, count = facts["shard"]
        return cls(
            str(facts["fingerprint"]),
            TilePlan(shape=shape, origin=origin, **plan),
            (int(first), int(count)),
            facts["about"],
        )

    def same_tiles(self, other: Header) -> bool:
        """Tell whether tiles finished under one header are those of the other."""
        mine, theirs = (self.fingerprint, self.plan), (other.fingerprint, other.plan)
        return mine == theirs and self.shard == other.shard

    def tiles(self, mask: NDArray[np.bool_] | None = None) -> Iterator[Tile]:
        """Tiles of this shard by rising number, made on demand.

        Parameters
        ----------
        mask : ndarray of bool, (tile,), optional
            Only those, by their number in the plan.
        """
        first, count = self.shard
        if mask is None:
            return (self.plan[index] for index in range(first - 1, len(self.plan), count))
        chosen = np.flatnonzero(mask[first - 1 :: count]) * count + first - 1
        return (self.plan[int(index)] for index in chosen)

    def __len__(self) -> int:
        first, count = self.shard
        return len(range(first - 1, len(self.plan), count))


class Journal:
    """Finished tiles of a job.

    Parameters
    ----------
    folder : Path
        The job's folder.
    header : Header
        The job; only lines of the same tiles may be in the folder (see `read_header`).
    readonly : bool
        Only look.
    """

    def __init__(self, folder: Path, header: Header, readonly: bool = False) -> None:
        self.header = header
        self._path = folder / "journal"
        self._state = np.zeros(len(header.plan), np.uint8)
        self._checksums = np.zeros(len(header.plan), np.uint32)
        self._notes: dict[int, Any] = {}
        self._read()
        self._descriptor = -1
        if readonly:
            return
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(self._descriptor, b"\n")  # ends a torn line

    def add(self, index: int, checksum: int | None, note: list[Any] | None = None) -> None:
        """Note a finished tile; None for one without a valid pixel.

        Parameters
        ----------
        note : list, optional
            Of numbers and lists: what does not follow from the stored pixels.

        Raises
        ------
        OSError
            The disk is full.
        """
        text = "-" * 8 if checksum is None else f"{checksum:08x}"
        told = "" if note is None else f" {json.dumps(note)}"
        line = f"{index} {text}{told}\n".encode()
        if os.write(self._descriptor, line) < len(line):
            raise OSError(28, os.strerror(28), str(self._path))
        self._note(index, checksum)
        if note is not None:
            self._notes[index] = note

    def forget(self, index: int) -> None:
        """Take a tile as unfinished: what was stored is not what its line says."""
        self._state[index] = _UNKNOWN

    def knows(self, index: int) -> bool:
        """Tell whether a tile is finished."""
        return bool(self._state[index])

    def checksum(self, index: int) -> int | None:
        """CRC-32 of a finished tile; None for one without a valid pixel."""
        return int(self._checksums[index]) if self._state[index] == _STORED else None

    def note(self, index: int) -> Any:
        """Tell what was noted of a finished tile beside its checksum; None for nothing."""
        return self._notes.get(index)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each tile of the plan is finished: (tile,)."""
        known: NDArray[np.bool_] = self._state != _UNKNOWN
        return known

    def finished(self) -> Iterator[Tile]:
        """Finished tiles of the shard, in order."""
        return self.header.tiles(self.known)

    def remaining(self) -> Iterator[Tile]:
        """Unfinished tiles of the shard, in order."""
        return self.header.tiles(~self.known)

    def close(self) -> None:
        """Write no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                match = _LINE.fullmatch(line.rstrip(b"\n"))
                if match and int(match[1]) < len(self._state):
                    with contextlib.suppress(ValueError):  # torn inside its note
                        if match[3]:
                            self._notes[int(match[1])] = json.loads(match[3])
                        checksum = None if match[2][:1] == b"-" else int(match[2], 16)
                        self._note(int(match[1]), checksum)

    def _note(self, index: int, checksum: int | None) -> None:
        self._state[index] = _EMPTY if checksum is None else _STORED
        self._checksums[index] = checksum or 0


def read_header(folder: Path) -> Header | None:
    """Header of a job's folder; None where there is none that can be read."""
    try:
        return Header.from_json(json.loads((folder / "job.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_header(folder: Path, header: Header) -> None:
    """Write a job's header, whole or not at all."""
    draft = folder / "job.json.tmp"
    draft.write_text(json.dumps(header.to_json(), ensure_ascii=True), encoding="utf-8")
    draft.replace(folder / "job.json")
