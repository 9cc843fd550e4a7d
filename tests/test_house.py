"""The house keeps its floors: who imports whom, who opens files, what a bare import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import stcli

PACKAGE = Path(stcli.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = ("landcover", "downscaling", "segmentation", "noise", "nn", "checks")
ABOVE = ("workflows", "cli")


def all_but(*rooms: str) -> tuple[str, ...]:
    """Every room, but some."""
    return tuple(name for name in ("engine", "raster", *ROOMS, *ABOVE) if name not in rooms)


#: What stands at the top of the repository, beside what begins with a dot.
TOP = {"LICENSE", "README.md", "mkdocs.yml", "pyproject.toml"}
TOP |= {"benchmarks", "docs", "sample_data", "stcli", "tests"}

#: What each room must not import, of stcli and of others.
FORBIDDEN = {
    "engine": all_but("engine"),
    "raster": all_but("raster"),
    "segmentation": all_but("segmentation"),
    "noise": all_but("noise"),
    "nn": all_but("nn"),
    "landcover": all_but("landcover", "nn"),
    "downscaling": all_but("downscaling", "nn"),
    "checks": all_but("checks", "raster"),
    "workflows": ("cli",),
    "cli": all_but("cli", "workflows"),
    "settings": all_but(),
    "": all_but(),
}
#: Who alone may import a library.
OWNERS = {
    "torch": {"nn", "landcover", "downscaling"},
    "mamba_ssm": {"nn"},
    "dask": {"engine"},
    "distributed": {"engine"},
    "safetensors": {"nn"},
    "xarray": {"raster", "checks"},
    "pyogrio": {"raster"},
    "geopandas": {"raster"},
    "zarr": {"raster"},
    "typer": {"cli"},
    "rich": {"cli"},
    "PIL": {"raster"},
}
#: Files opened outside raster/ and nn/weights.py, each with its reason.
MAY_OPEN = {
    "engine/machine.py": "reads /proc and cgroup files of the kernel: no data of a user",
    "lock.py": "a lock is a file of stcli's own: no data of a user",
    "engine/journal.py": "the journal and its header are files of the engine's own",
    "cli/streams.py": "the null device holds a standard stream that is closed: no data of a user",
    "jit.py": "looks whether stcli's own modules are those that kernels were compiled of",
    "nn/states.py": "the state of a training is a file of stcli's own",
}
OPENERS = {
    "open",
    "open_dataset",
    "open_dataarray",
    "open_mfdataset",
    "open_zarr",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "read_file",
    "read_dataframe",
    "to_file",
    "fdopen",
    "memmap",
    "fromfile",
    "tofile",
    "savez",
    "loadtxt",
    "to_netcdf",
    "to_zarr",
}
#: Not a file: `Inputs.open` hands on to raster/.
OPEN_OF_INPUTS = {"inputs", "self.inputs", "matched", "fine", "coarse", "truth", "guide"}


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Room of a module of stcli; "" for those at the top, but the command itself."""
    parts = module.split(".")
    if parts[1:] == ["__main__"]:
        return "cli"
    folder = len(parts) > 1 and (PACKAGE / parts[1]).is_dir()
    return parts[1] if folder else ""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, top_only: bool = False) -> set[str]:
    """Modules that a module imports; `from stcli.x import y` counts x.y where that is a module."""
    names = {name_of(other) for other in MODULES}
    found = set()
    for node in ast.iter_child_nodes(tree(path)) if top_only else ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            each = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in names else str(node.module) for name in each}
    return found


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


each_module = pytest.mark.parametrize("path", MODULES, ids=relative)


def test_there_are_modules_to_look_at():
    assert len(MODULES) > 30
    assert {"cli", "workflows", "engine", "raster", "nn", "landcover"} <= {
        room_of(name_of(path)) for path in MODULES
    }


# --- floors -------------------------------------------------------------------------------------


@each_module
def test_arrows_point_down(path):
    room = room_of(name_of(path))
    seen = {room_of(name) for name in imports(path) if name.split(".")[0] == "stcli"}
    assert not seen & set(FORBIDDEN[room])


@each_module
def test_libraries_stay_in_their_rooms(path):
    room = room_of(name_of(path))
    for name in imports(path):
        assert room in OWNERS.get(name.split(".")[0], {room}), f"{relative(path)} imports {name}"


#: What each folder of a room may import of the room's others; "" is what stands beside them.
FOLDERS: dict[str, dict[str, set[str]]] = {
    "workflows": {
        "": set(),
        "files": {""},
        "segmentation": {""},
        "landcover": {"", "segmentation"},
        "noise": {""},
        "downscaling": {""},
    },
    "landcover": {
        "": {"accuracy", "network", "classical", "series"},
        "accuracy": {""},
        "network": {"", "accuracy"},
        "classical": {"", "network"},
        "series": {"", "accuracy", "network", "classical"},
        "patches": {"", "accuracy", "series"},
    },
    "segmentation": {"": set(), "superpixels": {""}, "objects": {""}},
    "noise": {"": set(), "time": {""}, "space": {""}},
    "raster": {
        "": set(),
        "reading": {""},
        "writing": {"", "reading"},
        "tables": {"", "reading", "writing"},
        "pictures": {"", "writing"},
    },
}


def folder_of(module: str) -> str:
    """Folder of a room that a module stands in; "" for what stands beside the room's folders."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and (PACKAGE / parts[1] / parts[2]).is_dir() else ""


def test_nothing_else_is_kept_at_the_top():
    """Downloads and scratch files of a day's work have been added with the rest of it."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("no checkout: what is kept is not known")
    words = ("git", "-C", str(root), "ls-files")
    kept = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    tops = {name.split("/")[0] for name in kept}
    assert {name for name in tops if not name.startswith(".")} == TOP


@pytest.mark.parametrize("room", FOLDERS)
def test_every_folder_of_a_room_is_known(room):
    found = {path.name for path in (PACKAGE / room).iterdir() if (path / "__init__.py").exists()}
    assert found == set(FOLDERS[room]) - {""}


@each_module
def test_folders_of_a_room_stand_apart(path):
    room, own = room_of(name_of(path)), folder_of(name_of(path))
    seen = {folder_of(name) for name in imports(path) if name.startswith(f"stcli.{room}.")}
    assert room not in FOLDERS or seen <= {own, *FOLDERS[room][own]}


def test_settings_and_errors_need_the_standard_library_only():
    for path in (PACKAGE / "errors.py", *(PACKAGE / "settings").glob("*.py")):
        for module in imports(path):
            top = module.split(".")[0]
            own = module == "stcli.errors" or module.startswith("stcli.settings.")
            assert top in sys.stdlib_module_names or own


def test_no_import_cycles():
    graph = {
        name_of(path): {name for name in imports(path) if name.startswith("stcli.")}
        for path in MODULES
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for after in graph.get(name, ()):
                visit(after, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name == "cli"], ids=relative)
def test_commands_import_lazily(path):
    for name in imports(path, top_only=True):
        parts = name.split(".")
        if parts[0] != "stcli":
            assert parts[0] == "typer" or parts[0] in sys.stdlib_module_names, name
        elif len(parts) > 1:
            assert parts[1] in ("cli", "settings", "errors"), name


# --- files --------------------------------------------------------------------------------------


def opened(path: Path) -> list[str]:
    """Calls in a module that open, read or write a file."""
    found = []
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        *before, last = called.split(".")
        owner = ".".join(before).split("(")[0]
        if last in OPENERS and not (last == "open" and owner in OPEN_OF_INPUTS):
            found.append(f"line {node.lineno}: {called}")
    return found


@each_module
def test_only_raster_and_weights_open_files(path):
    where = relative(path)
    if not where.startswith(("raster/", "checks/")) and where not in (*MAY_OPEN, "nn/weights.py"):
        assert opened(path) == []


@pytest.mark.parametrize("where", sorted(MAY_OPEN))
def test_exceptions_are_still_needed(where):
    assert opened(PACKAGE / where)


def test_the_exception_for_the_machine_reads_the_kernels_files_only():
    paths = [
        node.value
        for node in ast.walk(tree(PACKAGE / "engine" / "machine.py"))
        if isinstance(node, ast.Constant) and str(node.value).startswith("/")
    ]
    assert paths
    assert all(path.startswith(("/proc/", "/sys/")) for path in paths)


@each_module
def test_nothing_is_pickled(path):
    for name in imports(path):
        assert name.split(".")[0] not in ("pickle", "shelve", "marshal", "joblib", "dill")
    text = ast.unparse(tree(path))
    assert "torch.load" not in text
    assert "torch.save" not in text
    assert "allow_pickle=True" not in text


# --- a bare import ------------------------------------------------------------------------------

HEAVY = (
    *("torch", "dask", "xarray", "rasterio", "sklearn", "geopandas", "numba", "numpy", "pandas"),
    *("pyogrio", "odc", "affine", "pydantic", "safetensors", "netCDF4", "scipy", "shapely"),
)


@pytest.mark.parametrize("module", ["stcli", "stcli.settings", "stcli.errors", "stcli.cli.app"])
def test_a_bare_import_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert "stcli" in loaded
    assert not loaded & set(HEAVY)


# --- docstrings and plainness -------------------------------------------------------------------


def public(path: Path):
    """Public modules, classes, functions and methods with their names."""
    yield "module", tree(path)
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            for part in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                    yield f"{node.name}.{part.name}", part


@each_module
def test_everything_public_has_a_docstring(path):
    missing = [name for name, node in public(path) if not ast.get_docstring(node)]
    assert not missing


@each_module
def test_no_except_and_continue_in_silence(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
            broad = ast.unparse(node.type) in ("Exception", "BaseException")
            idle = all(isinstance(part, ast.Pass | ast.Continue) for part in node.body)
            assert not (broad and idle), f"line {node.lineno}"


def test_there_is_no_utils():
    assert not [path for path in MODULES if path.stem in ("utils", "util", "helpers", "common")]
