"""Learned upscalers beside back-projection, on real fields that are coarsened and rebuilt.

    python benchmarks/downscaling.py [--quick] [--row NAME ...]

Each field is cut into four column strips. A model is trained on the first and third and scored on
the second and fourth, then the reverse; 8 coarse pixels of margin are left out, squared errors are
pooled. ibp and the linear guide (with ibp) are recomputed on the very pixels. The fields are in
../shared/data; a row whose data is missing says so. `--quick` trains for a tenth of the steps and
prints no bar.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stcli.downscaling.coarsen import block_mean
from stcli.downscaling.conserve import residual
from stcli.downscaling.features import base, shuffle
from stcli.downscaling.guide import detail, part, weights
from stcli.downscaling.metrics import median_block_ratio, spectral_error, ssim
from stcli.downscaling.models import build
from stcli.downscaling.samples import copies, sample, transferred
from stcli.downscaling.training import train
from stcli.downscaling.validation import averaged
from stcli.raster.reading.read import open_raster
from stcli.settings import DownscalerTraining, UpscalerSettings, psf_of_mtf
from stcli.workflows.each_band import EachBand

DATA = Path(__file__).parents[2] / "shared" / "data"
MARGIN = 8
TRAINING = DownscalerTraining()
#: Sentinel-2's modulation transfer at Nyquist, B05, B8A, B11: as sharpening of the 20 m bands takes
#: it (Ulfarsson et al. 2019, doi:10.1109/TGRS.2019.2906048), not fitted to anything scored here.
PSF20 = tuple(psf_of_mtf(mtf) for mtf in (0.38, 0.33, 0.22))
results: list[bool] = []
quick = False


def bar(name: str, value: float, target: float) -> None:
    """Print one bar (lower is better) and remember whether it holds."""
    if quick:
        return
    holds = value <= target
    results.append(holds)
    print(
        f"BAR downscaling.{name} {value:.4g} <= {target:g} {'ok' if holds else 'short'}", flush=True
    )


def read(*names: str) -> np.ndarray:
    """Read bands of files as float64 with NaN."""
    from rasterio.windows import Window

    with open_raster([str(DATA / name) for name in names]) as raster:
        rows, cols = raster.info.shape
        return EachBand(raster).read(Window(0, 0, cols, rows))[0].astype(np.float64)


def sentinel10() -> np.ndarray:
    return read(*(f"s2-eastern-shore-l1c/{b}.tif" for b in ("B02", "B03", "B04", "B08")))


def sentinel20() -> tuple[np.ndarray, np.ndarray]:
    """Give the 20 m bands and the 10 m bands coarsened to their grid."""
    fine, truth = (
        sentinel10(),
        read(*(f"s2-eastern-shore-l1c/{b}.tif" for b in ("B05", "B8A", "B11"))),
    )
    rows, cols = (
        min(fine.shape[1] // 2, truth.shape[1]),
        min((fine.shape[2] - 1) // 2, truth.shape[2] - 1),
    )
    guide = block_mean(fine[:, : 2 * rows, 1 : 1 + 2 * cols], 2)
    return truth[:, :rows, 1 : 1 + cols], guide


def strips(field: np.ndarray | None, factor: int) -> list[Any]:
    """Cut four column strips of whole blocks."""
    if field is None:
        return [None] * 4
    side = field.shape[2] // (4 * factor) * factor
    rows = field.shape[1] // factor * factor
    return [field[:, :rows, i * side : (i + 1) * side] for i in range(4)]


class Score:
    """Pooled squared errors of several methods, and figures of each strip."""

    def __init__(self) -> None:
        self.squares: dict[str, Any] = {}
        self.figures: dict[str, list[Any]] = {}
        self.residual = 0.0

    def add(self, truth: np.ndarray, factor: int, tried: dict[str, np.ndarray]) -> None:
        """Take in one strip."""
        m = MARGIN * factor
        inner = np.s_[:, m:-m, m:-m]
        coarse = block_mean(truth[inner], factor)
        for name, fine in tried.items():
            error = (fine - truth)[inner] ** 2
            self.squares[name] = self.squares.get(name, 0.0) + np.nansum(error, axis=(1, 2))
            for f, t, p in zip(fine[inner], truth[inner], tried["ibp"][inner], strict=True):
                span = float(np.subtract(*np.nanpercentile(t, (99, 1))))
                row = (ssim(f, t, span), spectral_error(f, t), median_block_ratio(f, p, t, factor))
                self.figures.setdefault(name, []).append([np.nan if v is None else v for v in row])
        written = tried["network"][inner].astype(np.float32)
        self.residual = max(self.residual, float(np.nanmax(residual(written, coarse, factor)[1])))

    def ratio(self, name: str, peer: str = "ibp") -> np.ndarray:
        """RMSE over a peer's, by band."""
        return np.sqrt(self.squares[name] / self.squares[peer])

    def mean(self, name: str, bands: int) -> np.ndarray:
        """SSIM, spectral error and median block ratio, by band, mean over strips."""
        return np.nanmean(np.array(self.figures[name]).reshape(-1, bands, 3), axis=0)


def two_way(
    truth: np.ndarray, guide: np.ndarray | None, factor: int, transfer: bool = False
) -> Score:
    """Train on two strips and score the others, both ways."""
    fields, guides = strips(truth, factor), strips(guide, factor)
    score = Score()
    for shown in ((0, 2), (1, 3)):
        begun = time.process_time()
        samples, checked = samples_of([(fields[i], guides[i]) for i in shown], factor, transfer)
        settings = UpscalerSettings(factors=(factor,))
        torch.manual_seed(0)
        network = build(len(truth), 0 if guide is None else len(guide), settings)
        how = replace(TRAINING, steps=max(1, TRAINING.steps // 10)) if quick else TRAINING
        trained = train(network, samples, how, checked)
        spent = time.process_time() - begun
        print(
            f"  trained on strips {shown}: held out {np.round(trained.ratios[factor], 4)}, "
            f"{trained.spread[factor]}, {spent:.0f} s of a core",
            flush=True,
        )
        linear = (
            None
            if guide is None
            else linear_weights([(fields[i], guides[i]) for i in shown], factor)
        )
        for i in sorted({0, 1, 2, 3} - set(shown)):
            score.add(fields[i], factor, attempts(network, fields[i], guides[i], factor, linear))
    return score


def samples_of(pairs: list[Any], factor: int, transfer: bool) -> tuple[list[Any], int]:
    """Make samples as `train downscaler` does; for transfer one scale coarser, with the PSF."""
    firsts, others = [], []
    for field, guide in pairs:
        bands = len(field)
        blurs = transferred(PSF20, factor, bands) if transfer else [(0.0,) * bands]
        if transfer:
            rows, cols = (n // factor * factor for n in field.shape[1:])
            field, guide = (block_mean(a[:, :rows, :cols], factor) for a in (field, guide))
        first, *more = copies(field, guide, factor, blurs)
        firsts.append(first)
        others += more
    return firsts + others, len(firsts)


def linear_weights(pairs: list[Any], factor: int) -> dict[str, np.ndarray]:
    """Regress coarse bands on the guide's block means, and details one scale coarser."""
    plain, parts, guides, bands = [], [], len(pairs[0][1]), len(pairs[0][0])
    for field, guide in pairs:
        coarse = block_mean(field, factor)
        means = np.concatenate([block_mean(guide, factor), coarse]).reshape(guides + bands, -1)
        plain.append(means[:, ~np.isnan(means).any(axis=0)])
        parts.append(part(coarse, guide, factor))
    both = np.concatenate(plain, axis=1)
    centred = both - both.mean(axis=1, keepdims=True)
    solved = np.linalg.lstsq(centred[:guides].T, centred[guides:].T, rcond=None)[0].T
    return {"linear": solved, "linear_guide": weights(parts, guides, bands).values}


def attempts(
    network: Any, truth: np.ndarray, guide: np.ndarray | None, factor: int, linear: Any
) -> dict[str, np.ndarray]:
    """Rebuild one strip by every method."""
    one = sample(truth, guide, factor)
    ibp = base(block_mean(truth, factor), factor)
    found = averaged(network, torch.from_numpy(one.inputs), factor)
    tried = {"ibp": ibp, "network": ibp + shuffle(found, factor)}
    for name, weight in (linear or {}).items():
        assert guide is not None
        tried[name] = ibp + np.einsum("kg,grc->krc", weight, detail(guide, factor))
    return tried


def report(row: str, score: Score, names: tuple[str, ...]) -> None:
    """Print a row's figures band by band, and the bars that all rows share."""
    ours, theirs = score.mean("network", len(names)), score.mean("ibp", len(names))
    for i, name in enumerate(names):
        others = "".join(f", {k} {score.ratio(k)[i]:.4f}" for k in score.squares if "linear" in k)
        print(
            f"  {row} {name}: network {score.ratio('network')[i]:.4f} of ibp{others}; SSIM "
            f"{ours[i, 0]:.4f} ({theirs[i, 0]:.4f}), spectral error {ours[i, 1]:.2f} "
            f"({theirs[i, 1]:.2f}) dB, median block {ours[i, 2]:.4f}",
            flush=True,
        )
    bar(f"{row}_block_residual", score.residual, 1e-6)
    bar(f"{row}_ssim_loss", float(np.max(theirs[:, 0] - ours[:, 0])), 0)
    bar(f"{row}_spectral_excess_db", float(np.max(ours[:, 1] - theirs[:, 1])), 0)


def unguided(
    row: str, truth: np.ndarray, factor: int, names: tuple[str, ...], targets: dict[str, float]
) -> None:
    """Run a row without a guide."""
    score = two_way(truth, None, factor)
    report(row, score, names)
    for name, target in targets.items():
        bar(f"{row}_{name}_vs_ibp", float(score.ratio("network")[names.index(name)]), target)


def guided(row: str, transfer: bool, targets: tuple[float, float, float]) -> None:
    """Run a row with a guide."""
    truth, guide = sentinel20()
    score, names = two_way(truth, guide, 2, transfer), ("B05", "B8A", "B11")
    report(row, score, names)
    for i, name in enumerate(names[:2]):
        better = min(1.0, *(score.ratio(k)[i] for k in ("linear", "linear_guide")))
        bar(f"{row}_{name}_vs_better", float(score.ratio("network")[i] / better), targets[i])
    bar(f"{row}_B11_vs_ibp", float(score.ratio("network")[2]), targets[2])


def linear_guide() -> None:
    """Measure the linear guide alone: never worse than ibp, whatever the band."""
    truth, guide = sentinel20()
    fields, guides = strips(truth, 2), strips(guide, 2)
    sums: dict[str, Any] = {}
    for shown in ((0, 2), (1, 3)):
        weight = linear_weights([(fields[i], guides[i]) for i in shown], 2)
        for i in sorted({0, 1, 2, 3} - set(shown)):
            ibp, inner = base(block_mean(fields[i], 2), 2), np.s_[:, 16:-16, 16:-16]
            found = detail(guides[i], 2)
            tried = {k: ibp + np.einsum("kg,grc->krc", w, found) for k, w in weight.items()}
            for name, fine in {"ibp": ibp, **tried}.items():
                wrong = np.nansum(((fine - fields[i])[inner]) ** 2, axis=(1, 2))
                sums[name] = sums.get(name, 0.0) + wrong
    for name in ("linear", "linear_guide"):
        print(f"  {name} over ibp {np.round(np.sqrt(sums[name] / sums['ibp']), 4)}", flush=True)
    worst = float(np.sqrt(sums["linear_guide"] / sums["ibp"]).max())
    bar("linear_guide_worst_band_vs_ibp", worst, 1.0)


BANDS10 = ("B02", "B03", "B04", "B08")
ROWS: dict[str, Callable[[], None]] = {
    "linear_guide": linear_guide,
    "guided_transferred": lambda: guided("guided_transferred", True, (0.85, 0.90, 0.80)),
    "guided": lambda: guided("guided", False, (0.70, 0.75, 0.65)),
    "s2_x2": lambda: unguided("s2_x2", sentinel10(), 2, BANDS10, {"B04": 0.90, "B08": 0.95}),
    "s2_x4": lambda: unguided("s2_x4", sentinel10(), 4, BANDS10, {"B04": 0.93, "B08": 0.97}),
    "dem_x2": lambda: unguided("dem_x2", dem(), 2, ("dem",), {"dem": 0.98}),
    "dem_x4": lambda: unguided("dem_x4", dem(), 4, ("dem",), {"dem": 0.93}),
    "hrrr_x2": lambda: unguided(
        "hrrr_x2", read("hrrr-fields/tmp2m.nc"), 2, ("t2m",), {"t2m": 0.95}
    ),
    "hrrr_x4": lambda: unguided(
        "hrrr_x4", read("hrrr-fields/tmp2m.nc"), 4, ("t2m",), {"t2m": 0.98}
    ),
    "gridmet_x2": lambda: unguided("gridmet_x2", gridmet(), 2, ("tmax",), {"tmax": 0.97}),
    "gridmet_x4": lambda: unguided("gridmet_x4", gridmet(), 4, ("tmax",), {"tmax": 0.98}),
}


def dem() -> np.ndarray:
    return read("dem-bigtujunga-30m/bigtujunga.tif")


def gridmet() -> np.ndarray:
    return read("gridmet-tmmx/tmmx_20190121.nc")[:, 150:406, 200:1000]


def main() -> int:
    """Run the rows; 0 when every bar holds, 7 otherwise."""
    global quick
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--row", action="append", choices=list(ROWS))
    asked = parser.parse_args()
    quick = asked.quick
    torch.set_num_threads(1)
    if not DATA.exists():
        print(f"no {DATA}: nothing is measured")
        return 0
    for row in asked.row or ROWS:
        print(row, flush=True)
        ROWS[row]()
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
