"""Facts about what an answer costs, in USD; null is unknown."""

import pytest

from scribe_router.exchange import Json
from tests.facts.conftest import Fact

pytestmark = pytest.mark.asyncio(loop_scope="session")


def openai(tokens_in: int, tokens_out: int, **more: object) -> Json:
    """A usage object in OpenAI's shape."""
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        **more,
    }


async def test_a_stream_has_its_cost(fact: Fact) -> None:
    """A stream of 10,000 in and 2,000 out at 1 and 2 USD per million, whose client asks for no usage: the cost."""
    price = {"input_cost_per_token": 1.0e-6, "output_cost_per_token": 2.0e-6}
    seen = await fact.ask("moonshot/usage-10000-2000", params=price, stream=True)
    fact.shows({"asked for": seen.sent("stream_options"), "cost": seen.cost})


async def test_openrouter_says_what_it_cost(fact: Fact) -> None:
    """OpenRouter reports 0.0123, or nothing and the model has no price: `litellm.completion_cost`, the cost here."""
    told = await fact.ask(
        "openrouter/anthropic/claude-sonnet-5.5", usage=openai(1_000, 100, cost=0.0123, is_byok=False)
    )
    silent = await fact.ask("openrouter/vendor/new-model", usage=openai(1_000, 100))
    costs = [each.computed if fact.plain else each.cost for each in (told, silent)]
    fact.shows(dict(zip(("reported", "not reported"), costs, strict=True)))


async def test_kimi_bills_its_cache_less(fact: Fact) -> None:
    """kimi-k2.6: 100,000 in, half of them `cached_tokens` at the top of the usage, and 2,000 out: the cost."""
    seen = await fact.ask("moonshot/kimi-k2.6", usage=openai(100_000, 2_000, cached_tokens=50_000))
    fact.shows(seen.cost)


async def test_reasoning_is_within_the_output(fact: Fact) -> None:
    """gpt-5: 10,000 in and 2,000 out, of which 1,500 are reasoning: the cost."""
    usage = openai(10_000, 2_000, completion_tokens_details={"reasoning_tokens": 1_500})
    fact.shows((await fact.ask("openai/gpt-5", usage=usage)).cost)


async def test_openrouter_adds_nothing_to_a_call(fact: Fact) -> None:
    """OpenRouter reports 0.0123, with LiteLLM's margin for OpenRouter at 5.5 %: the cost."""
    from scribe_router.upstream.quiet import litellm

    litellm().cost_margin_config = {"openrouter": 0.055}
    try:
        usage = openai(1_000, 100, cost=0.0123, is_byok=False)
        fact.shows((await fact.ask("openrouter/anthropic/claude-sonnet-5.5", usage=usage)).cost)
    finally:
        litellm().cost_margin_config = {}


async def test_models_on_sale_have_a_price(fact: Fact) -> None:
    """10,000 in and 2,000 out, by model: the cost."""
    models = (
        "openai/gpt-6.1-terra",
        "moonshot/kimi-k3.1-pro",
        "moonshot/kimi-k3.1-pro-highspeed",
        "moonshot/kimi-k2.7-code-highspeed",
        "minimax/MiniMax-M2.7",
    )
    fact.shows({model: (await fact.ask(model, usage=openai(10_000, 2_000))).cost for model in models})


async def test_a_search_has_a_fee(fact: Fact) -> None:
    """claude-haiku-4-5 with one search, and mistral-small-latest with half of its input cached: the cost."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    claude = {"input_tokens": 10_000, "output_tokens": 2_000, "server_tool_use": {"web_search_requests": 1}}
    mistral = openai(10_000, 1_000, num_cached_tokens=5_000)
    fact.shows(
        {
            "search": (await fact.ask("anthropic/claude-haiku-4-5", usage=claude, tools=[search])).cost,
            "cache": (await fact.ask("mistral/mistral-small-latest", usage=mistral)).cost,
        }
    )
