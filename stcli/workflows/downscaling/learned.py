"""A trained model as what makes a tile finer; apart, since it loads torch."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.ensemble import Ensemble
from stcli.downscaling.features import halo as feature_halo
from stcli.downscaling.network import CHANNELS
from stcli.downscaling.prediction import Model, Where
from stcli.engine.memory import Cost
from stcli.engine.tiling import Tile
from stcli.errors import ModelError
from stcli.nn.card import BandCard, Card
from stcli.nn.likeness import Likeness
from stcli.raster.info import RasterInfo
from stcli.raster.reading.frames import Frames, beside, frames, nameless
from stcli.raster.reading.read import Raster
from stcli.raster.units import differ
from stcli.workflows.downscaling.upscalers import PART, Guide, guided_bytes, sampled_windows
from stcli.workflows.unlike import tell_values

logger = logging.getLogger("stcli")


@dataclass(frozen=True)
class Learned:
    """A trained model, with a guide where it wants one.

    Attributes
    ----------
    model : Model
    factor : int
    frames : Frames
        Of the raster: the model sees one at a time.
    guide : Guide or None
    shown : tuple of tuple of int
        Of each frame: which of the guide's bands are seen beside it.
    ensemble : Ensemble or None
    """

    model: Model
    factor: int
    frames: Frames
    guide: Guide | None = None
    shown: tuple[tuple[int, ...], ...] = ()
    ensemble: Ensemble | None = None

    @classmethod
    def of(
        cls,
        model: Model,
        raster: Raster,
        factor: int,
        guide: Guide | None,
        ensemble: Ensemble | None = None,
    ) -> Learned:
        """Match a model with a raster and a guide.

        Raises
        ------
        ModelError
            Another factor, other bands or units, no guide of the bands that it wants, or one that
            it does not.
        InputError
            Variables that have different times.
        """
        info, units = raster.info, model.card.data.get("units", [])
        known = matched(model, model.bands, raster, "bands")
        for band, unit in zip([info.bands[i] for i in known.places[0]], units, strict=False):
            if differ(band.units, unit):
                raise ModelError(
                    f"{raster.info.path}: band {band.name} is in {band.units}, the model "
                    f"{model.folder} wants {unit}; convert it."
                )
        if factor not in model.settings.factors:
            heads = ", ".join(map(str, model.settings.factors))
            raise ModelError(f"{model.folder}: --factor {factor} found, the model has {heads}.")
        if model.guides:
            if guide is None:
                raise ModelError(
                    f"{model.folder}: wants the guide {', '.join(model.guides)}; give --guide."
                )
            fine = matched(model, model.guides, guide.raster, "guide bands")
            shown = beside(known, fine, guide.raster.info.path)
            _tell_guide(model, guide, info.shape, shown)
            return cls(model, factor, known, guide, shown, ensemble)
        if guide is not None:
            raise ModelError(
                f"{model.folder}: takes no guide, {guide.raster.info.path} found; leave out "
                "--guide, or train a model with it."
            )
        return cls(model, factor, known, ensemble=ensemble)

    @property
    def name(self) -> str:
        """The architecture, whether it was guided, and what it leaves to ibp."""
        kind = self.model.settings.architecture
        left = self.model.losing[self.factor]
        alone = f" (ibp alone for {', '.join(left)}: no better there)" if left else ""
        return f"{kind} network{' with a guide' if self.guide else ''}{alone}"

    @property
    def checksum(self) -> str:
        """Of the weights and of what else of the card changes a result."""
        return self.model.card.digest

    @property
    def halo(self) -> int:
        """That of the features over a window's margin."""
        return feature_halo(self.model.settings.margin, self.guide is not None)

    @property
    def align(self) -> int:
        """A lattice window's core."""
        return self.model.settings.window

    def bytes(self, info: RasterInfo, factor: int) -> Cost:
        """State the features, base and residual of what is read, and a window in the network."""
        guides = len(self.model.guides)
        own = guided_bytes(guides, info.count, factor)
        features = 2 * (info.count + guides) + guides * factor**2
        read = own.read_pixel + features * (8 + 4) + info.count * factor**2 * 16
        side = self.model.settings.window + 2 * self.model.settings.margin
        channels = features + 6 * self.model.settings.width + 4 * len(self.model.bands) * factor**2
        members = self.ensemble.members if self.ensemble else 1
        drawn = 12 * members * info.count * factor**2
        noise = 9 * 4 * CHANNELS * self.model.settings.window**2 if self.ensemble else 0
        window = 4 * 4 * side**2 * channels + 3 * noise
        return Cost(read, own.core_pixel + drawn, worker=window)

    def fine(self, block: NDArray[Any], where: Tile) -> Iterator[NDArray[Any]]:
        """Run the network over the core's lattice windows; see `Upscaler.fine`.

        Of an ensemble each band is (member, row, col).
        """
        guide = None if self.guide is None else self.guide.read(where.read)
        waiting: dict[int, NDArray[Any]] = {}
        due = 0
        for number, places in enumerate(self.frames.places):
            found = self._frame(block, guide, number, where)
            for band, place in enumerate(places):
                if place >= due:  # one without a time is done in the first frame
                    waiting[place] = found[:, band] if self.ensemble else found[0, band]
            while due in waiting:
                yield waiting.pop(due)
                due += 1

    def liken(self, values: NDArray[Any]) -> Likeness | None:
        """Count pixels (band, pixel), time by time; a model of one band does not see its level."""
        if len(self.model.bands) == 1:
            return None
        likes = Likeness.none(len(self.model.bands))
        for places in self.frames.places:
            frame = values[list(places)]
            whole = frame[:, np.isfinite(frame).all(axis=0)]
            likes += Likeness.of(whole, self.model.card.scaling)
        return likes

    def _frame(
        self, block: NDArray[Any], guide: NDArray[Any] | None, number: int, where: Tile
    ) -> NDArray[np.float64]:
        """Run the network on one time: (member, band, row * factor, col * factor)."""
        coarse, asked = block[list(self.frames.places[number])], Where(where.trim, where.lattice)
        if guide is not None:
            guide = guide[list(self.shown[number])]
        drawn = self.ensemble
        if drawn is not None:
            drawn = replace(drawn, time=zlib.crc32(self.frames.times[number].encode()))
        return self.model.fine(coarse, guide, self.factor, asked, drawn)


@dataclass(frozen=True)
class _Guides:
    """A model with the bands of its guide in place of its own: what values are compared with."""

    folder: Path
    card: Card


def _tell_guide(
    model: Model, guide: Guide, shape: tuple[int, int], shown: tuple[tuple[int, ...], ...]
) -> None:
    """Warn of a guide whose block means are unlike those of the training, by parts of it."""
    ranges = model.card.data.get("guide_ranges", [])
    if len(ranges) != len(model.guides):  # of a model that does not tell
        return
    pairs = zip(model.guides, ranges, strict=True)
    bands = tuple(BandCard(name=name, low=low, high=high) for name, (low, high) in pairs)
    known = _Guides(model.folder, model.card.model_copy(update={"bands": bands}))
    found = Likeness.none(len(bands))
    for window in sampled_windows(shape, PART):
        means = block_mean(guide.read(window), guide.nesting.factor[0])
        for places in set(shown):
            values = means[list(places)]
            found += Likeness.of(values[:, np.isfinite(values).all(axis=0)], known.card.scaling)
    tell_values(guide.raster.info.path, found, known)


def matched(model: Model, wanted: tuple[str, ...], raster: Raster, what: str) -> Frames:
    """Sort a raster's bands into frames of the variables that a model wants.

    Where one is wanted and one is there without a name of its own, it is taken for that, with a
    word.

    Parameters
    ----------
    model : Model
    wanted : tuple of str
        Names of variables.
    raster : Raster
    what : str
        What they are, for the refusal.

    Raises
    ------
    ModelError
        The raster has others, or in another order.
    InputError
        Its variables have different times.
    """
    info = raster.info
    found = frames(info.band_names, info.path)
    if found.variables != wanted and len(wanted) == 1 and nameless(raster):
        logger.warning("%s: its band has no name, it is taken for %s", info.path, wanted[0])
    elif found.variables != wanted:
        raise ModelError(
            f"{info.path}: {what} {', '.join(found.variables)} found, the model {model.folder} "
            f"wants {', '.join(wanted)}; choose and order them."
        )
    return found
