"""What the tests of the command line share: a call of it, rasters, and models that cost nothing."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import loggers
import numpy as np
import rasterio
import xarray as xr
from rasterio.windows import Window

from stcli.cli.app import main
from stcli.raster.writing.parts import Parts
from stcli.settings import NetworkSettings, SlicSettings

ROOT = Path(__file__).parents[2]
SCENE = ROOT / "sample_data" / "scene.tif"
LABELS = ROOT / "sample_data" / "labels.gpkg"
CUBE = ROOT / "sample_data" / "cube.nc"
REAL = ROOT.parent / "shared" / "data"
BANDS = ("B02", "B03", "B04", "B08")
#: Values with gaps, so that a class's number and its value cannot be mixed up.
CLASSES = {1: "water", 4: "forest", 7: "bare soil"}
COLORS = {1: "#2f6fb5", 4: "#1f6b3a", 7: "#c49a6c"}
#: Small windows and segments: the reach stays far below the rasters' sides.
NETWORK = NetworkSettings(window=64, margin=8, local_width=8, model_width=16, state=4, layers=1)
SLIC = SlicSettings(size=25, iterations=1)
#: Where sample_data/scene.tif holds labels of six classes.
CROP = Window(260, 0, 220, 200)


#: Fields of what is printed in place of a result: nothing done, plan, makings of files, usage.
ANY = {"schema", "output", "skipped", "dry_run", "tasks", "passes", "outputs", "files"}
ANY |= {"program", "version", "commands", "exit_codes"}


@cache
def told_fields():
    """Fields of each command's JSON, as the page on JSON names them."""
    page = (ROOT / "docs" / "json.md").read_text()
    rows = re.findall(r"^\| `([a-z -]+)` \| (.*) \|$", page, re.MULTILINE)
    return {command: set(re.findall(r"`(\w+)`", fields)) for command, fields in rows}


@dataclass(frozen=True)
class Result:
    """What a call gave."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object on stdout; the page on JSON names its fields."""
        found, told = json.loads(self.out), told_fields()
        known = told.get(" ".join(self.argv[:2])) or told.get(self.argv[0], set())
        assert set(found) <= ANY | known
        return found


def interrupt_at(monkeypatch, count, method="save"):
    """Interrupt what saves its part number `count`, if any, once; list the tile of each part."""
    save, tiles = getattr(Parts, method), []

    def saving(self, tile, values):
        tiles.append(tile.index)
        if len(tiles) == count:
            raise KeyboardInterrupt
        return save(self, tile, values)

    monkeypatch.setattr(Parts, method, saving)
    return tiles


def call(*argv):
    """Call the command line in this process; logging is left as it was."""
    out, err = io.StringIO(), io.StringIO()
    with loggers.as_they_were(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(a) for a in argv])
    return Result(tuple(map(str, argv)), code, out.getvalue(), err.getvalue())


def good(*argv):
    """Call the command line and insist on success."""
    result = call(*argv)
    assert result.code == 0, result.err
    return result


def command(*argv, prelude=""):
    """Words of a process that runs the command line."""
    code = f"import sys\n{prelude}\nfrom stcli.cli.app import run\nrun()"
    return [sys.executable, "-c", code, *(str(a) for a in argv)]


def spawn(*argv, prelude="", **options):
    """Run the command line in a process of its own."""
    how = {"capture_output": True, "text": True, "cwd": ROOT, "timeout": 120, **options}
    return subprocess.run(command(*argv, prelude=prelude), check=False, **how)


def read(path):
    """Read all bands of a raster as they are stored."""
    with rasterio.open(path) as dataset:
        return dataset.read()


def scene(window=CROP):
    """Read a crop of the sample scene: its bands and a profile for it."""
    with rasterio.open(SCENE) as dataset:
        profile = dataset.profile
        for key in ("tiled", "blockxsize", "blockysize"):
            profile.pop(key)
        transform = dataset.window_transform(window)
        profile.update(width=window.width, height=window.height, transform=transform)
        return dataset.read(window=window), profile


def save(path, array, profile, names=BANDS, **changes):
    """Write bands (band, row, col) with their names; return the path as text."""
    count, height, width = array.shape
    how = {**profile, "count": count, "height": height, "width": width, "dtype": array.dtype}
    with rasterio.open(path, "w", **{**how, **changes}) as dataset:
        dataset.write(array)
        for number, name in enumerate(names[:count], start=1):
            dataset.set_band_description(number, name)
    return str(path)


def random_model(folder, names=BANDS, low=300.0, high=3500.0, seed=1):
    """Save a model of random weights: as particular about its input as a trained one."""
    import torch

    from stcli.landcover.architectures import GLOCAL
    from stcli.landcover.network.network import GLocal
    from stcli.nn.tensors import arrays_of
    from stcli.nn.weights import BandCard, Card, ClassCard, save_weights

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = GLocal(len(names), len(CLASSES), NETWORK)
        with torch.no_grad():
            network.head.weight.mul_(30)  # so that no class takes the whole map
    card = Card(
        schema="stcli-card-1",
        architecture=GLOCAL,
        bands=tuple(BandCard(name=name, low=low, high=high) for name in names),
        classes=tuple(ClassCard(value=v, name=n, color=COLORS[v]) for v, n in CLASSES.items()),
        resolution=(10.0, 10.0),
        segmentation=asdict(SLIC),
        network=asdict(NETWORK),
        training={},
        data={},
        metrics={},
        version="0",
        parameters=1,
    )
    save_weights(folder, arrays_of(network.state_dict()), card)
    return folder


def holes(array):
    """Make a valid mask with a solid hole, speckles and a cut corner."""
    rows, cols = np.mgrid[: array.shape[1], : array.shape[2]]
    valid = (rows - 90) ** 2 + (cols - 70) ** 2 > 30**2
    valid &= (rows % 37 != 5) | (cols % 41 != 7)
    return valid & (rows + cols > 40)


def turned(path):
    """Write a NetCDF of a turned pole: its CRS is one that no GeoTIFF holds."""
    pole = {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 39.25,
        "grid_north_pole_longitude": -162.0,
    }
    axes = {
        "rlat": (
            "rlat",
            np.arange(4) * 0.5,
            {"units": "degrees", "standard_name": "grid_latitude"},
        ),
        "rlon": (
            "rlon",
            np.arange(5) * 0.5,
            {"units": "degrees", "standard_name": "grid_longitude"},
        ),
    }
    value = (("rlat", "rlon"), np.arange(20, dtype="uint8").reshape(4, 5), {"grid_mapping": "pole"})
    xr.Dataset({"v": value, "pole": ((), 0, pole)}, axes).to_netcdf(path)
    return path
