"""What each name offers: its window, what it can do, its price. For `/v1/models` and `scribe-router models list`."""

from collections.abc import Sequence
from decimal import Decimal

from scribe_router.deployment import Deployment
from scribe_router.eligible import outside
from scribe_router.exchange import Json
from scribe_router.policies.access import may_use
from scribe_router.policies.prices import PICO, Price, Rates
from scribe_router.principals import EVERYTHING, Grant
from scribe_router.registry import Registry

# Ours -> the names that OpenRouter's list of models has, which clients read.
_CLASSES = {
    "input": "prompt",
    "output": "completion",
    "cache_read": "input_cache_read",
    "cache_write": "input_cache_write",
    "reasoning": "internal_reasoning",
}


def offers(registry: Registry, grant: Grant = EVERYTHING) -> list[Json]:
    """Every name that a principal may ask for and something can serve now; of a wildcard those that its provider's
    catalogue lists."""
    members = (name for wildcard in registry.wildcards for name in wildcard.members)
    names = (name for name in dict.fromkeys((*registry.names(), *members)) if offered(name, registry, grant))
    found = (offer(name, registry, grant) for name in names)
    return [each for each in found if each is not None]


def offered(name: str, registry: Registry, grant: Grant) -> bool:
    """Whether a principal may ask for a name."""
    return may_use(grant.models, name, registry.resolve(name))


def offer(name: str, registry: Registry, grant: Grant = EVERYTHING) -> Json | None:
    """One name in the form of OpenAI's list of models; None where nothing can serve it to this principal.

    Sizes are tokens, the largest of those behind the name. It can do what all of them can; where their prices differ,
    it has none.
    """
    tiers = registry.members(registry.resolve(name))
    behind = (each for tier in tiers for model in tier for each in registry.behind(model))
    demand = grant.demand & registry.residency.demand(name, registry.resolve(name))
    here = (each for each in behind if outside(each, demand, registry.residency) is None)
    usable = [each for each in here if each.missing is None]
    if not usable:
        return None
    prices = {each.price for each in usable}
    window, most = (max(sizes, default=None) for sizes in _sizes(usable))
    facts = {
        "context_window": window,
        "max_output_tokens": most,
        "capabilities": sorted(frozenset.intersection(*(each.supports for each in usable))),
        "pricing": pricing(price) if len(prices) == 1 and (price := prices.pop()) else None,
    }
    owners = "+".join(sorted({each.provider for each in usable}))
    known = {key: value for key, value in facts.items() if value is not None}
    return {"id": name, "object": "model", "created": 0, "owned_by": owners, **known}


def _sizes(usable: Sequence[Deployment]) -> tuple[list[int], list[int]]:
    windows = [each.window for each in usable if each.window]
    return windows, [each.max_output for each in usable if each.max_output]


def pricing(price: Price) -> Json:
    """USD per token as exact decimals, also of each tier above so many input tokens; per call what is billed so."""
    (_, base), *tiers = price.tiers
    named = _usd(base)
    each = {"web_search": price.search, "request": price.call, "image": price.image}
    named |= {name: _exact(fee) for name, fee in each.items() if fee}
    return {**named, "tiers": [{"above": above, **_usd(rates)} for above, rates in tiers]} if tiers else named


def _usd(rates: Rates) -> Json:
    return {theirs: _exact(getattr(rates, ours)) for ours, theirs in _CLASSES.items()}


def _exact(pico: int) -> str:
    return f"{(Decimal(pico) / PICO).normalize():f}"


def deployments(registry: Registry) -> list[Json]:
    """Every deployment with its facts, a wildcard's row as one; `missing` says why it cannot be used."""
    return [_deployment(each) for each in (*registry.deployments.values(), *(each.row for each in registry.wildcards))]


def _deployment(each: Deployment) -> Json:
    return {
        "model": each.model,
        "deployment": each.id,
        "provider": each.provider,
        "region": each.region,
        "retention_days": each.retention,
        "covered": each.covered,
        "upstream_model": each.upstream_model,
        "context_window": each.window,
        "max_output_tokens": each.max_output,
        "capabilities": sorted(each.supports),
        "pricing": None if each.price is None else pricing(each.price),
        "price_source": None if each.price is None else each.price.source,
        "missing": each.missing,
    }
