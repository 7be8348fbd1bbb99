"""What other packages bring: entry points for providers and for strategies. Knows their names and how to load them.

A provider is a `litellm.CustomLLM`, a class or an instance, under the prefix of its models; a strategy is a function as
those in `scribe_router.policies.strategies`, under the name that `policies/routing.yaml` uses:

    [project.entry-points."scribe_router.providers"]
    acme = "acme_llm:Acme"          # serves `model: acme/anything`

    [project.entry-points."scribe_router.strategies"]
    nearest = "acme_llm:nearest"
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

Kind = Literal["providers", "strategies"]


def names(kind: Kind) -> frozenset[str]:
    """The names that installed packages bring."""
    return frozenset(_found(kind))


def loaded(kind: Kind) -> dict[str, Any]:
    """Name to what its entry point names; a class is called without arguments. Raises what loading it raises."""
    objects = {name: entry.load() for name, entry in _found(kind).items()}
    return {name: each() if isinstance(each, type) else each for name, each in objects.items()}


def _found(kind: Kind) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"scribe_router.{kind}")}
