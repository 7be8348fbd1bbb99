"""One place that serves one model, and a pattern of such places. It knows no other deployment, no policy's file and no
running state."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from scribe_router.exchange import Lane
from scribe_router.litellm_names import PROVIDERS
from scribe_router.names import matched, of_a_secret
from scribe_router.policies.modes import NO_MODES, Modes
from scribe_router.policies.parameters import known_elsewhere
from scribe_router.policies.prices import Price, dearest
from scribe_router.policies.providers import Listing, PromptCaching, Search, TextCompletions
from scribe_router.policies.quirks import Quirk
from scribe_router.policies.reasoning import CONTROLS, VISIBLE, Asked, Family
from scribe_router.policies.tokens import OTHER, Tokens

Wire = Literal["openai", "anthropic", "gemini", "ollama", "other"]
Mode = Literal["chat", "embedding"]
MOST_MODELS = 32  # that one request may name as its own fallbacks
SHORTEST_SECRET = 8  # letters; what is shorter is "none", or a word that an error may need


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
