"""Several labelled scenes as one training: their names, their grids, their classes as one legend.

Blocks of the split stand on the lattice of a scene's CRS, so two scenes of one place (two dates,
two overlapping tiles) have the same blocks, and what is held out of one is held out of the other.
Scenes in different CRSs have blocks of their own, and those that overlap are told.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geom import Geometry
from rasterio.windows import Window

from stcli.errors import InputError, UsageError, few
from stcli.raster.info import crs_text, pixel_size, same_pixels
from stcli.raster.reading.datestack import DateStack
from stcli.raster.reading.frames import nameless
from stcli.raster.reading.read import Raster
from stcli.raster.tables.classnames import MOST_CLASSES, sorted_names, tell_renumbered, values_of
from stcli.raster.tables.manifest import read_manifest
from stcli.settings import RunSettings
from stcli.workflows.job import Inputs, Progress
from stcli.workflows.landcover.dated import Dating
from stcli.workflows.landcover.truth import LabelSource, Truth, open_truth, refuse_vector_words

logger = logging.getLogger("stcli")

#: Between the files of a scene in a manifest.
_JOIN = ";"


@dataclass(frozen=True)
class LabelledScene:
    """A scene and where its labels come from; where sources overlap, the first one counts.

    `dating` says how its bands are a stack of dates; None for a scene of one date.
    """

    inputs: Inputs
    labels: tuple[LabelSource, ...]
    dating: Dating | None = None


@dataclass(frozen=True)
class OpenScene:
    """An opened scene.

    Attributes
    ----------
    raster : Raster
    truth : Truth
        In the classes of all scenes.
    lattice : int
        Scenes with the same number share a CRS, and so their blocks.
    stack : DateStack or None
        Of a stack of dates: what is read in place of the raster.
    """

    raster: Raster
    truth: Truth
    lattice: int
    stack: DateStack | None = None

    @property
    def source(self) -> Raster | DateStack:
        """What is read."""
        return self.raster if self.stack is None else self.stack

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands; of a stack, those of its variables."""
        return self.raster.info.band_names if self.stack is None else self.stack.names

    @property
    def read_bytes(self) -> int:
        """Bytes that a pixel takes while it is read."""
        if self.stack is not None:
            return self.stack.read_bytes
        return self.raster.info.count * self.raster.info.dtype.itemsize


class MixedTruth:
    """The labels of several sources in one legend: at each pixel the first source that has any."""

    def __init__(self, truths: Sequence[Truth], legend: dict[str, int]) -> None:
        self.classes, self.values = tuple(legend), tuple(legend.values())
        self._truths = truths
        numbers = {name: number for number, name in enumerate(self.classes, start=1)}
        self._tables = [
            np.array([0, *(numbers[name] for name in truth.classes)], dtype=np.uint8)
            for truth in truths
        ]

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read a window: (row, col)."""
        found: NDArray[np.uint8] | None = None
        for truth, table in zip(self._truths, self._tables, strict=True):
            more = table[truth.read(window)]
            found = more if found is None else np.where(found == 0, more, found)
        assert found is not None  # a scene has a source
        return found


@contextmanager
def opened(
    scenes: Sequence[LabelledScene], settings: RunSettings, progress: Progress
) -> Iterator[list[OpenScene]]:
    """Open scenes and their labels.

    Raises
    ------
    InputError
        Scenes that differ in bands or resolution; see `Inputs.open` and `open_truth` too.
    UsageError
        Vectors without a class column.
    """
    with ExitStack() as stack:
        named = [scene.inputs for scene in scenes]
        rasters = [stack.enter_context(inputs.open()) for inputs in named]
        pairs = list(zip(scenes, rasters, strict=True))
        dates = [None if s.dating is None else s.dating.every(r) for s, r in pairs]
        every = [
            (raster, raster.info.band_names if dated is None else dated.names)
            for raster, dated in zip(rasters, dates, strict=True)
        ]
        for other in every[1:]:
            _check_alike(every[0], other)
        alone = len(scenes) == 1 and len(scenes[0].labels) == 1
        least = 2 if alone else 1
        truths = [
            [
                stack.enter_context(open_truth(s, raster, settings, progress, least))
                for s in scene.labels
            ]
            for scene, raster in pairs
        ]
        sources = [source for scene in scenes for source in scene.labels]
        legend = joined_legend(sources, [truth for each in truths for truth in each])
        _tell_unfound(sources, legend)
        names = [crs_text(raster.info.geobox) for raster in rasters]
        _tell_overlap(rasters, names)
        yield [
            OpenScene(raster, MixedTruth(each, legend), names.index(name), dated)
            for raster, each, name, dated in zip(rasters, truths, names, dates, strict=True)
        ]


def joined_legend(sources: Sequence[LabelSource], truths: Sequence[Truth]) -> dict[str, int]:
    """Value of each class, by name, over several sources.

    Class rasters bring their values; classes of drawn labels that no raster has get theirs of
    `values_of`, or the next free values where a raster has taken one of these.

    Raises
    ------
    InputError
        Two class rasters in which a value has two names, or a name two values.
    """
    legend: dict[str, int] = {}
    for source, truth in zip(sources, truths, strict=True):
        for name, value in zip(truth.classes, truth.values, strict=True):
            if not source.is_raster:
                continue
            others = {v: n for n, v in legend.items()}
            if legend.get(name, value) != value or others.get(value, name) != name:
                other = others.get(value, f"{name} as {legend.get(name)}")
                raise InputError(
                    f"{source.path}: value {value} is {name} here and {other} in labels before; "
                    "give all the same names with --class-names."
                )
            legend[name] = value
    drawn = [(s.path, t) for s, t in zip(sources, truths, strict=True) if not s.is_raster]
    fresh = sorted_names({name for _, truth in drawn for name in truth.classes} - set(legend))
    if fresh:
        path = drawn[0][0]
        values = _free_values(fresh, set(legend.values()), path)
        tell_renumbered(fresh, values, path)
        legend |= zip(fresh, values, strict=True)
    return dict(sorted(legend.items(), key=lambda item: item[1]))


def _free_values(names: Sequence[str], taken: set[int], path: str) -> tuple[int, ...]:
    """Give classes their own values, or where one is taken the next free ones."""
    own = values_of(names)
    if len(own) + len(taken) > MOST_CLASSES:
        raise InputError(f"{path}: more than {MOST_CLASSES} classes in all labels together.")
    free = (value for value in range(1, MOST_CLASSES + 1) if value not in taken)
    return own if taken.isdisjoint(own) else tuple(islice(free, len(names)))


def _tell_unfound(sources: Sequence[LabelSource], legend: dict[str, int]) -> None:
    """Tell of names that were given to values of class rasters and that no label has."""
    given = {pair for s in sources if s.is_raster for pair in (s.names or {}).items()}
    absent = [f"{value}={name}" for value, name in sorted(given) if name not in legend]
    if absent:
        logger.warning("--class-names: %s found in no class raster of labels", few(absent))


def read_scenes(path: str, like: Inputs, names: dict[int, str] | None) -> list[LabelledScene]:
    """Read a manifest: columns input and labels, perhaps class_column and layer.

    Files are named relative to the manifest; several of one scene are joined by ``;``. Rows with
    the same input are one scene with several label sources, in the order of the rows.

    Parameters
    ----------
    path : str
    like : Inputs
        Bands, resampling and CRS for all.
    names : dict of int to str, optional
        Of the values of class rasters.

    Raises
    ------
    InputError
    UsageError
        A column or layer of a class raster.
    """
    rows = read_manifest(path, ("input", "labels"), ("class_column", "layer"))
    folder = Path(path).parent
    found: dict[tuple[str, ...], list[LabelSource]] = {}
    for row in rows:
        files = tuple(_beside(folder, name.strip()) for name in row["input"].split(_JOIN))
        column, layer = row["class_column"] or None, row["layer"] or None
        source = LabelSource(_beside(folder, row["labels"]), column, layer, names)
        if source.is_raster:
            refuse_vector_words(source)
        found.setdefault(files, []).append(source)
    return [
        LabelledScene(Inputs(files, like.bands, like.resampling, like.assumed), tuple(sources))
        for files, sources in found.items()
    ]


def paired(inputs: Inputs, sources: Sequence[LabelSource], pair: bool) -> list[LabelledScene]:
    """Make one scene of all inputs with all labels, or a scene of each input with its labels.

    Raises
    ------
    UsageError
        Without inputs or labels; pairs of unequal numbers; a column or layer of rasters alone.
    """
    if not inputs.paths or not sources:
        raise UsageError("INPUT and --labels are wanted, or --manifest with the names of both.")
    if all(source.is_raster for source in sources):
        refuse_vector_words(sources[0])
    if not pair:
        return [LabelledScene(inputs, tuple(sources))]
    if len(inputs.paths) != len(sources):
        raise UsageError(
            f"--pair: {len(inputs.paths)} inputs and {len(sources)} --labels found, as many of "
            "the one as of the other are wanted."
        )
    return [
        LabelledScene(Inputs((path,), inputs.bands, inputs.resampling, inputs.assumed), (source,))
        for path, source in zip(inputs.paths, sources, strict=True)
    ]


def _tell_overlap(rasters: Sequence[Raster], names: Sequence[str | None]) -> None:
    """Tell of the first two rasters that share ground but no CRS, and so no blocks.

    Parameters
    ----------
    rasters : sequence of Raster
    names : sequence of str or None
        Of their CRSs.
    """
    known = [(raster, name) for raster, name in zip(rasters, names, strict=True) if name]
    if len({name for _, name in known}) < 2:
        return
    grounds = [(raster.info.path, name, _ground(raster)) for raster, name in known]
    for (one, a, here), (other, b, there) in combinations(grounds, 2):
        if a != b and here.intersects(there):
            logger.warning(
                "%s and %s: overlap on the ground in different CRSs, whose blocks are not the "
                "same: labels there may stand on both sides of the split, which flatters; warp "
                "them to one CRS first",
                *(one, other),
            )
            return


def _ground(raster: Raster) -> Geometry:
    """Outline of a raster in longitude and latitude."""
    return raster.info.geobox.extent.to_crs("EPSG:4326", resolution="auto")


def _beside(folder: Path, name: str) -> str:
    remote = name.startswith("/vsi") or "://" in name
    return name if remote else str(folder / name)


def _check_alike(
    first: tuple[Raster, tuple[str, ...]], other: tuple[Raster, tuple[str, ...]]
) -> None:
    a, b = first[0].info, other[0].info
    if first[1] != other[1] and not (nameless(first[0]) and nameless(other[0])):
        raise InputError(
            f"{b.path}: bands {', '.join(other[1])} found, {a.path} has "
            f"{', '.join(first[1])}; the same are wanted, choose and order them with -b."
        )
    sizes = pixel_size(a.geobox), pixel_size(b.geobox)
    if not same_pixels(*sizes):
        found = [" x ".join(f"{side:g}" for side in size) for size in sizes]
        raise InputError(
            f"{b.path}: pixels of {found[1]} found, {a.path} has {found[0]}; one resolution is "
            "wanted, warp it with gdalwarp -tr first."
        )
