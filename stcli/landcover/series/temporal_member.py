"""The temporal network as one of the methods that a model of series may be made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stcli.landcover.members import Arrays
from stcli.landcover.network.temporal import TemporalMamba, pack
from stcli.landcover.series.temporal_training import train_temporal
from stcli.nn.device import Compute
from stcli.settings import TemporalSettings, TemporalTraining

#: Percentiles of the training series that bands are scaled by, to about -1 and 1.
_PERCENTILES = (2.0, 98.0)
#: Series that go through the network at once.
_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Network:
    """A temporal network, the scaling of its bands and the days of its steps.

    Attributes
    ----------
    network : TemporalMamba
    low, high : ndarray of float32 (b,)
    offsets : ndarray of float32 (s,)
    where : Compute
    """

    network: TemporalMamba
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    offsets: NDArray[np.float32]
    where: Compute

    @classmethod
    def fit(
        cls,
        series: NDArray[np.float32],
        truth: NDArray[np.int64],
        offsets: NDArray[np.float64],
        settings: tuple[TemporalSettings, TemporalTraining],
        where: Compute,
    ) -> Self:
        """Train; truth counts the K classes from 0, series (n, s, b) may have gaps.

        Parameters
        ----------
        series : ndarray of float32, (n, s, b)
            NaN is a gap.
        truth : ndarray of int64, (n,)
        offsets : ndarray of float64, (s,)
            Days of the steps.
        settings : (TemporalSettings, TemporalTraining)
        where : Compute
        """
        flat = series.reshape(-1, series.shape[2])
        low, high = np.nanpercentile(flat, _PERCENTILES, axis=0).astype(np.float32)
        apart = np.maximum(low + 1, np.nextafter(low, np.float32(np.inf)))
        high = np.where(high > low, high, apart).astype(np.float32)
        days = offsets.astype(np.float32)
        scaled = ((series - low) / (high - low) * 2 - 1).astype(np.float32)
        network = train_temporal(scaled, truth, days, settings, where)
        return cls(network, low, high, days, where)

    @torch.inference_mode()
    def probabilities(self, series: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give the probabilities (K, n) of series (n, s, b); NaN for a gap."""
        scaled = ((series - self.low) / (self.high - self.low) * 2 - 1).astype(np.float32)
        offsets = torch.from_numpy(self.offsets)
        parts = []
        for first in range(0, len(series), _BATCH):
            packed = pack(torch.from_numpy(scaled[first : first + _BATCH]), offsets)
            logits = self.network(packed.to(self.where.device))
            parts.append(torch.softmax(logits, dim=1).cpu().numpy())
        return np.concatenate(parts).T.astype(np.float64)

    def state(self) -> Arrays:
        """Give all that it has learnt."""
        weights = {k: v.cpu().numpy() for k, v in self.network.state_dict().items()}
        return {**weights, "low": self.low, "high": self.high, "offsets": self.offsets}

    @classmethod
    def of(cls, state: Arrays, classes: int, settings: TemporalSettings, where: Compute) -> Self:
        """Make it of what `state` gave; TypeError, RuntimeError where that does not fit."""
        try:
            low, high, offsets = (state[name] for name in ("low", "high", "offsets"))
        except KeyError as error:
            raise TypeError(f"no {error} among the network's arrays") from error
        network = TemporalMamba(len(low), classes, settings, where.scan)
        rest: dict[str, Any] = {
            k: v for k, v in state.items() if k not in ("low", "high", "offsets")
        }
        weights: dict[str, Tensor] = {k: torch.from_numpy(v) for k, v in rest.items()}
        network.load_state_dict(weights, strict=True)
        return cls(network.eval().to(where.device), low, high, offsets, where)
