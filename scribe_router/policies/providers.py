"""Providers and their regions: `policies/providers.yaml`. Rows, not classes: host, key variable, wire format, lane."""

import re
from collections.abc import Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, RootModel, field_validator, model_validator

from scribe_router.exchange import Lane, OptimizeFor, Thought
from scribe_router.policies.quirks import Quirk
from scribe_router.policies.schema import Retention, Shape

Wire = Literal["openai", "anthropic", "gemini", "ollama", "other"]


class Region(Shape):
    """One host of a provider. `keys` are environment variables, the first that is set holds the key; a key is bound
    to its region where `keys_bound` says so. `price_factor` is the region's uplift; `prices` says whether the price map
    has this region's figures, or `another` region's. `retention` (`zero`, or days) and `covered` are true of what it is
    sent under your contract, unless a deployment's `model_info` says otherwise."""

    api_base: str | None = None
    keys: tuple[str, ...] = ()
    price_factor: Decimal = Field(default=Decimal(1), gt=0)
    prices: Literal["map", "another"] = "map"
    retention: Retention | None = None
    covered: bool = False


class Search(Shape):
    """How `enable_search: true` is said here: `fields` that are merged into the body, lists at their ends. `models` are
    patterns of those that search, `alone` of those that refuse it beside function tools."""

    fields: dict[str, Any]
    models: tuple[str, ...] = ("*",)
    alone: tuple[str, ...] = ()


class PromptCaching(Shape):
    """Who reads `cache_control`: `models` (patterns), in prompts of `minimum` tokens, and in `tools` as well or not. It
    keeps them for `longest`."""

    models: tuple[str, ...] = ("*",)
    minimum: int = Field(default=1_024, ge=1)
    tools: bool = False
    longest: Literal["5m", "1h"] = "5m"

    def refuses(self, model: str, ttl: str) -> str:
        """Why a model cannot be asked to keep a prompt for `ttl`; empty if it can."""
        if not any(fnmatchcase(model, pattern) for pattern in self.models):
            return "this model reads no cache_control"
        return "it keeps prompts for 5m, not for 1h" if (ttl, self.longest) == ("1h", "5m") else ""


class TextCompletions(Shape):
    """Text completions and fill-in-the-middle: their `path` below the host, the `models` (patterns) that have them, the
    parameters that are `never` sent there, and the `most` output (tokens) that they give."""

    path: str = Field(default="/completions", pattern="^/")
    models: tuple[str, ...] = ("*",)
    never: tuple[str, ...] = ()
    most: int | None = Field(default=None, ge=1)


class Listing(Shape):
    """Where a host says what it has: `path` below it, and the `header` that its key goes into. A `public` one answers
    everybody, so it says nothing of a key."""

    path: str = Field(pattern="^/")
    header: str = "Authorization"
    public: bool = False


LISTINGS: Mapping[Wire, Listing] = {
    "openai": Listing(path="/models"),
    "anthropic": Listing(path="/v1/models", header="x-api-key"),
    "gemini": Listing(path="/models", header="x-goog-api-key"),
    "ollama": Listing(path="/api/tags", public=True),
}


def lacks_search(search: Search | None, model: str, *, tools: bool) -> str:
    """Why a model cannot be asked to search the web; empty if it can. `tools` are the client's own."""
    if search is None or not any(fnmatchcase(model, pattern) for pattern in search.models):
        return "it has no search"
    beside = tools and any(fnmatchcase(model, pattern) for pattern in search.alone)
    return "it refuses a search beside tools" if beside else ""


class Provider(Shape):
    """One provider. `prefix` is LiteLLM's name for it; `cap_parameter` is how the output cap is called on the wire.

    `default_region` is what a deployment without `region` gets; None means that one has to be named. `self_hosted`
    means that there is no default host: a deployment names its `api_base`. For `models_with_tools_on_responses`
    (patterns) a request with tools goes through LiteLLM's lane, which translates it to the Responses API.

    `cap_includes_thinking` says whether the output cap counts what a model thinks; `unknown` is taken for false.
    `cap_in_window` that it refuses a request whose input and output cap are together beyond the window.
    `history` are the fields of earlier thinking that it reads (None: nothing is taken out), `tool_call_ids` a pattern
    of the ids that it accepts. `history_wanted` says that thinking models refuse a call of a tool without. With
    `think_tags` its content may begin with what it thought, in `<think>` tags. Without `stream_options` it refuses that
    parameter, and its streams tell their usage unasked.

    `headers` go with every request; those of `identity` say who the operator is, and go to the hosts of the row alone:
    not where a deployment's `api_base` leads elsewhere, unless it names its region. An empty one is not sent.

    `quirks` are rows of what its models want otherwise, by a name for each. `parameters` are names that only this
    provider knows, and that leave the price as it is. `cancel` is what is done with a stream whose client has gone:
    `drain` reads it to its end and settles the truth, `abort` ends it, for a provider that then stops billing. `doubt`
    is what a request counts for whose reply was lost: its whole `bound`, its `input`, or `zero`. `search` is how it is
    asked to search the web; without it, it has no search. `prompt_caching` says who reads `cache_control`; others keep
    prompts without being asked, or not at all. Without `completions` it has no text completions. With `catalogue`, its
    list of models says what they cost, which `models sync` keeps. `listing` is what is asked for to try its key, where
    that is not the list of models that its wire has.

    `modes` are what it is told for a name that ends in `:mode`, `default_mode` is for other requests, `optimize_for`
    has the mode of a request's wish. `body` is sent with every chat request that says nothing else. With
    `price_ceiling` it is told the price that a limit counts on, as `provider.max_price`, and serves at no higher one.
    """

    wire: Wire = "other"
    lane: Lane = "litellm"
    cap_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    self_hosted: bool = False
    keys_bound: bool = False
    needs_key: bool = True
    headers: dict[str, str] = Field(default_factory=dict)
    identity: dict[str, str] = Field(default_factory=dict)
    default_region: str | None = None
    models_with_tools_on_responses: tuple[str, ...] = ()
    cap_includes_thinking: bool | Literal["unknown"] = "unknown"
    cap_in_window: bool = False
    parameters: tuple[str, ...] = ()
    quirks: dict[str, Quirk] = Field(default_factory=dict)
    history: tuple[Thought, ...] | None = None
    think_tags: bool = False
    history_wanted: bool = False
    stream_options: bool = True
    tool_call_ids: str | None = None
    cancel: Literal["drain", "abort"] = "drain"
    doubt: Literal["bound", "input", "zero"] = "bound"
    search: Search | None = None
    prompt_caching: PromptCaching | None = None
    completions: TextCompletions | None = None
    listing: Listing | None = None
    catalogue: bool = False
    price_ceiling: bool = False
    body: dict[str, Any] = Field(default_factory=dict)
    modes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    default_mode: str | None = None
    optimize_for: dict[OptimizeFor, str | None] = Field(default_factory=dict)
    regions: dict[str, Region] = Field(default_factory=dict)
    note: str | None = None

    @field_validator("tool_call_ids")
    @classmethod
    def _a_pattern(cls, pattern: str | None) -> str | None:
        try:
            fits = pattern is None or all(
                re.fullmatch(pattern, each) for each in ("abcdefghi", "a1b2c3d4e", "012345678")
            )
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if not fits:
            raise ValueError("nine letters and digits have to match it, since ids that do not are replaced by such")
        return pattern

    @field_validator("default_mode")
    @classmethod
    def _none(cls, name: str | None) -> str | None:
        return name or None

    @model_validator(mode="after")
    def _known_modes(self) -> "Provider":
        for name in (self.default_mode, *self.optimize_for.values()):
            if name is not None and name not in self.modes:
                raise ValueError(f"there is no mode {name}; it has {', '.join(self.modes) or 'none'}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "Provider":
        if self.default_region is not None and self.default_region not in self.regions:
            raise ValueError(f"default_region {self.default_region} is not one of its regions")
        if self.lane == "wire" and self.wire != "openai":
            raise ValueError("lane wire forwards bytes in OpenAI's format; this provider's wire is not openai")
        if self.wire != "openai" and self.completions is not None:
            raise ValueError("completions are sent in OpenAI's format; this provider's wire is not openai")
        if self.wire != "openai" and any(each.stream_only for each in self.quirks.values()):
            raise ValueError("stream_only puts answers in OpenAI's format together; this provider's wire is not openai")
        return self

    def region_of_host(self, api_base: str) -> str | None:
        """The region whose host `api_base` names, or None."""
        host = urlsplit(api_base).hostname
        for name, region in self.regions.items():
            if region.api_base and urlsplit(region.api_base).hostname == host:
                return name
        return None

    def region_of_key(self, variable: str) -> str | None:
        """The region that the environment variable belongs to, or None when it is no row's."""
        owners = [name for name, region in self.regions.items() if variable in region.keys]
        return owners[0] if len(owners) == 1 else None

    def tools_on_responses(self, model: str) -> bool:
        """Whether the provider serves tools for this model only through its Responses API."""
        return any(fnmatchcase(model, pattern) for pattern in self.models_with_tools_on_responses)

    def completions_of(self, model: str) -> TextCompletions | None:
        """How text completions are asked for here; None where the model has none."""
        row = self.completions
        return row if row is not None and any(fnmatchcase(model, pattern) for pattern in row.models) else None

    @property
    def listed_at(self) -> Listing | None:
        """Where its hosts say what they have; None where it is not known."""
        return self.listing or LISTINGS.get(self.wire)

    def quirks_of(self, model: str) -> tuple[Quirk, ...]:
        """The rows that hold for a model, by the provider's own name for it."""
        return tuple(each for each in self.quirks.values() if each.holds(model))


class ProvidersKnowledge(RootModel[dict[str, Provider]]):
    """LiteLLM's prefix to provider."""
