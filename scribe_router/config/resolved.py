"""The plain LiteLLM configuration after our expansion: hosts, keys' names, prices, callbacks. Holds no secret."""

from collections.abc import Mapping
from typing import Any

import yaml

from scribe_router.config.references import PREFIX
from scribe_router.policies.prices import CLASSES, PICO, Price, Rates
from scribe_router.registry import Deployment, Registry

CALLBACK = "scribe_router.callbacks.scribe"


def resolved(source: Mapping[str, Any], registry: Registry) -> str:
    """YAML that LiteLLM's own proxy loads as it is."""
    entries = [
        _entry(entry, registry.deployments[(entry.get("model_info") or {}).get("id") or entry["model_name"]])
        for entry in source["model_list"]
    ]
    settings = dict(source.get("litellm_settings") or {})
    own = settings.get("callbacks") or []
    settings["callbacks"] = [*(own if isinstance(own, list) else [own])]
    if CALLBACK not in settings["callbacks"]:
        settings["callbacks"].append(CALLBACK)
    expanded = {**source, "model_list": entries, "litellm_settings": settings}
    return yaml.safe_dump(expanded, sort_keys=False, allow_unicode=True, width=120)


def _entry(entry: Mapping[str, Any], deployment: Deployment) -> dict[str, Any]:
    params = dict(entry["litellm_params"])
    if deployment.api_base:
        params["api_base"] = deployment.api_base
    if deployment.key_name:
        params["api_key"] = PREFIX + deployment.key_name
    if deployment.headers:
        params["extra_headers"] = {**deployment.headers, **(params.get("extra_headers") or {})}
    info = {**(entry.get("model_info") or {}), "id": deployment.id}
    if deployment.price is not None:
        info |= _price(deployment.price)
    return {**entry, "litellm_params": params, "model_info": info}


def _price(price: Price) -> dict[str, float]:
    (_, base), *tiers = price.tiers
    named = _rates(base, "")
    for above, rates in tiers:
        named |= _rates(rates, f"_above_{above // 1000}k_tokens")
    return named


def _rates(rates: Rates, suffix: str) -> dict[str, float]:
    return {theirs + suffix: getattr(rates, ours) / PICO for theirs, ours in CLASSES.items() if ours != "reasoning"}
