"""Registries from a few lines: what a case does not say is ordinary."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from scribe_router.config.price_entries import compile_price
from scribe_router.deployment import Deployment
from scribe_router.exchange import Category
from scribe_router.policies.breaker import BreakerPolicy
from scribe_router.policies.budgets import BudgetsPolicy
from scribe_router.policies.experiments import ExperimentsPolicy
from scribe_router.policies.migrations import Migration
from scribe_router.policies.residency import ResidencyPolicy
from scribe_router.policies.retries import RetriesPolicy
from scribe_router.policies.routing import RoutingPolicy
from scribe_router.policies.tokens import Tokens
from scribe_router.registry import Group, Registry, Store

TODAY = date(2026, 11, 20)
CHAINS = {
    None: "fallbacks",
    Category.CONTEXT_LENGTH: "context_window_fallbacks",
    Category.CONTENT_POLICY: "content_policy_fallbacks",
}


def deployment(identity: str, **facts: Any) -> Deployment:
    """A deployment at OpenAI; `price` is USD per million tokens in and out."""
    provider = facts.pop("provider", "openai")
    price = facts.pop("price", None)
    ordinary = {
        "model": identity,
        "provider": provider,
        "litellm_model": f"{provider}/{identity}",
        "upstream_model": identity,
        "wire": "openai",
        "lane": "wire",
        "price": None if price is None else priced(*price),
    }
    return Deployment(id=identity, **{**ordinary, **facts})


def priced(into: float, out: float, **more: str) -> Any:
    """A price in USD per million tokens; `more` are entries of LiteLLM's map, USD per token."""
    entry = {"input_cost_per_token": _each(into), "output_cost_per_token": _each(out)}
    return compile_price({**entry, **{name: Decimal(value) for name, value in more.items()}}, "test")


def _each(per_million: float) -> Decimal:
    return Decimal(str(per_million)) / 1_000_000


def registry(config: Mapping[str, Any]) -> Registry:
    """A registry from the keys that the cases in tests/cases/plan use."""
    rows = [_row(entry) for entry in config["deployments"]]
    models: dict[str, list[str]] = {}
    for row in rows:
        models.setdefault(row.model, []).append(row.id)
    strategies = config.get("group_strategies", {})
    groups = {
        name: Group(name, tuple(map(_tier, tiers)), strategies.get(name, "weighted"))
        for name, tiers in config.get("groups", {}).items()
    }
    fallbacks = {
        kind: {name: tuple(targets) for name, targets in config.get(key, {}).items()} for kind, key in CHAINS.items()
    }
    return Registry(
        version="0123abcd",
        deployments=MappingProxyType({row.id: row for row in rows}),
        models={name: tuple(members) for name, members in models.items()},
        groups=groups,
        aliases=config.get("aliases", {}),
        hidden=frozenset(config.get("hidden", ())),
        fallbacks=fallbacks,
        last_resort=tuple(config.get("last_resort", ())),
        migrations={old: Migration.model_validate(row) for old, row in config.get("migrations", {}).items()},
        budgets=BudgetsPolicy(),
        retries=RetriesPolicy(),
        routing=RoutingPolicy.model_validate(config.get("routing", {})),
        access=None,
        store=Store("sqlite::memory:"),
        experiments=ExperimentsPolicy.model_validate({"experiments": config.get("experiments", {})}),
        residency=ResidencyPolicy.model_validate(config.get("residency", {})),
        breaker=BreakerPolicy.model_validate(config["breaker"]) if "breaker" in config else None,
    )


def _row(entry: str | Mapping[str, Any]) -> Deployment:
    facts: dict[str, Any] = {"id": entry} if isinstance(entry, str) else dict(entry)
    if "tokens" in facts:
        facts["tokens"] = Tokens.model_validate({"models": ["*"], **facts["tokens"]})
    for name in ("lacks", "supports"):
        facts[name] = frozenset(facts.get(name, ()))
    return deployment(facts.pop("id"), **facts)


def _tier(tier: str | list[str]) -> tuple[str, ...]:
    return (tier,) if isinstance(tier, str) else tuple(tier)
