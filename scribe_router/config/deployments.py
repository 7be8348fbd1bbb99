"""Entries of `model_list` to deployments. Each is checked by itself; how models relate is not known here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

from scribe_router.config.documents import Document
from scribe_router.config.facts import Facts, Placed, Row, check_row, facts, is_price
from scribe_router.config.hosting import Finder, Hosting, Hosts, unknown_provider
from scribe_router.config.problems import Path_
from scribe_router.config.schema import IGNORED_PARAMS, NOT_FOR_LITELLM, LiteLLMParams, ModelEntry
from scribe_router.config.shapes import found
from scribe_router.deployment import Deployment, Wildcard
from scribe_router.litellm_names import DEPLOYMENT
from scribe_router.names import did_you_mean, matched
from scribe_router.policies.capabilities import CapabilitiesKnowledge
from scribe_router.policies.effort import EffortPolicy
from scribe_router.policies.features import OFF, FeaturesPolicy
from scribe_router.policies.modes import Modes
from scribe_router.policies.prices import Price, dearest
from scribe_router.policies.providers import Provider
from scribe_router.policies.quirks import advice
from scribe_router.policies.reasoning import CONTROLS, Family, ReasoningKnowledge
from scribe_router.policies.routing import RoutingPolicy
from scribe_router.policies.schema import days
from scribe_router.policies.tokens import TokensKnowledge

MADE = 1024  # deployments that a wildcard keeps at hand; making one takes some 100 µs
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
    tokens: TokensKnowledge
    features: FeaturesPolicy
    environment: Mapping[str, str]


class Compiler:
    """Compiles the entries of one document; mistakes are added to its problems."""

    def __init__(self, document: Document, known: Known) -> None:
        self.document, self.known = document, known
        self._configured: dict[tuple[str, str], list[Deployment]] = {}

    def deployments(self, entries: list[ModelEntry]) -> tuple[list[Deployment], list[Wildcard]]:
        """The deployments and the wildcards of the entries without a mistake."""
        self._identities(entries)
        compiled = [self._compile(entry, ("model_list", index)) for index, entry in enumerate(entries)]
        found = [each for each in compiled if isinstance(each, Deployment)]
        wildcards = [each for each in compiled if isinstance(each, Wildcard)]
        for index, one in enumerate(compiled):
            if one is not None:
                self._given_away(("model_list", index, "model_info", "id"), one, wildcards)
        return found, wildcards

    def _given_away(self, path: Path_, one: Deployment | Wildcard, wildcards: list[Wildcard]) -> None:
        """An id of its own that a wildcard makes as well: one would be taken for the other."""
        row, ids = (one.row, one.ids.replace("*", "x")) if isinstance(one, Wildcard) else (one, one.id)
        for each in wildcards if row.id != row.model else ():
            if each is not one and matched(each.ids, ids) is not None:
                self.document.report(path, f"{row.id} is also an id of what {each.row.model} makes; name it otherwise")

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

    def _compile(self, entry: ModelEntry, path: Path_) -> Deployment | Wildcard | None:
        self._names(entry, path)
        self._keys(entry, path)
        check_row(self.document, (*path, "model_info"), entry.model_info.model_extra or {})
        if self.document.wrong(path):
            return None
        prefix = entry.litellm_params.model.partition("/")[0]
        provider = self.known.providers.get(prefix)
        if provider is None:
            unknown_provider(self.document, path, prefix, self.known.providers)
        entry, mode = _without_mode(entry, provider)
        hosts = self.known.hosts.get(prefix, {})
        finder = Finder(self.document, path, entry, provider or Provider(), hosts, self.known.environment)
        hosting = finder.find()
        known = facts(self.document, path, entry, self.known.prices, hosting.region)
        cap = self._cap(entry, known, path)
        self._caching(entry, hosting.provider, known, path)
        if self.document.wrong(path):
            return None
        row = self._deployment(entry, path, hosting, known, cap)
        if mode is not None:
            model = f"{row.litellm_model}:{mode}"
            row = replace(row, litellm_model=model, modes=replace(row.modes, usual=mode))
        self._configured.setdefault((prefix, row.upstream_model), []).append(row)
        return self._wildcard(row, entry, path, hosting) if "*" in entry.model_name else row

    def _wildcard(self, row: Deployment, entry: ModelEntry, path: Path_, hosting: Hosting) -> Wildcard:
        """What its deployments turn out to be is looked up when they are asked for; nobody reads problems then."""
        later = Compiler(Document(self.document.name, references=self.document.references), self.known)
        later._configured = self._configured

        model = entry.litellm_params.model

        @lru_cache(maxsize=MADE)
        def of(part: str) -> Deployment:
            info = entry.model_info.model_copy(update={"id": wildcard.ids.replace("*", part)})
            params = entry.litellm_params.model_copy(update={"model": model.replace("*", part)})
            named = {"model_name": row.model.replace("*", part), "litellm_params": params, "model_info": info}
            one, mode = _without_mode(entry.model_copy(update=named), hosting.provider)
            modes = row.modes if mode is None else replace(row.modes, usual=mode)
            known = facts(later.document, path, one, self.known.prices, hosting.region)
            made = later._deployment(one, path, hosting, known, later._cap(one, known, path))
            return replace(made, litellm_model=row.litellm_model.replace("*", part), modes=modes)

        listed = (name for name, facts in self.known.prices.items() if "catalogue" in facts)
        parts = filter(None, (matched(model, name) for name in listed))
        wildcard = Wildcard(row, of, tuple(row.model.replace("*", part) for part in parts))
        return wildcard

    def _names(self, entry: ModelEntry, path: Path_) -> None:
        model, at = entry.litellm_params.model, (*path, "litellm_params", "model")
        prefix, slash, upstream = model.partition("/")
        if not slash or not prefix or not upstream:
            self.document.report(at, f"expected provider/model, {found(self.document, at, model)}")
        elif "*" in prefix or model.count("*") > 1 or ("*" in model) != ("*" in entry.model_name):
            self.document.report(at, "a wildcard is one * in model_name, and one after the provider here: openrouter/*")
        if entry.model_name.count("*") > 1 or (entry.model_info.id or "").count("*") > ("*" in entry.model_name):
            self.document.report((*path, "model_name"), "a wildcard is one * in model_name, and at most one in its id")
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

    def _caching(self, entry: ModelEntry, provider: Provider, known: Facts, path: Path_) -> None:
        ttl, reads = entry.model_info.prompt_caching, provider.prompt_caching
        if ttl is None:
            return
        prefix, _, upstream = entry.litellm_params.model.partition("/")
        why = reads.refuses(upstream, ttl) if reads is not None else f"{prefix} reads no cache_control"
        tiers = known.price.tiers if known.price is not None else ()
        if not why and any(rates.cache_write <= rates.input > 0 for _, rates in tiers):
            why = "its price has no cache writes, which cost more than input; state cache_creation_input_token_cost"
        if why:
            self.document.report((*path, "model_info", "prompt_caching"), why)

    def _deployment(self, entry: ModelEntry, path: Path_, hosting: Hosting, known: Facts, cap: int) -> Deployment:
        params, info, provider = entry.litellm_params, entry.model_info, hosting.provider
        prefix, _, upstream = params.model.partition("/")
        only_litellm = _only_litellm(params)
        family, features = self.known.reasoning.family(prefix, upstream), self.known.features
        asleep = family is not None and family.hybrid and not features.hybrid_reasoning.enabled
        quirks, headers = provider.quirks_of(upstream), _headers(hosting, params)
        _, region = hosting.region
        theirs = known.mode == "embedding" or (region is not None and region.api_base is not None)
        for each in advice(quirks, headers, None if theirs else only_litellm):
            self.document.report((*path, "litellm_params"), each, severity="warning")
        windows = [only_litellm[each.window] for each in quirks if each.window in only_litellm]
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
            retention=days(info.retention or (region.retention if region is not None else None)),
            covered=info.covered if info.covered is not None else region is not None and region.covered,
            order=params.order or 0,
            weight=1.0 if params.weight is None else params.weight,
            headers=MappingProxyType(headers),
            anonymous=provider.wire in ("openai", "other") and not (provider.identity and region is not None),
            params=MappingProxyType(self._defaults(entry, prefix, known)),
            litellm_params=MappingProxyType(only_litellm),
            cap_parameter=provider.cap_parameter,
            price=known.price,
            price_row=known.row,
            window=windows[0] if windows else known.window,
            max_output=known.most,
            cap_in_window=provider.cap_in_window,
            tokens=self.known.tokens.family(upstream),
            default_output_cap=cap,
            supports=known.supports,
            lacks=known.lacks,
            facts_known=known.known,
            litellm_lane_for_tools=provider.tools_on_responses(upstream),
            cap_includes_thinking=provider.cap_includes_thinking is True,
            history=None if provider.history is None else frozenset(provider.history),
            history_wanted=provider.history_wanted,
            stream_options=provider.stream_options,
            tool_call_ids=provider.tool_call_ids,
            abilities=self.known.capabilities.abilities(upstream),
            think_tags=provider.think_tags,
            family=family.unasked() if family is not None and asleep else family,
            parameters=frozenset(
                (*provider.parameters, *_defaults(params), *(each for row in quirks for each in row.defaults))
            ),
            quirks=quirks,
            modes=Modes(provider.modes, dict(provider.optimize_for.items()), provider.default_mode),
            price_ceiling=provider.price_ceiling,
            sold=partial(self._sold, prefix, hosting.region) if provider.catalogue else None,
            cancel=provider.cancel,
            doubt=provider.doubt,
            search=provider.search,
            prompt_caching=provider.prompt_caching,
            cache_for=info.prompt_caching,
            completions=provider.completions_of(upstream),
            listing=provider.listed_at,
            off=None if features.reasoning.enabled else _cannot_stop(family, known),
            only_unasked=asleep and features.hybrid_reasoning.when_off == "refuse",
            missing=hosting.missing or self._unset(path),
        )

    def _sold(self, prefix: str, region: Placed, upstream: str) -> tuple[Price | None, int | None]:
        """(price, window) of a model of the provider's, as it is configured, else as it is known."""
        configured = self._configured.get((prefix, upstream))
        if configured:
            prices = [each.price for each in configured if each.price is not None]
            return (dearest(prices) if len(prices) == len(configured) else None), configured[0].window
        entry = ModelEntry(model_name=upstream, litellm_params=LiteLLMParams(model=f"{prefix}/{upstream}"))
        known = facts(Document(self.document.name), (), entry, self.known.prices, region)
        return known.price, known.window

    def _defaults(self, entry: ModelEntry, prefix: str, known: Facts) -> dict[str, Any]:
        """The operator's defaults for the body: those of the deployment, then those of its model or provider."""
        provider = self.known.providers.get(prefix)
        sent = {} if known.mode == "embedding" or provider is None else provider.body
        defaults = {**sent, **_defaults(entry.litellm_params)}
        if entry.model_info.enable_search is not None:
            defaults["enable_search"] = entry.model_info.enable_search
        effort = self.known.effort.default(entry.model_name, prefix)
        if not self.known.features.reasoning.enabled:
            # Said where it is known how, and to the others nothing: they may not know the word.
            told = self.known.reasoning.family(prefix, entry.litellm_params.model.partition("/")[2]) is not None
            defaults = {name: value for name, value in defaults.items() if name not in CONTROLS}
            return {**defaults, "reasoning_effort": "none"} if told and known.mode == "chat" else defaults
        unasked = known.mode == "embedding" or any(name in defaults for name in CONTROLS)
        return defaults if effort is None or unasked else {**defaults, "reasoning_effort": effort}

    def _unset(self, path: Path_) -> str | None:
        """A variable below `path` that is not set: without it the deployment would be called in another way."""
        references = self.document.references.items()
        names = (each.name for at, each in references if at[: len(path)] == path and each.text is None)
        return next((f"{name} is not set" for name in names), None)


def _without_mode(entry: ModelEntry, provider: Provider | None) -> tuple[ModelEntry, str | None]:
    """An entry whose model ends in a routing mode, and that mode: price and window are those of the model."""
    model, _, mode = entry.litellm_params.model.rpartition(":")
    if provider is None or mode not in provider.modes:
        return entry, None
    return entry.model_copy(update={"litellm_params": entry.litellm_params.model_copy(update={"model": model})}), mode


def _cannot_stop(family: Family | None, known: Facts) -> str | None:
    """Why a model cannot be used where reasoning is switched off."""
    if family is not None:
        return None if family.stops else f"it cannot stop thinking, and reasoning is {OFF}"
    unknown = "reasoning" in known.supports
    return f"it is not known how it is told not to think, and reasoning is {OFF}" if unknown else None


def _headers(hosting: Hosting, params: LiteLLMParams) -> dict[str, str]:
    """The row's headers, and over them the deployment's, whatever the case of their names."""
    identity = hosting.provider.identity if hosting.region[1] is not None else {}
    own = {**(params.headers or {}), **(params.extra_headers or {})}
    if params.organization:
        own["OpenAI-Organization"] = params.organization
    said = {name.lower() for name in own}
    ours = {name: value for name, value in (identity | hosting.provider.headers).items() if name.lower() not in said}
    return {name: value for name, value in {**ours, **own}.items() if value}


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
