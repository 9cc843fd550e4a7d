"""A small autoencoder of what the base misses: fine residuals of the user's bands to latents.

One latent pixel stands for 2 x 2 fine ones. The decoder also sees the coarse field's features,
which a latent need not carry again (a departure from LUA, where the decoder sees latents alone).

Letters: b batch, c bands, z latent channels, f features, s factor, h and w coarse sides.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, pixel_shuffle, pixel_unshuffle

#: Fine pixels along a side of a latent one.
STRIDE = 2


class Encoder(nn.Module):
    """Fine residual (b, c, s h, s w) to latents (b, z, s h / 2, s w / 2)."""

    def __init__(self, bands: int, latents: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(bands * STRIDE**2, width, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(width, latents, 1)

    def forward(self, residual: Tensor) -> Tensor:
        """Encode a scaled residual (b, c, h, w): (b, latent, h / STRIDE, w / STRIDE)."""
        found: Tensor = self.second(gelu(self.first(pixel_unshuffle(residual, STRIDE))))
        return found


class Decoder(nn.Module):
    """Latents and coarse features to a fine residual (b, c, s h, s w)."""

    def __init__(self, features: int, bands: int, latents: int, width: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(features, width, 3, padding=1, padding_mode="replicate")
        self.first = nn.Conv2d(latents, width, 3, padding=1, padding_mode="replicate")
        self.second = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.last = nn.Conv2d(width, bands * STRIDE**2, 3, padding=1, padding_mode="replicate")
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor, coarse: Tensor) -> Tensor:
        """Decode beside the scaled features of the coarse field.

        Parameters
        ----------
        latents : Tensor, (b, latent, h, w)
        coarse : Tensor, (b, f, h', w')
            Repeated to the latents' size.

        Returns
        -------
        Tensor, (b, c, STRIDE * h, STRIDE * w)
        """
        seen = interpolate(self.skip(coarse), size=latents.shape[-2:], mode="nearest")
        x = gelu(self.first(latents) + seen)
        x = x + gelu(self.second(x))
        return pixel_shuffle(self.last(x), STRIDE)
