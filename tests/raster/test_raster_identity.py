"""What an input is: all files that it is read from, and archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from stcli.raster.identity import files_of, identify


def write(value: int) -> None:
    profile = {"driver": "GTiff", "height": 4, "width": 5, "count": 1, "dtype": "uint8"}
    profile |= {"crs": "EPSG:32618", "transform": from_origin(0, 0, 1, 1)}
    with rasterio.open("a.tif", "w", **profile) as dataset:
        dataset.write(np.full((1, 4, 5), value, np.uint8))


def over(source: str, path: str) -> None:
    """Write a VRT over a raster: GDAL, asked for one over a VRT, would copy that."""
    band = f'<SimpleSource><SourceFilename relativeToVRT="1">{source}</SourceFilename>'
    band += '<SourceBand>1</SourceBand><DstRect xOff="0" yOff="0" xSize="5" ySize="4"/>'
    band = f'<VRTRasterBand dataType="Byte" band="1">{band}</SimpleSource></VRTRasterBand>'
    head = '<VRTDataset rasterXSize="5" rasterYSize="4">'
    Path(path).write_text(f"{head}{band}</VRTDataset>")


def test_the_sources_of_a_vrt_among_sources_belong_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(1)
    over("a.tif", "one.vrt")
    over("one.vrt", "two.vrt")
    assert [Path(file).name for file in files_of("two.vrt")] == ["two.vrt", "one.vrt", "a.tif"]
    before = identify(["two.vrt"], "full")
    write(2)
    assert identify(["two.vrt"], "full") != before


@pytest.mark.parametrize("name", ["/vsizip/{z.zip}/in/a.tif", "/vsizip/z.zip/in/a.tif"])
@pytest.mark.parametrize("how", ["stat", "full"])
def test_a_file_in_an_archive_changes_with_it(tmp_path, monkeypatch, name, how):
    monkeypatch.chdir(tmp_path)

    def packed(value: int) -> list[dict]:
        write(value)
        with zipfile.ZipFile("z.zip", "w") as archive:
            archive.write("a.tif", "in/a.tif")
        return identify([name], how)

    assert packed(1) != packed(2)
