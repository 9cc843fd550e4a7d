"""Models of land cover, whatever their method: class probabilities of a block and their doubt.

A `Method` classifies lattice windows; a `Classifier` is a method with its card: its bands, and how
it is calibrated. `load_model` chooses the method by the card's architecture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stcli.errors import ModelError, UsageError, apart
from stcli.landcover import architectures
from stcli.landcover.accuracy.tempering import temper
from stcli.landcover.classical.forest import Forest
from stcli.landcover.classical.pixels import loader
from stcli.landcover.ensemble import load_ensemble
from stcli.landcover.network.network_method import load_network
from stcli.landcover.network.windows import Needs, Scene, Windowed, by_windows
from stcli.landcover.refinement import Refinement
from stcli.nn.device import Compute, compute
from stcli.nn.weights import Card, load_card, refuse_changed
from stcli.settings import BandScaling, SlicSettings

#: Bands of an uncertainty raster, each in [0, 1], 0 for certain.
UNCERTAINTY = ("entropy", "margin", "least confidence")


class Method(Windowed, Protocol):
    """What turns a window into probabilities, as it gives them: not calibrated."""

    @property
    def needs(self) -> Needs:
        """Bytes that classifying takes."""


#: Makes a method of a model's folder, its card and where it runs. It raises `ModelError` for
#: damaged weights and TypeError, RuntimeError or `UsageError` where weights and card do not fit.
Factory = Callable[[Path, Card, Compute], Method]


def _load_svm(folder: Path, card: Card, where: Compute) -> Method:
    from stcli.landcover.classical.svm import Svm  # loads torch

    return loader(Svm)(folder, card, where)


def _load_series(folder: Path, card: Card, where: Compute) -> Method:
    from stcli.landcover.series.series_method import SeriesMethod  # loads torch

    return SeriesMethod(folder, card, where)


_METHODS: dict[str, Factory] = {
    architectures.GLOCAL: load_network,
    architectures.GLOCAL_SERIES: load_network,
    architectures.FOREST: loader(Forest),
    architectures.SVM: _load_svm,
    architectures.SERIES: _load_series,
    architectures.ENSEMBLE: load_ensemble,
}


@dataclass(frozen=True)
class Classifier:
    """A trained model and how to feed it.

    Attributes
    ----------
    folder : Path
        As written by ``stcli train landcover``.
    card : Card
    method : Method
    where : Compute
        Device and scan.
    """

    folder: Path
    card: Card
    method: Method
    where: Compute

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where it lies and which it is: whoever unpickles it loads it."""
        facts = (self.folder.resolve(), self.card.digest, self.where.device, self.where.scan.name)
        return _loaded, facts

    @property
    def scaling(self) -> BandScaling:
        """Scaling of the bands, from the card."""
        return self.card.scaling

    @property
    def slic(self) -> SlicSettings:
        """How scenes are segmented."""
        return SlicSettings(**self.card.segmentation)

    @property
    def margin(self) -> int:
        """Pixels around a core that must be in the scene, beside the segmentation's halo."""
        return self.method.grid.margin

    @property
    def stride(self) -> int:
        """Cores are cut on multiples of this of the lattice."""
        return self.method.grid.stride

    @property
    def needs(self) -> Needs:
        """Bytes that `probabilities` takes."""
        return self.method.needs

    def check_bands(self, path: str, names: Sequence[str], *, chosen: bool = False) -> None:
        """Refuse a raster whose bands are not the model's.

        Bands that the user chose one by one may bear other names, if none of them is the name of
        another of the model's bands; a warning says which was taken for which.

        Raises
        ------
        ModelError
        """
        wanted = [band.name for band in self.card.bands]
        if list(names) == wanted:
            return
        pairs = list(zip(names, wanted, strict=False))
        mixed = any(a != b and a in wanted for a, b in pairs)
        if chosen and len(names) == len(wanted) and not mixed:
            taken = ", ".join(f"{a} as {b}" for a, b in pairs)
            logging.getLogger("stcli").warning("%s: taking %s", path, taken)
        else:
            these, those = apart(names, wanted)
            raise ModelError(
                f"{path}: {len(names)} bands ({these}), the model {self.folder} wants "
                f"{len(wanted)} ({those}); choose and order them with -b."
            )

    def refinement(self, below: float) -> Refinement:
        """Give what looks again at segments that the model is less sure of than `below`.

        Raises
        ------
        ModelError
            A model of series: its windows hold dates.
        """
        if self.card.architecture == architectures.SERIES:
            raise ModelError(f"{self.folder}: a model of series; --refine wants one of one date.")
        return Refinement(self.method, self._calibrated, below)

    def probabilities(self, scene: Scene, core: tuple[slice, slice]) -> NDArray[np.float32]:
        """Classify the part `core` of a scene; calibrated, where the card says how.

        The scene holds ``margin`` pixels around `core`, less where the raster ends.

        Returns
        -------
        ndarray of float32 (class, row, col)
            Over `core`; NaN where not valid.
        """
        return self._calibrated(by_windows(scene, core, self.method))

    def _calibrated(self, chances: NDArray[np.float32]) -> NDArray[np.float32]:
        calibration = self.card.calibration
        if calibration is None:
            return chances
        return temper(chances, calibration.temperature, calibration.growth)


def is_known(architecture: str) -> bool:
    """Tell whether `load_model` knows models of an architecture."""
    return architecture in _METHODS


def load_model(folder: Path, where: Compute | None = None) -> Classifier:
    """Load a model; `where` is by default the CPU and its kernel.

    Raises
    ------
    ModelError
        When the folder holds no such model, or a damaged one.
    """
    card, where = load_card(folder), where or compute("cpu")
    if card.architecture not in _METHODS:
        known = ", ".join(f"'{name}'" for name in _METHODS)
        raise ModelError(f"{folder}: a model of kind '{card.architecture}' found, {known} wanted.")
    try:
        SlicSettings(**card.segmentation)
        method = _METHODS[card.architecture](folder, card, where)
    except (TypeError, RuntimeError, UsageError) as error:
        raise ModelError(f"{folder}: weights and card do not fit together.") from error
    return Classifier(folder, card, method, where)


def _loaded(folder: Path, digest: str, device: str, scan: str) -> Classifier:
    """Load a model anew; raises `ModelError` where it is another one by now."""
    model = load_model(folder, compute(device, scan))
    refuse_changed(folder, model.card, digest)
    return model


def classes(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Most probable class (row, col), from 1; 0 where the probabilities are NaN."""
    best = np.argmax(probabilities, axis=0).astype(np.uint8) + np.uint8(1)
    return np.where(np.isnan(probabilities[0]), np.uint8(0), best)


def uncertainty(probabilities: NDArray[Any]) -> NDArray[np.float32]:
    """Measure doubt at each pixel: the three bands of `UNCERTAINTY`.

    Returns
    -------
    ndarray of float32 (3, row, col)
        Entropy over its maximum, one minus the gap of the best two, one minus the best.
    """
    p = probabilities.astype(np.float32)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(axis=0) / np.log(len(p))
    second, first = np.sort(p, axis=0)[-2:]
    doubt = np.stack([entropy, 1 - (first - second), 1 - first]).astype(np.float32)
    return np.clip(doubt, 0, 1)  # rounding alone goes beyond
