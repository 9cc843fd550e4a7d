"""The GLocal network on a CPU, for inference: what `network` computes, no torch.

It takes half the time and a third of the memory for a window, and loads no framework. The two
differ by rounding.
"""

from __future__ import annotations

import numpy as np

from stcli.landcover.network import head_cpu, local_cpu
from stcli.landcover.network.head_cpu import HeadCpu
from stcli.landcover.network.local_cpu import LocalBranchCpu, slack
from stcli.landcover.network.parameters import shapes
from stcli.landcover.network.sums import mean_deviation
from stcli.landcover.network.tokens import Tokens
from stcli.landcover.network.windows import Window
from stcli.nn.mamba_cpu import BidirectionalMambaCpu, Floats, State, layer_norm, linear
from stcli.nn.products import padded
from stcli.nn.weights import part_of
from stcli.settings import BandScaling, NetworkSettings

#: Bytes a pixel of `tokens.tokenise`, with a window's segments and their places.
_NUMBERING = 120
#: What `rehearse` compiles, or has compiled.
KERNELS = (*local_cpu.KERNELS, *head_cpu.KERNELS)


class GLocalCpu:
    """The network of a state, of rasters of one date.

    Parameters
    ----------
    state : mapping of str to ndarray of float32
        As `stcli.landcover.network.network.GLocal` names them.
    size : (int, int)
        Bands and classes.
    settings : NetworkSettings
    scaling : BandScaling
    step : int
        Pixels between the segments' seeds.

    Raises
    ------
    TypeError
        When the state is not of such a network.
    """

    def __init__(
        self,
        state: State,
        size: tuple[int, int],
        settings: NetworkSettings,
        scaling: BandScaling,
        step: int,
    ) -> None:
        found = {name: array.shape for name, array in state.items()}
        if found != shapes(*size, settings) or any(a.dtype != np.float32 for a in state.values()):
            raise TypeError("weights of another network")
        self.settings, self.scaling, self.step = settings, scaling, step
        local = part_of(state, "local")
        self.local = LocalBranchCpu(local, settings) if local else None
        self.embed = linear(state, "embed")
        self.mix = [
            BidirectionalMambaCpu(part_of(state, f"mix.{n}")) for n in range(settings.layers)
        ]
        self.norm = (state["token_norm.weight"], state["token_norm.bias"])
        self.head = HeadCpu(state)

    def __call__(self, window: Window, asked: tuple[slice, slice]) -> Floats:
        """Probabilities (class, row, col) of the asked rows and columns of a window."""
        tokens = window.tokens(self.step, self.settings.order)
        bands = window.scaled(self.scaling)
        pixels = [np.ascontiguousarray(bands.reshape(len(bands), -1).T)]
        if self.local is not None:
            pixels.append(self.local(bands, window.valid))
        mixed = self._tokens(pixels, tokens)
        local = pixels[-1] if self.local is not None else _with_slack(pixels[0])
        return self.head(local, mixed, tokens.index, asked)

    def bytes(self, tokens: int) -> int:
        """Bytes that it holds at its peak for a window of so many tokens.

        Of each pixel the CNN's rows at all resolutions (and eight rows more of each image, in
        which two convolutions work), its features and bands, what numbering
        the segments takes, the window's own arrays and its result; of each token ten inner widths
        of the scan and its moments.
        """
        bands, c, d = len(self.scaling.low), self.settings.local_width, self.settings.model_width
        side = self.settings.window
        levels = [(3 * k * c, side // n) for k, n in ((1, 1), (2, 2), (3, 4))]
        rows = sum(each * (n + 1 + 8) * padded(n + 1) for each, n in levels)
        rows += (bands + 1) * (side + 1) * padded(side + 1)
        pixel = 4 * (c + 4 * bands + 2 * self.head.classes) + _NUMBERING
        token = 4 * (20 * padded(d) + 4 * (bands + c))
        return 4 * rows + side**2 * pixel + tokens * token

    def dates_bytes(self, tokens: int, dates: int) -> int:
        """Nothing: stacks of dates are not its own."""
        return 0

    def _tokens(self, pixels: list[Floats], tokens: Tokens) -> Floats:
        found = mean_deviation(pixels, tokens.index.ravel(), tokens.count)
        t = self.embed(np.concatenate([*found, tokens.shape], axis=1))
        starts = np.zeros(tokens.count, dtype=np.bool_)
        starts[:1] = True
        back = np.argsort(tokens.across)
        for number, layer in enumerate(self.mix):
            if self.settings.order == "crossed" and number % 2:
                t = layer(t[tokens.across], starts)[back]
            else:
                t = layer(t, starts)
        return layer_norm(t, *self.norm)


def rehearse() -> None:
    """Run all kernels once, so that they are compiled or loaded, for the usual number of states."""
    settings = NetworkSettings(window=4, margin=0, local_width=1, model_width=1)
    zeros = {name: np.zeros(each, np.float32) for name, each in shapes(1, 2, settings).items()}
    network = GLocalCpu(zeros, (1, 2), settings, BandScaling((0.0,), (1.0,)), 2)
    valid = np.ones((4, 4), dtype=np.bool_)
    window = Window(np.zeros((1, 4, 4), np.float32), valid, valid.astype(np.int64), (0, 0))
    network(window, (slice(0, 4), slice(0, 4)))


def _with_slack(pixels: Floats) -> Floats:
    """Copy pixels (n, c) to where kernels may read past the last."""
    flat = np.zeros(pixels.size + slack(pixels.shape[1]), dtype=np.float32)
    flat[: pixels.size] = pixels.ravel()
    return flat[: pixels.size].reshape(pixels.shape)
