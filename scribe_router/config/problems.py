"""One mistake in a configuration file, as the line that a person reads. Knows places, never meanings."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """`file:line:column: place: message, did you mean X?`; lines and columns count from 1."""

    file: str
    line: int
    column: int
    place: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        warning = "warning: " if self.severity == "warning" else ""
        place = f"{self.place}: " if self.place else ""
        return f"{self.file}:{self.line}:{self.column}: {warning}{place}{self.message}"
