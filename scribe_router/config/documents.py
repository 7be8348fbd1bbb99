"""YAML text to plain data in which every value knows its line and column. Never knows what a key means.

YAML 1.2's idea of scalars: `off`, `no`, `on` and `yes` are strings, `1e3` is a number, there are no sexagesimal
numbers and no dates. A key that stands twice is a mistake. Merge keys (`<<`) work, as they do for LiteLLM's proxy.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scribe_router.config.problems import Problem

Path_ = tuple[str | int, ...]
MOST_NODES = 200_000
DEEPEST = 60


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
     "-+0123456789."),
    ("merge", r"<<", "<"),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


@dataclass(slots=True)
class Document:
    """One YAML file: its data, where each value and each key stands, and what is wrong with its text."""

    name: str
    data: Any = None
    problems: list[Problem] = field(default_factory=list)
    marks: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Path_, tuple[int, int]] = field(default_factory=dict)

    def problem(self, path: Path_, message: str, *, key: bool = False, severity: Any = "error") -> Problem:
        """A problem at a value (or at its key), or at the nearest parent that is there."""
        at = path
        marks = self.keys if key and path in self.keys else self.marks
        while at not in marks and at:
            at, marks = at[:-1], self.marks
        line, column = marks.get(at, (1, 1))
        return Problem(self.name, line, column, place(path, self.data), message, severity)


def place(path: Path_, data: Any = None) -> str:
    """`model_list[0].litellm_params.model`, with the name of a list's entry where it has one."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def load(path: Path, name: str | None = None) -> Document:
    """Read one file. What cannot be read is a problem at 1:1, not an exception."""
    document = Document(name or str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        document.problems.append(Problem(document.name, 1, 1, "", f"cannot be read: {reason.lower()}"))
        return document
    return parse(text, document)


def parse(text: str, document: Document) -> Document:
    """Read YAML text into `document`."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        document.data = _Builder(loader, document).build(root, ()) if root is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.problems.append(Problem(document.name, line, column, "", _reason(error)))
    except yaml.YAMLError as error:
        document.problems.append(Problem(document.name, 1, 1, "", f"not yaml: {error}".replace("\n", " ")))
    finally:
        loader.dispose()
    return document


def _reason(error: yaml.MarkedYAMLError) -> str:
    reason = error.problem or error.context or "not yaml"
    if "'\\t'" in reason:
        return "a tab cannot indent or start a value in yaml; use spaces"
    return f"not yaml: {reason}"


class _Builder:
    def __init__(self, loader: _Loader, document: Document) -> None:
        self.loader, self.document, self.nodes = loader, document, 0

    def build(self, node: yaml.Node, path: Path_) -> Any:
        self.nodes += 1
        if self.nodes > MOST_NODES or len(path) > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem="more or deeper values than a configuration needs", problem_mark=node.start_mark
            )
        self.document.marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        tag, value = node.tag.removeprefix("tag:yaml.org,2002:"), node.value
        if tag == "int":
            return int(value, 0) if value[:2] in ("0x", "0o") else int(value)
        if tag == "float":
            return float(value.lower().replace(".inf", "inf").replace(".nan", "nan"))
        if tag in ("bool", "null"):
            return {"t": True, "f": False}.get(value[:1].lower())
        if tag in ("str", "merge"):
            return value
        raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not used here", problem_mark=node.start_mark)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = {**self._merge(value_node, path), **merged}
                continue
            key = self._key(key_node)
            at = (*path, key)
            mark = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key in own:
                first = self.document.keys[at][0]
                self.document.problems.append(
                    Problem(self.document.name, *mark, place(at), f"this key stands twice, first in line {first}")
                )
                continue
            self.document.keys[at] = mark
            self.document.marks.pop(at, None)
            own[key] = self.build(value_node, at)
        return {**merged, **own}

    def _key(self, node: yaml.Node) -> str:
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, Hashable) or isinstance(key, bool) or key is None:
            raise yaml.MarkedYAMLError(problem="a key must be a name; quote it", problem_mark=node.start_mark)
        return str(node.value)

    def _merge(self, node: yaml.Node, path: Path_) -> dict[str, Any]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(nodes):
            value = self.build(part, path)
            if not isinstance(value, Mapping):
                raise yaml.MarkedYAMLError(problem="<< takes a mapping", problem_mark=node.start_mark)
            merged.update(value)
        return merged
