"""Facts about how much a model is told to think."""

import pytest

from tests.facts.conftest import Fact

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_claude_is_told_not_to_think(fact: Fact) -> None:
    """`reasoning_effort: none`, by model: what arrives."""
    models = ("claude-sonnet-5", "claude-opus-5", "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
    asked = {model: await fact.ask(f"anthropic/{model}", reasoning_effort="none") for model in models}
    fact.shows({model: each.sent("thinking", "output_config") for model, each in asked.items()})


async def test_deepseek_is_told_how_much(fact: Fact) -> None:
    """`reasoning_effort`, by level: what arrives."""
    asked = {level: await fact.ask("deepseek/deepseek-flash", reasoning_effort=level) for level in ("low", "max")}
    fact.shows({level: each.sent("thinking", "reasoning_effort") for level, each in asked.items()})


async def test_kimi_is_told_in_its_own_words(fact: Fact) -> None:
    """`thinking: {type: disabled}` with and without `drop_params`, and `reasoning_effort`: what arrives."""
    off = {"thinking": {"type": "disabled"}}
    asked = {
        "k2.6 thinking disabled": await fact.ask("moonshot/kimi-k2.6", **off),
        "k2.6 thinking disabled, drop_params": await fact.ask("moonshot/kimi-k2.6", **off, drop_params=True),
        "k2.6 effort high": await fact.ask("moonshot/kimi-k2.6", reasoning_effort="high"),
        "k3 effort medium": await fact.ask("moonshot/kimi-k3", reasoning_effort="medium"),
    }
    fact.shows({name: each.sent("thinking", "reasoning_effort") for name, each in asked.items()})


async def test_nothing_is_dropped_in_silence(fact: Fact) -> None:
    """gpt-5.1 with effort `xhigh` and `drop_params`, vLLM with `thinking` disabled: what arrives, and is told."""
    dropped = await fact.ask("openai/gpt-5.1", reasoning_effort="xhigh", drop_params=True)
    vllm = await fact.ask("hosted_vllm/Qwen/Qwen3-30B", thinking={"type": "disabled"})
    fact.shows(
        {
            "gpt-5.1": [dropped.sent("reasoning_effort"), dropped.effort],
            "vLLM": [vllm.sent("thinking", "chat_template_kwargs"), vllm.effort],
        }
    )


async def test_claude_thinks_below_its_cap(fact: Fact) -> None:
    """Effort `high`, `temperature` 0.2 and a cap of 500 or 3,000 tokens: what arrives."""
    asked = {
        cap: await fact.ask("anthropic/claude-haiku-4-5", reasoning_effort="high", temperature=0.2, max_tokens=cap)
        for cap in (500, 3_000)
    }
    fact.shows([each.sent("max_tokens", "thinking", "temperature") for each in asked.values()])


async def test_gemini_takes_every_level(fact: Fact) -> None:
    """Effort `max` with `drop_params`, and `none`: the thinking that is asked for, and what is told."""
    models = ("gemini-3.8-flash", "gemini-2.5-flash", "gemini-2.5-pro")
    asked = {
        f"{model} {level}": await fact.ask(
            f"gemini/{model}", reasoning_effort=level, drop_params=True, max_tokens=40_000
        )
        for model in models
        for level in ("max", "none")
    }
    fact.shows(
        {
            name: each.error or [each.body.get("generationConfig", {}).get("thinkingConfig", {}), each.effort]
            for name, each in asked.items()
        }
    )


async def test_the_most_is_not_nothing(fact: Fact) -> None:
    """Ollama with effort `max`, Mistral with `low`: what arrives."""
    ollama = await fact.ask("ollama_chat/qwen3:8b", reasoning_effort="max")
    mistral = await fact.ask("mistral/mistral-small-latest", reasoning_effort="low")
    fact.shows({"ollama max": ollama.sent("think"), "mistral low": mistral.sent("reasoning_effort")})
