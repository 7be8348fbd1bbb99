"""What the YAML means: the frozen registry of deployments, models, groups, fallbacks, prices and policies.

Built once by `config` and never changed; a reload builds a new one. It knows neither files nor running objects, and
it holds no LiteLLM type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from scribe_router.deployment import Deployment, Wildcard, longest
from scribe_router.exchange import Category, Exposure, OptimizeFor
from scribe_router.names import matched
from scribe_router.policies.access import AccessPolicy
from scribe_router.policies.breaker import BreakerPolicy
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.cache import CachePolicy
from scribe_router.policies.effort import EffortPolicy
from scribe_router.policies.experiments import ExperimentsPolicy
from scribe_router.policies.features import FeaturesPolicy
from scribe_router.policies.health import HealthPolicy
from scribe_router.policies.limits import LimitsPolicy
from scribe_router.policies.mcp import McpPolicy
from scribe_router.policies.migrations import Migration
from scribe_router.policies.redaction import RedactionPolicy
from scribe_router.policies.residency import ResidencyPolicy
from scribe_router.policies.retries import RetriesPolicy
from scribe_router.policies.routing import WEIGHTED, RoutingPolicy
from scribe_router.policies.strategies import BUILT_IN, Strategy

Tiers = tuple[tuple[Deployment, ...], ...]
Durability = Literal["normal", "full", "accepted-loss"]


@dataclass(frozen=True, slots=True)
class Group:
    """A name for an ordered list of models. `tiers` are tried in order; equal priority shares traffic, as `strategy`
    says."""

    name: str
    tiers: tuple[tuple[str, ...], ...]
    strategy: str = WEIGHTED


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of the journal is kept: `files` of `most` bytes each, and no line for longer than `seconds`."""

    most: int = 100_000_000
    files: int = 5
    seconds: float = 7 * 86_400.0

    @property
    def span(self) -> float:
        """How long one file is written to, so that they suffice for the whole time."""
        return self.seconds / max(1, self.files - 1)


@dataclass(frozen=True, slots=True)
class Store:
    """Where state lives: `sqlite:PATH` (resolved against the configuration's folder); `journal` is a file or None, of
    which `keep` says how much stays, and `audit` one as well.

    `fail` is what becomes of requests while the ledger is away; None leaves it to the limits.
    """

    url: str = field(repr=False)
    journal: str | None = None
    durability: Durability = "normal"
    fail: Literal["closed", "open"] | None = None
    keep: Keep = Keep()
    audit: str | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that a request is planned with. `version` is a short hash of all files that went into it, `labels` are
    the names of providers and tasks: all that a request may call itself where nothing of it may be kept."""

    version: str
    deployments: Mapping[str, Deployment]
    models: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, Group]
    aliases: Mapping[str, str]
    hidden: frozenset[str]
    fallbacks: Mapping[Category | None, Mapping[str, tuple[str, ...]]]
    last_resort: tuple[str, ...]
    migrations: Mapping[str, Migration]
    budgets: BudgetsPolicy
    retries: RetriesPolicy
    routing: RoutingPolicy
    access: AccessPolicy | None
    store: Store
    effort: EffortPolicy = field(default_factory=EffortPolicy)
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: MappingProxyType(BUILT_IN))
    features: FeaturesPolicy = field(default_factory=FeaturesPolicy)
    limits: LimitsPolicy = field(default_factory=LimitsPolicy)
    mcp: McpPolicy = field(default_factory=McpPolicy)
    breaker: BreakerPolicy | None = None
    health: HealthPolicy = field(default_factory=HealthPolicy)
    cache: CachePolicy = field(default_factory=CachePolicy)
    experiments: ExperimentsPolicy = field(default_factory=ExperimentsPolicy)
    redaction: RedactionPolicy | None = None
    residency: ResidencyPolicy = field(default_factory=ResidencyPolicy)
    price_map: str = ""
    wildcards: tuple[Wildcard, ...] = ()
    warnings: tuple[str, ...] = ()
    labels: frozenset[str] = field(init=False, repr=False, compare=False)
    _tiers: Mapping[str, Tiers] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Every plan looks at the deployments behind a name: found once, but for names that clients make up."""
        found = {name: self._found(name) for name in (*self.models, *self.groups)}
        object.__setattr__(self, "_tiers", MappingProxyType(found))
        providers = {each.provider for each in self.deployments.values()}
        known = providers | self.routing.known_tasks() | self.effort.known_tasks()
        object.__setattr__(self, "labels", frozenset(known))

    def names(self) -> tuple[str, ...]:
        """Every name that a client may ask for: models, groups and the aliases that are not hidden."""
        aliases = (name for name in self.aliases if name not in self.hidden)
        return tuple(dict.fromkeys((*self.groups, *self.models, *aliases)))

    @property
    def needs_ledger(self) -> bool:
        """Whether a request is refused while the ledger is away: always below a limit that can refuse."""
        return bool(self.budgets.enforced) or self.store.fail == "closed"

    @property
    def named_limits(self) -> frozenset[str]:
        """The ids of limits that keys may name."""
        money = (each.id for each in self.budgets.limits if each.named)
        return frozenset(money) | {each.id for each in self.limits.limits if each.named}

    def resolve(self, name: str) -> str:
        """An alias's target, or the name itself."""
        return self.aliases.get(name, name)

    def strategy(self, name: str, wish: OptimizeFor | None = None) -> str:
        """What orders the deployments behind a name: a request's own wish, else what the name or its target has."""
        if wish is not None:
            return self.routing.wished(wish)
        target, named = self.resolve(name), self.routing.strategies
        of_group = self.groups[target].strategy if target in self.groups else WEIGHTED
        return named.get(name) or named.get(target) or of_group

    def exposure(self, name: str, unit: str) -> Exposure | None:
        """The arm of a unit in the experiment on a name, else on what an alias stands for."""
        return self.experiments.exposure((name, self.resolve(name)), unit)

    def members(self, name: str) -> tuple[tuple[str, ...], ...]:
        """The models behind a model's or group's name, in tiers; empty when nobody has the name."""
        if name in self.groups:
            return self.groups[name].tiers
        return ((name,),) if name in self.models or self.routes(name) else ()

    def tiers(self, name: str) -> Tiers:
        """The deployments behind a model's or group's name, in tiers."""
        known = self._tiers.get(name)
        return self._found(name) if known is None else known

    def _found(self, name: str) -> Tiers:
        return tuple(tuple(each for model in tier for each in self.behind(model)) for tier in self.members(name))

    def routes(self, name: str) -> tuple[Wildcard, ...]:
        """The wildcards that serve a name which nothing else has."""
        if name in self.models or name in self.groups or name in self.aliases:
            return ()
        return longest(self.wildcards, name)

    def sold(self, name: str) -> bool:
        """Whether a name is configured; or a wildcard serves it, and its catalogue, where it has one, lists it."""
        routes = self.routes(name)
        if not routes:
            return bool(self.members(name))
        return any(not each.members or name in each.members for each in routes)

    def behind(self, model: str) -> tuple[Deployment, ...]:
        """The deployments of a model, also of one that only a wildcard serves."""
        if model in self.models:
            return tuple(self.deployments[each] for each in self.models[model])
        return tuple(each.of(matched(each.row.model, model) or "") for each in self.routes(model))

    def deployment(self, identity: str) -> Deployment:
        """A deployment by its id, also one that a wildcard makes. Raises `KeyError`."""
        if identity in self.deployments:
            return self.deployments[identity]
        parts = ((each, matched(each.ids, identity)) for each in self.wildcards)
        made = [(len(each.ids), each.of(part)) for each, part in parts if part is not None]
        if not made:
            raise KeyError(identity)
        return max(made, key=lambda each: each[0])[1]

    def chosen(self, identity: str, upstream: str) -> Deployment | None:
        """The deployment that LiteLLM chose for a model of the provider's, by its row's id; None for a stranger."""
        for each in self.wildcards:
            patterns = (each.row.litellm_model, each.row.upstream_model) if each.row.id == identity else ()
            parts = (matched(pattern, upstream) for pattern in patterns)
            if (part := next(filter(None, parts), None)) is not None:
                return each.of(part)
        return self.deployments.get(identity)
