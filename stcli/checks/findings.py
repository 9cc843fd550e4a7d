"""What a check found in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes
    ----------
    level : {'error', 'warning'}
        An error makes the file not valid; a warning does not.
    text : str
        What was found and what was wanted.
    """

    level: Literal["error", "warning"]
    text: str


@dataclass(frozen=True)
class Checked:
    """A file and what a check found in it.

    Attributes
    ----------
    path : str
    findings : tuple of Finding
    figures : dict
        What the check measured, with JSON's types.
    """

    path: str
    findings: tuple[Finding, ...] = ()
    figures: dict[str, Any] | None = None

    @property
    def valid(self) -> bool:
        """Tell whether no finding is an error."""
        return all(finding.level != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        levels = {
            f"{level}s": [f.text for f in self.findings if f.level == level]
            for level in ("error", "warning")
        }
        return {"path": self.path, "valid": self.valid, **levels, **(self.figures or {})}


class Findings:
    """Collects findings."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def error(self, wrong: bool, text: str) -> None:
        """Note an error if something is wrong."""
        if wrong:
            self._found.append(Finding("error", text))

    def warning(self, odd: bool, text: str) -> None:
        """Note a warning if something is odd."""
        if odd:
            self._found.append(Finding("warning", text))

    def of(self, path: str, **figures: Any) -> Checked:
        """Close the collection."""
        return Checked(path, tuple(self._found), figures)
