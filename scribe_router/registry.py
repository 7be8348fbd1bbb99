"""What the YAML means: the frozen registry of deployments, models, groups, fallbacks, prices and policies.

Built once by `config` and never changed; a reload builds a new one. It knows neither files nor running objects, and
it holds no LiteLLM type.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from scribe_router.exchange import Category, Exposure, Lane, OptimizeFor
from scribe_router.litellm_names import PROVIDERS
from scribe_router.names import matched, of_a_secret
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
from scribe_router.policies.modes import NO_MODES, Modes
from scribe_router.policies.parameters import known_elsewhere
from scribe_router.policies.prices import Price, dearest
from scribe_router.policies.providers import Listing, PromptCaching, Search, TextCompletions
from scribe_router.policies.quirks import Quirk
from scribe_router.policies.reasoning import CONTROLS, VISIBLE, Asked, Family
from scribe_router.policies.redaction import RedactionPolicy
from scribe_router.policies.residency import ResidencyPolicy
from scribe_router.policies.retries import RetriesPolicy
from scribe_router.policies.routing import WEIGHTED, RoutingPolicy
from scribe_router.policies.strategies import BUILT_IN, Strategy
from scribe_router.policies.tokens import OTHER, Tokens

Wire = Literal["openai", "anthropic", "gemini", "ollama", "other"]
Mode = Literal["chat", "embedding"]
MOST_MODELS = 32  # that one request may name as its own fallbacks
SHORTEST_SECRET = 8  # letters; what is shorter is "none", or a word that an error may need
Tiers = tuple[tuple["Deployment", ...], ...]
Durability = Literal["normal", "full", "accepted-loss"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One place that serves one model: a provider's host, a key, and the name that the provider knows.

    `retention` is for how many days what it is sent is kept there (None: unknown), `covered` whether a contract
    covers it under HIPAA. `price_row` is its row of the price map. `anonymous` says that the host is not to be told
    who the operator is at OpenAI. `window` and `max_output` are tokens; None is unknown. `cap_in_window` says that
    the output cap takes room in the window, `tokens` how its model counts. `supports` is what it is known to have,
    `lacks` what it is known not to have. `params` are the operator's defaults for the request body,
    `litellm_params` what only LiteLLM's lane needs, `family` how it is told to reason, `quirks` what else it wants
    otherwise, `modes` are the provider's, `sold` gives price and window of another of its models. `history` are the
    fields of earlier thinking that it reads (None: all). `cache_for` is how long its prompts are kept where
    `prompt_caching` says how, `completions` how it is asked for text completions (None: it has none), `listing`
    where its host says what it has. `off` says what is switched off that it needs; `only_unasked` that it may not
    be asked to think. `missing` says why it cannot be used, in one line.
    """

    id: str
    model: str
    provider: str
    litellm_model: str
    upstream_model: str
    wire: Wire
    lane: Lane
    mode: Mode = "chat"
    api_base: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    key_name: str | None = None
    region: str | None = None
    retention: int | None = None
    covered: bool = False
    order: int = 0
    weight: float = 1.0
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    anonymous: bool = False
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    litellm_params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    cap_parameter: str = "max_tokens"
    price: Price | None = None
    price_row: str | None = None
    window: int | None = None
    max_output: int | None = None
    cap_in_window: bool = False
    tokens: Tokens = OTHER
    default_output_cap: int = 4096
    supports: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    facts_known: bool = False
    litellm_lane_for_tools: bool = False
    cap_includes_thinking: bool = True
    parameters: frozenset[str] = frozenset()
    family: Family | None = None
    quirks: tuple[Quirk, ...] = ()
    modes: Modes = NO_MODES
    price_ceiling: bool = False
    sold: Callable[[str], "tuple[Price | None, int | None]"] | None = field(default=None, repr=False)
    history: frozenset[str] | None = None
    history_wanted: bool = False
    stream_options: bool = True
    tool_call_ids: str | None = None
    think_tags: bool = False
    cancel: Literal["drain", "abort"] = "drain"
    doubt: Literal["bound", "input", "zero"] = "bound"
    abilities: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    search: Search | None = None
    prompt_caching: PromptCaching | None = None
    cache_for: Literal["5m", "1h"] | None = None
    completions: TextCompletions | None = None
    listing: Listing | None = None
    off: str | None = None
    only_unasked: bool = False
    missing: str | None = None

    def among(self, models: Any) -> "Deployment | None":
        """This deployment as the dearest of it and of other models that may serve in its place; None where that is
        not known of each."""
        if self.sold is None or not isinstance(models, list) or len(models) > MOST_MODELS:
            return None
        found = [self.sold(each) if isinstance(each, str) else (None, None) for each in models]
        prices = [price for price, _ in ((self.price, 0), *found) if price is not None]
        windows = [window for _, window in ((0, self.window), *found) if window is not None]
        if len(prices) <= len(found):
            return None
        window = max(windows) if len(windows) > len(found) else None
        return replace(self, price=dearest(prices), window=window)

    def completing(self) -> "Deployment":
        """This deployment for text completions: who completes a text neither thinks nor searches. Where it has none,
        itself."""
        row = self.completions
        if row is None:
            return self
        most = min(row.most or self.default_output_cap, self.default_output_cap)
        chats = {name for name in self.params if name in CONTROLS or known_elsewhere("completions", name)}
        params = {name: each for name, each in self.params.items() if name not in chats}
        return replace(
            self,
            family=None,
            supports=self.supports - {"reasoning"},
            cap_includes_thinking=True,
            think_tags=False,
            cap_parameter="max_tokens",
            default_output_cap=most,
            params=MappingProxyType(params),
            quirks=(*self.quirks, Quirk(never=row.never)),
        )

    def cap_for(self, wish: Asked | None) -> int:
        """The output cap (tokens) of a request that names none: the usual one, above the tokens that it wants thought,
        never above the model's."""
        usual = self.default_output_cap
        wanted = wish.budget + VISIBLE if wish is not None and wish.budget else 0
        return min(max(usual, wanted), self.max_output or usual)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no client is to read, though a provider may repeat it; the longest first."""
        headers = [value for name, value in self.headers.items() if not name.lower().startswith("anthropic-")]
        given = [value for name, value in self.litellm_params.items() if of_a_secret(name)]
        query = (self.api_base or "").partition("?")[2]
        found = {str(each).removeprefix("Bearer ") for each in (self.api_key, *headers, *given, query) if each}
        return tuple(sorted((each for each in found if len(each) >= SHORTEST_SECRET), key=len, reverse=True))

    @property
    def named_for_litellm(self) -> str:
        """The model as LiteLLM names it: a provider that it does not know, and that speaks OpenAI's format, is OpenAI's
        client at another address."""
        known = self.provider in PROVIDERS or self.wire != "openai"
        return self.litellm_model if known else f"openai/{self.upstream_model}"


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A route for every name that a pattern with one `*` matches. `row` is its deployment, with patterns in place of
    names; `of` makes the one for what stands for `*`. `members` are the names that are known to be behind it."""

    row: Deployment
    of: Callable[[str], Deployment]
    members: tuple[str, ...] = ()

    @property
    def ids(self) -> str:
        """The pattern of its deployments' ids."""
        return self.row.id if "*" in self.row.id else f"{self.row.id}/*"


def longest(wildcards: Iterable[Wildcard], name: str) -> tuple[Wildcard, ...]:
    """Those with the longest pattern that matches a name."""
    found = [each for each in wildcards if matched(each.row.model, name) is not None]
    pattern = max((each.row.model for each in found), key=len, default="")
    return tuple(each for each in found if each.row.model == pattern)


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
    _tiers: Mapping[str, Tiers] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Every plan looks at the deployments behind a name: found once, but for names that clients make up."""
        found = {name: self._found(name) for name in (*self.models, *self.groups)}
        object.__setattr__(self, "_tiers", MappingProxyType(found))

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
