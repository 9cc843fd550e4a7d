"""Noise whitened in time: the WDM transform, rasters of dates, and gravitational-wave strain.

    python benchmarks/noise.py [--quick]

Peers: one scipy.fft.rfft of the same length and WDMWaveletTransforms (in turn, ratios of medians),
Welch with a matched filter, and a running STFT. Real strain is `gw-ligo-events`. Edges of the
record, where the peers ring, are left out: `EDGE` seconds at both ends, for all alike; how loud
they come out of stcli is a bar of its own.

The imposed gains act on real strain whitened by its stationary density: 1 + 0.8 sin(2πt / 8 s) on
the whole band, the same on 100–400 Hz, and a burst of three times the amplitude for 2 s. The
paired gain error is the standard deviation of ln(block deviation whitened / that of the truth),
in blocks of 0.25 s; for the gain in 100–400 Hz both are looked at in that band.
The spatial half, `noise_space.py`, runs after this one where it is there.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import signal

from stcli.noise.time.dates import Dates
from stcli.noise.time.groups import Whitened, whiten_group
from stcli.noise.time.wdm import Tiling, forward, inverse
from stcli.noise.time.whitening import whiten
from stcli.settings import WhitenSettings

DATA = Path(__file__).parents[2] / "shared" / "data" / "gw-ligo-events"
RATE, EDGE, BLOCK = 4096, 3, 1024
BAND = (100, 400)
PUBLISHED = {"H1": 18.56, "L1": 13.21}
results: list[bool] = []
Samples = NDArray[np.float64]


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = {">=": value >= target, "<=": value <= target}[op]
    results.append(holds)
    print(f"BAR noise.{name} {value:.4g} {op} {target:g} {'ok' if holds else 'short'}", flush=True)


def in_turn(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each, run in turn after one warm-up."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            begun = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(seen) for name, seen in times.items()}


def transform(quick: bool) -> None:
    """Round trip, energy, agreement and speed of the WDM transform."""
    samples = 2**18 if quick else 2**20
    x = np.random.default_rng(0).normal(size=samples)
    peer = _peer()
    for rows in (1024, 4096):
        tiling = Tiling(samples // rows, rows)
        cells = forward(x, tiling, 2)
        trip = np.abs(inverse(cells, tiling, 2) - x).max() / np.abs(x).max()
        bar(f"round_trip_{rows}", float(trip), "<=", 1e-13)
        bar(f"parseval_{rows}", float(abs((cells**2).sum() / (x**2).sum() - 1)), "<=", 1e-13)
        works: dict[str, Callable[[], Any]] = {
            "rfft": lambda: scipy.fft.rfft(x),
            "forward": lambda t=tiling: forward(x, t, 2),
            "inverse": lambda t=tiling, c=cells: inverse(c, t, 2),
        }
        if peer is not None:
            theirs = peer[0](x, rows, tiling.times)
            apart = np.abs(np.abs(cells.T) - np.abs(theirs)).max()
            bar(f"modulus_{rows}", float(apart), "<=", 1e-12)
            works["peer_forward"] = lambda r=rows, t=tiling: peer[0](x, r, t.times)
            works["peer_inverse"] = lambda r=rows, t=tiling, w=theirs: peer[1](w, r, t.times)
        seconds = in_turn(works, 7 if quick else 15)
        for way in ("forward", "inverse"):
            bar(f"{way}_{rows}_rffts", seconds[way] / seconds["rfft"], "<=", 2.5)
            if peer is not None:
                ratio = seconds[f"peer_{way}"] / seconds[way]
                bar(f"{way}_{rows}_vs_peer", ratio, ">=", 1.6 if rows == 4096 else 1)


def _peer() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    try:
        from WDMWaveletTransforms import wavelet_transforms as peer
    except ImportError:
        print("WDMWaveletTransforms is not installed: not compared")
        return None
    return peer.transform_wavelet_freq_time, peer.inverse_wavelet_freq_time


def raster(quick: bool) -> None:
    """Whiten a million pixels of 64 dates through the command line, at 2 GB."""
    from odc.geo.geobox import GeoBox
    from rasterio import Affine
    from rasterio.windows import Window

    from stcli.raster.timeaxis import TimeAxis
    from stcli.raster.writing.netcdf_write import CubeBand, CubeSpec, create_cube

    side = 250 if quick else 1000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cube.nc"
        box = GeoBox((side, side), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32618")
        times = TimeAxis(tuple(np.arange(64) * 6.0), "days since 2019-01-01")
        rng = np.random.default_rng(0)
        with create_cube(CubeSpec(str(path), (CubeBand("v"),), times), box) as writer:
            for row in range(0, side, 128):
                high = min(128, side - row)
                x = rng.standard_normal((64, 1, high, side), np.float32)
                x[1:] += 0.7 * x[:-1]
                writer.write(Window(0, row, side, high), x)
        command = "import sys; from stcli.cli.app import main; sys.exit(main(sys.argv[1:]))"
        words = ["whiten", path, Path(folder) / "white.nc", "--memory", "2GB", "-j", "2", "-q"]
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", command, *map(str, words)], check=True)
        seconds = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = used.ru_maxrss * 1024 / 1e9
    print(f"64 dates: {used.ru_utime + used.ru_stime:.0f} s of processor time on two threads")
    bar("raster_64_dates_seconds_per_megapixel", seconds / (side * side / 1e6), "<=", 60)
    bar("raster_64_dates_peak_gb", peak, "<=", 2)


def strain() -> dict[str, Samples]:
    """Strain of both detectors, and the template (complex)."""
    found = {}
    for detector, letter in (("H1", "H"), ("L1", "L")):
        name = f"{letter}-{detector}_LOSC_4_V2-1126259446-32.hdf5"
        with netCDF4.Dataset(DATA / name) as file:
            found[detector] = np.asarray(file["strain/Strain"][:], float)
    with netCDF4.Dataset(DATA / "GW150914_4_template.hdf5") as file:
        plus, cross = np.asarray(file["template"][:], float)
    found["template"] = plus + 1j * cross
    return found


def whitened(x: Samples, evolving: bool = True) -> tuple[Samples, Whitened]:
    """Whiten one series as the command does."""
    dates = Dates(tuple(range(x.size)), 1 / RATE)
    group = whiten_group(x[:, None], dates, WhitenSettings(share=1, evolving=evolving))
    return group.values[:, 0], group


def deviations(y: Samples, block: int = BLOCK) -> Samples:
    """Return standard deviations of blocks, of 0.25 s unless said, edges left out."""
    inner = y[EDGE * RATE : y.size - EDGE * RATE]
    return inner[: inner.size // block * block].reshape(-1, block).std(axis=1)


def ends(y: Samples) -> Samples:
    """Return standard deviations of the blocks of 0.25 s that all others leave out."""
    both = np.concatenate([y[: EDGE * RATE], y[-EDGE * RATE :]])
    return both.reshape(-1, BLOCK).std(axis=1)


def paired(y: Samples, truth: Samples) -> float:
    """Paired gain error."""
    return float(np.log(deviations(y) / deviations(truth)).std())


def in_band(y: Samples) -> Samples:
    """Cut the band in which a gain was imposed."""
    return signal.sosfiltfilt(signal.butter(8, BAND, "band", fs=RATE, output="sos"), y)


def welch(x: Samples) -> Samples:
    """Return one-sided density on the frequencies of an FFT of the record: 4 s, Blackman, mean."""
    f, density = signal.welch(x, RATE, "blackman", 4 * RATE, 2 * RATE, detrend=False)
    return np.interp(np.abs(np.fft.fftfreq(x.size, 1 / RATE)), f, density)


def alike(group: Whitened, wave: Samples) -> Samples:
    """Whiten a waveform by the spectrum that a series was whitened by."""
    frames = whiten(wave[None], group.spectrum)
    return frames[0, group.spectrum.frame.inside]


def ratio(y: Samples, wave: Samples) -> float:
    """Signal-to-noise ratio of a waveform, whitened alike, where it lies: noise by its blocks."""
    return float(y @ wave / np.sqrt(wave @ wave) / np.median(deviations(y)))


def autocorrelation(y: Samples) -> float:
    """Largest autocorrelation at lags 1 to 100, edges left out."""
    inner = y[EDGE * RATE : y.size - EDGE * RATE]
    power = np.abs(scipy.fft.rfft(inner - inner.mean(), 2 * inner.size)) ** 2
    found = scipy.fft.irfft(power)[:101]
    return float(np.abs(found[1:] / found[0]).max())


def event(x: Samples, template: Any) -> tuple[float, Samples]:
    """Find the event as the published analysis does: its ratio, and its waveform in place.

    Welch's density (4 s, Blackman, mean), a Tukey window, and the best time, phase and size.
    """
    window = signal.windows.tukey(x.size, 1 / 8)
    wave, weight = np.fft.fft(template * window), 1 / (RATE * welch(x))
    product = 2 * np.fft.ifft(np.fft.fft(x * window) * wave.conj() * weight)
    power = (np.abs(wave) ** 2 * weight).sum() / x.size
    shift = int(np.abs(product).argmax())
    scale = product[shift] / power / 2
    return float(np.abs(product[shift]) / np.sqrt(power)), np.roll((template * scale).real, shift)


def published_filter(x: Samples, y: Samples, template: Any) -> float:
    """Peak ratio of whitened strain under the published filter, whitened by Welch's density."""
    window = signal.windows.tukey(x.size, 1 / 8)
    wave = np.fft.fft(template * window) * np.sqrt(2 / (RATE * welch(x)))
    product = np.abs(np.fft.ifft(np.fft.fft(y * window) * wave.conj())).max()
    energy = (np.abs(wave) ** 2).sum() / x.size
    return float(product / np.sqrt(energy / 2) / np.median(deviations(y)))


def published_whitener(x: Samples) -> Samples:
    """Whiten by Welch's density and a Tukey window, as the published analysis does."""
    window = signal.windows.tukey(x.size, 1 / 8)
    white = np.fft.ifft(np.fft.fft(x * window) * np.sqrt(2 / (RATE * welch(x))))
    return white.real


def no_harm(data: dict[str, Any]) -> None:
    """Strain as it is: the event keeps its ratio, and nothing is over-whitened."""
    for detector, published in PUBLISHED.items():
        x = data[detector]
        reference, wave = event(x, data["template"])
        y, group = whitened(x)
        ours = ratio(y, alike(group, wave))
        theirs = published_filter(x, y, data["template"])
        print(f"{detector}: Welch {reference:.2f}; whitened by us, under the published filter")
        print(
            f"    {theirs:.2f} (published {published}), under a filter by our spectrum {ours:.2f}"
        )
        bar(f"snr_published_filter_{detector}", abs(1 - theirs / published), "<=", 0.02)
        bar(f"snr_own_filter_loss_{detector}", 1 - ours / published, "<=", 0.02)
        quiet = deviations(alike(group, wave)) < 0.1  # the event is no noise
        plain = deviations(published_whitener(x))[quiet]
        blocks = deviations(y)[quiet]
        spread, seconds = blocks.std() / blocks.mean(), deviations(y, RATE)
        print(f"{detector}: CV {plain.std() / plain.mean():.4f} by Welch, the same blocks")
        bar(f"cv_seconds_{detector}", seconds.std() / seconds.mean(), "<=", 0.015)
        bar(f"cv_low_{detector}", spread, ">=", 0.021)
        bar(f"cv_high_{detector}", spread, "<=", 0.023)
        bar(f"autocorrelation_{detector}", autocorrelation(y), "<=", 0.05)
        bar(f"loudest_end_{detector}", float(ends(y).max()), "<=", 1 + 5 / np.sqrt(2 * BLOCK))


def stft(x: Samples, seconds: float) -> Samples:
    """Whiten by a running STFT: 0.25 s segments, mean power over `seconds`."""
    _, _, z = signal.stft(x, RATE, nperseg=BLOCK, noverlap=BLOCK // 2, boundary="even")
    width = max(1, round(seconds * RATE / (BLOCK // 2)))
    kernel = np.ones(width) / width
    power = np.apply_along_axis(
        lambda row: np.convolve(np.pad(row, width, mode="reflect"), kernel, "same")[width:-width],
        1,
        np.abs(z) ** 2,
    )
    y = signal.istft(z / np.sqrt(power), RATE, nperseg=BLOCK, noverlap=BLOCK // 2)[1][: x.size]
    return y / y.std()


def modulated(truth: Samples) -> dict[str, Samples]:
    """Impose the three gains."""
    t = np.arange(truth.size) / RATE
    slow = 1 + 0.8 * np.sin(2 * np.pi * t / 8)
    burst = np.where((t >= 15) & (t < 17), 3.0, 1.0)
    spectrum, f = np.fft.rfft(truth), np.fft.rfftfreq(truth.size, 1 / RATE)
    part = np.fft.irfft(spectrum * ((f >= BAND[0]) & (f <= BAND[1])), truth.size)
    return {"broadband": truth * slow, "burst": truth * burst, "in_band": truth + part * (slow - 1)}


def gains(data: dict[str, Any]) -> None:
    """Imposed gains: paired error beside the best of three running STFTs."""
    limits = {"broadband": 0.025, "burst": 0.035, "in_band": 0.06}
    for detector in PUBLISHED:
        truth = whitened(data[detector], evolving=False)[0]
        for name, x in modulated(truth).items():
            look = in_band if name == "in_band" else (lambda y: y)
            ours = paired(look(whitened(x)[0]), look(truth))
            theirs = min(paired(look(stft(x, s)), look(truth)) for s in (0.5, 0.75, 1.0))
            bar(f"gain_{name}_{detector}", ours, "<=", limits[name])
            bar(f"gain_{name}_{detector}_over_stft", ours / theirs, "<=", 1)


def signals(data: dict[str, Any]) -> None:
    """Ratio lost under modulation: the event's waveform at 18, injected where there is none.

    Against the ratio in the noise as it was before the gain, of the same waveform; the mean over
    several places, one at a time.
    """
    for detector in PUBLISHED:
        truth, group = whitened(data[detector], evolving=False)
        wave = alike(group, event(data[detector], data["template"])[1])
        wave *= 18 / np.sqrt(wave @ wave)
        lost: dict[str, list[float]] = {}
        for seconds in (-10, -7.5, -5, 3.5, 6, 8.5):
            moved = np.roll(wave, int(seconds * RATE))
            ideal = ratio(truth + moved, moved)
            for name, x in modulated(truth + moved).items():
                y, known = whitened(x)
                ours = ratio(y, alike(known, modulated(moved)[name]))
                lost.setdefault(name, []).append(1 - ours / ideal)
        for name, found in lost.items():
            bar(f"snr_lost_{name}_{detector}", float(np.mean(found)), "<=", 0.05)


def main() -> int:
    """Run and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("transform", "raster", "strain", "space"))
    asked = parser.parse_args()
    only = asked.only
    if only in (None, "transform"):
        transform(asked.quick)
    if only in (None, "raster"):
        raster(asked.quick)
    if only in (None, "strain"):
        if DATA.exists():
            data = strain()
            no_harm(data)
            gains(data)
            signals(data)
        else:
            print("gw-ligo-events is absent: strain is not measured")
    if only in (None, "space") and importlib.util.find_spec("noise_space"):
        import noise_space

        noise_space.bars(asked.quick)
        results.extend(noise_space.results)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
