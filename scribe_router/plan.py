"""Which deployments may serve a request, in which order, and why the others may not. Pure.

(facts of the request, registry, snapshot of state) -> Plan. The router walks what `explain` prints: both call `plan`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from scribe_router.errors import InvalidRequest, ModelNotFound
from scribe_router.exchange import Api, Call, Category, Lane
from scribe_router.names import did_you_mean
from scribe_router.policies.migrations import migrate
from scribe_router.policies.routing import in_order
from scribe_router.registry import Deployment, Registry


@dataclass(frozen=True, slots=True)
class Facts:
    """What the planner looks at in a request."""

    api: Api
    model: str
    tools: bool = False
    effort: str | None = None
    fallback_enabled: bool = True
    provider: str | None = None
    lane: Lane | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state that a plan depends on: the day, and the seed that decides between equals."""

    today: date
    seed: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment that may serve the request. `via` is the way that led to it, `group` False for fallbacks."""

    deployment: str
    model: str
    lane: Lane
    via: str
    window: int | None = None
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A deployment that was considered and left out: the rule's name, and the reason with its numbers."""

    deployment: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Candidates in order, and those that only a context or content failure opens; with what it was made from."""

    facts: Facts
    snapshot: Snapshot
    requested: str
    model: str
    candidates: tuple[Candidate, ...]
    context_window: tuple[Candidate, ...] = ()
    content_policy: tuple[Candidate, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    warnings: tuple[str, ...] = ()


def facts(call: Call) -> Facts:
    """The facts of a call, read from its body and its options."""
    provider = call.body.get("provider")
    return Facts(
        api=call.api,
        model=call.model,
        effort=effort if isinstance(effort := call.body.get("reasoning_effort"), str) else None,
        tools=bool(call.body.get("tools") or call.body.get("functions")),
        fallback_enabled=call.body.get("fallback_enabled") is not False,
        provider=call.options.provider or (provider if isinstance(provider, str) else None),
        lane=call.options.lane,
    )


def plan(request: Facts, registry: Registry, snapshot: Snapshot) -> Plan:
    """The plan of a request. Raises `ModelNotFound` (with the nearest name) and `InvalidRequest`."""
    name, warnings = _known_name(request, registry, snapshot)
    planner = _Planner(request, registry, snapshot)
    target = registry.resolve(name)
    planner.add(target, f"alias {name}" if target != name else "")
    primary = planner.take()
    if request.provider:
        primary.sort(key=lambda candidate: registry.deployments[candidate.deployment].provider != request.provider)
    fallbacks: dict[Category | None, list[Candidate]] = {}
    if request.fallback_enabled:
        for category in (None, Category.CONTEXT_LENGTH, Category.CONTENT_POLICY):
            fallbacks[category] = planner.fallbacks((name, target), category)
    candidates = [*primary, *fallbacks.get(None, ())]
    if not candidates:
        raise ModelNotFound(_nobody(name, planner.excluded), param="model")
    return Plan(
        facts=request,
        snapshot=snapshot,
        requested=name,
        model=target,
        candidates=tuple(candidates),
        context_window=tuple(fallbacks.get(Category.CONTEXT_LENGTH, ())),
        content_policy=tuple(fallbacks.get(Category.CONTENT_POLICY, ())),
        excluded=tuple(dict.fromkeys(planner.excluded)),
        warnings=tuple(warnings),
    )


def _known_name(request: Facts, registry: Registry, snapshot: Snapshot) -> tuple[str, list[str]]:
    default = registry.routing.default_model if request.api == "chat" else registry.routing.default_embedding_model
    name = request.model or default
    if not name:
        raise InvalidRequest("model is missing, and no default is configured", code="missing_field", param="model")
    if registry.members(registry.resolve(name)):
        return name, []
    migrated = migrate(registry.migrations, name, snapshot.today)
    if migrated and registry.members(registry.resolve(migrated.name)):
        return migrated.name, [migrated.warning]
    hint = did_you_mean(name, registry.names())
    raise ModelNotFound(f"no model, group or alias is called {name}{hint or '; /v1/models lists them'}", param="model")


def _nobody(name: str, excluded: Iterable[Exclusion]) -> str:
    reasons = dict.fromkeys(f"{each.deployment}: {each.reason}" for each in excluded)
    return f"nothing can serve {name}: {'; '.join(reasons)}"


class _Planner:
    """Collects candidates, each deployment once."""

    def __init__(self, request: Facts, registry: Registry, snapshot: Snapshot) -> None:
        self.request, self.registry, self.snapshot = request, registry, snapshot
        self.excluded: list[Exclusion] = []
        self._found: list[Candidate] = []
        self._seen: set[str] = set()

    def take(self) -> list[Candidate]:
        found, self._found = self._found, []
        return found

    def add(self, name: str, via: str, *, fallback: bool = False) -> None:
        """The deployments behind a model or group, tier by tier."""
        if name in self.registry.groups:
            via = ", ".join(filter(None, (via, f"group {name}")))
        for tier in self.registry.members(name):
            deployments = [self.registry.deployments[each] for model in tier for each in self.registry.models[model]]
            for deployment in in_order(deployments, self.snapshot.seed):
                self._consider(deployment, via or f"model {name}", fallback=fallback)

    def fallbacks(self, names: tuple[str, str], category: Category | None) -> list[Candidate]:
        """The chain of a kind for what was asked for, the chains of its members, and the last resort.

        An empty list under a name means none of them. Chains of different kinds may share deployments.
        """
        before = set(self._seen)
        for source, target in self._chain(names, category):
            kind = {None: "fallback", Category.CONTEXT_LENGTH: "context-window fallback"}.get(
                category, "content-policy fallback"
            )
            self.add(self.registry.resolve(target), f"{kind} of {source}", fallback=True)
        if category is None and not self._alone(names):
            for target in self.registry.last_resort:
                self.add(self.registry.resolve(target), "last resort", fallback=True)
        self._seen = before
        return self.take()

    def _alone(self, names: tuple[str, str]) -> bool:
        table = self.registry.fallbacks.get(None, {})
        return any(table.get(name) == () for name in names)

    def _chain(self, names: tuple[str, str], category: Category | None) -> Iterator[tuple[str, str]]:
        table = self.registry.fallbacks.get(category, {})
        walked: set[str] = set()
        queue = list(dict.fromkeys(names))
        while queue:
            source = queue.pop(0)
            if source in walked:
                continue
            walked.add(source)
            for target in table.get(source, ()):
                yield source, target
                queue += [target, self.registry.resolve(target)]

    def _consider(self, deployment: Deployment, via: str, *, fallback: bool) -> None:
        if deployment.id in self._seen:
            return
        self._seen.add(deployment.id)
        exclusion = _excluded(deployment, self.request)
        if exclusion is not None:
            self.excluded.append(exclusion)
            return
        lane = _lane(deployment, self.request)
        self._found.append(Candidate(deployment.id, deployment.model, lane, via, deployment.window, fallback))


def _excluded(deployment: Deployment, request: Facts) -> Exclusion | None:
    wanted = "chat" if request.api == "chat" else "embedding"
    if deployment.mode != wanted:
        return Exclusion(
            deployment.id, "mode", f"it is a model for {deployment.mode}, the request is for {request.api}"
        )
    if deployment.missing:
        return Exclusion(deployment.id, "missing", deployment.missing)
    if request.lane == "wire" and deployment.wire != "openai":
        return Exclusion(deployment.id, "lane", f"the wire lane was asked for, and it speaks {deployment.wire}")
    return None


def _lane(deployment: Deployment, request: Facts) -> Lane:
    if request.lane:
        return request.lane
    if request.tools and request.effort != "none" and deployment.litellm_lane_for_tools:
        return "litellm"
    return deployment.lane
