"""`os.environ/NAME` and `os.environ/NAME:default` in YAML values. Knows the environment it is given, no meaning."""

from collections.abc import Iterator, Mapping
from typing import Any

from scribe_router.config.documents import Document, Path_, parse

PREFIX = "os.environ/"


def variable(value: Any) -> str | None:
    """The variable that a value refers to, or None."""
    return value.removeprefix(PREFIX).partition(":")[0] if isinstance(value, str) and value.startswith(PREFIX) else None


def resolve(document: Document, environment: Mapping[str, str]) -> Document:
    """The document with its references replaced, read as YAML scalars; an unset one without a default is a problem."""
    resolved = Document(document.name, marks=document.marks, keys=document.keys, problems=list(document.problems))
    resolved.data = _replace(document, document.data, (), environment, resolved)
    return resolved


def _replace(document: Document, value: Any, path: Path_, environment: Mapping[str, str], into: Document) -> Any:
    if isinstance(value, dict):
        return {key: _replace(document, each, (*path, key), environment, into) for key, each in value.items()}
    if isinstance(value, list):
        return [_replace(document, each, (*path, index), environment, into) for index, each in enumerate(value)]
    name = variable(value)
    if name is None:
        return value
    _, colon, default = value.removeprefix(PREFIX).partition(":")
    if name not in environment and not colon:
        into.problems.append(
            document.problem(path, f"the environment variable {name} is not set, and there is no default")
        )
        return None
    return _scalar(environment.get(name) or default)


def _scalar(text: str) -> Any:
    value = parse(text, Document("")).data if text and text[0] not in "{[&*!|>'\"%@`#-?" else text
    return text if isinstance(value, dict | list) or (value is None and text) else value


def references(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    """Every reference below a value: where it stands, and its whole text."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from references(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from references(each, (*path, index))
    elif variable(value) is not None:
        yield path, value
