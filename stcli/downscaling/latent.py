"""The latent upscaler: LUA's structure (Razin et al. 2025, arXiv:2511.10629) on the user's bands.

::

    coarse ── stem ── Swin blocks ── head of ×s ── shuffle s ── latents ── decoder ── residual
    (f, h, w)   └──── (width, h/2, w/2) ────┘              (z, sh/2, sw/2)    │    (c, sh, sw)
        └──────────────────── features of the coarse field ───────────────────┘

Attention works at a quarter of the coarse pixels; the backbone is shared by the heads. Training:
the autoencoder alone; then LUA's stages: latents (L1 and Fourier magnitudes), latents and pixels
together (with coarsened and high-frequency terms), pixels. Here the encoder of fine residuals is
for training only and the coarse field has its own stem, since the same encoder on both leaves a
gap between their latents that LUA measures as forty times that in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, pixel_shuffle, pixel_unshuffle

from stcli.downscaling.autoencoder import STRIDE, Decoder, Encoder
from stcli.downscaling.network import Noise, Upscaler, conserving, pixel_loss
from stcli.nn.swin import WINDOW, SwinBlock
from stcli.settings import UpscalerSettings

#: Coarse pixels along a side that a window of attention spans.
SPAN = STRIDE * WINDOW
#: Weights of the joint stage: latents, their spectrum, coarsened pixels, high frequencies.
_JOINT = (1.0, 0.1, 0.1, 0.05)


class Latent(Upscaler):
    """Swin blocks on latents, a head for each factor, and a decoder."""

    stages = (("autoencoder", 0.15), ("latent", 0.15), ("joint", 0.2), ("pixel", 0.5))

    def __init__(self, bands: int, guides: int, settings: UpscalerSettings) -> None:
        super().__init__(bands, guides, settings)
        width, latents = settings.width, max(8, settings.width // 2)
        self.encoder = Encoder(bands, latents, width)
        self.decoder = Decoder(self.features, bands, latents, width)
        self.stem = nn.Conv2d(
            self.features * STRIDE**2, width, 3, padding=1, padding_mode="replicate"
        )
        self.body = nn.Sequential(
            *(SwinBlock(width, 4, bool(i % 2)) for i in range(settings.blocks)),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate"),
        )
        self.heads = nn.ModuleDict(
            {
                str(s): nn.Conv2d(width, latents * s**2, 3, padding=1, padding_mode="replicate")
                for s in settings.factors
            }
        )
        self.noise = Noise(width, STRIDE)

    def forward(self, x: Tensor, factor: int, noise: Tensor | None = None) -> Tensor:
        """Find the residual; see `stcli.downscaling.network.Shuffle.forward`."""
        h, w = x.shape[-2:]
        beyond = (0, -w % SPAN, 0, -h % SPAN)
        scaled = self.scaled(pad(x, beyond, mode="replicate"))
        added = None if noise is None else pad(noise, beyond)
        latents = self._upscale(scaled, factor, added)
        return self._decode(latents, scaled, factor)[..., :h, :w]

    def loss(self, stage: str, inputs: Tensor, target: Tensor, factor: int) -> Tensor:
        """Measure a stage's loss on crops; see `Upscaler.loss`."""
        if stage == "pixel":
            return super().loss(stage, inputs, target, factor)
        scaled, truth = self.scaled(inputs), torch.nan_to_num(target)
        wanted = self.encoder(pixel_shuffle(truth, factor))
        if stage == "autoencoder":
            return pixel_loss(self._decode(wanted, scaled, factor), target)
        wanted = wanted.detach()
        found = self._upscale(scaled, factor)
        latent, waves = (found - wanted).abs().mean(), _spectral(found, wanted)
        if stage == "latent":
            only: Tensor = latent + 0.1 * waves
            return only
        fine, real = (
            pixel_shuffle(a, factor) for a in (self._decode(found, scaled, factor), truth)
        )
        small = (avg_pool2d(fine, 2) - avg_pool2d(real, 2)).abs().mean()
        sharp = (_high(fine) - _high(real)).abs().mean()
        terms = (latent, waves, small, sharp)
        whole = pixel_loss(pixel_unshuffle(fine, factor), target)
        for weight, term in zip(_JOINT, terms, strict=True):
            whole = whole + weight * term
        return whole

    def trained(self, stage: str) -> list[nn.Parameter]:
        """Parameters that a stage moves."""
        autoencoder = [*self.encoder.parameters(), *self.decoder.parameters()]
        upscaler = [*self.stem.parameters(), *self.body.parameters(), *self.heads.parameters()]
        frozen = {"autoencoder": autoencoder, "latent": upscaler}
        return frozen.get(stage, [*self.decoder.parameters(), *upscaler])

    def _upscale(self, scaled: Tensor, factor: int, noise: Tensor | None = None) -> Tensor:
        """Scaled features (b, f, h, w) to latents (b, z, s h / 2, s w / 2)."""
        x = self.stem(pixel_unshuffle(scaled, STRIDE))
        x = x + self.body(x)
        if noise is not None:
            x = x + self.noise(x, noise)
        latents: Tensor = pixel_shuffle(self.heads[str(factor)](x), factor)
        return latents

    def _decode(self, latents: Tensor, scaled: Tensor, factor: int) -> Tensor:
        return conserving(pixel_unshuffle(self.decoder(latents, scaled), factor), factor)


def _spectral(a: Tensor, b: Tensor) -> Tensor:
    """Compare Fourier magnitudes channel by channel (L1, orthonormal)."""
    waves = [torch.fft.rfft2(x, norm="ortho").abs() for x in (a, b)]
    apart: Tensor = (waves[0] - waves[1]).abs().mean()
    return apart


def _high(x: Tensor) -> Tensor:
    """Keep what a mean over 5 x 5 pixels takes away."""
    return x - avg_pool2d(x, 5, 1, 2, count_include_pad=False)
