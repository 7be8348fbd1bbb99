"""One scale of reasoning: what is left out and said, what a cap leaves. `tests/golden` has the levels."""

import json
from typing import Any

import pytest

from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Call, Json
from scribe_router.policies.reasoning import CONTROLS, VISIBLE
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
BASES = {"anthropic": "/anthropic", "gemini": "/gemini/v1beta", "ollama_chat": "/ollama"}
SHOWN = (*CONTROLS, "chat_template_kwargs")
ENTRY = """
  - model_name: {lane}
    litellm_params: {{model: "{model}", api_base: "{base}", api_key: sandbox-key}}
    model_info: {{id: {lane}, lane: {lane}, input_cost_per_token: 0, output_cost_per_token: 0}}
"""


def built(router: RouterFrom, sandbox: Sandbox, model: str) -> tuple[Router, list[str]]:
    """A router with the model on each lane that can carry it."""
    provider = model.partition("/")[0]
    lanes = ["litellm"] if provider in BASES else ["wire", "litellm"]
    base = sandbox.url + BASES.get(provider, "/v1")
    return router("model_list:" + "".join(ENTRY.format(lane=lane, model=model, base=base) for lane in lanes)), lanes


async def sent(router: Router, sandbox: Sandbox, lane: str, ask: Json) -> tuple[Json, Any]:
    """(the body that arrived, what the answer says of the effort)."""
    sandbox.clear()
    body = {"model": lane, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 40_000, **ask}
    answer = await router.serve(Call("chat", body))
    if isinstance(answer, AnswerStream):
        assert [chunk async for chunk in answer]
    (received,) = sandbox.received
    arrived: Json = json.loads(received.body)
    return arrived, Receipt.of(answer.exchange)


def control(arrived: Json) -> Json:
    """What of a body is about reasoning."""
    if "generationConfig" in arrived:
        found: Json = arrived["generationConfig"].get("thinkingConfig", {})
        return found
    return {name: arrived[name] for name in SHOWN if name in arrived}


@pytest.mark.parametrize(
    ("model", "ask", "left_out"),
    [
        ("openai/gpt-5", {"temperature": 0.2, "top_p": 0.5}, ["temperature", "top_p"]),
        ("openai/gpt-6-luna", {"temperature": 0.2}, ["temperature"]),
        ("openai/gpt-6-luna", {"temperature": 0.2, "reasoning_effort": "none"}, []),
        ("openai/gpt-4.1", {"temperature": 0.2, "reasoning_effort": "high"}, []),
        ("anthropic/claude-haiku-4-5", {"temperature": 0.2}, []),
        ("anthropic/claude-haiku-4-5", {"temperature": 0.2, "reasoning_effort": "low"}, ["temperature"]),
        ("anthropic/claude-opus-5-5", {"temperature": 0.2}, ["temperature"]),
        ("moonshot/kimi-k3", {"temperature": 0.2, "top_p": 0.9, "n": 1}, ["temperature", "top_p", "n"]),
    ],
)
async def test_what_a_model_refuses_is_left_out_and_said(
    router: RouterFrom, sandbox: Sandbox, model: str, ask: Json, left_out: list[str]
) -> None:
    one, lanes = built(router, sandbox, model)
    for lane in lanes:
        arrived, receipt = await sent(one, sandbox, lane, ask)
        assert [name for name in ("temperature", "top_p", "n") if name in arrived] == [
            name for name in ("temperature", "top_p", "n") if name in ask and name not in left_out
        ]
        upstream = model.partition("/")[2]
        assert set(receipt.warnings) == {f"{name} is not sent: {upstream} refuses it" for name in left_out}


async def test_a_fallback_to_another_vendor_is_told_in_its_own_words(router: RouterFrom, sandbox: Sandbox) -> None:
    text = f"""
model_list:
  - model_name: first
    litellm_params: {{model: openai/error-500, api_base: "{sandbox.url}/v1", api_key: sandbox-key}}
    model_info: {{input_cost_per_token: 0, output_cost_per_token: 0}}
  - model_name: second
    litellm_params: {{model: anthropic/claude-opus-4-8, api_base: "{sandbox.url}/anthropic", api_key: sandbox-key}}
    model_info: {{input_cost_per_token: 0, output_cost_per_token: 0}}
router_settings: {{fallbacks: [{{first: [second]}}]}}
"""
    one = router(text, {"retries": "server: {retries: 0}"})
    body = {"model": "first", "messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "max"}
    answer = await one.serve(Call("chat", body))
    assert control(json.loads(sandbox.received[-1].body))["output_config"] == {"effort": "max"}
    assert Receipt.of(answer.exchange).effort == "requested=max; sent=max"


async def test_a_budget_below_a_limit_shrinks_with_the_cap(router: RouterFrom, sandbox: Sandbox) -> None:
    text = f"""
model_list:
  - model_name: claude
    litellm_params: {{model: anthropic/claude-haiku-4-5, api_base: "{sandbox.url}/anthropic", api_key: sandbox-key}}
    model_info: {{input_cost_per_token: 0, output_cost_per_token: 1.0e-6}}
"""
    one = router(text, {"budgets": "limits: [{id: day, scope: user, window: day, usd: 0.005}]"})
    body = {"model": "claude", "messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "high"}
    answer = await one.serve(Call("chat", {**body, "max_tokens": 20_000}))
    arrived = json.loads(sandbox.received[-1].body)
    assert (arrived["max_tokens"], arrived["thinking"]["budget_tokens"]) == (5_000, 3_976)
    assert "an output cap of 5000 tokens leaves 3976 to think" in str(Receipt.of(answer.exchange).effort)


@pytest.mark.parametrize(
    ("effort", "hint"),
    [("maxx", "did you mean max"), ("ultra", "it is one of none, minimal"), ("", "it is one of none")],
)
async def test_an_effort_that_is_not_on_the_scale(router: RouterFrom, sandbox: Sandbox, effort: str, hint: str) -> None:
    one, lanes = built(router, sandbox, "openai/gpt-6-luna")
    with pytest.raises(InvalidRequest, match=hint) as caught:
        await sent(one, sandbox, lanes[0], {"reasoning_effort": effort})
    assert (caught.value.param, sandbox.received) == ("reasoning_effort", [])


async def test_what_cannot_be_said_here_is_not_dropped_in_silence(router: RouterFrom, sandbox: Sandbox) -> None:
    known, _ = built(router, sandbox, "openai/gpt-6-luna")
    arrived, receipt = await sent(known, sandbox, "wire", {"reasoning": {"exclude": True}})
    assert (control(arrived), receipt.warnings) == ({}, ("reasoning is not sent to wire, which does not know it",))
    unknown, _ = built(router, sandbox, "openai/nobody-knows")
    arrived, receipt = await sent(unknown, sandbox, "wire", {"thinking_budget": 5, "reasoning": {"effort": "low"}})
    assert control(arrived) == {"reasoning": {"effort": "low"}}
    assert receipt.warnings == ("thinking_budget is not sent to wire: it is not known how it thinks",)


@pytest.mark.parametrize(("budget", "cap"), [(2_000, 16_384), (20_000, 20_000 + VISIBLE), (63_900, 64_000)])
async def test_a_default_cap_has_room_for_the_thinking_that_is_asked_for(
    router: RouterFrom, sandbox: Sandbox, budget: int, cap: int
) -> None:
    """Anthropic refuses a `max_tokens` that is not above the budget, and the client named none."""
    some, _ = built(router, sandbox, "anthropic/claude-haiku-4-5")
    thinking = {"type": "enabled", "budget_tokens": budget}
    arrived, receipt = await sent(some, sandbox, "litellm", {"thinking": thinking, "max_tokens": None})
    assert (arrived["max_tokens"], arrived["thinking"]) == (cap, thinking)
    assert (receipt.output_cap, receipt.cap_origin) == (cap, "default")
