"""``classify-patches``: patches and a model in; a row for each, or a raster of them, out."""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from stcli.errors import UsageError
from stcli.landcover.patches.patchmodel import PatchClassifier, load_patch_model
from stcli.nn.weights import Card
from stcli.raster.tables.patches import PatchSet, PatchStack, is_table
from stcli.raster.writing.draft import refuse_file, write_pieces
from stcli.raster.writing.output import STDOUT, OutputSpec
from stcli.raster.writing.write import create_raster, refuse_output
from stcli.settings import RunSettings
from stcli.workflows.empty import none_valid
from stcli.workflows.job import Output, Progress, refuse_clash, silent
from stcli.workflows.landcover.products import class_band
from stcli.workflows.landcover.train_patches import PatchSource, batches_of

logger = logging.getLogger("stcli")

_RASTERS = {".tif", ".tiff"}
#: Patches whose middle value is so many times that of the training, or its part, are of another
#: unit: dark water beside bright sand is less.
_FAR = 20.0
#: Decimals of what is written as text.
_DECIMALS = 6
#: Rows that are made into text at once, and bytes of such a row and of each of its classes.
_AT_ONCE, _TEXT, _TEXT_CLASS = 1000, 2500, 450
#: Bytes that are kept of a patch, and of each of its classes: its probability, thrice.
_ROW, _CLASS = 100, 32


@dataclass(frozen=True)
class ClassifiedPatches:
    """What came out: patches of each class, those without a valid pixel, and the time."""

    output: str
    patches: dict[str, int]
    without_values: int
    seconds: float


def classify_patches(
    source: PatchSource,
    path: str,
    folder: Path,
    run: RunSettings,
    *,
    output: Output = Output(),
    coverage: float | None = None,
    progress: Progress = silent,
) -> ClassifiedPatches:
    """Classify patches with a trained model.

    Raises
    ------
    UsageError, InputError, OutputError, BudgetError, ModelError
    """
    begun = time.perf_counter()
    refuse_clash((source.path,), (path,))
    raster = PurePath(path).suffix.lower() in _RASTERS
    _refuse_idle(path, raster, output, coverage)
    model = load_patch_model(folder)
    side = model.side if source.side is None and not is_table(source.path) else source.side
    patches = PatchSource(source.path, side, bands=source.bands).opened()
    model.check(source.path, patches.bands, patches.side)
    _refuse(patches, model.card, path, raster, output)
    chances = _probabilities(source.path, patches, model, run, progress)
    if np.isnan(chances).all():
        raise none_valid(source.path)
    if raster:
        _write_raster(patches, chances, model.card, path, output)
    else:
        sets = None if coverage is None else model.sets(chances, coverage)
        _write_rows(_rows(patches, chances, model.card, sets), path, output.overwrite)
    found = np.bincount(_best(chances), minlength=len(model.card.classes) + 1)
    counts = {c.name: int(found[place]) for place, c in enumerate(model.card.classes, start=1)}
    return ClassifiedPatches(path, counts, int(found[0]), time.perf_counter() - begun)


def _refuse_idle(path: str, raster: bool, output: Output, coverage: float | None) -> None:
    """Refuse options that would do nothing for an output of this kind."""
    if raster and coverage is not None:
        raise UsageError(f"{path}: a raster holds no sets; --coverage wants .csv, .json or -.")
    if not raster and output.creation_options:
        raise UsageError(f"{path}: --co is for rasters; leave it out, or write .tif.")


def _refuse(patches: PatchSet, card: Card, path: str, raster: bool, output: Output) -> None:
    """Refuse an output that cannot be made, before any work."""
    if not raster:
        if PurePath(path).suffix.lower() not in (".csv", ".json") and path not in STDOUT:
            raise UsageError(f"{path}: .csv, .json or .tif wanted, or - for CSV on stdout.")
        if path not in STDOUT:
            refuse_file(path, output.overwrite)
        return
    if patches.grid is None:
        raise UsageError(f"{path}: patches of a table make up no raster; write .csv or .json.")
    refuse_output(_spec(path, card, output, {}))


def _probabilities(
    path: str, patches: PatchSet, model: PatchClassifier, run: RunSettings, progress: Progress
) -> NDArray[np.float64]:
    """Classify all patches (class, n), a batch at a time; another unit is told."""
    count, parts, usual = len(patches.names), [], []
    classes = len(model.card.classes)
    kept = count * (_ROW + _CLASS * classes) + _AT_ONCE * (_TEXT + _TEXT_CLASS * classes)
    for batch in batches_of(patches, np.arange(count), kept, run):
        values = patches.read(batch)
        parts.append(model.probabilities(values))
        known = (np.abs(patch[np.isfinite(patch)]) for patch in values)
        usual += [float(np.median(of)) for of in known if of.size]
        progress("patches", int(batch[-1]) + 1, count)
    _tell_magnitude(path, float(np.median(usual)) if usual else 0.0, model)
    return np.concatenate(parts, axis=1)


def _best(chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Place of the most probable class, from 1; 0 where there is no probability."""
    return np.where(np.isnan(chances[0]), 0, np.nan_to_num(chances).argmax(axis=0) + 1)


def _rows(
    patches: PatchSet,
    chances: NDArray[np.float64],
    card: Card,
    sets: NDArray[np.bool_] | None,
) -> Iterator[dict[str, Any]]:
    """Give a row for each patch; what is not known is None."""
    names = [c.name for c in card.classes]
    for n, (place, best) in enumerate(zip(patches.places, _best(chances), strict=True)):
        known = best > 0
        p = [round(float(v), _DECIMALS) if known else None for v in chances[:, n]]
        row: dict[str, Any] = {"patch": n + 1, "input": patches.names[n]}
        row |= {"x": float(place[0]), "y": float(place[1])}
        row |= {"class": names[best - 1] if known else None}
        row |= {"confidence": p[best - 1] if known else None}
        if sets is not None:
            row["set"] = "|".join(np.array(names)[sets[:, n]].tolist()) if known else None
        yield row | {f"p_{name}": value for name, value in zip(names, p, strict=True)}


def _write_rows(rows: Iterator[dict[str, Any]], path: str, overwrite: bool) -> None:
    """Write rows as they come, some at a time: there may be millions."""
    text = _as_json if PurePath(path).suffix.lower() == ".json" else _as_csv
    write_pieces(path, (piece.encode() for piece in text(rows)), overwrite)


def _as_json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Give what `json.dumps` gives of the list of all rows, some rows at a time."""
    before = "["
    for some in iter(lambda: list(itertools.islice(rows, _AT_ONCE)), []):
        yield before + json.dumps(some, indent=1, ensure_ascii=False)[1:-2]
        before = ","
    yield "\n]\n"


def _as_csv(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    for number, some in enumerate(iter(lambda: list(itertools.islice(rows, _AT_ONCE)), [])):
        sheet = io.StringIO()
        writer = csv.DictWriter(sheet, list(some[0]), lineterminator="\n")
        if number == 0:
            writer.writeheader()
        writer.writerows(some)
        yield sheet.getvalue()


def _write_raster(
    patches: PatchSet, chances: NDArray[np.float64], card: Card, path: str, output: Output
) -> None:
    """Write the classes as a raster, one pixel a patch."""
    assert isinstance(patches, PatchStack)  # others are refused before
    shape = tuple(int(n) for n in patches.grid.shape)
    values = np.array([0, *(c.value for c in card.classes)], dtype=np.uint8)
    tags = output.tags(patches.raster.info, **card.marks)
    with create_raster(_spec(path, card, output, tags), patches.grid) as writer:
        writer.write(Window(0, 0, shape[1], shape[0]), values[_best(chances)].reshape(1, *shape))


def _spec(path: str, card: Card, output: Output, tags: dict[str, str]) -> OutputSpec:
    band, options = class_band(card.classes), output.creation_options
    return OutputSpec(path, "uint8", (band,), 0, "classes", options, output.overwrite, tags)


def _tell_magnitude(path: str, found: float, model: PatchClassifier) -> None:
    """Warn of patches whose median absolute value is far from that of the training."""
    if found > 0 and not 1 / _FAR < found / model.usual < _FAR:
        logger.warning(
            "%s: values of about %.3g found, the model %s was trained with about %.3g; its classes "
            "may mean nothing here: give the patches in the unit of the training, or take another "
            "model",
            *(path, found, model.folder, model.usual),
        )
