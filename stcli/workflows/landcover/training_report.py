"""The report of a training: ``report.html`` beside the weights, for a person and not a program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stcli.landcover.legend import rgba
from stcli.nn.weights import Card
from stcli.raster.pictures.figures import Axis, Line, draw_confusion, draw_lines, draw_reliability
from stcli.raster.pictures.page import (
    Page,
    Part,
    Section,
    Swatch,
    figure,
    paragraph,
    table,
    write_page,
)
from stcli.raster.pictures.panels import Panel, draw_panels
from stcli.raster.pictures.picture import bands_to_draw
from stcli.workflows.landcover.trainings import Outcome

REPORT = "report.html"
_FIGURES = {
    "overall": "overall accuracy",
    "mean_iou": "mean IoU",
    "mean_f1": "mean F1",
    "learnable_overall": "accuracy over learnable samples",
}


def write_report(folder: Path, card: Card, outcome: Outcome, notes: Sequence[str]) -> None:
    """Write the report of a training into its model's folder, over an older one.

    Raises
    ------
    OutputError
    """
    sections = [_learning(outcome), _classes(card, outcome)]
    if "folds" in card.metrics:
        sections.append(_folds(card.metrics))
    if outcome.reliability is not None:
        sections.append(_calibration(outcome))
    if outcome.shown:
        sections.append(_maps(card, outcome))
    page = Page(
        f"Land-cover model {folder.name}",
        _summary(card),
        (*sections, _about(card, notes)),
        f"stcli {card.version}, weights {card.sha256[:12]}",
    )
    write_page(str(folder / REPORT), page, overwrite=True)


def _summary(card: Card) -> dict[str, Any]:
    found, fitted = card.metrics["validation"], card.calibration
    summary = {
        "overall accuracy, held out": found["overall"],
        "mean IoU, held out": found["mean_iou"],
        "held-out pixels": found["total"],
        "classes": len(card.classes),
        "parameters": card.parameters,
    }
    if fitted is not None:
        summary["calibration error after the temperature"] = fitted.ece_after
    return summary


def _learning(outcome: Outcome) -> Section:
    parts: list[Part] = []
    for name, label in (("loss", "loss"), ("mIoU", "mean IoU of what is held out")):
        lines = [
            Line(stage, np.arange(1, len(curve) + 1), [epoch[name] for epoch in curve])
            for stage, curve in outcome.curves.items()
            if curve and name in curve[0]
        ]
        if lines:
            mark = outcome.learned.epoch if len(outcome.curves) == 1 else None
            png = draw_lines(lines, Axis("epoch"), Axis(label), mark)
            parts.append(figure(png, f"{label} by epoch"))
    if not parts:
        parts.append(paragraph("This algorithm learns in one step."))
    return Section("How it learnt", tuple(parts))


def _classes(card: Card, outcome: Outcome) -> Section:
    names = [c.name for c in card.classes]
    rows = [
        (c["name"], c["precision"], c["recall"], c["f1"], c["iou"], c["support"])
        for c in card.metrics["validation"]["classes"]
    ]
    head = ("class", "user's accuracy", "producer's accuracy", "F1", "IoU", "reference pixels")
    confusion = draw_confusion(outcome.matrix.counts, names)
    return Section(
        "Classes", (table(head, rows), figure(confusion, "Map and reference, held-out pixels"))
    )


def _folds(metrics: dict[str, Any]) -> Section:
    rows: list[tuple[object, ...]] = [
        (fold["fold"], *(fold[n] for n in _FIGURES), ", ".join(fold["unlearnable"]) or "none")
        for fold in metrics["folds"]
    ]
    together = metrics["out_of_fold"]
    rows += [(word, *(together[n][word] for n in _FIGURES), "") for word in ("mean", "std")]
    head = ("fold", *_FIGURES.values(), "classes absent from its training")
    text = "Each fold was held out once, and neither segments nor context cross its edge."
    return Section("Folds", (paragraph(text), table(head, rows)))


def _calibration(outcome: Outcome) -> Section:
    shapes, fitted = outcome.reliability, outcome.calibration
    assert shapes is not None  # this section is made of them
    assert fitted is not None  # and they of it
    pictures = [
        figure(
            draw_reliability(shape.confidence, shape.accuracy, shape.count, f"error {error:.3f}"),
            f"Confidence {when} the temperature",
        )
        for shape, error, when in (
            (shapes[0], fitted.ece_before, "before"),
            (shapes[1], fitted.ece_after, "after"),
        )
    ]
    rows = [(c, fitted.conformal[c], fitted.coverage_found[c]) for c in fitted.conformal]
    sets = table(
        ("coverage asked", "probability from which a class belongs", "coverage found"),
        rows,
        "Prediction sets; found by thresholds fitted without the samples counted",
    )
    text = f"Temperature {fitted.temperature:.3f}: above 1 it softens, below 1 it sharpens."
    if fitted.growth:
        text += f" Growth {fitted.growth:.3f}: divided by the best class's odds raised to that."
    return Section("How sure it may be", (paragraph(text), *pictures, sets))


def _maps(card: Card, outcome: Outcome) -> Section:
    names = [band.name for band in card.bands]
    values = np.array([0, *(c.value for c in card.classes)], dtype=np.uint8)
    panels = []
    for sample, found in outcome.shown:
        bands = sample.window.values[bands_to_draw(names)]
        maps = (values[sample.truth], values[found])
        panels.append(Panel(bands, sample.window.valid, maps))
    colours = {c.value: rgba(c.color) for c in card.classes}
    text = "Held-out windows with most labels: the bands, the labels, the map."
    legend = table(("class", "colour"), [(c.name, Swatch(c.color)) for c in card.classes])
    return Section("Maps", (paragraph(text), figure(draw_panels(panels, colours), text), legend))


def _about(card: Card, notes: Sequence[str]) -> Section:
    labelled = card.data["labelled_pixels"].items()
    kept = {name: value for name, value in card.training.items() if value is not None}
    return Section(
        "What it was made of",
        (
            *(paragraph(note) for note in notes),
            table(("class", "labelled pixels"), labelled),
            table(("setting", "value"), [(name, str(value)) for name, value in kept.items()]),
        ),
    )
