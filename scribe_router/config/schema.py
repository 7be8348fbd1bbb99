"""The shape of `litellm_config.yaml`, as far as it is checked: LiteLLM's own format, and the few fields that are ours.

Fields of ours live in `model_info`, which is free-form for LiteLLM. Knows shapes, no meaning.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt, StrictStr

from scribe_router.exchange import Lane
from scribe_router.policies.schema import Shape


def _one_name(value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError(
            "an alias has one target (a list fails at call time); several models are a routing_groups entry"
        )
    return value


class AliasTarget(Shape):
    """An alias that `/v1/models` does not list when `hidden`."""

    model: StrictStr
    hidden: bool = False


class ModelInfo(Shape):
    """Facts of a deployment. Ours: id, region, lane, default_output_cap; LiteLLM's price and capability names too."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: StrictStr | None = Field(default=None, min_length=1, pattern=r"^[^@|\s]+$")
    region: StrictStr | None = None
    lane: Lane | None = None
    default_output_cap: PositiveInt | None = None
    base_model: StrictStr | None = None
    mode: Literal["chat", "embedding"] | None = None
    max_input_tokens: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None


class ModelEntry(Shape):
    """One deployment."""

    model_name: StrictStr = Field(min_length=1)
    litellm_params: dict[str, Any]
    model_info: ModelInfo = ModelInfo()


class RoutingGroup(Shape):
    """A name for several models. `priority` tries them in order; equal numbers share traffic."""

    group_name: StrictStr = Field(min_length=1)
    models: list[StrictStr] = Field(min_length=1)
    routing_strategy: Literal["priority", "simple-shuffle"]
    model_priorities: dict[str, PositiveInt] | None = None


Fallbacks = list[dict[str, list[StrictStr]]]


class RouterSettings(Shape):
    """What LiteLLM's Router takes and we follow. The rest is LiteLLM's own, see `IGNORED`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model_group_alias: dict[str, Annotated[StrictStr | AliasTarget, BeforeValidator(_one_name)]] = Field(
        default_factory=dict
    )
    routing_groups: list[RoutingGroup] = Field(default_factory=list)
    fallbacks: Fallbacks = Field(default_factory=list)
    context_window_fallbacks: Fallbacks = Field(default_factory=list)
    content_policy_fallbacks: Fallbacks = Field(default_factory=list)
    default_fallbacks: list[StrictStr] = Field(default_factory=list)


class LiteLLMConfig(Shape):
    """The whole file. `general_settings` and `environment_variables` are for LiteLLM's proxy and pass as they are."""

    model_list: list[ModelEntry] = Field(min_length=1)
    router_settings: RouterSettings = RouterSettings()
    litellm_settings: dict[str, Any] = Field(default_factory=dict)
    general_settings: dict[str, Any] = Field(default_factory=dict)
    environment_variables: dict[str, Any] = Field(default_factory=dict)


class StoreSettings(Shape):
    """`policies/store.yaml`: where state lives. Paths are relative to the configuration's folder."""

    ledger: str = "sqlite:.scribe/ledger.sqlite3"
    journal: str | None = None


# Known to LiteLLM's Router, decided elsewhere here: setting -> where
IGNORED = {
    "num_retries": "policies/retries.yaml",
    "retry_after": "policies/retries.yaml",
    "retry_policy": "policies/retries.yaml",
    "model_group_retry_policy": "policies/retries.yaml",
    "timeout": "policies/retries.yaml",
    "stream_timeout": "policies/retries.yaml",
    "routing_strategy": "routing_groups and policies/routing.yaml",
    "routing_strategy_args": "routing_groups and policies/routing.yaml",
    "allowed_fails": "the router's own loop",
    "allowed_fails_policy": "the router's own loop",
    "cooldown_time": "the router's own loop",
    "disable_cooldowns": "the router's own loop",
    "enable_pre_call_checks": "the planner",
    "optional_pre_call_checks": "the planner",
    "max_fallbacks": "the planner",
    "provider_budget_config": "policies/budgets.yaml",
    "redis_url": "policies/store.yaml",
    "redis_host": "policies/store.yaml",
    "redis_port": "policies/store.yaml",
    "redis_password": "policies/store.yaml",
    "cache_responses": "nothing yet; answers are not cached",
    "set_verbose": "nothing",
    "debug_level": "nothing",
}

# Of a deployment's litellm_params: ours to decide, so LiteLLM is not told.
NOT_FOR_LITELLM = frozenset(
    "model api_key api_base base_url order weight rpm tpm max_parallel_requests num_retries max_retries timeout "
    "stream_timeout cooldown_time max_budget budget_duration itpm otpm model_info headers extra_headers extra_body "
    "drop_params organization".split()
)
