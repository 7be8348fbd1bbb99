"""Providers from other packages: entry points of the group `scribe_router.providers`.

Knows their names, and how to load them; never what they do.

Such an entry point is a `litellm.CustomLLM`, a class or an instance, under the prefix of its models:

    [project.entry-points."scribe_router.providers"]
    acme = "acme_llm:Acme"          # serves `model: acme/anything`
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "scribe_router.providers"


def names() -> frozenset[str]:
    """The prefixes that installed packages serve."""
    return frozenset(_found())


def loaded() -> dict[str, Any]:
    """Prefix to what its entry point names; a class is called without arguments. Raises what loading it raises."""
    objects = {name: entry.load() for name, entry in _found().items()}
    return {name: each() if isinstance(each, type) else each for name, each in objects.items()}


def _found() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
