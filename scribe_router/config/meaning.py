"""What names mean together: groups, aliases, fallbacks and limits that cannot work, or that would surprise."""

from collections.abc import Iterator, Mapping
from typing import Any

from scribe_router.config.documents import Document, Path_
from scribe_router.config.schema import IGNORED, AliasTarget, LiteLLMConfig, RoutingGroup
from scribe_router.exchange import Category
from scribe_router.names import did_you_mean
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.prices import bound
from scribe_router.registry import Deployment, Group

KINDS = {
    None: "fallbacks",
    Category.CONTEXT_LENGTH: "context_window_fallbacks",
    Category.CONTENT_POLICY: "content_policy_fallbacks",
}
_PROMISES = ("tools", "vision", "json_schema")
SMALLEST_CALL = (1_000, 64)  # input tokens that the shortest body is bounded by, output tokens worth having


class Names:
    """The names of one `litellm_config.yaml` and what is wrong with their relations."""

    def __init__(self, document: Document, config: LiteLLMConfig, deployments: list[Deployment]) -> None:
        self.document, self.settings = document, config.router_settings
        self.models: dict[str, list[Deployment]] = {}
        for deployment in deployments:
            self.models.setdefault(deployment.model, []).append(deployment)
        self.listed = [entry.model_name for entry in config.model_list]
        self.groups = {group.group_name: group for group in self.settings.routing_groups}
        self.aliases = {
            name: target.model if isinstance(target, AliasTarget) else target
            for name, target in self.settings.model_group_alias.items()
        }
        self.hidden = frozenset(
            name
            for name, target in self.settings.model_group_alias.items()
            if isinstance(target, AliasTarget) and target.hidden
        )
        self._misplaced(config)

    def problem(self, path: Path_, message: str, **more: Any) -> None:
        self.document.problems.append(self.document.problem(("router_settings", *path), message, **more))

    def everything(self) -> tuple[str, ...]:
        return (*dict.fromkeys(self.listed), *self.groups, *self.aliases)

    def _misplaced(self, config: LiteLLMConfig) -> None:
        for name in self.settings.model_extra or {}:
            if name in IGNORED:
                self.problem(
                    (name,),
                    f"is LiteLLM's own and not used here; {IGNORED[name]} decides",
                    key=True,
                    severity="warning",
                )
            else:
                known = (*type(self.settings).model_fields, *IGNORED)
                self.problem((name,), f"unknown key{did_you_mean(name, known)}", key=True)
        for name in config.litellm_settings:
            if name in (*KINDS.values(), "default_fallbacks", "model_group_alias"):
                problem = self.document.problem(
                    ("litellm_settings", name), f"move it to router_settings.{name}", key=True
                )
                self.document.problems.append(problem)

    def check(self) -> None:
        """Add every problem of groups, aliases and fallbacks to the document."""
        self._groups()
        self._aliases()
        for category, kind in KINDS.items():
            for path, source, target in self._edges(kind):
                self._edge(path, source, target, category)
        for index, name in enumerate(self.settings.default_fallbacks):
            self._known(("default_fallbacks", index), name)

    def _known(self, path: Path_, name: str, known: tuple[str, ...] | None = None) -> bool:
        known = known or self.everything()
        if name not in known:
            self.problem(path, f"there is no model, group or alias {name}{did_you_mean(name, known)}")
        return name in known

    def _groups(self) -> None:
        seen: set[str] = set()
        for index, group in enumerate(self.settings.routing_groups):
            path: Path_ = ("routing_groups", index)
            if group.group_name in seen or group.group_name in self.listed:
                what = "a model" if group.group_name in self.listed else "another group"
                self.problem((*path, "group_name"), f"{group.group_name} is the name of {what} too")
            seen.add(group.group_name)
            for place, model in enumerate(group.models):
                if model not in self.listed:
                    hint = did_you_mean(model, self.listed)
                    self.problem((*path, "models", place), f"there is no model {model}{hint}")
                if model in group.models[:place]:
                    self.problem((*path, "models", place), f"{model} stands twice in this group")
            self._priorities(group, path)

    def _priorities(self, group: RoutingGroup, path: Path_) -> None:
        named = group.model_priorities
        if group.routing_strategy != "priority":
            if named:
                self.problem((*path, "model_priorities"), "works with routing_strategy: priority only", key=True)
            return
        if named is None or set(named) != set(group.models):
            at = (*path, "model_priorities") if named is not None else path
            self.problem(at, "model_priorities must name exactly the group's models")

    def _aliases(self) -> None:
        for name, target in self.aliases.items():
            path: Path_ = ("model_group_alias", name)
            if name in self.listed or name in self.groups:
                self.problem(
                    path, f"{name} is the name of a {'group' if name in self.groups else 'model'} too", key=True
                )
            elif target in self.aliases:
                chain = self._chain(name)
                circle = "runs in a circle" if chain[-1] in chain[:-1] else "points to an alias; name the model itself"
                self.problem(path, f"{' -> '.join(chain)} {circle}")
            else:
                self._known(path, target, (*dict.fromkeys(self.listed), *self.groups))

    def _chain(self, name: str) -> list[str]:
        chain = [name]
        while chain[-1] in self.aliases and chain[-1] not in chain[:-1]:
            chain.append(self.aliases[chain[-1]])
        return chain

    def _edges(self, kind: str) -> Iterator[tuple[Path_, str, str]]:
        for index, table in enumerate(getattr(self.settings, kind)):
            for source, targets in table.items():
                if source != "*":
                    self._known((kind, index, source), source)
                for place, target in enumerate(targets):
                    path = (kind, index, source, place)
                    if self._known(path, target):
                        yield path, source, target

    def _edge(self, path: Path_, source: str, target: str, category: Category | None) -> None:
        if source == target:
            self.problem(path, f"{source} falls back to itself")
            return
        before, after = self._deployments(source), self._deployments(target)
        if not before or not after:
            return
        windows = [each.window for each in (*before, *after) if each.window]
        if len(windows) == len(before) + len(after):
            widest, narrowest = max(each.window or 0 for each in before), min(each.window or 0 for each in after)
            self._windows(path, target, source, widest, narrowest, category)
        for promise in _PROMISES:
            if all(promise in each.supports for each in before) and not all(promise in each.supports for each in after):
                self.problem(path, f"{source} has {promise}, its fallback {target} does not", severity="warning")

    def _windows(
        self, path: Path_, target: str, source: str, before: int, after: int, category: Category | None
    ) -> None:
        if category is Category.CONTEXT_LENGTH and after <= before:
            self.problem(path, f"{target} has a window of {after:,} tokens, not more than {source} with {before:,}")
        elif category is None and after < before:
            self.problem(
                path,
                f"{target} has a window of {after:,} tokens, {source} has {before:,}: long requests fail there",
                severity="warning",
            )

    def _deployments(self, name: str) -> list[Deployment]:
        name = self.aliases.get(name, name)
        models = self.groups[name].models if name in self.groups else [name]
        return [each for model in models for each in self.models.get(model, ())]

    def compiled_groups(self) -> dict[str, Group]:
        """Groups as tiers of models."""
        return {name: Group(name, tuple(_tiers(group))) for name, group in self.groups.items()}

    def compiled_fallbacks(self) -> dict[Category | None, Mapping[str, tuple[str, ...]]]:
        """Each kind's table; what stands under `*` is the last resort."""
        return {
            category: {
                source: tuple(targets)
                for table in getattr(self.settings, kind)
                for source, targets in table.items()
                if source != "*"
            }
            for category, kind in KINDS.items()
        }

    def last_resort(self) -> tuple[str, ...]:
        """`default_fallbacks`, and the target of `"*"` in fallbacks."""
        starred = [target for table in self.settings.fallbacks for target in table.get("*", ())]
        return tuple(dict.fromkeys((*starred, *self.settings.default_fallbacks)))


def _tiers(group: RoutingGroup) -> Iterator[tuple[str, ...]]:
    if group.model_priorities is None:
        yield tuple(group.models)
        return
    for priority in sorted(set(group.model_priorities.values())):
        yield tuple(model for model in group.models if group.model_priorities[model] == priority)


def check_money(
    budgets: BudgetsPolicy,
    limits: Document,
    entries: Document,
    deployments: list[Deployment],
    places: Mapping[str, int],
) -> None:
    """A deployment without a price under a hard limit, and a limit that is smaller than one minimal call."""
    if not budgets.limits:
        return
    for deployment in deployments:
        if deployment.price is None:
            message = (
                f"{deployment.id} has no price, and policies/budgets.yaml limits money; write it (0 if it is free)"
            )
            entries.problems.append(entries.problem(("model_list", places[deployment.id], "model_info"), message))
    for index, limit in enumerate(budgets.limits):
        cheapest = min((bound(each.price, *SMALLEST_CALL) for each in deployments if each.price), default=0)
        if limit.cap < cheapest:
            message = f"{limit.id}: {limit.usd} usd is less than one minimal call costs"
            limits.problems.append(limits.problem(("limits", index, "usd"), message))
