"""Entries of `model_list` to deployments. Each is checked by itself; how models relate is not known here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from scribe_router.config.documents import Document
from scribe_router.config.facts import Facts, Row, check_row, facts, is_price
from scribe_router.config.hosting import Finder, Hosting, Hosts, unknown_provider
from scribe_router.config.problems import Path_
from scribe_router.config.schema import IGNORED_PARAMS, NOT_FOR_LITELLM, LiteLLMParams, ModelEntry
from scribe_router.config.shapes import found
from scribe_router.litellm_names import DEPLOYMENT
from scribe_router.names import did_you_mean
from scribe_router.policies.capabilities import CapabilitiesKnowledge
from scribe_router.policies.effort import EffortPolicy
from scribe_router.policies.providers import Provider
from scribe_router.policies.reasoning import CONTROLS, ReasoningKnowledge
from scribe_router.policies.routing import RoutingPolicy
from scribe_router.registry import Deployment

# The operator's defaults for the request's body; all else in litellm_params is for LiteLLM itself.
BODY_DEFAULTS = frozenset(
    "temperature top_p max_tokens max_completion_tokens frequency_penalty presence_penalty seed stop user "
    "reasoning_effort thinking service_tier verbosity parallel_tool_calls response_format".split()
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the compiler may look up."""

    providers: Mapping[str, Provider]
    hosts: Hosts
    prices: Mapping[str, Row]
    routing: RoutingPolicy
    reasoning: ReasoningKnowledge
    effort: EffortPolicy
    capabilities: CapabilitiesKnowledge
    environment: Mapping[str, str]


class Compiler:
    """Compiles the entries of one document; mistakes are added to its problems."""

    def __init__(self, document: Document, known: Known) -> None:
        self.document, self.known = document, known

    def deployments(self, entries: list[ModelEntry]) -> list[Deployment]:
        """The deployments of the entries without a mistake."""
        self._identities(entries)
        compiled = (self._compile(entry, ("model_list", index)) for index, entry in enumerate(entries))
        return [each for each in compiled if each is not None]

    def _identities(self, entries: list[ModelEntry]) -> None:
        names = Counter(entry.model_name for entry in entries)
        first: dict[str, int] = {}
        for index, entry in enumerate(entries):
            at: Path_ = ("model_list", index, "model_info")
            name, own = entry.model_name, entry.model_info.id
            if own is None and names[name] > 1:
                self.document.report(at, f"{name} has several deployments; give each a model_info.id of its own")
            elif own is not None and own in first:
                line = self.document.line(("model_list", first[own], "model_info", "id"))
                self.document.report((*at, "id"), f"two deployments have the id {own}, first in line {line}")
            elif own is not None and own != name and own in names:
                self.document.report((*at, "id"), f"{own} is the name of another model")
            if own is not None:
                first.setdefault(own, index)

    def _compile(self, entry: ModelEntry, path: Path_) -> Deployment | None:
        self._names(entry, path)
        self._keys(entry, path)
        check_row(self.document, (*path, "model_info"), entry.model_info.model_extra or {})
        if self.document.wrong(path):
            return None
        prefix = entry.litellm_params.model.partition("/")[0]
        provider = self.known.providers.get(prefix)
        if provider is None:
            unknown_provider(self.document, path, prefix, self.known.providers)
        hosts = self.known.hosts.get(prefix, {})
        finder = Finder(self.document, path, entry, provider or Provider(), hosts, self.known.environment)
        hosting = finder.find()
        known = facts(self.document, path, entry, self.known.prices, hosting.region)
        cap = self._cap(entry, known, path)
        if self.document.wrong(path):
            return None
        return self._deployment(entry, path, hosting, known, cap)

    def _names(self, entry: ModelEntry, path: Path_) -> None:
        model, at = entry.litellm_params.model, (*path, "litellm_params", "model")
        prefix, slash, upstream = model.partition("/")
        if not slash or not prefix or not upstream:
            self.document.report(at, f"expected provider/model, {found(self.document, at, model)}")
        elif "*" in model:
            self.document.report(at, "wildcard routes are not supported; list each model")
        if "*" in entry.model_name:
            self.document.report((*path, "model_name"), "wildcard routes are not supported; list each model")
        other = entry.litellm_params.custom_llm_provider
        if slash and other not in (None, prefix):
            at = (*path, "litellm_params", "custom_llm_provider")
            self.document.report(at, f"model says {prefix}; the provider stands in one place, before the slash")

    def _keys(self, entry: ModelEntry, path: Path_) -> None:
        extra = entry.litellm_params.model_extra or {}
        known = {name: value for name, value in extra.items() if name in DEPLOYMENT}
        check_row(self.document, (*path, "litellm_params"), known, DEPLOYMENT)
        for name in extra:
            at = (*path, "litellm_params", name)
            if name not in DEPLOYMENT:
                hint = did_you_mean(name, DEPLOYMENT) or "; what only the provider knows goes under extra_body"
                self.document.report(at, f"unknown key{hint}", key=True)
            elif name in IGNORED_PARAMS:
                where = f"; {IGNORED_PARAMS[name]} decides" if IGNORED_PARAMS[name] else ""
                self.document.report(at, f"is LiteLLM's own and not used here{where}", key=True, severity="warning")

    def _cap(self, entry: ModelEntry, known: Facts, path: Path_) -> int:
        """The output cap (tokens) of a request that names none."""
        routing, params = self.known.routing, entry.litellm_params
        usual = routing.output_cap_reasoning if "reasoning" in known.supports else routing.output_cap
        cap = min(entry.model_info.default_output_cap or usual, known.most or 10**9)
        written = params.max_completion_tokens or params.max_tokens or cap
        budget = (params.thinking or {}).get("budget_tokens")
        if isinstance(budget, int) and budget >= written:
            at = (*path, "litellm_params", "thinking", "budget_tokens")
            self.document.report(at, f"{budget:,} tokens of thinking are not below the output cap of {written:,}")
        return cap

    def _deployment(self, entry: ModelEntry, path: Path_, hosting: Hosting, known: Facts, cap: int) -> Deployment:
        params, info, provider = entry.litellm_params, entry.model_info, hosting.provider
        prefix, _, upstream = params.model.partition("/")
        only_litellm = _only_litellm(params)
        return Deployment(
            id=info.id or entry.model_name,
            model=entry.model_name,
            provider=prefix,
            litellm_model=params.model,
            upstream_model=upstream,
            wire=provider.wire,
            lane=info.lane or ("litellm" if only_litellm else provider.lane),
            mode="embedding" if known.mode == "embedding" else "chat",
            api_base=hosting.api_base,
            api_key=hosting.key,
            key_name=hosting.key_name,
            region=hosting.region[0],
            order=params.order or 0,
            weight=1.0 if params.weight is None else params.weight,
            headers=MappingProxyType(_headers(provider, params)),
            params=MappingProxyType(self._defaults(entry, prefix, known)),
            litellm_params=MappingProxyType(only_litellm),
            cap_parameter=provider.cap_parameter,
            price=known.price,
            price_row=known.row,
            window=known.window,
            max_output=known.most,
            default_output_cap=cap,
            supports=known.supports,
            facts_known=known.known,
            litellm_lane_for_tools=provider.tools_on_responses(upstream),
            cap_includes_thinking=provider.cap_includes_thinking is True,
            history=None if provider.history is None else frozenset(provider.history),
            history_wanted=provider.history_wanted,
            stream_options=provider.stream_options,
            tool_call_ids=provider.tool_call_ids,
            family=self.known.reasoning.family(prefix, upstream),
            abilities=self.known.capabilities.abilities(upstream),
            parameters=frozenset((*provider.parameters, *_defaults(params))),
            cancel=provider.cancel,
            doubt=provider.doubt,
            missing=hosting.missing or self._unset(path),
        )

    def _defaults(self, entry: ModelEntry, provider: str, known: Facts) -> dict[str, Any]:
        """The operator's defaults for the body: those of the deployment, then those of its model or provider."""
        defaults = _defaults(entry.litellm_params)
        effort = self.known.effort.default(entry.model_name, provider)
        unasked = known.mode == "embedding" or any(name in defaults for name in CONTROLS)
        return defaults if effort is None or unasked else {**defaults, "reasoning_effort": effort}

    def _unset(self, path: Path_) -> str | None:
        """A variable below `path` that is not set: without it the deployment would be called in another way."""
        references = self.document.references.items()
        names = (each.name for at, each in references if at[: len(path)] == path and each.text is None)
        return next((f"{name} is not set" for name in names), None)


def _headers(provider: Provider, params: LiteLLMParams) -> dict[str, str]:
    merged = {**provider.headers, **(params.headers or {}), **(params.extra_headers or {})}
    if params.organization:
        merged["OpenAI-Organization"] = params.organization
    return {name: value for name, value in merged.items() if value}


def _defaults(params: LiteLLMParams) -> dict[str, Any]:
    written = params.model_dump(exclude_none=True)
    return {**(params.extra_body or {}), **{name: value for name, value in written.items() if name in BODY_DEFAULTS}}


def _only_litellm(params: LiteLLMParams) -> dict[str, Any]:
    """What only LiteLLM's lane can honour."""
    own = NOT_FOR_LITELLM | BODY_DEFAULTS
    extra = (params.model_extra or {}).items()
    return {name: value for name, value in extra if name not in own and not is_price(name)}


def left_out(deployments: list[Deployment]) -> list[str]:
    """One line for all deployments without their key."""
    reasons = sorted({each.missing.removesuffix(" is not set") for each in deployments if each.missing})
    count = sum(each.missing is not None for each in deployments)
    return [f"{count} of {len(deployments)} deployments are left out: {', '.join(reasons)} not set"] if count else []
