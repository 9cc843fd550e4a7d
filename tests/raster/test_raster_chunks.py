"""NetCDF variables whose chunks hold several layers: read whole, and each chunk unpacked once."""

from __future__ import annotations

from collections import Counter

import netCDF4
import numpy as np
import pytest
from rasterio.windows import Window

from stcli.raster.info import KEPT
from stcli.raster.reading import chunks
from stcli.raster.reading.netcdf import NetcdfSource
from stcli.raster.reading.read import open_raster

LAYOUTS = {
    "rows of all dates": (("time", "y", "x"), (7, 1, 23)),
    "columns of some dates": (("time", "y", "x"), (3, 19, 4)),
    "all in one": (("time", "y", "x"), (7, 19, 23)),
    "fields": (("time", "y", "x"), (1, 8, 8)),
    "dates last": (("y", "x", "time"), (5, 5, 7)),
    "dates last, unchunked": (("y", "x", "time"), None),
    "unchunked": (("time", "y", "x"), None),
}


def write(path, layout, north_up=True, names=("a", "b")):
    """Write variables over 7 dates, 19 rows and 23 columns; return their values by date."""
    dims, sides = LAYOUTS[layout]
    values = {
        n: np.arange(7 * 19 * 23, dtype="f4").reshape(7, 19, 23) * (k + 1)
        for k, n in enumerate(names)
    }
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", 7), ("y", 19), ("x", 23)):
            file.createDimension(name, size)
            axis = file.createVariable(name, "f8", (name,))
            axis[:] = np.arange(size) if name != "y" or not north_up else -np.arange(size)
        file["time"].units = "days since 2020-01-01"
        for name in ("y", "x"):
            file[name].units, file[name].standard_name = "m", f"projection_{name}_coordinate"
        for name, stored in values.items():
            stored[3, 4, 5] = np.nan
            made = file.createVariable(
                name, "f4", dims, chunksizes=sides, zlib=sides is not None, contiguous=sides is None
            )
            made[:] = stored.transpose([("time", "y", "x").index(dim) for dim in dims])
    return values


@pytest.mark.parametrize("box", [200, 8_000_000])
@pytest.mark.parametrize("north_up", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_alike(tmp_path, monkeypatch, layout, north_up, box):
    monkeypatch.setattr(chunks, "_BOX", box)
    found = write(tmp_path / "a.nc", layout, north_up)
    every = np.concatenate(list(found.values()))
    every = every if north_up else every[:, ::-1]
    for bands in ((), (14, 2, 9, 5)):
        with open_raster(str(tmp_path / "a.nc"), bands=bands) as raster:
            picked = every[[band - 1 for band in bands]] if bands else every
            for left, top, width, height in ((0, 0, 23, 19), (3, 4, 9, 7), (22, 18, 1, 1)):
                block, valid = raster.read_each(Window(left, top, width, height))
                wanted = picked[:, top : top + height, left : left + width]
                assert np.array_equal(valid, np.isfinite(wanted))
                assert np.array_equal(block, np.nan_to_num(wanted))


@pytest.mark.parametrize("layout", ["rows of all dates", "columns of some dates", "dates last"])
def test_each_chunk_is_read_of_once(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(chunks, "_BOX", 2000)
    write(tmp_path / "a.nc", layout, names=("a",))
    read, (dims, sides) = Counter(), LAYOUTS[layout]
    whole = NetcdfSource._box

    def counted(self, layer, box, window):
        spans = [
            range(box[d].start // n, -(-box[d].stop // n)) for d, n in zip(dims, sides, strict=True)
        ]
        read.update((i, j, k) for i in spans[0] for j in spans[1] for k in spans[2])
        return whole(self, layer, box, window)

    monkeypatch.setattr(NetcdfSource, "_box", counted)
    with open_raster(str(tmp_path / "a.nc")) as raster:
        raster.read_each(Window(2, 3, 17, 11))
        assert set(read.values()) == {1}
        raster.read(Window(2, 3, 17, 11))
        assert set(read.values()) == {2}


def test_what_reading_holds_is_counted(tmp_path):
    write(tmp_path / "a.nc", "rows of all dates")
    write(tmp_path / "b.nc", "fields", names=("c",))
    size = 7 * 19 * 23 * 4
    with open_raster(str(tmp_path / "a.nc")) as raster:
        held = raster.info.held
        assert (held.box, held.chunks) == (chunks._BOX, 2 * size)
        assert held.unpacking == 2 * 7 * 23 * 4
    with open_raster([str(tmp_path / "a.nc"), str(tmp_path / "b.nc")]) as raster:
        assert raster.info.held.chunks == 3 * size
        assert raster.info.held.unpacking == 2 * 7 * 23 * 4


def test_what_is_kept_of_chunks_is_shared_out_among_variables(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.nc", "fields", names=(name, f"{name}2"))
    with open_raster([str(tmp_path / f"{name}.nc") for name in "abc"]) as raster:
        raster.read(Window(0, 0, 2, 2))
        assert netCDF4.get_chunk_cache()[0] == KEPT // 6
