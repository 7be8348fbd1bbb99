"""YAML nodes to plain data. Bounded: aliases cannot multiply without end, nor an anchor contain itself."""

from typing import Any, Protocol

import yaml

from scribe_router.config.problems import Mark, Path_, Severity
from scribe_router.config.yaml12 import CORE, misread, tag_of, value_of

MOST_NODES = 100_000
DEEPEST = 60
TOO_MUCH = "more or deeper values than a configuration needs"


class Refused(yaml.MarkedYAMLError):
    """YAML that is well formed and not used here."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema, and with bounds."""

    _nodes = _depth = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0]:
            return CORE + tag_of(value)
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._nodes, self._depth = self._nodes + 1, self._depth + 1
        if self._nodes > MOST_NODES or self._depth > DEEPEST:
            raise Refused(TOO_MUCH, self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        plain = self.peek_event().implicit[0]  # type: ignore[no-untyped-call]
        node = super().compose_scalar_node(anchor)
        node.plain = plain  # type: ignore[attr-defined]
        return node


class Target(Protocol):
    """What the builder fills."""

    marks: dict[Path_, Mark]
    keys: dict[Path_, Mark]

    def note(self, mark: Mark, path: Path_, message: str, severity: Severity = "error") -> None: ...


class Builder:
    """Builds the data of one document, and notes where each part of it stands."""

    def __init__(self, into: Target, *, shared: bool) -> None:
        self.into, self.shared = into, shared
        self._nodes, self._open = 0, list[yaml.Node]()

    def build(self, node: yaml.Node, path: Path_) -> Any:
        """The value of a node, which stands at `path`."""
        self._enter(node)
        self.into.marks[path] = _mark(node)
        if isinstance(node, yaml.MappingNode):
            value: Any = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            _expect_tag(node, "seq")
            value = [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        else:
            value = self._scalar(node)
            self._compare(node, path)
        self._open.pop()
        return value

    def _enter(self, node: yaml.Node) -> None:
        if any(each is node for each in self._open):
            raise Refused("an anchor cannot contain itself", node.start_mark)
        self._nodes += 1
        if self._nodes > MOST_NODES or len(self._open) >= DEEPEST:
            raise Refused(TOO_MUCH, node.start_mark)
        self._open.append(node)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            value = value_of(node.value, node.tag.removeprefix(CORE))
        except ValueError as error:
            problem = "a number with too many digits" if "digits" in str(error) else str(error)
            raise Refused(problem, node.start_mark) from None
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise Refused("half of a surrogate pair is not text", node.start_mark)
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        _expect_tag(node, "map")
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in own:
                first = own[key][0].start_mark.line + 1
                self.into.note(_mark(key_node), (*path, key), f"this key stands twice, first in line {first}")
            own.setdefault(key, (key_node, value_node))
        merge = own.pop("<<", None) if "<<" in own and own["<<"][0].tag == f"{CORE}merge" else None
        data = self._merge(merge[1], path) if merge else {}
        for key, (key_node, value_node) in own.items():
            at = (*path, key)
            self.into.keys[at] = _mark(key_node)
            self._compare(key_node, at, key=True)
            data[key] = self.build(value_node, at)
        return data

    def _merge(self, node: yaml.Node, path: Path_) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in reversed(parts):
            if not isinstance(part, yaml.MappingNode):
                raise Refused("<< takes a mapping", part.start_mark)
            self._enter(part)
            merged |= self._mapping(part, path)
            self._open.pop()
        return merged

    def _key(self, node: yaml.Node) -> str:
        value = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if value is None or isinstance(value, bool):
            raise Refused("a key must be a name; quote it", node.start_mark)
        return str(node.value)

    def _compare(self, node: yaml.Node, at: Path_, *, key: bool = False) -> None:
        """Note what LiteLLM's loader would read differently."""
        if not self.shared or not getattr(node, "plain", False):
            return
        different = misread(node.value, key=key)
        if different is not None:
            message, mild = different
            self.into.note(_mark(node), at, message, "warning" if mild else "error")


def _mark(node: yaml.Node) -> Mark:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _expect_tag(node: yaml.Node, kind: str) -> None:
    if node.tag != CORE + kind:
        raise Refused(f"the tag {node.tag.removeprefix(CORE)} is not used here", node.start_mark)
