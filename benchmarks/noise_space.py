"""Noise in space: map and denoising of known noise, speckle, stripes, a hyperspectral scene.

    python benchmarks/noise_space.py [--quick]

Peers, in the same run: scikit-image's BayesShrink, the Lee filter (5 x 5, 8.8 looks), moments of
columns matched, and an SVM on the bands as they are. What was chosen was chosen elsewhere: the
map's wavelet and intervals on six pictures (ascent, moon, astronaut, coffee, coins, aero), the
speckle setting on the VH band, of which every sixth date; the bars are of the camera and of the VV
band. How much parts of the lines must agree on stripes: on the same scenes, with other stripes.

Speckle is scored against the mean power of the 14 nearest other dates, the two adjacent ones left
out. Fields change between dates, so each date's mean difference in dB is taken off first; the bias
is that of the filter, mean power after over mean power before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from scipy.ndimage import median_filter, uniform_filter
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_wavelet

from stcli.noise.space.shrink import unbiased
from stcli.noise.space.similar import shared, similar_mean
from stcli.noise.space.spatial import noise_map
from stcli.noise.space.stripes import find_stripes, striping
from stcli.noise.space.wavelets import bank, diagonal
from stcli.settings import (
    DestripeSettings,
    NoiseMapSettings,
    RunSettings,
    ShrinkSettings,
    SimilarSettings,
)
from stcli.workflows.job import Inputs
from stcli.workflows.noise.denoise import denoise
from stcli.workflows.noise.destripe import destripe
from stcli.workflows.noise.mnf import mnf
from stcli.workflows.noise.noise import noise

DATA = Path(__file__).parents[2] / "shared" / "data"
PROFILE = {"driver": "GTiff", "crs": "EPSG:32631", "transform": from_origin(0, 0, 10, 10)}
#: One setting for all areas: the command's own.
SPECKLE_MAP = NoiseMapSettings(levels=2)
SPECKLE = SimilarSettings()
#: Pixels around a cube that reflection gives.
AROUND = 128
RUN = RunSettings()
NOISY = (0, 1, 2, 102, 103, 143, 144, 198, 199)
results: list[bool] = []


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar."""
    holds = value >= target if op == ">=" else value <= target
    results.append(bool(holds))
    print(f"BAR noise_space.{name} {value:.4g} {op} {target:g} {'ok' if holds else 'short'}")


def save(path: Path, array: NDArray[Any]) -> str:
    """Write bands (band, row, col); return the path as text."""
    count, height, width = array.shape
    how = {"count": count, "height": height, "width": width, "dtype": array.dtype}
    with rasterio.open(path, "w", **PROFILE, **how) as dataset:
        dataset.write(array)
    return str(path)


def read(path: Path) -> NDArray[Any]:
    """Read all bands."""
    with rasterio.open(path) as dataset:
        return np.asarray(dataset.read())


def camera(folder: Path) -> None:
    """Denoise known noise on a known picture, through files."""
    truth = data.camera() / 255.0
    columns = np.broadcast_to(np.linspace(0, 1, 512), truth.shape)
    noises = {
        "ramp": (0.02 + 0.13 * columns, 28.4),
        "step": (np.where(columns < 0.5, 0.03, 0.15), 27.3),
        "uniform": (np.full(truth.shape, 0.08), 29.3),
    }
    for name, (sigma, target) in noises.items():
        noisy = truth + np.random.default_rng(1).normal(size=truth.shape) * sigma
        path = save(folder / "in.tif", noisy[None].astype("float32"))
        begun = time.perf_counter()
        noise(Inputs((path,)), str(folder / f"n_{name}.tif"), NoiseMapSettings(), RunSettings())
        how = (NoiseMapSettings(), ShrinkSettings())
        clean = folder / f"d_{name}.tif"
        denoise(Inputs((path,)), str(clean), "local", how, RunSettings())
        took = time.perf_counter() - begun
        error = np.abs(read(folder / f"n_{name}.tif")[0] / sigma - 1)
        found = peak_signal_noise_ratio(truth, read(clean)[0].astype(float), data_range=1)
        peer = peak_signal_noise_ratio(
            truth, denoise_wavelet(noisy, method="BayesShrink", rescale_sigma=True), data_range=1
        )
        print(
            f"camera {name}: {found:.2f} dB, BayesShrink {peer:.2f} dB; map's error at the 95 % "
            f"point {np.quantile(error, 0.95):.3f}; {took:.1f} s for both verbs"
        )
        bar(f"map_{name}_error", float(np.median(error)), "<=", 0.03)
        bar(f"psnr_{name}", found, ">=", target)


def lee(power: NDArray[Any], looks: float = 8.8) -> NDArray[Any]:
    """Lee's filter (1980) for multiplicative noise, 5 x 5."""
    mean = uniform_filter(power, 5)
    variance = np.maximum(uniform_filter(power * power, 5) - mean * mean, 0)
    signal = np.maximum((variance - mean * mean / looks) / (1 + 1 / looks), 0)
    return np.asarray(mean + signal / (signal + mean * mean / looks) * (power - mean))


def ours(*powers: NDArray[Any]) -> NDArray[Any]:
    """Filter bands of one date as `denoise --model multiplicative` does; give the first."""
    around = np.stack([np.pad(power, AROUND, mode="symmetric") for power in powers])
    valid, values = np.ones(around.shape[1:], dtype=bool), np.log(around)
    maps = [_speckle_map(plane, valid) for plane in values]
    means = similar_mean(values, around, valid, np.stack(maps), SPECKLE)
    clean = unbiased(around[0], means[0], valid)
    return np.asarray(clean[AROUND:-AROUND, AROUND:-AROUND])


def _speckle_map(plane: NDArray[Any], valid: NDArray[Any]) -> NDArray[Any]:
    maps = noise_map(plane, valid, (0, 0), SPECKLE_MAP, AROUND // 2)
    inner = np.s_[AROUND:-AROUND, AROUND:-AROUND]
    return np.nan_to_num(maps[0]) * shared(*(float(np.median(m[inner])) for m in maps))


def speckle(quick: bool) -> None:
    """Score filters on both areas."""
    folder = DATA / "worldcereal-s1s2-cubes"
    if not folder.is_dir():
        print(f"{folder}: missing, no bar for speckle")
        return
    for area, target in (("0000280849BAC91C", 1.38), ("000028085BF08E7E", 1.20)):
        with netCDF4.Dataset(next((folder / area).glob("S1*.nc"))) as cube:
            cube.set_auto_maskandscale(False)
            power, other = (10 ** (cube[name][:].astype(float) / 1e5) for name in ("VV", "VH"))
        dates = range(0, len(power), 8 if quick else 1)
        filters: dict[str, Callable[..., NDArray[Any]]] = {
            "none": lambda x, _: x,
            "Lee": lambda x, _: lee(x),
            "stcli": lambda x, _: ours(x),
            "stcli, VV and VH together": ours,
        }
        scores = {name: _score((power, other), dates, how) for name, how in filters.items()}
        name = area[7:10] if area[7:10].isdigit() else area[6:9]
        print(f"speckle {name}: " + ", ".join(f"{k} {v[0]:.3f} dB" for k, v in scores.items()))
        bar(f"speckle_{name}_rmse", scores["stcli"][0], "<=", target)
        bar(f"speckle_{name}_bias", abs(scores["stcli"][1]), "<=", 0.05)


def _score(
    powers: tuple[NDArray[Any], NDArray[Any]], dates: range, how: Callable[..., NDArray[Any]]
) -> tuple[float, float]:
    """Root mean square in dB against other dates, and bias in dB."""
    power, other = powers
    squares, biases = [], []
    for i in dates:
        others = sorted((j for j in range(len(power)) if abs(j - i) > 1), key=lambda j: abs(j - i))
        found = how(power[i], other[i])
        error = 10 * np.log10(found / power[others[:14]].mean(axis=0))
        squares.append(error.var())
        biases.append(10 * np.log10(found.mean() / power[i].mean()))
    return float(np.sqrt(np.mean(squares))), float(np.mean(biases))


def indian_pines(folder: Path) -> None:
    """Classify as it is, by components, and by denoised bands; stripes of the noisy bands."""
    source = DATA / "indian-pines"
    if not source.is_dir():
        print(f"{source}: missing, no figure for it")
        return
    cube = np.moveaxis(np.load(source / "Indian_pines_corrected.npy"), -1, 0).astype("float32")
    labels = np.load(source / "Indian_pines_gt.npy")
    path = save(folder / "ip.tif", cube)
    mnf(Inputs((path,)), str(folder / "mnf.tif"), NoiseMapSettings(), RunSettings(), components=40)
    components = read(folder / "mnf.tif")
    print(f"Indian Pines, SVM on 29 px blocks: bands {_svm(cube, labels):.1f} %, ", end="")
    for count in (10, 20, 40):
        print(f"{count} components {_svm(components[:count], labels):.1f} %", end=", ")
    print()
    noisy = save(folder / "noisy.tif", cube[list(NOISY)])
    destripe(Inputs((noisy,)), str(folder / "even.tif"), DestripeSettings(), RunSettings())
    even = str(folder / "even.tif")
    noise(Inputs((even,)), str(folder / "sigma.tif"), NoiseMapSettings(window=33), RUN)
    before, after, sigma = (read(folder / f"{name}.tif") for name in ("noisy", "even", "sigma"))
    flat = np.ones_like(sigma)
    for name, bands, scale in (
        ("as they are", before, flat),
        ("destriped", after, flat),
        ("destriped, over the local map", after, sigma),
    ):
        print(f"nine noisy bands {name}: {_evenness(bands.astype(float), scale)}")


def _evenness(bands: NDArray[Any], scale: NDArray[Any]) -> str:
    """Block-deviation CV (8 x 8 blocks of HH coefficients) and striping over noise, medians.

    Striping twice: of all that columns differ by, and of what every part of the lines shares.
    """
    blocks, columns, stripes = [], [], []
    for band, sigma in zip(bands, scale, strict=True):
        around = np.pad(band, 16, mode="symmetric")
        hh = diagonal(around, bank("db4"), 1)[0][16:-16, 16:-16]
        hh = (hh / sigma)[:144, :144]
        deviations = hh.reshape(18, 8, 18, 8).std(axis=(1, 3))
        blocks.append(deviations.std() / deviations.mean())
        deviation, profile = (hh * sigma[:144, :144]).std(), np.median(band, axis=0)
        columns.append((profile - median_filter(profile, 31)).std() / deviation)
        stripes.append(striping(band, 31) / deviation)
    cv, of_all, shared = (np.median(figures) for figures in (blocks, columns, stripes))
    return f"block-deviation CV {cv:.3f}, striping index {of_all:.3f}, shared {shared:.3f}"


def stripes() -> None:
    """Deviations of columns put into scenes: what is left of them, in percent of the scene's."""
    tops = {
        "Sentinel-2 B08": ("s2-eastern-shore-l1c/B08.tif", 1, 1000),
        "Sentinel-2 B08, 100 lines": ("s2-eastern-shore-l1c/B08.tif", 1, 100),
        "aerial photograph": ("chesapeake-naip-lc/train_image.tif", 4, 800),
        "terrain": ("dem-bigtujunga-30m/bigtujunga.tif", 1, 600),
    }
    for name, (path, band, lines) in tops.items():
        if not (DATA / path).exists():
            print(f"{DATA / path}: missing, no figure for it")
            continue
        with rasterio.open(DATA / path) as source:
            truth = source.read(band).astype(np.float64)[:lines, :900]
        for offsets, gains in ((0.0, 0.0), (0.02, 0.0), (0.1, 0.0), (0.05, 0.05), (0.3, 0.1)):
            rng, pivot = np.random.default_rng(6), np.median(truth)
            gain = 1 + gains * rng.normal(size=truth.shape[1])
            offset = offsets * truth.std() * rng.normal(size=truth.shape[1])
            striped = (truth - pivot) * gain + pivot + offset
            results = (striped, _moments(striped), *(_even(striped, way) for way in (False, True)))
            left = (100 * np.sqrt(np.mean((r - truth) ** 2)) / truth.std() for r in results)
            told = " / ".join(f"{error:.2f}" for error in left)
            what = "as it is / moments / offsets / gains too"
            print(f"{name}, offsets {offsets:g}, gains {gains:g}: {what}: {told} %")


def _even(striped: NDArray[Any], with_gain: bool) -> NDArray[Any]:
    return find_stripes(striped, 31, with_gain).remove(striped, 0, 1)


def _moments(striped: NDArray[Any]) -> NDArray[Any]:
    """Match each column's mean and deviation to the running medians over 31 columns."""
    mean, deviation = striped.mean(axis=0), striped.std(axis=0)
    scale = median_filter(deviation, 31) / deviation
    return np.asarray((striped - mean) * scale + median_filter(mean, 31))


def _svm(bands: NDArray[Any], labels: NDArray[Any]) -> float:
    """Accuracy in percent of an RBF SVM, five folds of whole blocks."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    rows, cols = np.nonzero(labels)
    groups = rows // 29 * 5 + cols // 29
    x, y = bands[:, rows, cols].T, labels[rows, cols]
    model = make_pipeline(StandardScaler(), SVC(C=100, gamma="scale"))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    return 100 * float((cross_val_predict(model, x, y, groups=groups, cv=folds) == y).mean())


def bars(quick: bool) -> None:
    """Run all parts."""
    with tempfile.TemporaryDirectory() as name:
        camera(Path(name))
        speckle(quick)
        if not quick:
            stripes()
            indian_pines(Path(name))


def main() -> int:
    """Run all; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    bars(parser.parse_args().quick)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
