"""Fallbacks of `litellm_config.yaml`: the tables that the planner follows, and the edges that would surprise."""

from collections.abc import Iterator, Mapping

from scribe_router.config.naming import Names
from scribe_router.config.problems import Path_
from scribe_router.config.schema import LiteLLMConfig
from scribe_router.deployment import Deployment
from scribe_router.exchange import Category

KINDS = {
    None: "fallbacks",
    Category.CONTEXT_LENGTH: "context_window_fallbacks",
    Category.CONTENT_POLICY: "content_policy_fallbacks",
}
EVERY_NAME = "*"
_PROMISES = ("tools", "vision", "json_schema")


class Chains:
    """The fallbacks of every name."""

    def __init__(self, names: Names, config: LiteLLMConfig) -> None:
        self.names, self.settings, self.elsewhere = names, config.router_settings, config.litellm_settings

    def compiled(self) -> dict[Category | None, Mapping[str, tuple[str, ...]]]:
        """Each kind's table; what stands under `*` is the last resort."""
        return {
            category: {source: tuple(targets) for _, source, targets in self._rows(kind) if source != EVERY_NAME}
            for category, kind in KINDS.items()
        }

    def last_resort(self) -> tuple[str, ...]:
        """`default_fallbacks`, and the target of `"*"` in fallbacks."""
        starred = [target for table in self.settings.fallbacks for target in table.get(EVERY_NAME, ())]
        return tuple(dict.fromkeys((*starred, *self.settings.default_fallbacks)))

    def check(self) -> None:
        """Report every mistake of the fallbacks."""
        for name in (*KINDS.values(), "default_fallbacks", "model_group_alias"):
            if name in self.elsewhere:
                self.names.document.report(("litellm_settings", name), f"move it to router_settings.{name}", key=True)
        for category, kind in KINDS.items():
            self._sources(kind, category)
            for path, source, target in self._edges(kind):
                self._edge(path, source, target, category)
        for index, name in enumerate(self.settings.default_fallbacks):
            self.names.known(("default_fallbacks", index), name)

    def _rows(self, kind: str) -> Iterator[tuple[Path_, str, list[str]]]:
        for index, table in enumerate(getattr(self.settings, kind)):
            for source, targets in table.items():
                yield (kind, index, source), source, targets

    def _sources(self, kind: str, category: Category | None) -> None:
        seen: set[str] = set()
        for path, source, _ in self._rows(kind):
            if source == EVERY_NAME and category is not None:
                self.names.problem(path, "* works in fallbacks only", key=True)
            elif source in seen:
                self.names.problem(path, f"{source} stands twice in {kind}; put its fallbacks into one list", key=True)
            elif source != EVERY_NAME and source not in self.names.patterns:
                self.names.known(path, source)
            seen.add(source)

    def edges(self) -> Iterator[tuple[Path_, str, str]]:
        """(place in `router_settings`, name, fallback) of every table, without what nobody has."""
        for kind in KINDS.values():
            for path, source, targets in self._rows(kind):
                for place, target in enumerate(targets):
                    if source != EVERY_NAME and self.names.has(target):
                        yield (*path, place), source, target

    def _edges(self, kind: str) -> Iterator[tuple[Path_, str, str]]:
        for path, source, targets in self._rows(kind):
            for place, target in enumerate(targets):
                if self.names.known((*path, place), target):
                    yield (*path, place), source, target

    def _edge(self, path: Path_, source: str, target: str, category: Category | None) -> None:
        if self.names.aliases.get(source, source) == self.names.aliases.get(target, target):
            self.names.problem(path, f"{source} falls back to itself")
            return
        before, after = self.names.deployments(source), self.names.deployments(target)
        if not before or not after:
            return
        self._windows(path, (source, before), (target, after), category)
        for promise in _PROMISES:
            if all(promise in each.supports for each in before) and not all(promise in each.supports for each in after):
                self._warn(path, f"{source} has {promise}, its fallback {target} does not")

    def _windows(
        self,
        path: Path_,
        source: tuple[str, list[Deployment]],
        target: tuple[str, list[Deployment]],
        category: Category | None,
    ) -> None:
        if not all(each.window for each in (*source[1], *target[1])):
            return
        before = max(each.window or 0 for each in source[1])
        after = min(each.window or 0 for each in target[1])
        has = f"{target[0]} has a window of {after:,} tokens"
        if category is Category.CONTEXT_LENGTH and after <= before:
            self.names.problem(path, f"{has}, not more than {source[0]} with {before:,}")
        elif category is None and after < before:
            self._warn(path, f"{has}, {source[0]} has {before:,}: long requests fail there")

    def _warn(self, path: Path_, message: str) -> None:
        self.names.document.report(("router_settings", *path), message, severity="warning")
