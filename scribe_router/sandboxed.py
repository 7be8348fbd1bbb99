"""A registry in which the sandbox answers for every provider, each in its own wire format. No real key is used.

Knows registries and the sandbox's addresses; starts nothing.
"""

from dataclasses import replace
from types import MappingProxyType

from scribe_router.deployment import Deployment, Wildcard
from scribe_router.policies.prices import Price, Rates
from scribe_router.policies.providers import LISTINGS, TextCompletions
from scribe_router.registry import Registry

BASES = {"openai": "/v1", "anthropic": "/anthropic", "gemini": "/gemini", "ollama": "/ollama"}
MARK = "-sandbox"  # at the end of the version of such a registry
BEHAVIOURS = (
    "echo",
    "think",
    "tool",
    "slow-500ms",
    "long-4096",
    "error-429",
    "error-500",
    "flaky-3",
    "random-20pct",
    "cut-after-5",
    "no-usage",
    "no-end",
)
# One and two USD per million tokens, so that costs and limits can be seen at work.
PRICE = Price(((0, Rates(1_000_000, 2_000_000, 100_000, 1_000_000, 1_000_000, 2_000_000)),), "sandbox")


def sandboxed(registry: Registry, url: str) -> Registry:
    """The registry with every deployment at the sandbox's `url`, and the sandbox's behaviours as models."""
    deployments = {name: _moved(each, url) for name, each in registry.deployments.items()}
    extra = {each.id: each for each in _behaviours(url) if each.id not in registry.names()}
    models = {**registry.models, **{name: (name,) for name in extra}}
    general = registry.fallbacks.get(None, {})
    return replace(
        registry,
        version=registry.version + MARK,
        deployments=MappingProxyType({**deployments, **extra}),
        models=MappingProxyType(models),
        wildcards=tuple(_moved_wildcard(each, url) for each in registry.wildcards),
        fallbacks=MappingProxyType({**registry.fallbacks, None: {**general, **dict.fromkeys(extra, ())}}),
        warnings=(f"every provider is the sandbox at {url}: answers are made up, nothing is billed",),
    )


def _moved(deployment: Deployment, url: str) -> Deployment:
    base = BASES.get(deployment.wire)
    if base is None:
        return replace(deployment, missing=f"the sandbox does not speak {deployment.provider}'s format")
    return replace(deployment, api_base=url + base, api_key="sandbox", missing=None)


def _moved_wildcard(wildcard: Wildcard, url: str) -> Wildcard:
    return replace(wildcard, row=_moved(wildcard.row, url), of=lambda part: _moved(wildcard.of(part), url))


def _behaviours(url: str) -> list[Deployment]:
    chat = [_behaviour(name, "openai", name, url) for name in BEHAVIOURS]
    others = [_behaviour(f"echo-{wire}", wire, "echo", url) for wire in ("anthropic", "gemini")]
    embeddings = replace(_behaviour("embed", "openai", "embed", url), mode="embedding")
    return [*chat, *others, embeddings]


def _behaviour(name: str, provider: str, upstream: str, url: str) -> Deployment:
    return Deployment(
        id=name,
        model=name,
        provider=provider,
        litellm_model=f"{provider}/{upstream}",
        upstream_model=upstream,
        wire=provider,  # type: ignore[arg-type]
        lane="wire" if provider == "openai" else "litellm",
        api_base=url + BASES[provider],
        api_key="sandbox",
        price=PRICE,
        window=128_000,
        max_output=16_384,
        supports=frozenset({"tools", "json_schema", "vision"}),
        facts_known=True,
        completions=TextCompletions() if provider == "openai" else None,
        listing=LISTINGS[provider],  # type: ignore[index]
    )
