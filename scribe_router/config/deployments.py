"""Entries of `model_list` to deployments: host, key, price and facts of each. Knows rows and the price map.

Never knows how models relate (groups, fallbacks): that is `meaning`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from scribe_router.config.documents import Document, Path_
from scribe_router.config.problems import Problem
from scribe_router.config.references import PREFIX, variable
from scribe_router.config.schema import NOT_FOR_LITELLM, ModelEntry
from scribe_router.litellm_names import DEPLOYMENT
from scribe_router.names import did_you_mean
from scribe_router.policies.prices import CLASSES, Price, compile_price
from scribe_router.policies.providers import Provider, Region
from scribe_router.policies.routing import RoutingPolicy
from scribe_router.registry import Deployment

# The operator's defaults for the request's body; all else in litellm_params is for LiteLLM itself.
BODY_DEFAULTS = frozenset(
    "temperature top_p max_tokens max_completion_tokens frequency_penalty presence_penalty seed stop user "
    "reasoning_effort thinking service_tier verbosity parallel_tool_calls response_format".split()
)
_FACTS = {"tools": "function_calling", "vision": "vision", "json_schema": "response_schema", "reasoning": "reasoning"}


@dataclass(frozen=True, slots=True)
class Known:
    """What the compiler may look up."""

    providers: Mapping[str, Provider]
    prices: Mapping[str, Mapping[str, Any]]
    routing: RoutingPolicy
    environment: Mapping[str, str]


class Compiler:
    """Compiles the entries of one document; mistakes are added to its problems."""

    def __init__(self, document: Document, known: Known) -> None:
        self.document, self.known = document, known

    def deployments(self, entries: list[ModelEntry]) -> list[Deployment]:
        names = [entry.model_name for entry in entries]
        compiled = (self._compile(entry, ("model_list", index), names) for index, entry in enumerate(entries))
        found = [each for each in compiled if each is not None]
        return self._distinct(found, entries)

    def _compile(self, entry: ModelEntry, path: Path_, names: list[str]) -> Deployment | None:
        before = len(self.document.problems)
        params, info = entry.litellm_params, entry.model_info
        litellm_model = self._model(params, path)
        identity = info.id or self._only_name(entry, path, names)
        self._keys(params, path)
        prefix, _, upstream = litellm_model.partition("/")
        row = self.known.providers.get(prefix)
        if row is None:
            self._unknown_provider(prefix, path)
        provider = row or Provider()
        region = self._region(provider, prefix, params, info.region, path)
        api_base = self._api_base(provider, prefix, params, region, path)
        key_name, key, missing = self._key(provider, params, region, path)
        facts, price = self._facts(entry, litellm_model, prefix, upstream, region, path)
        if len(self.document.problems) > before and any(p.severity == "error" for p in self.document.problems[before:]):
            return None
        reasoning = bool(facts.get("supports_reasoning"))
        cap = info.default_output_cap or (
            self.known.routing.output_cap_reasoning if reasoning else self.known.routing.output_cap
        )
        most = _whole(info.max_output_tokens or facts.get("max_output_tokens"))
        return Deployment(
            id=identity,
            model=entry.model_name,
            provider=prefix,
            litellm_model=litellm_model,
            upstream_model=upstream,
            wire=provider.wire,
            lane=info.lane or provider.lane,
            mode=info.mode or ("embedding" if facts.get("mode") == "embedding" else "chat"),
            api_base=api_base,
            api_key=key,
            key_name=key_name,
            region=next((name for name, each in provider.regions.items() if each is region), None),
            order=int(params.get("order") or 0),
            weight=float(params.get("weight") or 1),
            headers=MappingProxyType(self._headers(provider, params)),
            params=MappingProxyType(self._defaults(params)),
            litellm_params=MappingProxyType(
                {
                    k: v
                    for k, v in params.items()
                    if k not in NOT_FOR_LITELLM and k not in BODY_DEFAULTS and k not in CLASSES
                }
            ),
            cap_parameter=provider.cap_parameter,
            price=price,
            window=_whole(info.max_input_tokens or facts.get("max_input_tokens")),
            max_output=most,
            default_output_cap=min(cap, most) if most else cap,
            supports=frozenset(ours for ours, flag in _FACTS.items() if facts.get(f"supports_{flag}")),
            facts_known=bool(facts),
            litellm_lane_for_tools=provider.tools_on_responses(upstream),
            missing=missing,
        )

    def _problem(self, path: Path_, message: str, **more: Any) -> None:
        self.document.problems.append(self.document.problem(path, message, **more))

    def _model(self, params: Mapping[str, Any], path: Path_) -> str:
        model = params.get("model")
        at = (*path, "litellm_params", "model")
        if not isinstance(model, str) or not model:
            self._problem(at, "is missing" if model is None else "expected a name (text)")
            return ""
        if "/" not in model:
            self._problem(at, f"{model} has no provider; write provider/{model}")
        elif "*" in model:
            self._problem(at, "wildcard routes are not supported; list each model")
        return model

    def _only_name(self, entry: ModelEntry, path: Path_, names: list[str]) -> str:
        if names.count(entry.model_name) > 1:
            self._problem(
                (*path, "model_info"),
                f"{entry.model_name} has several deployments; give each a model_info.id of its own",
            )
        return entry.model_name

    def _keys(self, params: Mapping[str, Any], path: Path_) -> None:
        for name in params:
            if name not in DEPLOYMENT:
                hint = did_you_mean(name, DEPLOYMENT) or "; what only the provider knows goes under extra_body"
                self._problem((*path, "litellm_params", name), f"unknown key{hint}", key=True)
        for name, at, value in self._references(params, path):
            if ":" in value.removeprefix(PREFIX):
                self._problem(at, f"a default after {PREFIX}{name} works in policies/ only; LiteLLM would not read it")

    def _references(self, params: Mapping[str, Any], path: Path_) -> Iterator[tuple[str, Path_, str]]:
        for name, value in params.items():
            referred = variable(value)
            if referred is not None:
                yield referred, (*path, "litellm_params", name), value

    def _unknown_provider(self, prefix: str, path: Path_) -> None:
        if not prefix:
            return
        hint = did_you_mean(prefix, self.known.providers)
        self._problem(
            (*path, "litellm_params", "model"),
            f"no row in policies/providers.yaml for {prefix}{hint or ''}: facts unknown, LiteLLM's lane serves it",
            severity="warning",
        )

    def _region(
        self, provider: Provider, prefix: str, params: Mapping[str, Any], named: str | None, path: Path_
    ) -> Region | None:
        base = self._value(params.get("api_base"))
        of_host = provider.region_of_host(base) if base else None
        if named is not None and provider.regions and named not in provider.regions:
            self._problem(
                (*path, "model_info", "region"),
                f"{prefix} has no region {named}, it has {', '.join(provider.regions)}"
                + did_you_mean(named, provider.regions),
            )
            return None
        if named and of_host and named != of_host:
            self._problem(
                (*path, "litellm_params", "api_base"),
                f"this host is {prefix}'s region {of_host}, model_info.region says {named}",
            )
        name = named or of_host or (provider.default_region if not base else None)
        if name is None and provider.regions and not base:
            self._problem(
                (*path, "model_info"), f"{prefix} serves several regions; name one: {', '.join(provider.regions)}"
            )
        return provider.regions.get(name) if name else None

    def _api_base(
        self, provider: Provider, prefix: str, params: Mapping[str, Any], region: Region | None, path: Path_
    ) -> str | None:
        own = self._value(params.get("api_base"))
        if own:
            if not own.startswith(("http://", "https://")):
                self._problem((*path, "litellm_params", "api_base"), f"expected http:// or https://, found {own!r}")
            return own.rstrip("/")
        if provider.self_hosted:
            self._problem(
                (*path, "litellm_params"),
                f"{prefix} is self-hosted: api_base is missing (LiteLLM would send the prompt to api.openai.com)",
            )
        elif region is not None and not region.api_base and provider.wire != "other":
            self._problem(
                (*path, "litellm_params"), "api_base is missing: the host of this region is the customer's own"
            )
        return region.api_base.rstrip("/") if region is not None and region.api_base else None

    def _key(
        self, provider: Provider, params: Mapping[str, Any], region: Region | None, path: Path_
    ) -> tuple[str | None, str | None, str | None]:
        """(variable, key, why it is missing)."""
        named = variable(params.get("api_key"))
        literal = params.get("api_key") if named is None else None
        if literal is not None:
            return None, str(literal), None
        wanted = (named,) if named else region.keys if region is not None else ()
        if named and region is not None:
            self._key_of_region(provider, named, region, path)
        found = next((name for name in wanted if self.known.environment.get(name)), None)
        if found:
            return found, self.known.environment[found], None
        if not wanted or (not provider.needs_key and not named):
            return None, None, None
        return wanted[0], None, f"{' or '.join(wanted)} is not set"

    def _key_of_region(self, provider: Provider, named: str, region: Region, path: Path_) -> None:
        owner = provider.region_of_key(named)
        ours = next(name for name, each in provider.regions.items() if each is region)
        if provider.keys_bound and owner is not None and owner != ours:
            self._problem(
                (*path, "litellm_params", "api_key"),
                f"{named} is a key of region {owner}, this deployment is in {ours}, did you mean {region.keys[0]}?",
            )

    def _facts(
        self, entry: ModelEntry, litellm_model: str, prefix: str, upstream: str, region: Region | None, path: Path_
    ) -> tuple[Mapping[str, Any], Price | None]:
        own = {**entry.litellm_params, **(entry.model_info.model_extra or {})}
        base = entry.model_info.base_model
        facts: Mapping[str, Any] = {}
        for name in filter(None, (base, litellm_model, upstream)):
            row = self.known.prices.get(name, {})
            if row and (name != upstream or row.get("litellm_provider") in (prefix, None)):
                facts = row
                break
        prices = {name: own[name] for name in own if name.startswith(tuple(CLASSES)) or name == "tiered_pricing"}
        factor = (region.price_factor if region is not None else Decimal(1)) * self._uplift(facts, region, entry)
        try:
            written = compile_price(_decimals(prices), "yaml") if prices else None
            listed = compile_price(facts, "litellm map", factor)
        except (ValueError, ArithmeticError, TypeError) as error:
            self._problem((*path, "model_info"), f"a price cannot be read: {error}")
            return facts, None
        listed = None if listed is not None and listed.free else listed
        return {**facts, **(entry.model_info.model_extra or {})}, written or listed

    def _uplift(self, facts: Mapping[str, Any], region: Region | None, entry: ModelEntry) -> Decimal:
        name = entry.model_info.region
        return (
            Decimal(facts.get(f"regional_processing_uplift_multiplier_{name}", 1)) if region is not None else Decimal(1)
        )

    def _headers(self, provider: Provider, params: Mapping[str, Any]) -> dict[str, str]:
        own = params.get("extra_headers") or params.get("headers") or {}
        merged = {**provider.headers, **{str(name): str(self._value(value)) for name, value in own.items()}}
        if params.get("organization"):
            merged["OpenAI-Organization"] = str(self._value(params["organization"]))
        return {name: value for name, value in merged.items() if value}

    def _defaults(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {**(params.get("extra_body") or {}), **{k: v for k, v in params.items() if k in BODY_DEFAULTS}}

    def _value(self, value: Any) -> str | None:
        name = variable(value)
        return self.known.environment.get(name) if name else value

    def _distinct(self, found: list[Deployment], entries: list[ModelEntry]) -> list[Deployment]:
        first: dict[str, int] = {}
        for index, entry in enumerate(entries):
            identity = entry.model_info.id
            if identity and identity in first:
                line = self.document.problem(("model_list", first[identity], "model_info", "id"), "").line
                self._problem(
                    ("model_list", index, "model_info", "id"),
                    f"two deployments have the id {identity}, first in line {line}",
                )
            elif identity:
                first[identity] = index
        return found


def _decimals(prices: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [_decimals(row) | {"range": row["range"]} for row in value]
        if name == "tiered_pricing"
        else Decimal(str(value))
        for name, value in prices.items()
        if name != "range"
    }


def _whole(value: Any) -> int | None:
    return int(value) if value else None


def left_out(deployments: list[Deployment]) -> list[str]:
    """One line for all deployments without their key."""
    without = {each.id: each.missing for each in deployments if each.missing}
    reasons = sorted({reason.removesuffix(" is not set") for reason in without.values() if reason})
    return (
        [f"{len(without)} of {len(deployments)} deployments are left out: {', '.join(reasons)} not set"]
        if without
        else []
    )


__all__ = ["Compiler", "Known", "Problem", "left_out"]
