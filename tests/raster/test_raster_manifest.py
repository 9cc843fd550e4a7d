"""Manifests: tables of files as spreadsheets and shells write them."""

from __future__ import annotations

import pytest

from stcli.errors import InputError
from stcli.raster.tables.manifest import read_manifest

ROW = {"input": "a b/sc, \u00e9ne.tif", "labels": "l.gpkg", "layer": ""}


def read(path, text):
    path.write_bytes(text)
    return read_manifest(str(path), ("input", "labels"), ("layer",))


@pytest.mark.parametrize(
    "text",
    [
        '\ufeffinput,labels\r\n"a b/sc, \u00e9ne.tif",l.gpkg\r\n\r\n',
        ' input , labels,layer\n\n"a b/sc, \u00e9ne.tif" , l.gpkg \n',
        'labels,input\nl.gpkg,"a b/sc, \u00e9ne.tif"',
    ],
)
def test_marks_line_ends_blanks_and_quotes_are_no_part_of_names(text, tmp_path):
    assert read(tmp_path / "m.csv", text.encode()) == [ROW]


def test_other_separators_and_encodings_are_told(tmp_path):
    for other, shown in (";", "';'"), ("\t", r"'\\t'"):
        with pytest.raises(InputError, match=f"m.csv: columns are separated by {shown}, a comma"):
            read(tmp_path / "m.csv", f"input{other}labels\na{other}b\n".encode())
    for encoding in "latin1", "utf-16":
        with pytest.raises(InputError, match=r"m\.csv: is no text in UTF-8 \(invalid .*save it"):
            read(tmp_path / "m.csv", "input,labels\n\u00e9,b\n".encode(encoding))


def test_a_line_is_named_by_its_number_in_the_file(tmp_path):
    with pytest.raises(InputError, match=r"m\.csv: line 5 has no labels; fill it in"):
        read(tmp_path / "m.csv", b"input,labels\n\na,b\n\nc,\n")
    with pytest.raises(InputError, match="line 4 has more cells than the header's 2; quote a cell"):
        read(tmp_path / "m.csv", b"input,labels\n\n\na,b,c\n")
