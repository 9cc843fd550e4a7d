"""A small scene and models for the command line's tests."""

from __future__ import annotations

import cliworld
import pytest

from stcli.settings import RunSettings, SlicSettings, TrainingSettings


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Give a folder with ``scene.tif``, a crop of the sample scene; nothing may change it."""
    folder = tmp_path_factory.mktemp("world")
    array, profile = cliworld.scene()
    cliworld.save(folder / "scene.tif", array, profile)
    return folder


@pytest.fixture(scope="session")
def scene(world):
    """Give the path of the small scene."""
    return str(world / "scene.tif")


@pytest.fixture(scope="session")
def model(world):
    """Give a model of random weights for the small scene."""
    return cliworld.random_model(world / "random")


@pytest.fixture(scope="session")
def train(scene):
    """Train a small model on the small scene, through the workflow."""

    def trained(folder, epochs=2, seed=0):
        from stcli.workflows.job import Inputs
        from stcli.workflows.landcover.samples import Recipe
        from stcli.workflows.landcover.scenes import LabelledScene
        from stcli.workflows.landcover.train_landcover import train_landcover
        from stcli.workflows.landcover.truth import LabelSource

        recipe = Recipe(
            SlicSettings(size=36, iterations=1),
            cliworld.NETWORK,
            TrainingSettings(epochs=epochs, seed=seed),
        )
        labels = LabelSource(str(cliworld.LABELS), "class")
        scenes = [LabelledScene(Inputs((scene,)), (labels,))]
        return train_landcover(scenes, folder, recipe, RunSettings(jobs=1))

    return trained


@pytest.fixture(scope="session")
def trained(world, train):
    """Give a model trained for a few epochs."""
    return train(world / "trained", epochs=3).folder
