"""Window attention (Swin, Liu et al. 2021, arXiv:2103.14030) on windows of a fixed lattice.

Every second block's windows are moved by half a window. They are moved by padding, not by rolling
the array around: what lies beyond the array is masked, so no pixel attends to the opposite edge.

Letters: b batch, d width, h and w rows and columns, n tokens of a window, k heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad, scaled_dot_product_attention

#: Side of an attention window.
WINDOW = 8


class SwinBlock(nn.Module):
    """Attention within windows, then a two-layer network a token, each beside the identity.

    Parameters
    ----------
    width, heads : int
    shifted : bool
        Windows start half a window before the array.
    """

    def __init__(self, width: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.shift = heads, WINDOW // 2 if shifted else 0
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mixed = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.bias = nn.Parameter(torch.zeros(heads, (2 * WINDOW - 1) ** 2))
        self.register_buffer("relative", _relative(), persistent=False)

    relative: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Attend and transform.

        Parameters
        ----------
        x : Tensor, (b, d, h, w)
            Sides are multiples of `WINDOW`.

        Returns
        -------
        Tensor, (b, d, h, w)
        """
        tokens = x.permute(0, 2, 3, 1)
        tokens = tokens + self._attend(self.norms[0](tokens))
        tokens = tokens + self.down(gelu(self.up(self.norms[1](tokens))))
        found: Tensor = tokens.permute(0, 3, 1, 2)
        return found

    def _attend(self, tokens: Tensor) -> Tensor:
        """Attend within windows: (b, h, w, d) to the same."""
        b, h, w, d = tokens.shape
        s = self.shift
        padded = pad(tokens, (0, 0, s, s, s, s))
        windows = _windows(padded)
        count, n, _ = windows.shape
        q, k, v = self.mixed(windows).reshape(count, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = scaled_dot_product_attention(q, k, v, attn_mask=self._mask(padded, b))
        joined = self.out(found.transpose(1, 2).reshape(count, n, d))
        return _unwindows(joined, b, h + 2 * s, w + 2 * s)[:, s : s + h, s : s + w]

    def _mask(self, padded: Tensor, b: int) -> Tensor:
        """Bias by relative position; minus infinity for what was padded."""
        bias = self.bias[:, self.relative]
        if not self.shift:
            return bias[None]
        inside = pad(
            padded.new_ones(padded.shape[1] - 2 * self.shift, padded.shape[2] - 2 * self.shift),
            (self.shift,) * 4,
        )
        known = _windows(inside[None, :, :, None])[:, :, 0] > 0
        hidden = torch.where(known, 0.0, -torch.inf)[:, None, None, :]
        return (bias[None] + hidden).repeat(b, 1, 1, 1)


def _windows(tokens: Tensor) -> Tensor:
    """Cut (b, h, w, d) into (b * windows, n, d)."""
    b, h, w, d = tokens.shape
    cut = tokens.reshape(b, h // WINDOW, WINDOW, w // WINDOW, WINDOW, d)
    return cut.transpose(2, 3).reshape(-1, WINDOW**2, d)


def _unwindows(windows: Tensor, b: int, h: int, w: int) -> Tensor:
    """Undo `_windows`."""
    cut = windows.reshape(b, h // WINDOW, w // WINDOW, WINDOW, WINDOW, -1)
    return cut.transpose(2, 3).reshape(b, h, w, -1)


def _relative() -> Tensor:
    """Give numbers to the relative positions of all pairs of a window's tokens: (n, n)."""
    at = torch.stack(torch.meshgrid(*[torch.arange(WINDOW)] * 2, indexing="ij")).flatten(1)
    apart = at[:, :, None] - at[:, None, :] + WINDOW - 1
    return apart[0] * (2 * WINDOW - 1) + apart[1]
