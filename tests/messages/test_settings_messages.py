"""Every setting refuses what it cannot be, in one sentence."""

from __future__ import annotations

import pytest

from stcli.errors import UsageError
from stcli.settings import (
    Conserving,
    DestripeSettings,
    DownscalerTraining,
    DownscaleSettings,
    ForestSettings,
    MergeSettings,
    NetworkSettings,
    NoiseMapSettings,
    ObjectSettings,
    PatchSettings,
    RunSettings,
    SeriesSettings,
    ShrinkSettings,
    SimilarSettings,
    SvmSettings,
    TemporalSettings,
    TemporalTraining,
    TrainingSettings,
    UpscalerSettings,
    WhitenSettings,
)

CASES = [
    (DestripeSettings, {"along": "both"}, "--stripes: found both, wanted columns or rows."),
    (
        DestripeSettings,
        {"span": 4},
        "--span: found 4, wanted an odd number of columns from 3 to 1025.",
    ),
    (DownscaleSettings, {"factor": 17}, "--factor: found 17, wanted from 2 to 16."),
    (
        DownscaleSettings,
        {"method": "sinc"},
        "--method: found sinc, wanted nearest, bilinear, cubic, ibp, latent.",
    ),
    (DownscaleSettings, {"method": "latent", "factor": 3}, "--factor: found 3, wanted 2 or 4"),
    (
        DownscaleSettings,
        {"conserve": "all"},
        "--conserve: found all, wanted add, mult, scadd, none.",
    ),
    (
        Conserving,
        {"limits": (2.0, 1.0)},
        "--limits: found (2.0, 1.0), wanted LOW,HIGH with LOW < HIGH.",
    ),
    (
        DownscaleSettings,
        {"conserve": "scadd"},
        "--conserve scadd: found no limits, wanted --limits LOW,HIGH beside it.",
    ),
    (DownscaleSettings, {"rounds": -1}, "rounds: found -1, wanted >= 0."),
    (
        UpscalerSettings,
        {"architecture": "unet"},
        "--architecture: found unet, wanted shuffle or latent.",
    ),
    (UpscalerSettings, {"factors": (3,)}, "--factor: found (3,), wanted 2, 4 or 2,4."),
    (UpscalerSettings, {"width": 6}, "--width: found 6, wanted a multiple of 4."),
    (UpscalerSettings, {"blocks": 0}, "--blocks: found 0, wanted from 1 to 7."),
    (UpscalerSettings, {"blocks": 8}, "--blocks: found 8, wanted from 1 to 7."),
    (UpscalerSettings, {"margin": 2}, "margin: found 2, wanted the network's reach."),
    (
        UpscalerSettings,
        {"window": 120},
        "window and two margins: found 152, wanted a multiple of 16.",
    ),
    (DownscalerTraining, {"steps": 0}, "--steps: found 0, wanted >= 1."),
    (DownscalerTraining, {"patience": 0}, "--patience: found 0, wanted >= 1."),
    (DownscalerTraining, {"every": 0}, "every: found 0, wanted >= 1."),
    (DownscalerTraining, {"crop": 20}, "crop: found 20, wanted a multiple of 16."),
    (MergeSettings, {"scales": (0.0,)}, "--scale: found (0.0,), wanted numbers > 0 and at"),
    (MergeSettings, {"scales": (2.0, 1.0)}, "--scale: found (2.0, 1.0), wanted rising scales."),
    (MergeSettings, {"scales": (1.0,), "shape": 2.0}, "--shape: found 2.0, wanted between 0 and"),
    (
        MergeSettings,
        {"scales": (1.0,), "compactness": 2.0},
        "--shape-compactness: found 2.0, wanted between 0 and 1.",
    ),
    (ObjectSettings, {"percentiles": (101.0,)}, "--percentiles: found 101.0, wanted from 0 to 100"),
    (NetworkSettings, {"order": "random"}, "order: found random, wanted serpentine or "),
    (NetworkSettings, {"local_width": -1}, "local_width: found -1, wanted >= 0 channels."),
    (NetworkSettings, {"fine": 2}, "fine: found 2, wanted 0 or 1."),
    (
        NetworkSettings,
        {"convolution": "wide"},
        "convolution: found wide, wanted dense or separable.",
    ),
    (NetworkSettings, {"layers": -1}, "layers: found -1, wanted >= 0."),
    (NetworkSettings, {"date_width": -1}, "date_width: found -1, wanted >= 0."),
    (NetworkSettings, {"date_layers": 0}, "date_layers: found 0, wanted >= 1."),
    (ForestSettings, {"trees": 0}, "trees: found 0, wanted >= 1."),
    (ForestSettings, {"leaf": 0}, "leaf: found 0, wanted >= 1 pixels."),
    (ForestSettings, {"pixels": 0}, "pixels: found 0, wanted >= 1."),
    (SvmSettings, {"penalty": 0.0}, "penalty: found 0.0, wanted > 0 and finite."),
    (PatchSettings, {"algorithm": "tree"}, "--algorithm: found tree, wanted "),
    (PatchSettings, {"folds": 1}, "--folds: found 1, wanted >= 2."),
    (SeriesSettings, {"folds": 1}, "--folds: found 1, wanted >= 2."),
    (TemporalSettings, {"width": 0}, "width: found 0, wanted >= 1."),
    (TemporalSettings, {"layers": 0}, "layers: found 0, wanted >= 1."),
    (TemporalSettings, {"dropout": 1.0}, "dropout: found 1.0, wanted from 0 to below 1."),
    (TemporalTraining, {"lost": 1.0}, "lost: found 1.0, wanted from 0 to below 1."),
    (NetworkSettings, {"margin": -4}, "margin: found -4, wanted >= 0 pixels."),
    (NetworkSettings, {"window": 66}, "window: found 66, wanted a multiple of 4 pixels."),
    (
        NetworkSettings,
        {"window": 64, "margin": 32},
        "window: found 64, wanted more than two margins of 32.",
    ),
    (TrainingSettings, {"patience": 0}, "--patience: found 0, wanted >= 1."),
    (
        TrainingSettings,
        {"bands_noise": "x"},
        "--bands-noise: found x, wanted weight or drop or none.",
    ),
    (
        TrainingSettings,
        {"local_weight": -1.0},
        "--local-weight: found -1.0, wanted >= 0 and finite.",
    ),
    (NoiseMapSettings, {"levels": 7}, "--levels: found 7, wanted from 1 to 6."),
    (
        NoiseMapSettings,
        {"window": 8},
        "--window: found 8, wanted an odd number of pixels from 9 to 513.",
    ),
    (
        SimilarSettings,
        {"around": 2},
        "around: found 2, wanted an odd number of pixels from 1 to 15.",
    ),
    (ShrinkSettings, {"depth": 0}, "--depth: found 0, wanted from 1 to 6."),
    (
        ShrinkSettings,
        {"energy": 2},
        "energy: found 2, wanted an odd number of pixels from 1 to 65.",
    ),
    (ShrinkSettings, {"passes": 3}, "--passes: found 3, wanted 1 or 2."),
    (ShrinkSettings, {"strength": 0.0}, "--strength: found 0.0, wanted > 0 and finite."),
    (WhitenSettings, {"share": 0}, "--share: found 0, wanted from 1 to 32,768 pixels."),
    (WhitenSettings, {"rows": 3}, "--rows: found 3, wanted an even number >= 2."),
    (WhitenSettings, {"uneven": "skip"}, "--uneven: found skip, wanted refuse or order."),
    (RunSettings, {"jobs": 0}, "--jobs: found 0, wanted >= 1."),
    (RunSettings, {"scheduler": "mpi"}, "--scheduler: found mpi, wanted "),
    (Conserving, {"how": "up"}, "--conserve: found up, wanted add, mult, scadd, none."),
    (
        Conserving,
        {"how": "mult", "limits": (0.0, 1.0)},
        "--limits: found --conserve mult, wanted --conserve scadd beside it.",
    ),
]


@pytest.mark.parametrize(("kind", "values", "sentence"), CASES)
def test_a_setting_that_cannot_be_is_refused(kind, values, sentence):
    with pytest.raises(UsageError) as refused:
        kind(**values)
    assert sentence in str(refused.value)
