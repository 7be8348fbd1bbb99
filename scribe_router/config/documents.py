"""YAML files as plain data in which every value knows its line and column. Never knows what a key means.

A key that stands twice is a mistake. Merge keys (`<<`) and anchors work, as they do for LiteLLM's proxy. Whatever a
file holds, reading it ends: in a document, or in problems.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scribe_router.config.nodes import Builder, Loader, Refused
from scribe_router.config.problems import Mark, Path_, Problem, Severity, place

MOST_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference and what it was replaced with; `name` is the variable of an `os.environ/NAME`, of others the whole.
    `text` is None when there is nothing."""

    name: str
    text: str | None = field(repr=False)
    default: str | None = None


@dataclass(slots=True)
class Document:
    """One YAML file: its data, where each value and each key stands, and what is wrong with it.

    `base` is the shipped file that this one lies over. `references` are the values that came from elsewhere.
    Not `readable` means that there is no data to look at.
    """

    name: str
    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    marks: dict[Path_, Mark] = field(default_factory=dict)
    keys: dict[Path_, Mark] = field(default_factory=dict)
    references: dict[Path_, Reference] = field(default_factory=dict)
    base: "Document | None" = None
    readable: bool = True
    _wrong: set[Path_] = field(default_factory=set)

    def report(self, path: Path_, message: str, *, key: bool = False, severity: Severity = "error") -> None:
        """Add a problem at a value (or at its key), or at the nearest parent that is there."""
        name, mark = self._where(path, key)
        self.note(mark, path, message, severity, name)

    def note(
        self, mark: Mark, path: Path_, message: str, severity: Severity = "error", name: str | None = None
    ) -> None:
        """Add a problem whose line and column are known."""
        self.problems.append(Problem(name or self.name, *mark, place(path), message, severity))
        if severity == "error":
            self._wrong.add(path)

    def wrong(self, path: Path_) -> bool:
        """Whether an error was reported at `path` or below, so that more of the same is not worth a line."""
        return any(each[: len(path)] == path for each in self._wrong)

    def reported(self, path: Path_) -> bool:
        """Whether an error was reported at this very place."""
        return path in self._wrong

    def line(self, path: Path_) -> int:
        return self._where(path, key=False)[1][0]

    def _where(self, path: Path_, key: bool) -> tuple[str, Mark]:
        for length in range(len(path), -1, -1):
            for document in filter(None, (self, self.base)):
                marks = document.keys if key and length == len(path) and path in document.keys else document.marks
                if path[:length] in marks:
                    return document.name, marks[path[:length]]
        return self.name, (1, 1)


def load(path: Path, name: str | None = None, *, shared: bool = False) -> Document:
    """Read one file. What cannot be read is a problem, never an exception.

    A `shared` file is read by LiteLLM's proxy as well, so what that one reads differently is a problem too.
    """
    document = Document(name or str(path))
    try:
        content = path.read_bytes()
    except OSError as error:
        _unreadable(document, (1, 1), f"cannot be read: {(error.strerror or str(error)).lower()}")
        return document
    if len(content) > MOST_BYTES:
        _unreadable(document, (1, 1), f"more than {MOST_BYTES:,} bytes are not a configuration")
        return document
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _unreadable(document, (line, 1), "this is not UTF-8 text; save the file as UTF-8")
        return document
    return parse(text, document, shared=shared)


def parse(text: str, document: Document, *, shared: bool = False) -> Document:
    """Read YAML text into `document`."""
    loader: Loader | None = None
    try:
        loader = Loader(text)
        root = loader.get_single_node()
        document.data = Builder(document, shared=shared).build(root, ()) if root is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _unreadable(document, (mark.line + 1, mark.column + 1) if mark else (1, 1), _reason(error))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark_at = before.count("\n") + 1, len(before) - before.rfind("\n")
        _unreadable(document, mark_at, "a control character; yaml is text")
    except (ValueError, OverflowError):  # PyYAML lets escapes beyond Unicode through to chr()
        mark = loader.get_mark() if loader is not None else None
        _unreadable(document, (mark.line + 1, mark.column + 1) if mark else (1, 1), "not yaml: an impossible escape")
    finally:
        if loader is not None:
            loader.dispose()
    return document


def _unreadable(document: Document, mark: Mark, message: str) -> None:
    document.data, document.readable = None, False
    document.problems.append(Problem(document.name, *mark, "", message))


def _reason(error: yaml.MarkedYAMLError) -> str:
    reason = error.problem or error.context or "not yaml"
    if "'\\t'" in reason:
        return "a tab cannot indent or start a value in yaml; use spaces"
    return reason if isinstance(error, Refused) else f"not yaml: {reason}"


def below(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every scalar at or below a value, with its path."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from below(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from below(each, (*path, index))
    else:
        yield path, value


def put(data: Any, path: Path_, value: Any) -> None:
    """Replace the value at `path`."""
    for step in path[:-1]:
        data = data[step]
    data[path[-1]] = value
