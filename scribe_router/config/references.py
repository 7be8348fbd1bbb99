"""`os.environ/NAME` and `os.environ/NAME:default` in YAML values. Knows the environment it is given, no meaning."""

from collections.abc import Mapping
from typing import Any

from scribe_router.config.documents import Document, Reference, below, put
from scribe_router.config.problems import Path_
from scribe_router.config.yaml12 import typed

PREFIX = "os.environ/"


def variable(value: Any) -> str | None:
    """The variable that a value refers to, or None."""
    return value.removeprefix(PREFIX).partition(":")[0] if isinstance(value, str) and value.startswith(PREFIX) else None


def resolve(document: Document, environment: Mapping[str, str]) -> Document:
    """Replace the references of a file in `policies/`. One that is not set and has no default is a problem."""
    for path, reference in _references(document, ()):
        set_to = environment.get(reference.name)
        text = reference.default if not set_to and reference.default is not None else set_to
        if text is None:
            message = f"the environment variable {reference.name} is not set, and there is no default"
            document.report(path, message)
        _replace(document, path, reference, text)
    return document


def substitute(document: Document, environment: Mapping[str, str], path: Path_) -> None:
    """Replace the references at or below `path` of `litellm_config.yaml`, where LiteLLM knows no defaults.

    What is not set becomes None: the deployment is left out, not wrong.
    """
    for at, reference in _references(document, path):
        if reference.default is not None:
            message = f"a default after {PREFIX}{reference.name} works in policies/ only; LiteLLM would not read it"
            document.report(at, message)
        _replace(document, at, reference, environment.get(reference.name) or None)


def _references(document: Document, path: Path_) -> list[tuple[Path_, Reference]]:
    value = document.data
    for step in path:
        value = value[step]
    found = []
    for at, each in below(value, path):
        name = variable(each)
        if name is not None:
            _, colon, default = each.removeprefix(PREFIX).partition(":")
            found.append((at, Reference(name, None, default if colon else None)))
    return found


def _replace(document: Document, path: Path_, reference: Reference, text: str | None) -> None:
    document.references[path] = Reference(reference.name, text, reference.default)
    if path:
        put(document.data, path, None if text is None else typed(text))
