"""The pages say what the program does: help, options, links, the lines that others copy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from stcli.cli.app import application, main
from stcli.errors import StcliError

ROOT = Path(__file__).parents[1]
CLI = (ROOT / "docs" / "cli.md").read_text()
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def commands(command=None, path=()):
    """List every command and group as a tuple of words."""
    command = command or typer.main.get_command(application())
    found = [path]
    for name, child in getattr(command, "commands", {}).items():
        found += commands(child, (*path, name))
    return found


def written(path):
    """Find the help of a command in the page."""
    title = re.escape(" ".join(("stcli", *path, "--help")))
    found = re.search(rf"^```text\n\$ {title}\n(.*?)^```$", CLI, re.DOTALL | re.MULTILINE)
    assert found, f"docs/cli.md has no block '$ {' '.join(('stcli', *path, '--help'))}'"
    return found[1]


@pytest.mark.parametrize("path", commands(), ids=lambda path: " ".join(path) or "stcli")
def test_the_page_shows_the_help_verbatim(path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*path, "--help"]) == 0
    assert written(path) == capsys.readouterr().out


def test_the_page_shows_no_command_that_is_gone():
    shown = {tuple(text.split()) for text in re.findall(r"^\$ stcli ?(.*?) ?--help$", CLI, re.M)}
    assert shown == set(commands())


@pytest.mark.parametrize("path", [p for p in commands() if p], ids=" ".join)
def test_every_command_has_an_example_on_the_page(path):
    assert re.search(rf"^stcli {' '.join(path)} (?!--help)", CLI, re.MULTILINE)


@pytest.mark.parametrize("page", [CLI, (ROOT / "README.md").read_text()], ids=["cli", "README"])
def test_every_exit_code_stands_in_the_tables(page):
    promised = {0, 130, *(child.exit_code for child in [StcliError, *StcliError.__subclasses__()])}
    assert {int(n) for n in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == promised


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [t.split("#")[0] for t in targets if not re.match(r"https?:|#", t)]
    assert not [t for t in local if not (page.parent / t).exists()]


def test_the_readme_has_the_lines_that_others_copy():
    lines = (ROOT / "README.md").read_text().splitlines()
    begin = "python3 -m venv .venv && "
    assert begin + ".venv/bin/pip install -e '.[dev]' && .venv/bin/pytest" in lines
    assert (
        begin + ".venv/bin/pip install . && .venv/bin/stcli classify sample_data/scene.tif "
        "landcover.tif --model sample_data/model"
    ) in lines
