"""Providers and their regions: `policies/providers.yaml`. Rows, not classes: host, key variable, wire format, lane."""

import re
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, RootModel, field_validator, model_validator

from scribe_router.exchange import Lane, Thought
from scribe_router.policies.schema import Shape

Wire = Literal["openai", "anthropic", "gemini", "ollama", "other"]


class Region(Shape):
    """One host of a provider. `keys` are environment variables, the first that is set holds the key; a key is bound
    to its region where `keys_bound` says so. `price_factor` is the region's uplift."""

    api_base: str | None = None
    keys: tuple[str, ...] = ()
    price_factor: Decimal = Field(default=Decimal(1), gt=0)


class Provider(Shape):
    """One provider. `prefix` is LiteLLM's name for it; `cap_parameter` is how the output cap is called on the wire.

    `default_region` is what a deployment without `region` gets; None means that one has to be named. `self_hosted`
    means that there is no default host: a deployment names its `api_base`. For `models_with_tools_on_responses`
    (patterns) a request with tools goes through LiteLLM's lane, which translates it to the Responses API.

    `cap_includes_thinking` says whether the output cap counts what a model thinks; `unknown` is taken for false.
    `history` are the fields of earlier thinking that it reads (None: nothing is taken out), `tool_call_ids` a pattern
    of the ids that it accepts. `history_wanted` says that thinking models refuse a call of a tool without. Without
    `stream_options` it refuses that parameter, and its streams tell their usage unasked.

    `parameters` are names that only this provider knows, and that leave the price as it is. `cancel` is what is done
    with a stream whose client has gone: `drain` reads it to its end and settles the truth, `abort` ends it, for a
    provider that then stops billing. `doubt` is what a request counts for whose reply was lost: its whole `bound`, its
    `input`, or `zero`.
    """

    wire: Wire = "other"
    lane: Lane = "litellm"
    cap_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    self_hosted: bool = False
    keys_bound: bool = False
    needs_key: bool = True
    headers: dict[str, str] = Field(default_factory=dict)
    default_region: str | None = None
    models_with_tools_on_responses: tuple[str, ...] = ()
    cap_includes_thinking: bool | Literal["unknown"] = "unknown"
    parameters: tuple[str, ...] = ()
    history: tuple[Thought, ...] | None = None
    history_wanted: bool = False
    stream_options: bool = True
    tool_call_ids: str | None = None
    cancel: Literal["drain", "abort"] = "drain"
    doubt: Literal["bound", "input", "zero"] = "bound"
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

    @model_validator(mode="after")
    def _consistent(self) -> "Provider":
        if self.default_region is not None and self.default_region not in self.regions:
            raise ValueError(f"default_region {self.default_region} is not one of its regions")
        if self.lane == "wire" and self.wire != "openai":
            raise ValueError("lane wire forwards bytes in OpenAI's format; this provider's wire is not openai")
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


class ProvidersKnowledge(RootModel[dict[str, Provider]]):
    """LiteLLM's prefix to provider."""
