"""The plain LiteLLM configuration after our expansion: hosts, keys' names, prices, callbacks. Holds no secret: what the
files themselves hold in place of a reference is left out."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from scribe_router.config.documents import Document
from scribe_router.config.price_entries import CLASSES
from scribe_router.config.references import PREFIX
from scribe_router.deployment import Deployment
from scribe_router.names import of_a_secret
from scribe_router.policies.prices import PICO, Price, Rates
from scribe_router.policies.providers import Provider
from scribe_router.registry import Registry

CALLBACK = "scribe_router.callbacks.scribe"
LEFT_OUT = "***"
CODE = "custom_"  # LiteLLM's names for code of the operator's, `custom_auth: module.function`
_USER = re.compile(r"(?<=://)[^/?#\s]+(?=@)")
_QUERY = re.compile(r"([?&][^=&#]*(?:key|token|secret|password|sig|signature)=)[^&#\s]+", re.IGNORECASE)


def with_headers(source: dict[str, Any], rows: Mapping[str, Provider], document: Document) -> dict[str, Any]:
    """The configuration with the headers of providers' rows written out, but for those that the environment sets:
    they may be secrets, and LiteLLM reads no references there."""
    return {**source, "model_list": [_with_headers(entry, rows, document) for entry in source["model_list"]]}


def _with_headers(entry: dict[str, Any], rows: Mapping[str, Provider], document: Document) -> dict[str, Any]:
    params = entry["litellm_params"]
    prefix = str(params["model"]).partition("/")[0]
    headers = rows[prefix].headers if prefix in rows else {}
    literal = {name: value for name, value in headers.items() if (prefix, "headers", name) not in document.references}
    if not literal:
        return entry
    return {**entry, "litellm_params": {**params, "extra_headers": {**literal, **(params.get("extra_headers") or {})}}}


def resolved(source: Mapping[str, Any], registry: Registry) -> str:
    """YAML that LiteLLM's own proxy loads as it is; a secret that is written in the files is `LEFT_OUT` there."""
    rows = {**registry.deployments, **{each.row.id: each.row for each in registry.wildcards}}
    entries = [
        _entry(entry, rows[(entry.get("model_info") or {}).get("id") or entry["model_name"]])
        for entry in source["model_list"]
    ]
    settings = dict(source.get("litellm_settings") or {})
    own = settings.get("callbacks") or []
    settings["callbacks"] = [*(own if isinstance(own, list) else [own])]
    if CALLBACK not in settings["callbacks"]:
        settings["callbacks"].append(CALLBACK)
    expanded = {**source, "model_list": entries, "litellm_settings": settings}
    return yaml.safe_dump(_without_secrets(expanded), sort_keys=False, allow_unicode=True, width=120)


def _entry(entry: Mapping[str, Any], deployment: Deployment) -> dict[str, Any]:
    params = {**entry["litellm_params"], "model": deployment.named_for_litellm}
    if deployment.api_base and not (params.get("api_base") or params.get("base_url")):
        params["api_base"] = deployment.api_base
    if deployment.key_name and not params.get("api_key"):
        params["api_key"] = PREFIX + deployment.key_name
    info = {**(entry.get("model_info") or {}), "id": deployment.id}
    if deployment.price is not None:
        info = {name: value for name, value in info.items() if name != "tiered_pricing"} | _price(deployment.price)
    return {**entry, "litellm_params": params, "model_info": info}


def _without_secrets(value: Any, name: str = "") -> Any:
    """A value without texts that are secrets by their name, or inside of an address."""
    if isinstance(value, Mapping):
        return {key: _without_secrets(each, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each, name) for each in value]
    if not isinstance(value, str) or value.startswith(PREFIX):
        return value
    secret = of_a_secret(name) and not name.startswith(CODE)
    return LEFT_OUT if secret else _QUERY.sub(rf"\1{LEFT_OUT}", _USER.sub(LEFT_OUT, value))


def _price(price: Price) -> dict[str, float]:
    (_, base), *tiers = price.tiers
    named = _rates(base, "")
    for above, rates in tiers:
        named |= _rates(rates, f"_above_{above // 1000}k_tokens")
    return named


def _rates(rates: Rates, suffix: str) -> dict[str, float]:
    """LiteLLM bills reasoning as output unless it is told otherwise."""
    named = {theirs + suffix: getattr(rates, ours) / PICO for theirs, ours in CLASSES.items()}
    if rates.reasoning == rates.output:
        del named[f"output_cost_per_reasoning_token{suffix}"]
    return named
