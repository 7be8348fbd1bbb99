"""Efforts that nobody names, and efforts that a model lacks: what is sent, said, planned and refused."""

import json
from typing import Any

import pytest

from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Call, CallOptions, Json
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = """
model_list:
  - model_name: luna
    litellm_params: {model: openai/gpt-6-luna, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
  - model_name: k3
    litellm_params: {model: moonshot/kimi-k3, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
  - model_name: calm
    litellm_params: {model: openai/gpt-6-luna, api_base: BASE/v1, api_key: k, reasoning_effort: none}
    model_info: {id: calm, input_cost_per_token: 0, output_cost_per_token: 0}
  - model_name: unknown
    litellm_params: {model: openai/nobody-knows, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
  - model_name: vectors
    litellm_params: {model: openai/embed, api_base: BASE/v1, api_key: k}
    model_info: {mode: embedding, input_cost_per_token: 0}
router_settings: {fallbacks: [{k3: [luna]}]}
"""
LONG = [{"role": "user", "content": "x" * 101}]
EFFORT = """
defaults: {luna: auto, openai: minimal}
auto: [{task: [math], effort: high}, {longer_than: 100, effort: medium}, {effort: low}]
"""


def built(router: RouterFrom, sandbox: Sandbox, effort: str = EFFORT) -> Router:
    return router(CONFIG.replace("BASE", sandbox.url), {"effort": effort})


async def sent(one: Router, sandbox: Sandbox, model: str, **more: Any) -> tuple[Any, Any]:
    """(the effort that arrived, what the answer says of it)."""
    sandbox.clear()
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
    answer = await one.serve(Call("chat", body, CallOptions(lane="wire")))
    arrived: Json = json.loads(sandbox.received[-1].body)
    return arrived.get("reasoning_effort"), Receipt.of(answer.exchange).effort


@pytest.mark.parametrize(
    ("model", "more", "arrived", "says"),
    [
        ("luna", {}, "low", "requested=auto (low); sent=low"),
        ("luna", {"metadata": {"task": "math"}}, "high", "requested=auto (high); sent=high"),
        ("luna", {"messages": LONG}, "medium", "requested=auto (medium); sent=medium"),
        ("luna", {"reasoning_effort": "max"}, "max", "requested=max; sent=max"),
        ("luna", {"reasoning": {"effort": "high"}}, "high", "requested=high; sent=high"),
        ("calm", {}, "none", "requested=none; sent=none"),
        ("k3", {}, None, None),
        ("k3", {"reasoning_effort": "auto"}, "low", "requested=auto (low); sent=low"),
        ("unknown", {"reasoning_effort": "auto"}, None, None),
    ],
)  # fmt: skip
async def test_the_request_comes_first_then_the_deployment_then_the_defaults(
    router: RouterFrom, sandbox: Sandbox, model: str, more: Json, arrived: Any, says: Any
) -> None:
    assert await sent(built(router, sandbox), sandbox, model, **more) == (arrived, says)


async def test_without_rules_auto_is_left_to_the_model(router: RouterFrom, sandbox: Sandbox) -> None:
    assert await sent(built(router, sandbox, "auto: []"), sandbox, "luna", reasoning_effort="auto") == (None, None)


async def test_vectors_take_no_effort(router: RouterFrom, sandbox: Sandbox) -> None:
    await built(router, sandbox).aembedding(model="vectors", input="hello")
    assert sandbox.received[-1].json == {"model": "embed", "input": "hello"}


async def test_strict_leaves_out_who_lacks_the_level(router: RouterFrom, sandbox: Sandbox) -> None:
    strict = built(router, sandbox, "strict: true")
    assert (await sent(strict, sandbox, "k3", reasoning_effort="medium"))[1] == "requested=medium; sent=medium"
    assert "k3  effort: medium is not available, high is the nearest" in strict.explain(
        model="k3", messages=[{"role": "user", "content": "hi"}], reasoning_effort="medium"
    )
    assert (await sent(strict, sandbox, "k3", reasoning_effort="high"))[0] == "high"
    for model, why in (("k3", "medium is not available"), ("unknown", "it is not known how it is told")):
        with pytest.raises(InvalidRequest, match=why) as caught:
            await sent(strict, sandbox, model, reasoning_effort="medium", fallback_enabled=False)
        assert (caught.value.param, caught.value.code) == ("reasoning_effort", "effort_unavailable")


FORCED = {
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": "required",
}
TOOL_MODELS = """
model_list:
  - model_name: never
    litellm_params: {model: moonshot/kimi-k2.7-code, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
  - model_name: yields
    litellm_params: {model: moonshot/kimi-k2.6, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
  - model_name: takes
    litellm_params: {model: openai/gpt-4.1, api_base: BASE/v1, api_key: k}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0}
router_settings: {fallbacks: [{never: [takes]}, {yields: [takes]}]}
"""


@pytest.mark.parametrize(
    ("model", "more", "served"),
    [
        ("never", FORCED, "takes"),
        ("never", {**FORCED, "tool_choice": "auto"}, "never"),
        ("yields", FORCED, "yields"),
        ("yields", {**FORCED, "reasoning_effort": "none"}, "yields"),
        ("yields", {"reasoning_effort": "medium"}, "yields"),
    ],
)
async def test_strict_leaves_out_who_takes_no_forced_tool(
    router: RouterFrom, sandbox: Sandbox, model: str, more: Json, served: str
) -> None:
    one = router(TOOL_MODELS.replace("BASE", sandbox.url), {"effort": "strict: true"})
    answer = await one.serve(Call("chat", {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}))
    assert Receipt.of(answer.exchange).deployment == served


@pytest.mark.parametrize(
    ("model", "more", "rule", "why"),
    [
        ("never", FORCED, "forced_tool", "it cannot be made to call a tool"),
        ("yields", {**FORCED, "reasoning_effort": "medium"}, "effort", "a forced tool leaves no thinking"),
    ],
)
async def test_strict_refuses_what_nobody_takes(
    router: RouterFrom, sandbox: Sandbox, model: str, more: Json, rule: str, why: str
) -> None:
    one = router(TOOL_MODELS.replace("BASE", sandbox.url), {"effort": "strict: true"})
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "fallback_enabled": False, **more}
    with pytest.raises(InvalidRequest, match=why) as caught:
        await one.serve(Call("chat", body))
    parameter = {"forced_tool": "tool_choice", "effort": "reasoning_effort"}[rule]
    assert (caught.value.code, caught.value.param, sandbox.received) == (f"{rule}_unavailable", parameter, [])


async def test_without_tools_nothing_is_forced(router: RouterFrom, sandbox: Sandbox) -> None:
    one = router(TOOL_MODELS.replace("BASE", sandbox.url), {"effort": "strict: true"})
    way = one.plan(Call("chat", {"model": "never", "messages": [], "tool_choice": "required"}))
    assert way.candidates[0].deployment == "never"
