"""The report of ``train downscaler``: what was learned, shown on held-out pixels."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stcli import __version__
from stcli.downscaling.metrics import spectrum
from stcli.downscaling.network import Upscaler
from stcli.downscaling.rebuilt import rebuilt
from stcli.downscaling.samples import Sample
from stcli.downscaling.training import Trained
from stcli.raster.pictures.figures import Axis, Line, draw_beside, draw_lines
from stcli.raster.pictures.page import Page, Part, Section, figure, paragraph, table

#: Bands that are drawn, at most; the table has all of them.
SHOWN = 4
#: Side of the part that is drawn of a band, and of that whose spectra are, in coarse pixels.
SIDE, FIELD = 48, 256


def training_page(
    network: Upscaler,
    samples: Sequence[Sample],
    trained: Trained,
    path: str,
    bands: dict[str, str | None],
    argv: tuple[str, ...] | None,
) -> Page:
    """Make the page: curves, a table by band, parts beside each other, power spectra.

    Parameters
    ----------
    network : Upscaler
        Trained.
    samples : sequence of Sample
        One a factor, of those that were judged.
    trained : Trained
    path : str
        What was trained on.
    bands : dict of str to str or None
        Their names and units.
    argv : tuple of str or None
        The command.
    """
    summary = {f"RMSE over ibp's, ×{s}": float(np.mean(r)) for s, r in trained.ratios.items()}
    sections = [
        Section("How it learned", (_curves(trained.history), *_bands(network, trained, bands))),
        *(_drawn(network, one, bands) for one in samples),
    ]
    command = f"stcli {__version__}: {shlex.join(argv)}" if argv else f"stcli {__version__}"
    return Page(f"Downscaling of {path}", summary, tuple(sections), command)


def _curves(history: list[dict[str, float]]) -> Part:
    steps = [line["step"] for line in history]
    best = min(history, key=lambda line: line["validation"])["step"]
    lines = [
        Line("held-out RMSE over ibp's", steps, [line["validation"] for line in history]),
        Line("loss of training", steps, [line["loss"] for line in history]),
    ]
    picture = draw_lines(lines, Axis("step"), Axis("ratio, loss"), mark=best)
    return figure(picture, "Validation and loss by step; the thin line is the step that was kept.")


def _bands(network: Upscaler, trained: Trained, bands: dict[str, str | None]) -> tuple[Part, ...]:
    head = ("factor", "band", "RMSE over ibp's", "weight against ibp")
    rows = [
        (f"×{s}", name, ratio, float(weight))
        for s, ratios in trained.ratios.items()
        for name, ratio, weight in zip(
            bands, ratios, network.blend[network.factors.index(s)], strict=True
        )
    ]
    members = [(f"×{s}", m.crps_over_mae, m.spread_skill) for s, m in trained.spread.items()]
    return (
        table(head, rows, "On held-out blocks, averaged over eight turns. Weight 0: ibp alone."),
        table(
            ("factor", "CRPS over ibp's absolute error", "spread over error"),
            members,
            "Members of an ensemble (--members) on held-out blocks; a spread of 1 is calibrated.",
        ),
    )


def _drawn(network: Upscaler, one: Sample, bands: dict[str, str | None]) -> Section:
    """Draw each band's part with the most to find, and the spectra around them."""
    one, whole = _part(one), one.whole
    s, fields = one.factor, rebuilt(network, one)
    rows, cols = one.coarse.shape[1:]
    parts: list[Part] = []
    for band, (name, units) in enumerate(list(bands.items())[:SHOWN]):
        top, left = _busiest(one.target[band * s**2 : (band + 1) * s**2], SIDE)
        small = np.s_[top : top + SIDE, left : left + SIDE]
        large = np.s_[s * top : s * (top + SIDE), s * left : s * (left + SIDE)]
        planes = [one.coarse[band][small], *(f[band][large] for f in fields.values())]
        unit = f"{name} ({units})" if units else name
        picture = draw_beside(planes, ["coarse", *fields], unit)
        parts.append(figure(picture, f"{name}: where ibp misses most."))
        lines = _spectra({kind: field[band] for kind, field in fields.items()})
        if lines:
            axes = Axis("cycles a fine pixel", log=True), Axis("power", log=True)
            caption = f"{name}: power spectrum, averaged over directions."
            parts.append(figure(draw_lines(lines, *axes, mark=0.5 / s), caption))
    field = "the whole field" if (rows, cols) == whole else f"{rows} × {cols} coarse pixels"
    told = paragraph(
        f"Parts and spectra are of {field}, most of which was trained on. The thin line "
        "stands at the coarse raster's Nyquist frequency."
    )
    return Section(f"Factor {s}", (told, *parts))


def _part(one: Sample) -> Sample:
    """Cut the square of at most `FIELD` pixels a side in which most is missed."""
    if max(one.coarse.shape[1:]) <= FIELD:
        return one
    power = np.nanmean(one.target.astype(np.float64) ** 2, axis=(1, 2))
    unit = np.sqrt(np.where(power > 0, power, 1))
    top, left = _busiest(one.target / unit[:, None, None], FIELD)
    part = np.s_[:, top : top + FIELD, left : left + FIELD]
    return replace(one, inputs=one.inputs[part], target=one.target[part], coarse=one.coarse[part])


def _busiest(missed: NDArray[np.floating[Any]], side: int) -> tuple[int, int]:
    """Find the corner of the part where most is missed, among parts side by side."""
    power = (np.nan_to_num(missed).astype(np.float64) ** 2).sum(axis=0)
    high, wide = (min(side, n) for n in power.shape)
    rows, cols = power.shape[0] // high, power.shape[1] // wide
    whole = power[: rows * high, : cols * wide].reshape(rows, high, cols, wide)
    row, col = divmod(int(whole.sum(axis=(1, 3)).argmax()), cols)
    return row * high, col * wide


def _spectra(fields: dict[str, NDArray[Any]]) -> list[Line]:
    known = ~np.any([np.isnan(field) for field in fields.values()], axis=0)
    lines = []
    for name, field in fields.items():
        found = spectrum(np.where(known, field, 0.0), known)
        if found is not None:
            lines.append(Line(name, *found))
    return lines
