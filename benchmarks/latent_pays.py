"""Does latent pay? The latent upscaler beside one at the output's resolution and a pixel shuffle.

    python benchmarks/latent_pays.py [--quick] [--seconds 120] [--factor 2 4] [--kind NAME ...]

Three networks of one width and depth, on the four 10 m bands of ../shared/data's Sentinel-2 scene,
trained on its upper left 960 x 960 pixels and scored on those to the right of them:

- latent: `stcli.downscaling.latent`, attention on latents at a quarter of the coarse pixels;
- pixels: the same blocks of attention at the output's resolution (SwinIR-light in kind);
- shuffle: `stcli.downscaling.network.Shuffle`, convolutions at the coarse resolution.

Each is trained for as many steps as fit in `--seconds` of a core, by the time of its own steps.
Cost is that of one window as `downscale` cuts it, 160 x 160 coarse pixels: multiplications for each
output pixel, processor seconds (the least of five), and the peak memory of a process that does
nothing else, less that of one that only loads. `--quick` trains for 5 s and prints no bar; of some
kinds alone, as for a curve over `--seconds`, there is none either.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from downscaling import DATA, sentinel10
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_unshuffle

from stcli.downscaling import training
from stcli.downscaling.models import build
from stcli.downscaling.network import Noise, Upscaler, conserving
from stcli.downscaling.samples import copies, sample
from stcli.downscaling.splits import split
from stcli.downscaling.validation import residual_of
from stcli.nn.swin import WINDOW, SwinBlock
from stcli.settings import DownscalerTraining, UpscalerSettings

KINDS = ("latent", "pixels", "shuffle")
BANDS, SIDE, WINDOW_SIDE = 4, 960, 160
results: list[bool] = []


class Pixels(Upscaler):
    """Swin blocks at the output's resolution: its features are repeated, then attended to."""

    def __init__(self, bands: int, guides: int, settings: UpscalerSettings) -> None:
        super().__init__(bands, guides, settings)
        width = settings.width
        self.stem = nn.Conv2d(self.features, width, 3, padding=1, padding_mode="replicate")
        self.body = nn.Sequential(
            *(SwinBlock(width, 4, bool(i % 2)) for i in range(settings.blocks)),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
        )
        self.last = nn.Conv2d(width, bands, 3, padding=1, padding_mode="replicate")
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.noise = Noise(width)

    def forward(self, x: Tensor, factor: int, noise: Tensor | None = None) -> Tensor:
        """Find the residual."""
        h, w = x.shape[-2:]
        more = (0, -w % WINDOW, 0, -h % WINDOW)
        latent = self.stem(self.scaled(pad(x, more, mode="replicate")))
        if noise is not None:
            latent = latent + self.noise(latent, pad(noise, more, mode="replicate"))
        fine = interpolate(latent, scale_factor=factor, mode="nearest")
        found = pixel_unshuffle(self.last(fine + self.body(fine)), factor)
        return conserving(found, factor)[..., :h, :w]


def made(kind: str, factor: int) -> Upscaler:
    """Make one of the three, untrained."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = UpscalerSettings(factors=(factor,))
    if kind == "pixels":
        return Pixels(BANDS, 0, settings)
    return build(BANDS, 0, replace(settings, architecture=kind))


def products(network: Upscaler, x: Tensor, factor: int) -> float:
    """Count multiplications of one run for each output pixel and band."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, SwinBlock):  # tokens with tokens, twice
            total += 2 * output.numel() * WINDOW**2

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    residual_of(network, x, factor)
    for hook in hooks:
        hook.remove()
    return total / (x.shape[-1] * x.shape[-2] * factor**2)


def probe(kind: str, factor: int) -> None:
    """Print seconds, peak bytes and multiplications of one window; run in a process of its own."""
    network = made("shuffle" if kind == "none" else kind, factor)
    x = torch.randn(network.features, WINDOW_SIDE, WINDOW_SIDE)
    seconds = []
    for _ in range(0 if kind == "none" else 5):
        begun = time.process_time()
        residual_of(network, x, factor)
        seconds.append(time.process_time() - begun)
    # the kernel's figure of getrusage is never below that of the process it was started from
    told = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    peak = int(told.split()[0]) * 1024
    counted = 0.0 if kind == "none" else products(network, x, factor)
    print(min(seconds, default=0.0), peak, counted)


def probed(kind: str, factor: int) -> tuple[float, float, float]:
    """Run `probe` apart."""
    argv = [sys.executable, __file__, "--probe", kind, "--factor", str(factor)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    seconds, peak, counted = map(float, done.stdout.split())
    return seconds, peak, counted


def trained(kind: str, factor: int, field: np.ndarray, seconds: float) -> tuple[Upscaler, int]:
    """Train for a budget of processor time; give the network and its steps."""
    training.SPREAD_SHARE = 1e-9
    samples = copies(field, None, factor, [(0.0,) * BANDS])
    trial = DownscalerTraining(every=1000)
    one = split(samples[0], trial)
    network = made(kind, factor)
    spent = []
    for steps in (6, 6, 30):  # the first run of all is slow; what is not a step is in each
        begun = time.process_time()
        training.train(network, [one.data], replace(trial, steps=steps))
        spent.append(time.process_time() - begun)
    steps = max(20, round(seconds / max(1e-3, (spent[2] - spent[1]) / 24)))
    network = made(kind, factor)
    every = max(1, steps // 6)
    how = DownscalerTraining(steps=steps, every=every, patience=99)
    training.train(network, samples, how, 1)
    return network, steps


def scored(network: Upscaler, field: np.ndarray, factor: int) -> np.ndarray:
    """RMSE over ibp's by band, off a margin of 8 coarse pixels."""
    one = sample(field, None, factor)
    found = residual_of(network, torch.from_numpy(one.inputs), factor)
    inner = np.s_[:, 8:-8, 8:-8]
    wrong, wanted = (
        (a[inner].reshape(BANDS, -1).astype(float) ** 2).mean(axis=1)
        for a in (found - one.target, one.target)
    )
    return np.asarray(np.sqrt(wrong / wanted))


def bar(name: str, value: float, op: str, target: float) -> None:
    """Print one bar and remember whether it holds."""
    holds = value <= target if op == "<=" else value >= target
    results.append(holds)
    print(f"BAR latent_pays.{name} {value:.4g} {op} {target:g} {'ok' if holds else 'short'}")


def compare(factor: int, seconds: float, kinds: list[str], quick: bool) -> None:
    """Measure the three, or some of them, at one factor."""
    scene = sentinel10()
    shown, asked = scene[:, :SIDE, :SIDE], scene[:, :SIDE, SIDE + 8 : 2 * SIDE + 8]
    nothing = probed("none", factor)[1]
    cost = {kind: probed(kind, factor) for kind in kinds}
    decibels = {}
    for kind in kinds:
        spent, peak, counted = cost[kind]
        network, steps = trained(kind, factor, shown, seconds)
        ratios = scored(network, asked, factor)
        decibels[kind] = -20 * float(np.log10(ratios).mean())
        print(
            f"x{factor} {kind}: {decibels[kind]:+.3f} dB over ibp (B02 B03 B04 B08 "
            f"{np.round(ratios, 4)}), {steps} steps; {counted:.0f} multiplications an output "
            f"pixel, {1e3 * spent:.0f} ms and {(peak - nothing) / 1e6:.0f} MB a window, "
            f"{sum(p.numel() for p in network.parameters())} weights",
            flush=True,
        )
    if quick or len(kinds) < len(KINDS):
        return
    ours = cost["latent"][0]
    bar(f"x{factor}_db_to_pixels", decibels["latent"] - decibels["pixels"], ">=", -0.1)
    bar(f"x{factor}_time_to_pixels", ours / cost["pixels"][0], "<=", 0.4)
    bar(f"x{factor}_db_to_shuffle", decibels["latent"] - decibels["shuffle"], ">=", 0)
    bar(f"x{factor}_time_to_shuffle", ours / cost["shuffle"][0], "<=", 1)


def main() -> int:
    """Compare; 0 when every bar holds, 7 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--factor", type=int, nargs="+", default=[2, 4], choices=(2, 4))
    parser.add_argument("--kind", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--probe", choices=(*KINDS, "none"))
    asked = parser.parse_args()
    if asked.probe:
        probe(asked.probe, asked.factor[0])
        return 0
    if not DATA.exists():
        print(f"no {DATA}: nothing is measured")
        return 0
    for factor in asked.factor:
        compare(factor, 5.0 if asked.quick else asked.seconds, asked.kind, asked.quick)
    return 0 if all(results) else 7


if __name__ == "__main__":
    sys.exit(main())
