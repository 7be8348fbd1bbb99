"""`os.environ/NAME`, `os.environ/NAME:default` and other references in YAML values: the one place that looks them up.

Knows the sources it is given, no meaning.
"""

from collections.abc import Collection
from typing import Any

from scribe_router.config.documents import Document, Reference, below, put
from scribe_router.config.problems import Path_
from scribe_router.config.yaml12 import typed
from scribe_router.secrets import Missing, Sources, Unresolved
from scribe_router.secrets.sources import ENVIRONMENT

PREFIX = f"{ENVIRONMENT}/"


def referred(value: Any, schemes: Collection[str]) -> Reference | None:
    """The reference that a value is, not looked up; None for every other value."""
    scheme, slash, name = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not slash or scheme not in schemes:
        return None
    if scheme != ENVIRONMENT:
        return Reference(value, None)
    variable, colon, default = name.partition(":")
    return Reference(variable, None, default if colon else None)


def look_up(reference: str, sources: Sources) -> str:
    """The text behind a reference. Raises `Missing` and `Unresolved`."""
    scheme, _, name = reference.partition("/")
    if scheme != ENVIRONMENT:
        return sources.look_up(scheme, name)
    variable, colon, default = name.partition(":")
    try:
        return sources.look_up(scheme, variable) or default
    except Missing:
        if colon:
            return default
        raise


def resolve(document: Document, sources: Sources, path: Path_ = ()) -> Document:
    """Replace the references of a file in `policies/`, at or below `path`. One to nothing without a default is a
    problem."""
    for at, value, reference in _references(document, path, sources.schemes):
        text = None
        try:
            text = look_up(value, sources)
        except Unresolved as error:
            missing = isinstance(error, Missing) and value.startswith(PREFIX)
            document.report(at, f"{error}, and there is no default" if missing else str(error))
        report_doubts(document, sources, at)
        _replace(document, at, reference, text)
    return document


def substitute(document: Document, sources: Sources, path: Path_) -> None:
    """Replace the references at or below `path` of `litellm_config.yaml`, where LiteLLM knows no defaults, and of all
    schemes only the environment.

    What is not set becomes None: the deployment is left out, not wrong.
    """
    for at, value, reference in _references(document, path, sources.schemes):
        if not value.startswith(PREFIX):
            scheme = value.partition("/")[0]
            where = f"write {PREFIX}NAME here, and in policies/secrets.yaml where NAME comes from"
            document.report(at, f"{scheme}/ works in policies/ only, LiteLLM would not read it; {where}")
        elif reference.default is not None:
            message = f"a default after {PREFIX}{reference.name} works in policies/ only; LiteLLM would not read it"
            document.report(at, message)
        _replace(document, at, reference, sources.environment.get(reference.name) or None)


def report_doubts(document: Document, sources: Sources, path: Path_) -> None:
    """Report what was noticed while the last reference was looked up."""
    while sources.doubts:
        document.report(path, sources.doubts.pop(0), severity="warning")


def _references(document: Document, path: Path_, schemes: Collection[str]) -> list[tuple[Path_, str, Reference]]:
    value = document.data
    for step in path:
        value = value[step]
    found = ((at, each, referred(each, schemes)) for at, each in below(value, path))
    return [(at, each, reference) for at, each, reference in found if reference is not None]


def _replace(document: Document, path: Path_, reference: Reference, text: str | None) -> None:
    document.references[path] = Reference(reference.name, text, reference.default)
    if path:
        put(document.data, path, None if text is None else typed(text))
