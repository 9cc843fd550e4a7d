"""``--init``: a training that begins with the weights of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stcli.errors import ModelError, UsageError
from stcli.landcover import architectures
from stcli.landcover.learning import given_weights
from stcli.landcover.prediction import Classifier, load_model
from stcli.raster.reading.frames import nameless
from stcli.settings import NetworkSettings, SlicSettings
from stcli.workflows.landcover.foreign import tell_pixels
from stcli.workflows.landcover.samples import Recipe
from stcli.workflows.landcover.scenes import OpenScene
from stcli.workflows.landcover.survey import Survey
from stcli.workflows.unlike import tell_ranges


@dataclass(frozen=True)
class Start:
    """Where a training begins: a model, or None for random weights."""

    model: Classifier | None

    @classmethod
    def of(cls, folder: Path | None, stack: bool = False) -> Start:
        """Open a model of one date, or of a stack of dates.

        Raises
        ------
        ModelError
            When it is damaged, or no network of this kind.
        """
        if folder is None:
            return cls(None)
        model = load_model(folder)
        wanted = architectures.GLOCAL_SERIES if stack else architectures.GLOCAL
        if model.card.architecture != wanted:
            raise ModelError(
                f"{folder}: a model of kind '{model.card.architecture}' found, --init wants "
                f"'{wanted}'."
            )
        return cls(model)

    @property
    def digest(self) -> str:
        """Digest of the model's card; empty without any."""
        return "" if self.model is None else self.model.card.digest

    def recipe(self, recipe: Recipe) -> Recipe:
        """Take the network and the segmentation that the weights were made for.

        Raises
        ------
        UsageError
            Another algorithm is wanted.
        """
        if self.model is None:
            return recipe
        if recipe.algorithm != "network":
            raise UsageError(f"--init: begins a network, and --algorithm is {recipe.algorithm}.")
        card = self.model.card
        network, slic = NetworkSettings(**card.network), SlicSettings(**card.segmentation)
        return replace(recipe, network=network, slic=slic)

    def scaled(self, found: Survey, scene: OpenScene) -> Survey:
        """Take the band scaling that the weights were made for, if the bands are the same.

        Pixels of another size, and values of another unit, are told.

        Raises
        ------
        ModelError
            When they are not.
        """
        if self.model is None:
            return found
        info = scene.raster.info
        self.model.check_bands(info.path, scene.names, chosen=nameless(scene.raster))
        tell_pixels(info, self.model)
        tell_ranges(info.path, found.scaling, self.model)
        return replace(found, scaling=self.model.scaling)

    def weights(self, classes: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Weights to begin with, and a note where the class heads are made anew."""
        if self.model is None:
            return {}, ()
        card = self.model.card
        kept = given_weights(self.model.folder, card, classes)
        before = tuple(c.name for c in card.classes)
        note = f"--init: {len(before)} classes ({', '.join(before)}) before, the head is made anew"
        return kept, () if before == classes else (note,)

    def to_json(self) -> dict[str, Any]:
        """Name the model, for the card."""
        if self.model is None:
            return {}
        card = self.model.card
        name = {"model": self.model.folder.name}
        return {"init": name | {"sha256": card.sha256, "digest": card.digest}}
