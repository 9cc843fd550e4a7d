"""What programs read: the command line described as JSON, and the version of every JSON."""

from __future__ import annotations

import json

import typer
from cliworld import CUBE, call, good

from stcli.cli.app import application
from stcli.cli.console import SCHEMA
from stcli.cli.usage import exit_codes, walk
from stcli.errors import StcliError


def described():
    return good("--json-usage").json


def test_every_command_and_option_is_described():
    found = {tuple(command["path"]): command for command in described()["commands"]}
    nodes = dict(walk(typer.main.get_command(application())))
    assert set(found) == set(nodes)
    for path, node in nodes.items():
        params = [*found[path]["arguments"], *found[path]["options"]]
        assert [p["name"] for p in params] == sorted(
            (p.name for p in node.params), key=[p["name"] for p in params].index
        )
        assert len(params) == len(node.params)
        assert all(p["help"] and p["words"] for p in params)
        assert found[path]["example"].startswith(f"stcli {' '.join(path)}")


def test_a_command_line_can_be_built_from_it():
    segment = next(c for c in described()["commands"] if c["path"] == ["segment"])
    options = {option["name"]: option for option in segment["options"]}
    assert options["bands"]["words"] == ["-b", "--bidx"]
    assert options["bands"]["repeated"]
    assert options["resampling"]["choices"] == ["nearest", "bilinear"]
    assert options["progress"]["words"] == ["--progress", "--no-progress"]
    assert options["size"] | {"help": ""} == {
        "name": "size",
        "words": ["--size"],
        "help": "",
        "type": "integer",
        "choices": None,
        "metavar": None,
        "default": None,
        "required": False,
        "repeated": False,
    }
    assert segment["arguments"][0]["repeated"]


def test_every_exit_code_is_described():
    promised = {"0", "1", "130", *(str(kind.exit_code) for kind in StcliError.__subclasses__())}
    assert set(exit_codes()) == promised == set(described()["exit_codes"])


def test_every_json_names_its_schema(scene, tmp_path):
    path = tmp_path / "s.tif"
    for argv in (
        ("--json-usage",),
        ("info", CUBE),
        ("segment", scene, path, "--json", "-q"),
        ("segment", scene, path, "--json", "--skip-existing"),
        ("info", path, "--provenance"),
        ("rerun", path, "--json"),
        ("check", "cog", path, "--json"),
        ("doctor", "--json"),
    ):
        out = call(*argv).out
        assert out.count("\n") == 1
        assert next(iter(json.loads(out).items())) == ("schema", SCHEMA)
    error = json.loads(call("info", tmp_path / "no.tif", "--json").err)
    assert error["schema"] == SCHEMA
    assert error["error"]["exit_code"] == 3


def test_a_window_is_refused_where_no_noise_is_measured(tmp_path):
    done = call("mnf", tmp_path / "a.tif", tmp_path / "b.tif", "--inverse", "--window", 33)
    assert done.code == 2
    assert "--window: goes with measuring the noise, --inverse found." in done.err
