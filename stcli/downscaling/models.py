"""The upscalers by name."""

from __future__ import annotations

from stcli.downscaling.latent import Latent
from stcli.downscaling.network import Shuffle, Upscaler
from stcli.settings import UpscalerSettings

#: What a model's card says; the settings' architecture follows.
ARCHITECTURE = "stcli-upscaler-1"


def build(bands: int, guides: int, settings: UpscalerSettings) -> Upscaler:
    """Make an untrained network.

    Parameters
    ----------
    bands, guides : int
    settings : UpscalerSettings
    """
    kinds: dict[str, type[Upscaler]] = {"shuffle": Shuffle, "latent": Latent}
    return kinds[settings.architecture](bands, guides, settings)
