"""``model``: what a model is, and whether it is whole. Nothing of it is executed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stcli.nn.weights import Card, check_item, load_card, load_weights


@dataclass(frozen=True)
class Verified:
    """A model that is what its card says.

    Attributes
    ----------
    output : str
        Its folder.
    architecture, sha256 : str
    digest : str
        See `stcli.nn.card.Card.digest`.
    tensors, parameters : int
    item : bool
        Whether the STAC item lies beside the card.
    applied_by : str or None
        The verb that could load it; None for an architecture that only its files were checked of.
    """

    output: str
    architecture: str
    sha256: str
    digest: str
    tensors: int
    parameters: int
    item: bool
    applied_by: str | None


def show(folder: Path) -> dict[str, Any]:
    """Return a model's card as plain values; the weights are not read.

    Raises
    ------
    ModelError
    """
    return load_card(folder).model_dump(by_alias=True)


def verify(folder: Path) -> Verified:
    """Check a model's card, item, checksum and arrays, and that the verb of its kind loads it.

    Raises
    ------
    ModelError
        When it is damaged, foreign, or no safetensors.
    """
    card = load_card(folder)
    item, state = check_item(folder, card), load_weights(folder, card)
    verb = _loaded(folder, card)
    facts = (len(state), sum(array.size for array in state.values()))
    names = (card.architecture, card.sha256, card.digest)
    return Verified(str(folder), *names, *facts, item, verb)


def _loaded(folder: Path, card: Card) -> str | None:
    """Load a model as its verb does, and return the verb."""
    from stcli.downscaling.prediction import Model
    from stcli.landcover.prediction import is_known, load_model

    if is_known(card.architecture):
        load_model(folder)
        return "classify"
    if card.architecture.startswith("stcli-upscaler"):
        Model(folder)
        return "downscale"
    return None
