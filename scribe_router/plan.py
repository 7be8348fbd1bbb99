"""Which deployments may serve a request, in which order, and why the others may not. Pure.

(facts of the request, registry, snapshot of state) -> Plan. The router walks what `explain` prints: both call `plan`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from datetime import UTC, date, datetime
from functools import partial
from itertools import chain as joined
from math import ceil
from types import MappingProxyType

from scribe_router.chains import alone, pairs
from scribe_router.deployment import Deployment
from scribe_router.eligible import Exclusion, exclusion, lane_of, nothing_left, reasons
from scribe_router.errors import CircuitOpen
from scribe_router.exchange import Call, Category, Exposure, Lane, Level
from scribe_router.facts import Facts, allowed, facts
from scribe_router.ordering import Ordering
from scribe_router.policies.breaker import Circuit
from scribe_router.policies.experiments import EXPERIMENT
from scribe_router.policies.routing import WEIGHTED, in_order
from scribe_router.policies.strategies import Load
from scribe_router.policies.tokens import Counted, Encoding
from scribe_router.preflight import FITS, fit
from scribe_router.principals import ANYWHERE, LOCAL, Demand, Principal
from scribe_router.registry import Registry
from scribe_router.requested import SHOWN, asked_name, demand_of, permitted_name, without_mode
from scribe_router.values import value

CHAINS = {
    None: "fallback",
    Category.CONTEXT_LENGTH: "context-window fallback",
    Category.CONTENT_POLICY: "content-policy fallback",
}


@value
class Snapshot:
    """The state that a plan depends on: the day, the seed that decides between equals, what was seen of deployments
    lately, by id, how often each name was planned for, at the moment `now` the circuits that are not as they began, and
    which deployments were at a limit of rate, with the reason: they are walked past if they still are. Views of all are
    given; a plan keeps what it looked at."""

    today: date
    seed: int
    load: Mapping[str, Load] = field(default_factory=lambda: MappingProxyType({}))
    turns: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    now: float = 0.0
    circuits: Mapping[str, Circuit] = field(default_factory=lambda: MappingProxyType({}))
    full: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@value
class Candidate:
    """A deployment that may serve the request. `via` is the way that led to it, `window` is in tokens; `fallback` says
    that it does not belong to what was asked for, `early` that its circuit is open, and so is every other. `score` is
    what its place rests on, in words, `mode` the provider's routing mode."""

    deployment: str
    model: str
    lane: Lane
    via: str
    window: int | None = None
    fallback: bool = False
    score: str = ""
    mode: str | None = None
    early: bool = False


@value
class Plan:
    """Candidates in order, and those that only a context or content failure opens; with what it was made from. `auto`
    is what a reasoning effort of that name means for this request, `strategy` what ordered the first candidates,
    `exposure` the arm of an experiment that they are of.

    `uncounted` are the encodings in which the texts have to be counted, each up to so many tokens, before it is known
    whether the request fits everywhere; until then it is taken to.
    """

    facts: Facts
    snapshot: Snapshot
    requested: str
    model: str
    candidates: tuple[Candidate, ...]
    context_window: tuple[Candidate, ...] = ()
    content_policy: tuple[Candidate, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    warnings: tuple[str, ...] = ()
    auto: Level | None = None
    strategy: str = WEIGHTED
    exposure: Exposure | None = None
    uncounted: Mapping[Encoding, int] = field(default_factory=dict)


Tally = tuple[Counted, ...]


def facts_of(call: Call, registry: Registry, who: Principal, counted: Tally = ()) -> Facts:
    """The facts of a call that `who` makes, under the policies of a registry, with what was counted of its texts."""
    return facts(call, registry.effort, registry.routing, who.user or who.name, who.grant, counted)


def plan_of(
    call: Call,
    registry: Registry,
    snapshot: Snapshot,
    who: Principal = LOCAL,
    *,
    counted: Tally = (),
    demand: Demand = ANYWHERE,
) -> Plan:
    """The plan of a call as the router walks it and `explain` prints it, under a `demand` that it brings along. Raises
    what `plan` raises, and `InvalidRequest` for what is switched off."""
    call, taken_out = allowed(call, registry.features)
    known = facts_of(call, registry, who, counted)
    found = plan(_under(known, known.demand & demand), registry, snapshot)
    return replace(found, warnings=(*taken_out, *found.warnings)) if taken_out else found


def plan(request: Facts, registry: Registry, snapshot: Snapshot) -> Plan:
    """The plan of a request. Raises `ModelNotFound` (with the nearest name), `PermissionDenied`, `InvalidRequest`
    (`ContextLengthExceeded` among it) and `CircuitOpen`."""
    asked, mode = without_mode(asked_name(request, registry), registry)
    name, warnings = permitted_name(asked, request, registry, snapshot.today)
    request = _under(request, demand_of(name, request, registry))
    planner = _Planner(request, registry, snapshot, mode)
    target, exposure = registry.resolve(name), registry.exposure(name, request.unit)
    primary = planner.primary(name, exposure)
    if not primary and all(each.rule == "mode" for each in planner.excluded.values()):
        raise nothing_left(name, planner.excluded.values(), request, registry)
    chain = partial(planner.chain, name, primary=primary) if request.fallback_enabled else _nothing
    # What is wider serves where the request is too long for some of it; what stands in for it, unless all is too small.
    wider = chain(Category.CONTEXT_LENGTH) if planner.too_small else ()
    general = () if planner.all_too_small else chain(None)
    candidates = _each_once(primary, wider, general) or planner.all_open(name)
    warnings += planner.surprises(name, primary or [each for each in candidates if each.early])
    context_window = wider if planner.too_small else chain(Category.CONTEXT_LENGTH)
    content_policy = chain(Category.CONTENT_POLICY)
    if not candidates:
        raise nothing_left(name, planner.excluded.values(), request, registry)
    early = {each.deployment for each in candidates if each.early}
    return Plan(
        facts=request,
        snapshot=planner.looked_at(candidates),
        requested=name,
        model=target,
        candidates=candidates,
        context_window=context_window,
        content_policy=content_policy,
        excluded=tuple(each for each in planner.excluded.values() if each.deployment not in early),
        warnings=tuple(warnings),
        auto=registry.effort.chosen(request),
        strategy=EXPERIMENT if exposure else registry.strategy(name, request.optimize_for),
        exposure=exposure,
        uncounted=planner.uncounted,
    )


def day(moment: float) -> date:
    """The day of a moment, which decides about retired models."""
    return datetime.fromtimestamp(moment, UTC).date()


def _under(request: Facts, demand: Demand) -> Facts:
    return request if demand is request.demand else replace(request, demand=demand)


def _nothing(kind: Category | None) -> tuple[Candidate, ...]:
    return ()


def _each_once(*candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """All of them in order, each where it stands first."""
    found: dict[str, Candidate] = {}
    for each in joined.from_iterable(candidates):
        found.setdefault(each.deployment, each)
    return tuple(found.values())


class _Planner:
    """Considers deployments, and keeps the reason for each one that is left out. Of what stands behind the name itself
    it keeps whether some of it is `too_small` for the request, or all."""

    def __init__(self, request: Facts, registry: Registry, snapshot: Snapshot, mode: str | None) -> None:
        self.request, self.registry, self.snapshot, self.mode = request, registry, snapshot, mode
        self.excluded: dict[str, Exclusion] = {}
        self._ordering = Ordering(request, registry, snapshot.load, snapshot.turns)
        self.circuits: dict[str, Circuit] = {}
        self.uncounted: dict[Encoding, int] = {}
        self.too_small = self.all_too_small = False
        self._open: dict[str, Candidate] = {}

    def looked_at(self, candidates: Iterable[Candidate]) -> Snapshot:
        """The part of the snapshot that the plan was made from, and those of the candidates that are full."""
        was, names = self.snapshot, [each.deployment for each in candidates]
        full = {each: was.full[each] for each in names if each in was.full}
        return Snapshot(was.today, was.seed, self._ordering.load, self._ordering.turns, was.now, self.circuits, full)

    def primary(self, name: str, exposure: Exposure | None) -> list[Candidate]:
        """The candidates behind what was asked for; those of the preferred provider first. In an experiment those of
        the arm, and then the others as its fallbacks."""
        alias = f"alias {name}" if self.registry.resolve(name) != name else ""
        found = self._first(name, alias, exposure)
        rules = [each.rule for each in self.excluded.values()]
        self.too_small = "window" in rules
        self.all_too_small = not found and {*rules} == {"window"}
        return found

    def _first(self, name: str, alias: str, exposure: Exposure | None) -> list[Candidate]:
        seen = set[str]()
        if exposure is None:
            return self._preferring(self._behind(name, alias, seen, fallback=False))
        arm = f"arm {exposure.arm} of {exposure.experiment}"
        first = self._preferring(self._behind(exposure.model, arm, seen, fallback=False))
        rest = self._behind(name, alias, seen, fallback=True)
        return first + (self._preferring(rest) if self.request.fallback_enabled else [])

    def _preferring(self, found: Iterable[Candidate]) -> list[Candidate]:
        return sorted(found, key=lambda each: not self._preferred(each)) if self.request.provider else [*found]

    def _preferred(self, candidate: Candidate) -> bool:
        return self.registry.deployment(candidate.deployment).provider == self.request.provider

    def surprises(self, name: str, primary: list[Candidate]) -> list[str]:
        """What the caller should hear about, although the request can be served."""
        if self.all_too_small:
            return [f"the request is too long for {name}; its context-window fallbacks serve"]
        if not primary:
            return [f"nothing behind {name} can be used; its fallbacks serve"]
        if primary[0].fallback and not primary[0].early:
            return [f"nothing of this arm can be used; what {name} is without its experiment serves"]
        if self.request.provider and not any(map(self._preferred, primary)):
            return [f"nothing behind {name} is at the provider {self.request.provider[:SHOWN]}; its order stays"]
        return []

    def chain(self, name: str, kind: Category | None, *, primary: list[Candidate]) -> tuple[Candidate, ...]:
        """The fallbacks of a kind. What stands under a name comes before what stands under its fallbacks in turn.

        Chains for context and content may name what the request has tried before; the general one does not repeat it.
        At the end of the general one stands the last resort: for chat, since vectors of two models do not mix, and
        unless an empty list says that there are no fallbacks.
        """
        table = self.registry.fallbacks.get(kind)
        last_resort = self.registry.last_resort if kind is None and self.request.api == "chat" else ()
        if not table and not last_resort:
            return ()
        seen = {each.deployment for each in primary} if kind is None else set[str]()
        found = [
            candidate
            for source, target in (pairs(self.registry, name, table) if table else ())
            for candidate in self._behind(target, f"{CHAINS[kind]} of {source}", seen, fallback=True)
        ]
        if last_resort and not alone(self.registry, name):
            for target in last_resort:
                found += self._behind(target, "last resort", seen, fallback=True)
        return tuple(found)

    def _behind(self, name: str, via: str, seen: set[str], *, fallback: bool) -> Iterator[Candidate]:
        """The candidates behind a model, group or alias, tier by tier, without what was seen before."""
        target = self.registry.resolve(name)
        if target in self.registry.groups:
            via = f"{via}, group {target}" if via else f"group {target}"
        way, request, circuits = via or f"model {target}", self.request, self.snapshot.circuits
        for each, score in self._ordering.of(name, target, self._usable(target, seen)):
            lane, mode = lane_of(each, request), each.modes.chosen(self.mode, request.optimize_for)
            candidate = Candidate(each.id, each.model, lane, way, each.window, fallback, score, mode)
            circuit = circuits.get(each.id)
            let_through = candidate if circuit is None else self._let_through(candidate, circuit)
            if let_through is not None:
                yield let_through

    def _usable(self, target: str, seen: set[str]) -> list[Deployment]:
        """The deployments behind a model or group that may serve, tier by tier, each as its orders and weights and the
        seed say."""
        usable = []
        for tier in self.registry.tiers(target):
            for each in in_order(tier, self.snapshot.seed):
                if each.id not in seen:
                    seen.add(each.id)
                    reason = exclusion(each, self.request, self.registry) or self._beyond(each)
                    if reason is None:
                        usable.append(each)
                    else:
                        self.excluded[each.id] = reason
        return usable

    def _beyond(self, deployment: Deployment) -> Exclusion | None:
        """Why the request does not fit into a window; where that takes a tokenizer, that is noted."""
        found = fit(deployment, self.request)
        if found is FITS:
            return None
        if found.encoding is not None:
            self.uncounted[found.encoding] = max(found.enough, self.uncounted.get(found.encoding, 0))
        return Exclusion(deployment.id, "window", found.too_long) if found.too_long else None

    def _let_through(self, candidate: Candidate, circuit: Circuit) -> Candidate | None:
        """The candidate, unless its circuit is in the way; the others stay in the order that they have."""
        now = self.snapshot.now
        self.circuits[candidate.deployment] = circuit
        if not circuit.in_the_way(now):
            return candidate
        if rest := circuit.resting(now):
            candidate = replace(candidate, via=f"{candidate.via}; at its provider's rate limit for {ceil(rest)} s")
        if circuit.blocked(now):
            self.excluded[candidate.deployment] = Exclusion(candidate.deployment, "circuit", circuit.reason(now))
            self._open.setdefault(candidate.deployment, candidate)
            return None
        return candidate

    def all_open(self, name: str) -> tuple[Candidate, ...]:
        """What is left where only open circuits stand in the way: those, the first that opened first, if the policy
        probes. Raises `CircuitOpen` if it does not."""
        now, policy = self.snapshot.now, self.registry.breaker
        if not self._open:
            return ()
        if policy is not None and policy.all_open == "probe":
            oldest = sorted(self._open.values(), key=lambda each: self.circuits[each.deployment].opened or 0.0)
            because = {each: self.circuits[each].reason(now) for each in self._open}
            return tuple(
                replace(each, via=f"{each.via}; {because[each.deployment]}, all are open", early=True)
                for each in oldest
            )
        soonest = min(self.circuits[each].wait(now) for each in self._open)
        text = f"nothing can serve {name}: {reasons(self.excluded.values())}"
        raise CircuitOpen(text, retry_after=soonest)
