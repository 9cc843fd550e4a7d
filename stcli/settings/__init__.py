"""The control panel: one frozen dataclass per algorithm, standard library only."""

from stcli.settings.checking import given
from stcli.settings.downscaling import (
    Conserving,
    DownscalerTraining,
    DownscaleSettings,
    UpscalerSettings,
    psf_of_mtf,
)
from stcli.settings.landcover import (
    ALGORITHMS,
    DATE_WIDTH,
    DecisionSettings,
    ForestSettings,
    NetworkSettings,
    SvmSettings,
    TrainingSettings,
)
from stcli.settings.noise import (
    DestripeSettings,
    NoiseMapSettings,
    ShrinkSettings,
    SimilarSettings,
    WhitenSettings,
)
from stcli.settings.patches import PATCH_METHODS, PatchSettings
from stcli.settings.run import MOST_THREADS, SCHEDULERS, RunSettings
from stcli.settings.segmentation import (
    LANDCOVER_SLIC,
    SERIES_SLIC,
    BandScaling,
    MergeSettings,
    ObjectSettings,
    SlicSettings,
)
from stcli.settings.series import (
    SERIES_BLOCK,
    SeriesSettings,
    TemporalSettings,
    TemporalTraining,
)

__all__ = [
    "ALGORITHMS",
    "DATE_WIDTH",
    "LANDCOVER_SLIC",
    "MOST_THREADS",
    "PATCH_METHODS",
    "SCHEDULERS",
    "SERIES_BLOCK",
    "SERIES_SLIC",
    "BandScaling",
    "Conserving",
    "DecisionSettings",
    "DestripeSettings",
    "DownscaleSettings",
    "DownscalerTraining",
    "ForestSettings",
    "MergeSettings",
    "NetworkSettings",
    "NoiseMapSettings",
    "ObjectSettings",
    "PatchSettings",
    "RunSettings",
    "SeriesSettings",
    "ShrinkSettings",
    "SimilarSettings",
    "SlicSettings",
    "SvmSettings",
    "TemporalSettings",
    "TemporalTraining",
    "TrainingSettings",
    "UpscalerSettings",
    "WhitenSettings",
    "given",
    "psf_of_mtf",
]
