from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stcli.engine.journal import Header, Journal, fingerprint, read_header, write_header
from stcli.engine.tiling import TilePlan
from stcli.errors import OutputError
from stcli.lock import Lock

ROOT = Path(__file__).parents[2]
PLAN = TilePlan((100, 70), 10, halo=3)
HEADER = Header("f" * 64, PLAN, (1, 1), {"spec": {"path": "o.tif"}})


def indexes(tiles):
    return [tile.index for tile in tiles]


def test_a_journal_is_read_as_it_was_written(tmp_path):
    journal = Journal(tmp_path, HEADER)
    journal.add(3, 0xDEADBEEF)
    journal.add(0, 0)
    journal.add(69, None)
    for found in (journal, Journal(tmp_path, HEADER)):
        assert indexes(found.finished()) == [0, 3, 69]
        assert (found.checksum(3), found.checksum(0)) == (0xDEADBEEF, 0)
        assert (found.checksum(69), found.checksum(1)) == (None, None)
        assert found.knows(69)
        assert not found.knows(1)
        assert indexes(found.remaining()) == [i for i in range(70) if i not in (0, 3, 69)]


def test_a_forgotten_tile_is_to_be_done_again(tmp_path):
    journal = Journal(tmp_path, HEADER)
    journal.add(5, 1)
    journal.forget(5)
    assert not journal.knows(5)
    journal.add(5, 2)
    assert Journal(tmp_path, HEADER).checksum(5) == 2


@given(cut=st.integers(0, 60), tail=st.sampled_from([b"", b"\0\0\0", b"12 abc", b"\xff\n", b"7 "]))
def test_a_torn_end_loses_at_most_the_torn_line(tmp_path_factory, cut, tail):
    folder = tmp_path_factory.mktemp("torn")
    journal = Journal(folder, HEADER)
    for index in range(4):
        journal.add(index, 0x11111111 * (index + 1))
    journal.close()
    whole = (folder / "journal").read_bytes()
    kept = whole[: max(0, len(whole) - cut)]
    (folder / "journal").write_bytes(kept + tail)
    only_its_end = not tail and len(kept.split(b"\n")[-1]) == len(b"0 11111111")
    lines = (kept + b"\n" if only_its_end else kept).split(b"\n")[:-1]
    expected = [int(line.split()[0]) for line in lines if line]
    found = Journal(folder, HEADER)
    assert indexes(found.finished()) == expected
    assert all(found.checksum(i) == 0x11111111 * (i + 1) for i in expected)
    found.add(50, 9)  # not glued to the torn line
    assert indexes(Journal(folder, HEADER).finished()) == [*expected, 50]


@given(count=st.integers(1, 80))
def test_shards_part_the_tiles(count):
    shards = [replace(HEADER, shard=(i, count)) for i in range(1, count + 1)]
    each = [indexes(shard.tiles()) for shard in shards]
    assert sorted(index for tiles in each for index in tiles) == list(range(70))
    assert [len(shard) for shard in shards] == [len(tiles) for tiles in each]
    assert max(map(len, each)) - min(map(len, each)) <= 1


def test_a_header_is_read_as_it_was_written_and_nothing_else_is_one(tmp_path):
    assert read_header(tmp_path) is None
    write_header(tmp_path, HEADER)
    assert read_header(tmp_path) == HEADER
    text = (tmp_path / "job.json").read_text()
    facts = json.loads(text)
    for bad in ("", text[: len(text) // 2], "[]", "{}", json.dumps({**facts, "plan": {}})):
        (tmp_path / "job.json").write_text(bad)
        assert read_header(tmp_path) is None


def test_tiles_are_the_same_only_under_the_same_fingerprint_plan_and_shard():
    assert HEADER.same_tiles(replace(HEADER, about={"other": 1}))
    for other in (
        replace(HEADER, fingerprint="0" * 64),
        replace(HEADER, plan=TilePlan((100, 70), 10, halo=4)),
        replace(HEADER, plan=TilePlan((100, 70), 20, halo=3)),
        replace(HEADER, shard=(1, 2)),
    ):
        assert not HEADER.same_tiles(other)


def test_a_fingerprint_follows_each_fact_and_not_their_order():
    facts = {"a": 1, "b": [1.5, "x"], "c": {"d": None, "e": True}}
    same = {"c": {"e": True, "d": None}, "b": [1.5, "x"], "a": 1}
    assert fingerprint(facts) == fingerprint(same)
    others = [{**facts, "a": 2}, {**facts, "b": ["x", 1.5]}, {**facts, "c": {"d": 0, "e": True}}]
    assert len({fingerprint(each) for each in (facts, *others)}) == 4


HOLD = """
    import sys, time
    from pathlib import Path
    from stcli.lock import Lock
    lock = Lock(Path(sys.argv[1]), "o.tif")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_by_name_until_the_first_is_dead(tmp_path):
    path = tmp_path / ".o.tif.stcli" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(OutputError, match=rf"o\.tif: process {holder.pid} on .+ is writing it now"):
        Lock(path, "o.tif")
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    Lock(path, "o.tif").release(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_refused_within_one_process_too(tmp_path):
    path = tmp_path / "folder" / "lock"
    held = Lock(path, "o.tif")
    with pytest.raises(OutputError, match=rf"process {os.getpid()} "):
        Lock(path, "o.tif")
    held.release()
    Lock(path, "o.tif").release(remove=True)
    held.release()  # once more does no harm


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_place_that_takes_no_folder_is_refused():
    for path in (Path("/proc/.o.tif.parts/lock"), Path("/nowhere/.o.tif.parts/lock")):
        with pytest.raises(OutputError, match="nothing can be written beside it"):
            Lock(path, "o.tif")


def test_what_else_is_in_the_folder_stays(tmp_path):
    path = tmp_path / "folder" / "lock"
    held = Lock(path, "o.tif")
    (path.parent / "kept").touch()
    held.release(remove=True)
    assert [file.name for file in path.parent.iterdir()] == ["kept"]
