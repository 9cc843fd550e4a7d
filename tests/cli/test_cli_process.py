"""The command as a process: killed, interrupted, piped; and how soon its help is there."""

from __future__ import annotations

import inspect
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import rasterio
import typer
from cliworld import ROOT, command, good, read, save, spawn
from cliworld import scene as crop
from rasterio.windows import Window

from stcli.cli.app import application

#: Seconds of processor time in which help must be there.
SOON = 0.3

#: Slows each tile down, so that a run is surely caught in its middle.
SLOW = """
import time
from stcli.raster.writing.parts import Parts
save = Parts.save_strips
def slowly(self, tile, strips):
    try:
        return save(self, tile, strips)
    finally:
        time.sleep(0.3)
Parts.save_strips = slowly
"""


#: Lets the last step, which makes the file, wait for a lock that it holds itself: it hears nothing.
DEAF = """
import ctypes, threading
import stcli.cli.signals
from stcli.raster.writing import finish
def wait(*words, **more):
    later = threading.Timer(0.3, print, ["deaf"], {"file": sys.stderr, "flush": True})
    later.start()
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
finish._copy = wait
stcli.cli.signals.LIMIT = 0.3
"""


def start(scene, out):
    """Start a slow run and wait until its first part is there."""
    argv = command("segment", scene, out, "--tile-size", "50", "-j", "2", prelude=SLOW)
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not list(out.parent.glob(f".{out.name}.stcli/job/parts/*/*.tif")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.02)
    time.sleep(0.5)
    assert process.poll() is None
    return process


def test_a_kill_leaves_no_output_and_the_next_run_succeeds(scene, tmp_path):
    out = tmp_path / "o.tif"
    process = start(scene, out)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".o.tif.stcli"]
    good("segment", scene, out, "-q")
    assert read(out).min() > 0
    assert [path.name for path in tmp_path.iterdir()] == ["o.tif"]


def test_a_kill_leaves_the_old_output_as_it_was(scene, tmp_path):
    out = tmp_path / "o.tif"
    good("segment", scene, out, "-q", "--size", 400)
    before = out.read_bytes()
    argv = command("segment", scene, out, "--overwrite", "--tile-size", "50", prelude=SLOW)
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)
    parts = ".o.tif.stcli/job/parts/*/*.tif"
    while not list(tmp_path.glob(parts)) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    assert out.read_bytes() == before


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_with_its_code_and_leaves_parts_only(number, scene, tmp_path):
    process = start(scene, tmp_path / "o.tif")
    begun = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    assert process.returncode == 128 + number
    assert told.strip().splitlines()[-1] == "stcli: interrupted; no output was written."
    assert "Traceback" not in told
    assert "tiles are kept; the same command continues" in told
    assert [path.name for path in tmp_path.iterdir()] == [".o.tif.stcli"]


def test_a_hangup_that_is_ignored_stays_so(scene, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup hands it on
    try:
        process = start(scene, tmp_path / "o.tif")
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.kill()
    process.communicate()


def test_a_step_that_hears_nothing_is_ended_and_says_what_is_kept(scene, tmp_path):
    argv = command("segment", scene, tmp_path / "o.tif", "--tile-size", "50", prelude=DEAF)
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert "deaf\n" in iter(process.stderr.readline, "")
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=5)
    assert process.returncode == 143
    kept, ended = told.strip().splitlines()[-2:]
    assert kept.endswith("o.tif: 20 tiles are kept; the same command continues")
    assert ended == "stcli: interrupted in the middle of a step; no output was written."
    assert [path.name for path in tmp_path.iterdir()] == [".o.tif.stcli"]
    again = good("segment", scene, tmp_path / "o.tif", "--tile-size", 50)
    assert "20 of 20 tiles were finished already" in again.err


@pytest.mark.long
def test_a_second_run_on_one_output_is_refused_by_the_name_of_the_first(scene, tmp_path):
    process = start(scene, tmp_path / "o.tif")
    process.send_signal(signal.SIGSTOP)  # it waits while the second tries
    refused = spawn("segment", scene, tmp_path / "o.tif", "-q")
    assert refused.returncode == 4
    assert f"o.tif: process {process.pid} on " in refused.stderr
    process.kill()
    process.communicate()
    good("segment", scene, tmp_path / "o.tif", "-q")  # the lock died with the process


@pytest.mark.parametrize("reader", ["head -c 10", "true"])
def test_a_reader_that_leaves_is_no_error(reader, tmp_path):
    array, profile = crop(Window(0, 0, 16, 16))
    # more text than a pipe holds, so that the writer meets the closed end
    path = save(tmp_path / "a.tif", array, profile)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(NOTE="long " * 40_000)
    argv = " ".join(f"'{word}'" for word in command("info", path))
    script = f"{argv} | {reader}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (b'{"schema":' if reader != "true" else b"")


@pytest.mark.parametrize("words", [["--help"], ["train", "landcover", "--help"]])
def test_a_reader_that_leaves_a_help_is_no_error(words):
    argv = " ".join(f"'{word}'" for word in command(*words))
    script = f"{argv} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


#: Prints to the number of stderr, as a C library does, while an output is open.
TALKS = """
import os
import stcli.cli.signals
watch = stcli.cli.signals.watch
def watching():
    watch()
    from stcli.raster.writing.tiffblocks import PackedTiff
    close = PackedTiff.__exit__
    def talk(*words):
        os.write(2, b"talk")
        os.write(1, b"talked")
        return close(*words)
    PackedTiff.__exit__ = talk
stcli.cli.signals.watch = watching
"""


def shell(line, words, prelude="", **environment):
    """Run a command line in a shell that sets its streams as `line` says."""
    argv = " ".join(f'"{word}"' for word in command(*words, prelude=prelude.replace('"', "'")))
    env = {**os.environ, **environment}
    return subprocess.run(
        ["bash", "-c", line.format(argv)], cwd=ROOT, capture_output=True, env=env, check=False
    )


@pytest.fixture
def small(tmp_path):
    array, profile = crop(Window(0, 0, 40, 30))
    return save(tmp_path / "a.tif", array, profile)


@pytest.mark.long
@pytest.mark.parametrize("line", ["{} > /dev/full", "{} >&-"])
@pytest.mark.parametrize("words", [["info", "a.tif"], ["--help"], ["--version"], ["doctor"]])
def test_a_result_that_cannot_be_printed_is_no_success(line, words, small):
    done = shell(line, [small if word == "a.tif" else word for word in words])
    why = "No space left on device" if "full" in line else "it is closed"
    assert done.returncode == 4
    told = done.stderr.decode()
    assert told == f"stcli: stdout: cannot be written ({why}); send it elsewhere.\n"


@pytest.mark.long
@pytest.mark.parametrize("line", ["{} > /dev/full", "{} >&-"])
@pytest.mark.parametrize("words", [["segment", "-q"], ["preview"]])
def test_a_raster_that_stdout_does_not_take_is_stdout_s_fault(line, words, small):
    done = shell(line, [words[0], small, "-", *words[1:]])
    told = done.stderr.decode()
    assert done.returncode == 4
    assert told.startswith("stcli: -: stdout cannot be written (")
    assert told.count("\n") == 1


def test_a_closed_stdout_is_no_matter_where_nothing_is_printed(small, tmp_path):
    done = shell("{} >&-", ["segment", small, tmp_path / "o.tif", "-q"])
    assert (done.returncode, done.stderr) == (0, b"")
    assert read(tmp_path / "o.tif").shape == (1, 30, 40)


@pytest.mark.long
@pytest.mark.parametrize("line", ["{} 2>&-", "{} 2> /dev/full", "{} 2> >(true)"])
def test_talk_that_nobody_hears_stops_nothing(line, small, tmp_path):
    done = shell(line, ["segment", small, tmp_path / "o.tif", "-v", "--progress"])
    assert (done.returncode, done.stdout) == (0, b"")
    assert read(tmp_path / "o.tif").shape == (1, 30, 40)
    failed = shell(line, ["segment", tmp_path / "none.tif", tmp_path / "p.tif", "--json"])
    assert (failed.returncode, failed.stdout) == (3, b"")


def test_what_c_prints_does_not_go_into_an_output(small, tmp_path):
    done = shell("{} 2>&-", ["segment", small, tmp_path / "o.tif"], prelude=TALKS)
    assert (done.returncode, done.stdout) == (0, b"talked")
    assert b"talk" not in (tmp_path / "o.tif").read_bytes()


def test_letters_that_an_encoding_lacks_are_escaped(tmp_path):
    array, profile = crop(Window(0, 0, 40, 30))
    path = save(tmp_path / "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n.tif", array, profile)
    done = shell("{}", ["info", path], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("ascii"))["path"] == str(path)
    told = shell("{}", ["noise", path, tmp_path / "n.tif"], PYTHONIOENCODING="ascii")
    assert told.returncode == 0, told.stderr
    assert told.stdout.decode("ascii").startswith("band ")


@pytest.mark.long
def test_names_do_not_command_the_terminal(small, tmp_path):
    with rasterio.open(small, "r+") as dataset:
        dataset.set_band_description(1, "red\x9b2J\r!")
    said = spawn("destripe", small, tmp_path / "o.tif").stderr
    assert said.startswith("red\\u009b2J\\u000d!: striping ")
    told = spawn("info", small)
    assert json.loads(told.stdout)["bands"][0]["name"] == "red\x9b2J\r!"
    assert not set("\x9b\r") & set(told.stdout)
    assert spawn("info", "no\x1b[2J.tif").stderr.startswith("stcli: no\\u001b[2J.tif: no such file")


def test_a_name_that_is_no_text_is_refused(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    path = tmp_path / "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n.tif"
    save(path, *crop(Window(0, 0, 40, 30)))
    done = shell("{}", ["info", path], **plain)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"choose a locale that has its letters, such as LC_ALL=C.UTF-8." in done.stderr
    assert shell("{}", ["info", path], LC_ALL="C").returncode == 0


def test_a_raster_goes_through_a_pipe(scene, tmp_path):
    done = spawn("segment", scene, "-", "-q", text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    (tmp_path / "piped.tif").write_bytes(done.stdout)
    good("segment", scene, tmp_path / "o.tif", "-q")
    assert (read(tmp_path / "piped.tif") == read(tmp_path / "o.tif")).all()


def everything(node=None, path=()):
    """Every command and group by its words."""
    node = node or typer.main.get_command(application())
    found = {path: node}
    for name, child in getattr(node, "commands", {}).items():
        found |= everything(child, (*path, name))
    return found


def verbs():
    """Every command that does something by its words."""
    return {path: node for path, node in everything().items() if not hasattr(node, "commands")}


HEAVY = "{'torch', 'dask', 'xarray', 'rasterio', 'numpy', 'numba', 'geopandas', 'matplotlib'}"
TELL = f"""
import atexit
atexit.register(lambda: print(*({HEAVY} & set(sys.modules)), file=sys.stderr))
"""


def help_of(path):
    """Run a command's help; return the processor seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = spawn(*path, "--help", prelude=TELL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "Usage: stcli" in done.stdout
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize("path", list(everything()), ids=lambda path: " ".join(path) or "stcli")
def test_help_is_there_soon_and_loads_nothing_heavy(path):
    best = help_of(path)
    for _ in range(40):  # a neighbour on the same core doubles processor time: wait for it to rest
        if best < SOON:
            break
        time.sleep(0.3)
        best = min(best, help_of(path))
    print("help", " ".join(path) or "stcli", f"{best:.3f} s")
    assert best < SOON


@pytest.mark.parametrize("idle", ["--algorithm=forest --epochs=3", "--folds=2 --patience=3"])
def test_idle_options_of_a_training_are_refused_before_anything_heavy_is_loaded(idle):
    done = spawn("train", "landcover", "a.tif", "-o", "m", *idle.split(), prelude=TELL)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 2  # a sentence, and no name of what is heavy
    assert done.stderr.endswith("leave it out.\n\n")


#: Options that cannot mean the same: in this training -j is threads, one unless more are asked for,
#: because the weights' last digits depend on it.
OF_ITS_OWN = {(("train", "downscaler"), "jobs")}


def test_an_option_means_the_same_everywhere():
    """One help text, one type, one default; whether a verb can do without it is the verb's."""
    seen: dict[str, tuple[tuple[str, ...], dict[str, object]]] = {}
    shared = set()
    for verb, node in verbs().items():
        for option in node.params:
            if option.param_type_name != "option" or option.name == "help":
                continue
            facts = {
                "words": (tuple(option.opts), tuple(option.secondary_opts)),
                "help": option.help,
                "type": repr(option.type_descriptor.annotation),
                "metavar": option.metavar,
                "multiple": option.multiple,
                "default": option.default,
            }
            if (verb, option.name) in OF_ITS_OWN:
                continue
            for word in option.opts:
                first, known = seen.setdefault(word, (verb, facts))
                shared |= {word} if first != verb else set()
                differ = {key for key in facts if facts[key] != known[key]}
                assert not differ, f"{word}: {first} and {verb} differ in {differ}"
    assert {"--tile-size", "--memory", "--jobs", "--json", "--quiet", "--overwrite"} <= shared
    assert {"--size", "--compactness", "--bidx", "--class-column", "--layer"} <= shared


def test_every_verb_takes_json_and_help_says_so():
    for verb, node in verbs().items():
        words = {word for param in node.params for word in param.opts}
        assert "--json" in words, verb


def test_every_verb_that_writes_a_raster_can_skip_and_overwrite():
    writing = {
        verb: {word for param in node.params for word in param.opts}
        for verb, node in verbs().items()
        if any(param.metavar == "INPUT OUTPUT" for param in node.params)
    }
    assert {("segment",), ("classify",)} <= set(writing)
    for verb, words in writing.items():
        assert {"--overwrite", "--skip-existing", "--quiet", "--verbose"} <= words, verb


def test_every_verb_has_help_and_an_example():
    for verb, node in verbs().items():
        text = inspect.cleandoc(node.help)
        assert f"Example: stcli {' '.join(verb)}" in text
        assert all(option.help for option in node.params if option.name != "help")


def test_version_is_data():
    done = spawn("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("stcli ")


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "-")],
)
def test_threads_that_wait_leave_the_processor_unless_told_otherwise(given, told):
    count = "os.environ.get('GOMP_SPINCOUNT', '-')"
    tell = f"import atexit, os\natexit.register(lambda: print({count}))"
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("GOMP_", "OMP_"))}
    found = spawn("--version", prelude=tell, env={**plain, **given})
    assert found.stdout.split()[-1] == told


@pytest.mark.long
def test_more_files_are_open_than_the_limit_at_first_allows(tmp_path):
    values, profile = crop(Window(0, 0, 40, 40))
    files = [tmp_path / f"{i:02d}.tif" for i in range(90)]
    for number, file in enumerate(files):
        save(file, values[:1] + number, profile | {"count": 1})

    def limits(most):
        return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))}

    words = ("mnf", *files, tmp_path / "out.tif", "--components", 2)
    few = spawn(*words, **limits(64))
    assert few.returncode == 3
    assert "too many files are open already; give fewer, or raise ulimit -n" in few.stderr
    done = spawn(*words, **limits(1024))
    assert done.returncode == 0, done.stderr


def test_python_runs_the_package_as_the_command():
    words = (sys.executable, "-m", "stcli", "--version")
    said = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout.startswith("stcli ")
    assert subprocess.run((*words[:3], "nothing"), capture_output=True, cwd=ROOT).returncode == 2
