"""Tables of series: what long ones take of memory, and which of several faults is told."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from stcli.errors import InputError
from stcli.raster.tables.seriestable import read_table

CODE = r"""
import re, sys
from stcli.engine.machine import resident
from stcli.raster.tables.seriestable import read_table

before = resident()
table = read_table(sys.argv[1])
peak = 1024 * int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
print((peak - before) / len(table.times))
"""


def test_a_long_table_is_not_held_as_text(tmp_path):
    """A time's label, its number and two values: 100 bytes a row, and not 700."""
    path, rows = tmp_path / "long.csv", 200_000
    with path.open("w") as file:
        file.write("time,a,b\n")
        file.writelines(f"{k / 4096:.9f},{k % 97 / 7:.6f},\n" for k in range(rows))
    words = [sys.executable, "-c", CODE, str(path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 250


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time,a\n0,x\n1,2\n2\n", "line 4 has another number of fields"),
        ("time,a\n0,x\nnever,2\n", "times are neither numbers nor ISO dates"),
        ("time,a\n\n0,1\n1,x\n2,y\n", "line 4 holds 'x', a number is wanted"),
        ("a\n0\n", "one column only"),
        ("", "one column only"),
    ],
)
def test_of_several_faults_the_worst_is_told_first(tmp_path, text, told):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        read_table(str(tmp_path / "t.csv"))


def test_empty_lines_are_gaps_of_a_table_of_one_column_between_others(tmp_path):
    (tmp_path / "t.csv").write_text("\n\na\n\n1\n\n\n2\n\n")
    table = read_table(str(tmp_path / "t.csv"), 0.5)
    np.testing.assert_array_equal(table.values[:, 0], [np.nan, 1, np.nan, np.nan, 2])
    assert table.times.tolist() == [0, 0.5, 1, 1.5, 2]
    (tmp_path / "t.csv").write_text("a,b\n\n1,\n\n2,3\n")
    values = read_table(str(tmp_path / "t.csv"), 0.5).values
    np.testing.assert_array_equal(values, [[1, np.nan], [2, 3]])
