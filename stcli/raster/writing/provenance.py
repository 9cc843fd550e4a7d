"""Where a file came from: what identifies an input, and what an output says of its making."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stcli.errors import InputError
from stcli.raster.reading.stdin import on_stdin, readable

#: Bytes from a file's front whose SHA-256 is kept: headers and directories change with content.
HEAD = 65_536
_HISTORY = re.compile(r"^(?:\S+ stcli-(?P<version>\S+?): )?(?P<command>stcli .+)$", re.MULTILINE)
_PREFIX = "STCLI_"


def identify(path: str) -> dict[str, Any]:
    """Identify an input cheaply: its size, its time, and the checksum of its first 64 KiB.

    Not the checksum of the whole: a change of pixels that leaves size, time and front alone goes
    unseen.

    Returns
    -------
    dict
        ``path``; and for a local file or stdin ``size`` in bytes, ``modified`` (ISO 8601, UTC; not
        for stdin) and ``head_sha256``.
    """
    local = Path(readable(path))
    found: dict[str, Any] = {"path": path}
    try:
        status = local.stat()
        if not local.is_file():
            return found
        with local.open("rb") as file:
            digest = hashlib.sha256(file.read(HEAD)).hexdigest()
    except OSError:
        return found  # a /vsi… name or an address: what is behind it is not looked at twice
    found["size"] = status.st_size
    if not on_stdin(path):
        found["modified"] = datetime.fromtimestamp(status.st_mtime, UTC).isoformat()
    return found | {"head_sha256": digest}


def inputs_tag(paths: Sequence[str]) -> str:
    """Identify inputs as the text of a tag."""
    return json.dumps([identify(path) for path in paths], ensure_ascii=False)


@dataclass(frozen=True)
class Provenance:
    """What an output says of its making.

    Attributes
    ----------
    version, command : str
        Of stcli, and the command line, quoted for a shell.
    inputs : tuple of dict
        As `identify` gave them then, and under ``now`` whether they are the ``same``,
        ``changed``, ``absent`` or ``unknown``.
    settings : dict
        Whatever else was recorded: settings, checksums of weights.
    """

    version: str
    command: str
    inputs: tuple[dict[str, Any], ...]
    settings: dict[str, Any]


def read_provenance(path: str, tags: Mapping[str, str]) -> Provenance:
    """Read what a file's tags (or NetCDF attributes) say of its making.

    Raises
    ------
    InputError
        They say nothing: stcli did not make it, or its tags were lost; or no whole command.
    """
    named = {key.upper(): value for key, value in tags.items()}  # a NetCDF has them in lower case
    ours = {k.removeprefix(_PREFIX): v for k, v in named.items() if k.startswith(_PREFIX)}
    history = _HISTORY.search(tags.get("history", ""))
    if "COMMAND" not in ours and history is None:
        raise InputError(
            f"{path}: does not say how it was made; a file that stcli wrote, its tags kept, is "
            "wanted"
        )
    version = ours.pop("VERSION", history["version"] or "" if history else "")
    command = ours.pop("COMMAND", history["command"] if history else "")
    ours.pop("INPUT", None)
    recorded = _plain(ours.pop("INPUTS", "[]"))
    known = recorded if isinstance(recorded, list) else []
    settings = {name.lower(): _plain(value) for name, value in ours.items()}
    inputs = tuple({**entry, "now": _now(entry)} for entry in known)
    return Provenance(version, _quoted(command, path), inputs, settings)


def _quoted(command: str, path: str) -> str:
    """Quote a command as a shell wants it."""
    try:
        return shlex.join(shlex.split(command))
    except ValueError as error:
        raise InputError(
            f"{path}: its command is damaged ({error}), a whole one is wanted: {command}"
        ) from error


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _now(entry: dict[str, Any]) -> str:
    if "head_sha256" not in entry or on_stdin(entry["path"]):
        return "unknown"
    found = identify(entry["path"])
    if "head_sha256" not in found:
        return "absent"
    same = all(found.get(key) == entry.get(key) for key in ("size", "head_sha256"))
    return "same" if same else "changed"
