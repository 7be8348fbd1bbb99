"""The names of one `litellm_config.yaml`: models, groups and aliases, and what is wrong between them."""

from collections.abc import Iterable, Iterator, Mapping

from scribe_router.config.documents import Document
from scribe_router.config.problems import Path_
from scribe_router.config.schema import IGNORED, STRATEGIES, AliasTarget, LiteLLMConfig, RoutingGroup
from scribe_router.deployment import Deployment, Wildcard, longest
from scribe_router.litellm_names import ROUTER
from scribe_router.names import did_you_mean, matched
from scribe_router.registry import Group


class Names:
    """Every name that a client may ask for, and what stands behind it."""

    def __init__(
        self, document: Document, config: LiteLLMConfig, deployments: list[Deployment], wildcards: list[Wildcard]
    ) -> None:
        self.document, self.settings, self.wildcards = document, config.router_settings, wildcards
        self.models: dict[str, list[Deployment]] = {}
        for deployment in deployments:
            self.models.setdefault(deployment.model, []).append(deployment)
        named = dict.fromkeys(entry.model_name for entry in config.model_list)
        self.listed = tuple(name for name in named if "*" not in name)
        self.patterns = tuple(name for name in named if "*" in name)
        self.groups = {group.group_name: group for group in self.settings.routing_groups}
        targets = self.settings.model_group_alias.items()
        self.aliases = {name: each.model if isinstance(each, AliasTarget) else each for name, each in targets}
        self.hidden = frozenset(name for name, each in targets if isinstance(each, AliasTarget) and each.hidden)

    def everything(self) -> tuple[str, ...]:
        return (*self.listed, *self.groups, *self.aliases)

    def has(self, name: str) -> bool:
        """Whether a client may ask for this name."""
        return name in self.everything() or self.routed(name)

    def routed(self, name: str) -> bool:
        """Whether a wildcard matches."""
        return any(matched(pattern, name) is not None for pattern in self.patterns)

    def deployments(self, name: str) -> list[Deployment]:
        """The deployments behind a model, group or alias."""
        name = self.aliases.get(name, name)
        models = self.groups[name].models if name in self.groups else [name]
        return [each for model in models for each in self.models.get(model, ()) or self._made(model)]

    def _made(self, model: str) -> list[Deployment]:
        return [each.of(matched(each.row.model, model) or "") for each in longest(self.wildcards, model)]

    def compiled(self) -> dict[str, Group]:
        """Groups as tiers of models."""
        groups = self.groups.items()
        return {name: Group(name, tuple(_tiers(group)), STRATEGIES[group.routing_strategy]) for name, group in groups}

    def known(self, path: Path_, name: str, among: Iterable[str] | None = None) -> bool:
        """Whether there is such a name; a problem at `path` of `router_settings` when there is none."""
        among = tuple(among or self.everything())
        if name not in among and not self.routed(name):
            self.problem(path, f"there is no model, group or alias {name}{did_you_mean(name, among)}")
            return False
        return True

    def problem(self, path: Path_, message: str, *, key: bool = False) -> None:
        self.document.report(("router_settings", *path), message, key=key)

    def check(self) -> None:
        """Report every mistake of groups and aliases, and the settings that are not followed."""
        self._settings()
        self._groups()
        self._aliases()
        self._identities()

    def _settings(self) -> None:
        known = frozenset(type(self.settings).model_fields) | ROUTER
        for name in self.settings.model_extra or {}:
            at = ("router_settings", name)
            if name not in known:
                self.document.report(at, f"unknown key{did_you_mean(name, known)}", key=True)
                continue
            where = f"; {IGNORED[name]} decides" if name in IGNORED else ""
            self.document.report(at, f"is LiteLLM's own and not used here{where}", key=True, severity="warning")

    def _groups(self) -> None:
        seen: set[str] = set()
        for index, group in enumerate(self.settings.routing_groups):
            path: Path_ = ("routing_groups", index)
            if group.group_name in seen or group.group_name in self.listed:
                what = "a model" if group.group_name in self.listed else "another group"
                self.problem((*path, "group_name"), f"{group.group_name} is the name of {what} too")
            if "*" in group.group_name:
                self.problem((*path, "group_name"), "a group has no wildcard")
            seen.add(group.group_name)
            self._members(group, path)

    def _members(self, group: RoutingGroup, path: Path_) -> None:
        for place, model in enumerate(group.models):
            if model not in self.listed and not self.routed(model):
                hint = did_you_mean(model, self.listed)
                self.problem((*path, "models", place), f"there is no model {model}{hint}")
            elif model in group.models[:place]:
                self.problem((*path, "models", place), f"{model} stands twice in this group")
        if not self.document.wrong(("router_settings", *path)):
            self._priorities(group, path)

    def _priorities(self, group: RoutingGroup, path: Path_) -> None:
        named = group.model_priorities
        if group.routing_strategy != "priority":
            if named:
                self.problem((*path, "model_priorities"), "works with routing_strategy: priority only", key=True)
            return
        if named is None:
            self.problem(path, "model_priorities is missing; routing_strategy: priority goes by it")
            return
        for model in named:
            if model not in group.models:
                hint = did_you_mean(model, group.models)
                self.problem((*path, "model_priorities", model), f"{model} is not in this group{hint}", key=True)
        without = [model for model in group.models if model not in named]
        if without:
            self.problem((*path, "model_priorities"), f"{', '.join(without)} has no priority", key=True)

    def _aliases(self) -> None:
        circling: set[str] = set()
        for name, target in self.aliases.items():
            path: Path_ = ("model_group_alias", name)
            if name in self.listed or name in self.groups:
                what = "group" if name in self.groups else "model"
                self.problem(path, f"{name} is the name of a {what} too", key=True)
            elif target not in self.aliases:
                self.known(path, target, (*self.listed, *self.groups))
            elif name not in circling:
                chain = _chain(self.aliases, name)
                circle = chain[-1] in chain[:-1]
                circling |= set(chain) if circle else set()
                what = "runs in a circle" if circle else "points to an alias; name the model itself"
                self.problem(path, f"{' -> '.join(chain)} {what}")

    def _identities(self) -> None:
        for entry in (each for rows in self.models.values() for each in rows):
            if entry.id != entry.model and (entry.id in self.groups or entry.id in self.aliases):
                what = "a group" if entry.id in self.groups else "an alias"
                index = self._index(entry.id)
                self.document.report(("model_list", index, "model_info", "id"), f"{entry.id} is the name of {what} too")

    def _index(self, identity: str) -> int:
        rows = self.document.data["model_list"]
        return next(index for index, row in enumerate(rows) if (row.get("model_info") or {}).get("id") == identity)


def _chain(aliases: Mapping[str, str], name: str) -> list[str]:
    chain = [name]
    while chain[-1] in aliases and chain[-1] not in chain[:-1]:
        chain.append(aliases[chain[-1]])
    return chain


def _tiers(group: RoutingGroup) -> Iterator[tuple[str, ...]]:
    if group.model_priorities is None:
        yield tuple(group.models)
        return
    for priority in sorted(set(group.model_priorities.values())):
        yield tuple(model for model in group.models if group.model_priorities[model] == priority)
