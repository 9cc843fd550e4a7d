"""The control panel: one frozen dataclass per algorithm, standard library only."""

from stcli.settings.downscaling import DownscalerTraining, DownscaleSettings, UpscalerSettings
from stcli.settings.landcover import NetworkSettings, TrainingSettings
from stcli.settings.noise import (
    DestripeSettings,
    NoiseMapSettings,
    ShrinkSettings,
    SimilarSettings,
    WhitenSettings,
)
from stcli.settings.run import SCHEDULERS, RunSettings
from stcli.settings.segmentation import (
    LANDCOVER_SLIC,
    BandScaling,
    MergeSettings,
    ObjectSettings,
    SlicSettings,
)

__all__ = [
    "LANDCOVER_SLIC",
    "SCHEDULERS",
    "BandScaling",
    "DestripeSettings",
    "DownscaleSettings",
    "DownscalerTraining",
    "MergeSettings",
    "NetworkSettings",
    "NoiseMapSettings",
    "ObjectSettings",
    "RunSettings",
    "ShrinkSettings",
    "SimilarSettings",
    "SlicSettings",
    "TrainingSettings",
    "UpscalerSettings",
    "WhitenSettings",
]
