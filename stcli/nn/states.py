"""The state of a training on disk, so that one that was killed goes on; never a pickle.

One safetensors file a training: tensors, and plain facts as JSON in its header. It is replaced
whole after each epoch, and read back only under the fingerprint that it was written under.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from stcli.errors import OutputError

_MADE = "made"


def note(folder: Path, model: str) -> None:
    """Note beside states the digest of the model that comes of them, before it is written."""
    (folder / _MADE).write_text(model)


def noted(folder: Path) -> str:
    """Read what `note` wrote; nothing where there is none."""
    try:
        return (folder / _MADE).read_text()
    except OSError:
        return ""


@dataclass(frozen=True)
class StateFile:
    """A place for the state of one training.

    Attributes
    ----------
    path : Path
        In a directory that exists.
    fingerprint : str
        Of all that can change the training: a state under another one is not taken up.
    """

    path: Path
    fingerprint: str

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read back, as of `save`, what was kept; None where there is nothing, or another run's."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("fingerprint") != self.fingerprint:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None  # none yet, or damaged by the disk: the training begins anew
        return tensors, json.loads(header["facts"])

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Replace the state.

        Parameters
        ----------
        tensors : dict of str to Tensor
            Of any shape.
        facts : dict
            What JSON knows.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        from safetensors.torch import save

        header = {"fingerprint": self.fingerprint, "facts": json.dumps(facts)}
        content = save({name: t.contiguous() for name, t in tensors.items()}, header)
        part = self.path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(
                f"{self.path}: the state of the training cannot be written ({error.strerror})."
            ) from error
