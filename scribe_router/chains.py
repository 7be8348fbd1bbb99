"""Which names stand in for which: the fallbacks of a name, of what it stands for, and of those in turn. Pure."""

from collections.abc import Iterator, Mapping

from scribe_router.registry import Registry

Table = Mapping[str, tuple[str, ...]]


def pairs(registry: Registry, name: str, table: Table) -> Iterator[tuple[str, str]]:
    """(name, fallback) pairs, breadth first; a circle is left where it closes."""
    walked = {name, registry.resolve(name)}
    queue = [name]
    for each in queue:
        for source in _sources(registry, each, table):
            for target in table[source]:
                if registry.resolve(target) not in walked:
                    walked |= {target, registry.resolve(target)}
                    queue.append(target)
                    yield source, target


def alone(registry: Registry, name: str) -> bool:
    """Whether an empty list says that there are no fallbacks: its own, or that of every member."""
    table = registry.fallbacks.get(None, {})
    sources = _sources(registry, name, table)
    if not sources or any(table[source] for source in sources):
        return False
    target = registry.resolve(name)
    members = {model for tier in registry.members(target) for model in tier}
    return sources[0] in (name, target) or members == set(sources)


def _sources(registry: Registry, name: str, table: Table) -> tuple[str, ...]:
    """The names whose lists hold for `name`: its own; else that of what an alias stands for, or of the wildcard that
    serves it; else, for a group, those of its members. So a group needs no list, and one that has a list (`[]` too) is
    taken at its word.

    LiteLLM looks only under the name that the caller used, and would go from such a group to the last resort.
    """
    target = registry.resolve(name)
    patterns = (each.row.model for each in registry.routes(target))
    own = next((each for each in (name, target, *patterns) if each in table), None)
    if own is not None:
        return (own,)
    if target not in registry.groups:
        return ()
    return tuple(model for tier in registry.members(target) for model in tier if model in table)
