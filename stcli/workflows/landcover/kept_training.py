"""Trainings that go on after a kill: their states in a hidden folder beside the model to be."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from stcli.engine.journal import fingerprint
from stcli.errors import ModelError, OutputError, StcliError
from stcli.lock import Lock
from stcli.nn.card import Card
from stcli.nn.states import StateFile, note, noted
from stcli.nn.weights import load_card


def is_made(folder: Path) -> bool:
    """Tell whether a model is that of a training which was killed as it tidied up."""
    try:
        return noted(_home(folder)) == load_card(folder).digest
    except ModelError:  # none
        return False


def _home(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.training"


class KeptTraining:
    """The hidden folder ``.NAME.training`` of one run; no second run may use it meanwhile.

    It is removed when the run ends well, or when inputs or settings are to blame; a run that was
    killed leaves it, or one that found no room for its model, and the same command takes it up.

    Parameters
    ----------
    folder : Path
        The model's.
    resume : bool
        Take up what an earlier run left.

    Raises
    ------
    OutputError
        Another process trains this model now, or nothing can be written there.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self.path = _home(folder)
        self._lock = Lock(self.path / "lock", str(folder))
        if not resume:
            self._clear()
        self._mark = ""

    def identify(self, **facts: Any) -> None:
        """Say all that can change the weights: states of other facts are not taken up."""
        self._mark = fingerprint(facts)

    def state(self, stage: str) -> StateFile:
        """Place of the state of one of the trainings of this run."""
        return StateFile(self.path / f"{stage.replace(' ', '-')}.safetensors", self._mark)

    def note(self, card: Card) -> None:
        """Note which model is about to be written, so that the same command ends what was killed.

        Parameters
        ----------
        card : Card
            As it will be, with the checksum of the weights.
        """
        note(self.path, card.digest)

    def _clear(self) -> None:
        for file in self.path.glob("*.safetensors"):
            file.unlink()

    def __enter__(self) -> KeptTraining:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        blamed = isinstance(error, StcliError) and not isinstance(error, OutputError)
        done = error is None or blamed or not any(self.path.glob("*.safetensors"))
        if done:
            self._clear()
        self._lock.release(remove=done)
        if done:
            shutil.rmtree(self.path, ignore_errors=True)
