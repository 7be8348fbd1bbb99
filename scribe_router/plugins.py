"""What other packages bring: entry points for providers, strategies and references to secrets. Knows their names and
how to load them.

A provider is a `litellm.CustomLLM`, a class or an instance, under the prefix of its models; a strategy is a function as
those in `scribe_router.policies.strategies`, under the name that `policies/routing.yaml` uses; what resolves secrets is
a function of a name, under what stands before the slash (docs/secrets.md):

    [project.entry-points."scribe_router.providers"]
    acme = "acme_llm:Acme"          # serves `model: acme/anything`

    [project.entry-points."scribe_router.strategies"]
    nearest = "acme_llm:nearest"

    [project.entry-points."scribe_router.secrets"]
    vault = "acme_llm:read"        # resolves `vault/anything`
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

Kind = Literal["providers", "secrets", "strategies"]


class BrokenPlugin(Exception):
    """What a package brings cannot be loaded; the message says which, and why."""


def names(kind: Kind) -> frozenset[str]:
    """The names that installed packages bring."""
    return frozenset(_found(kind))


def loaded(kind: Kind) -> dict[str, Any]:
    """Name to what its entry point names; a class is called without arguments. Raises `BrokenPlugin`."""
    return {name: _loaded(kind, entry) for name, entry in _found(kind).items()}


def _loaded(kind: Kind, entry: EntryPoint) -> Any:
    try:
        found = entry.load()
        return found() if isinstance(found, type) else found
    except Exception as error:  # the code of others may raise anything
        name = f"scribe_router.{kind}: {entry.name} = {entry.value}"
        raise BrokenPlugin(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error


def _found(kind: Kind) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"scribe_router.{kind}")}
