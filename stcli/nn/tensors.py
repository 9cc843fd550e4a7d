"""Arrays as torch's tensors and back, and how torch is to run while tiles do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from stcli.nn.weights import Arrays


def arrays_of(tensors: Mapping[str, Tensor]) -> Arrays:
    """Give the numbers of tensors of any shape, (…, n), in rows whatever torch's order was."""
    found = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


def tensors_of(arrays: Arrays) -> dict[str, Tensor]:
    """Make tensors of arrays, of copies of them."""
    return {name: torch.tensor(array) for name, array in arrays.items()}


def one_thread() -> None:
    """Let torch run in one thread: tiles run side by side, and sums keep one order."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
