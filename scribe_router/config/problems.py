"""One mistake in a configuration file, as the line that a person reads. Knows places, never meanings."""

from dataclasses import dataclass
from typing import Literal

Path_ = tuple[str | int, ...]
Mark = tuple[int, int]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """`file:line:column: place: message, did you mean X?`; lines and columns count from 1."""

    file: str
    line: int
    column: int
    place: str
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        warning = "warning: " if self.severity == "warning" else ""
        place = f"{self.place}: " if self.place else ""
        return printable(f"{self.file}:{self.line}:{self.column}: {warning}{place}{self.message}")


def place(path: Path_) -> str:
    """`model_list[0].litellm_params.model`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def printable(text: str) -> str:
    """One line, whatever a name in a file holds."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
