"""The shape of `litellm_config.yaml`, as far as it is checked: LiteLLM's own format, and the few fields that are ours.

Fields of ours live in `model_info`, which is free-form for LiteLLM. Knows shapes, no meaning.
"""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, NonNegativeInt, PositiveInt, RootModel, Tag

from scribe_router.exchange import Lane
from scribe_router.litellm_names import DEPLOYMENT, MODEL_INFO, ROUTER
from scribe_router.policies.schema import Retention, Shape


def _one_name(value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError(
            "an alias has one target (a list fails at call time); several models are a routing_groups entry"
        )
    return value


def fact(name: str) -> dict[str, Any]:
    """The JSON Schema of a price, a size or an ability, told by LiteLLM's way of naming them."""
    if name.startswith("supports_"):
        return {"type": "boolean"}
    if name.startswith("max_") or name in ("rpm", "tpm", "itpm", "otpm"):
        return {"type": "integer", "minimum": 1}
    if name == "tiered_pricing":
        return {"type": "array", "items": {"type": "object"}}
    if "_cost" in name and name not in _TABLES_OF_COST:
        return {"type": "number", "minimum": 0}
    return {}


_TABLES_OF_COST = frozenset({"search_context_cost_per_query", "guardrail_cost_per_unit"})


def _open(known: frozenset[str]) -> ConfigDict:
    """Keys that the shape does not list are LiteLLM's: `known` ones, checked where they are compiled."""

    def listed(schema: dict[str, Any]) -> None:
        schema["properties"] = {**{name: fact(name) for name in sorted(known)}, **schema.get("properties", {})}
        schema["patternProperties"] = {"_cost.*_above_[0-9]+k_tokens$": {"type": "number", "minimum": 0}}
        schema["additionalProperties"] = False

    return ConfigDict(extra="allow", json_schema_extra=listed)


class AliasTarget(Shape):
    """An alias that `/v1/models` does not list when `hidden`."""

    model: str
    hidden: bool = False


class LiteLLMParams(Shape):
    """How a deployment is called: LiteLLM's names. What is listed here is what the router itself looks at."""

    model_config = _open(DEPLOYMENT)

    model: str = Field(min_length=1)
    api_base: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    custom_llm_provider: str | None = None
    organization: str | None = None
    order: NonNegativeInt | None = None
    weight: float | None = Field(default=None, ge=0)
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    thinking: dict[str, Any] | None = None
    headers: dict[str, str | None] | None = None
    extra_headers: dict[str, str | None] | None = None
    extra_body: dict[str, Any] | None = None


INFO = MODEL_INFO | {"description"}


class ModelInfo(Shape):
    """Facts of a deployment. Ours: id, region, retention (how long what it is sent is kept: zero, or days), covered
    (whether your contract with it covers HIPAA), lane, default_output_cap, enable_search (what holds where a request
    does not say), prompt_caching (how long prompts are to be kept); LiteLLM's price and capability names too."""

    model_config = _open(INFO)

    id: str | None = Field(default=None, min_length=1, pattern=r"^[^@|\s]+$")
    region: str | None = None
    retention: Retention | None = None
    covered: bool | None = None
    lane: Lane | None = None
    default_output_cap: PositiveInt | None = None
    enable_search: bool | None = None
    prompt_caching: Literal["5m", "1h"] | None = None
    base_model: str | None = None
    mode: Literal["chat", "embedding"] | None = None
    max_input_tokens: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None


class ModelEntry(Shape):
    """One deployment."""

    model_name: str = Field(min_length=1)
    litellm_params: LiteLLMParams
    model_info: ModelInfo = ModelInfo()


# LiteLLM's names of what orders a group, and ours.
STRATEGIES = {
    "priority": "weighted",
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "fastest",
    "cost-based-routing": "cheapest",
}


class RoutingGroup(Shape):
    """A name for several models. `priority` tries them in order; equal numbers share traffic. The others of LiteLLM's
    strategies order by requests in flight, by latency, by what the request would cost."""

    group_name: str = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    routing_strategy: Literal["priority", "simple-shuffle", "least-busy", "latency-based-routing", "cost-based-routing"]
    model_priorities: dict[str, PositiveInt] | None = None


Fallbacks = list[dict[str, list[str]]]
Alias = Annotated[
    Annotated[str, Tag("an alias's name")] | Annotated[AliasTarget, Tag("an alias's target")],
    Discriminator(lambda value: "an alias's target" if isinstance(value, dict | AliasTarget) else "an alias's name"),
    BeforeValidator(_one_name),
]


class RouterSettings(Shape):
    """What LiteLLM's Router takes and we follow. The rest is LiteLLM's own, see `IGNORED`."""

    model_config = _open(ROUTER)

    model_group_alias: dict[str, Alias] = Field(default_factory=dict)
    routing_groups: list[RoutingGroup] = Field(default_factory=list)
    fallbacks: Fallbacks = Field(default_factory=list)
    context_window_fallbacks: Fallbacks = Field(default_factory=list)
    content_policy_fallbacks: Fallbacks = Field(default_factory=list)
    default_fallbacks: list[str] = Field(default_factory=list)


class LiteLLMConfig(Shape):
    """The whole file. `general_settings` and `environment_variables` are for LiteLLM's proxy and pass as they are."""

    model_list: list[ModelEntry] = Field(min_length=1)
    router_settings: RouterSettings = RouterSettings()
    litellm_settings: dict[str, Any] = Field(default_factory=dict)
    general_settings: dict[str, Any] = Field(default_factory=dict)
    environment_variables: dict[str, Any] = Field(default_factory=dict)


class PriceRow(Shape):
    """What a model costs (USD per token) and can do, in the names of LiteLLM's price map. `source` says who says so.

    `web_search_cost_per_call` is USD, `valid_until` the last day of these prices; `differs` says for a class of tokens
    why a second source that says something else is not followed.
    """

    model_config = _open(MODEL_INFO)

    source: str | None = None
    litellm_provider: str | None = None
    mode: str | None = None
    valid_until: date | None = None
    web_search_cost_per_call: float | None = Field(default=None, ge=0)
    differs: dict[Literal["input", "output", "cache_read", "cache_write", "cache_write_1h"], str] = Field(
        default_factory=dict
    )


class PricesKnowledge(RootModel[dict[str, PriceRow]]):
    """Model to prices and facts."""


class StoreSettings(Shape):
    """Where state lives. `ledger` is `sqlite:PATH`, or for several machines `redis://HOST:PORT` or
    `redis+cluster://HOST:PORT,HOST:PORT` (`rediss` with TLS). Paths are relative to the configuration's folder.

    `journal` gets a line for each request, `audit` one for each act of an operator and each refusal of a caller.
    `durability`: `full` makes SQLite flush the disk for each group of commits, so that a loss of power takes nothing
    back; `accepted-loss` takes a Redis that may forget what it acknowledged. `fail` is what becomes of requests while
    the ledger is away: `closed` refuses them, as below a limit that can refuse; `open` serves them without a record.

    `journal` is a file with one line for each request, `explain --id` reads it. Of it `journal_files` are kept, each of
    at most `journal_megabytes` (millions of bytes), and no line for longer than `journal_days`.
    """

    ledger: str = Field(
        default="sqlite:.scribe/ledger.sqlite3", pattern=r"^(sqlite:.+|rediss?(\+cluster)?://.+)", repr=False
    )
    journal: str | None = None
    journal_megabytes: float = Field(default=100, gt=0, le=1_000_000)
    journal_files: int = Field(default=5, ge=1, le=1_000)
    journal_days: float = Field(default=7, gt=0, le=36_500)
    audit: str | None = ".scribe/audit.jsonl"
    durability: Literal["normal", "full", "accepted-loss"] = "normal"
    fail: Literal["closed", "open"] | None = None


# Known to LiteLLM's Router, decided elsewhere here: setting -> where. What else its Router knows, nothing here follows.
IGNORED = {
    "num_retries": "policies/retries.yaml",
    "retry_after": "policies/retries.yaml",
    "retry_policy": "policies/retries.yaml",
    "model_group_retry_policy": "policies/retries.yaml",
    "timeout": "policies/retries.yaml",
    "stream_timeout": "policies/retries.yaml",
    "routing_strategy": "routing_groups and policies/routing.yaml",
    "routing_strategy_args": "routing_groups and policies/routing.yaml",
    **dict.fromkeys(
        ("allowed_fails", "allowed_fails_policy", "cooldown_time", "disable_cooldowns"), "policies/breaker.yaml"
    ),
    "enable_pre_call_checks": "the planner",
    "optional_pre_call_checks": "the planner",
    "max_fallbacks": "the planner",
    "provider_budget_config": "policies/budgets.yaml",
    "redis_url": "policies/store.yaml",
    "redis_host": "policies/store.yaml",
    "redis_port": "policies/store.yaml",
    "redis_password": "policies/store.yaml",
}

# The same in a deployment's litellm_params.
IGNORED_PARAMS = {
    **dict.fromkeys(("num_retries", "max_retries", "timeout", "stream_timeout"), "policies/retries.yaml"),
    **dict.fromkeys(("max_budget", "budget_duration"), "policies/budgets.yaml"),
    "cooldown_time": "policies/breaker.yaml",
    **dict.fromkeys(("rpm", "tpm", "itpm", "otpm", "max_parallel_requests", "drop_params"), ""),
}

# Of a deployment's litellm_params: ours to decide, so LiteLLM is not told.
NOT_FOR_LITELLM = frozenset(LiteLLMParams.model_fields) | frozenset(IGNORED_PARAMS) | {"model_info"}
