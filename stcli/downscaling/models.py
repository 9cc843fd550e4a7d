"""The upscalers by name."""

from __future__ import annotations

import torch

from stcli.downscaling.latent import Latent
from stcli.downscaling.network import Shuffle, Upscaler
from stcli.settings import UpscalerSettings

#: What a model's card says; the settings' architecture follows.
ARCHITECTURE = "stcli-upscaler-3"


def build(bands: int, guides: int, settings: UpscalerSettings) -> Upscaler:
    """Make an untrained network.

    Parameters
    ----------
    bands, guides : int
    settings : UpscalerSettings
    """
    kinds: dict[str, type[Upscaler]] = {"shuffle": Shuffle, "latent": Latent}
    network = kinds[settings.architecture](bands, guides, settings)
    # pixel after pixel, not band after band: a CPU's convolutions take a third less time
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def seeded(
    bands: int, guides: int, settings: UpscalerSettings, seed: int, threads: int = 1
) -> Upscaler:
    """Make an untrained network whose first weights follow from a seed; set torch's threads.

    Parameters
    ----------
    bands, guides : int
    settings : UpscalerSettings
    seed : int
    threads : int
        Of training; the last digits of the weights depend on it.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    return build(bands, guides, settings)
