"""What the YAML means: the frozen registry of deployments, models, groups, fallbacks, prices and policies.

Built once by `config` and never changed; a reload builds a new one. It knows neither files nor running objects, and
it holds no LiteLLM type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from scribe_router.exchange import Category, Lane, OptimizeFor
from scribe_router.litellm_names import PROVIDERS
from scribe_router.policies.access import AccessPolicy
from scribe_router.policies.breaker import BreakerPolicy
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.effort import EffortPolicy
from scribe_router.policies.migrations import Migration
from scribe_router.policies.prices import Price
from scribe_router.policies.reasoning import Family
from scribe_router.policies.retries import RetriesPolicy
from scribe_router.policies.routing import WEIGHTED, RoutingPolicy
from scribe_router.policies.strategies import BUILT_IN, Strategy

Wire = Literal["openai", "anthropic", "gemini", "ollama", "other"]
Mode = Literal["chat", "embedding"]
Durability = Literal["normal", "full", "accepted-loss"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One place that serves one model: a provider's host, a key, and the name that the provider knows.

    `price_row` is its row of the price map. `window` and `max_output` are tokens; None is unknown. `params` are the
    operator's defaults for the request body, `litellm_params` what only LiteLLM's lane needs, `family` how it is told
    to reason. `history` are the fields of earlier thinking that it reads (None: all). `missing` says why it cannot be
    used, in one line.
    """

    id: str
    model: str
    provider: str
    litellm_model: str
    upstream_model: str
    wire: Wire
    lane: Lane
    mode: Mode = "chat"
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    key_name: str | None = None
    region: str | None = None
    order: int = 0
    weight: float = 1.0
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    litellm_params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    cap_parameter: str = "max_tokens"
    price: Price | None = None
    price_row: str | None = None
    window: int | None = None
    max_output: int | None = None
    default_output_cap: int = 4096
    supports: frozenset[str] = frozenset()
    facts_known: bool = False
    litellm_lane_for_tools: bool = False
    cap_includes_thinking: bool = True
    parameters: frozenset[str] = frozenset()
    family: Family | None = None
    history: frozenset[str] | None = None
    tool_call_ids: str | None = None
    cancel: Literal["drain", "abort"] = "drain"
    doubt: Literal["bound", "input", "zero"] = "bound"
    abilities: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    missing: str | None = None

    @property
    def named_for_litellm(self) -> str:
        """The model as LiteLLM names it: a provider that it does not know, and that speaks OpenAI's format, is OpenAI's
        client at another address."""
        known = self.provider in PROVIDERS or self.wire != "openai"
        return self.litellm_model if known else f"openai/{self.upstream_model}"


@dataclass(frozen=True, slots=True)
class Group:
    """A name for an ordered list of models. `tiers` are tried in order; equal priority shares traffic, as `strategy`
    says."""

    name: str
    tiers: tuple[tuple[str, ...], ...]
    strategy: str = WEIGHTED


@dataclass(frozen=True, slots=True)
class Store:
    """Where state lives: `sqlite:PATH` (resolved against the configuration's folder); `journal` is a file or None.

    `fail` is what becomes of requests while the ledger is away; None leaves it to the limits.
    """

    url: str
    journal: str | None = None
    durability: Durability = "normal"
    fail: Literal["closed", "open"] | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that a request is planned with. `version` is a short hash of all files that went into it."""

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
    breaker: BreakerPolicy | None = None
    price_map: str = ""
    warnings: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Every name that a client may ask for: models, groups and the aliases that are not hidden."""
        aliases = (name for name in self.aliases if name not in self.hidden)
        return tuple(dict.fromkeys((*self.groups, *self.models, *aliases)))

    @property
    def needs_ledger(self) -> bool:
        """Whether a request is refused while the ledger is away: always below a limit that can refuse."""
        return bool(self.budgets.enforced) or self.store.fail == "closed"

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

    def members(self, name: str) -> tuple[tuple[str, ...], ...]:
        """The models behind a model's or group's name, in tiers; empty when nobody has the name."""
        if name in self.groups:
            return self.groups[name].tiers
        return ((name,),) if name in self.models else ()
