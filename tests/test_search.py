"""`enable_search`: one switch, said to each provider in its own words, or said to be absent; and what it may cost."""

from typing import Any

import pytest

from scribe_router.errors import BudgetExceeded, InvalidRequest
from scribe_router.exchange import Call, Json
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
BASES = {"anthropic": "/anthropic", "gemini": "/gemini/v1beta", "ollama_chat": "/ollama"}
ENTRY = """
  - model_name: {name}
    litellm_params: {{model: "{model}", api_base: "{base}", api_key: k}}
    model_info: {{id: {name}, lane: {lane}, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6{info}}}
"""
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CLAUDES = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
OPTIONS: Json = {"web_search_options": {}}
OPENROUTERS = {"type": "openrouter:web_search"}
CLAUDE = "anthropic/claude-sonnet-5-5"


def entry(sandbox: Sandbox, model: str, name: str = "m", lane: str = "litellm", info: str = "") -> str:
    base = sandbox.url + BASES.get(model.partition("/")[0], "/v1")
    return ENTRY.format(name=name, model=model, base=base, lane=lane, info=info)


async def asked(one: Router, sandbox: Sandbox, **more: Any) -> tuple[Json, Any]:
    """(the body that arrived, the receipt)."""
    sandbox.clear()
    answer = await one.serve(Call("chat", {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}))
    arrived: Json = sandbox.received[-1].json
    return arrived, Receipt.of(answer.exchange)


@pytest.mark.parametrize(
    ("model", "alone", "beside"),
    [
        ("openai/gpt-4o-search-preview", OPTIONS, {**OPTIONS, "tools": [FUNCTION]}),
        ("openrouter/vendor/model", {"tools": [OPENROUTERS]}, {"tools": [FUNCTION, OPENROUTERS]}),
        ("dashscope/qwen3-max", {"enable_search": True}, {"enable_search": True, "tools": [FUNCTION]}),
        ("openai/gpt-4.1", None, None),
        ("moonshot/kimi-k3", None, None),
        ("deepseek/deepseek-flash", None, None),
        ("mistral/mistral-small-latest", None, None),
        ("minimax/minimax-m3", None, None),
        ("hosted_vllm/qwen3", None, None),
    ],
)
@pytest.mark.parametrize("lane", ["wire", "litellm"])
async def test_what_arrives_in_openais_format(
    router: RouterFrom, sandbox: Sandbox, lane: str, model: str, alone: Json | None, beside: Json | None
) -> None:
    one = router("model_list:" + entry(sandbox, model, lane=lane))
    for more, expected in (({}, alone), ({"tools": [FUNCTION]}, beside)):
        arrived, receipt = await asked(one, sandbox, enable_search=True, **more)
        found = {name: arrived[name] for name in ("tools", "enable_search", "web_search_options") if name in arrived}
        assert found == (more if expected is None else expected)
        silent = () if expected is not None else ("enable_search is not sent to m: it has no search",)
        assert receipt.warnings == silent


async def test_what_arrives_at_claude_and_gemini(router: RouterFrom, sandbox: Sandbox) -> None:
    claude = router("model_list:" + entry(sandbox, CLAUDE))
    assert (await asked(claude, sandbox, enable_search=True))[0]["tools"] == [CLAUDES]
    arrived, _ = await asked(claude, sandbox, enable_search=True, tools=[FUNCTION])
    assert [tool["name"] for tool in arrived["tools"]] == ["f", "web_search"]
    own = {**CLAUDES, "type": "web_search_20260209", "max_uses": 9}
    assert (await asked(claude, sandbox, enable_search=True, tools=[own]))[0]["tools"] == [own]
    gemini = router("model_list:" + entry(sandbox, "gemini/gemini-3-flash-preview"))
    assert (await asked(gemini, sandbox, enable_search=True))[0]["tools"] == [{"googleSearch": {}}]
    arrived, receipt = await asked(gemini, sandbox, enable_search=True, tools=[FUNCTION])
    assert "googleSearch" not in str(arrived)
    assert receipt.warnings == ("enable_search is not sent to m: it refuses a search beside tools",)


async def test_the_request_comes_before_the_operators_default(router: RouterFrom, sandbox: Sandbox) -> None:
    one = router("model_list:" + entry(sandbox, "dashscope/qwen3-max", info=", enable_search: true"))
    assert (await asked(one, sandbox))[0]["enable_search"] is True
    assert (await asked(one, sandbox, enable_search=None))[0]["enable_search"] is True
    assert "enable_search" not in (await asked(one, sandbox, enable_search=False))[0]
    off = router("model_list:" + entry(sandbox, CLAUDE))
    for more in ({}, {"enable_search": False}, {"enable_search": None}):
        assert "tools" not in (await asked(off, sandbox, **more))[0]


async def test_what_the_client_wrote_beside_the_switch_stays(router: RouterFrom, sandbox: Sandbox) -> None:
    one = router("model_list:" + entry(sandbox, "openai/gpt-4o-search-preview", lane="wire"))
    own = {"web_search_options": {"search_context_size": "low"}}
    assert (await asked(one, sandbox, enable_search=True, **own))[0]["web_search_options"] == own["web_search_options"]


async def test_strict_leaves_out_who_cannot_search(router: RouterFrom, sandbox: Sandbox) -> None:
    text = "model_list:" + entry(sandbox, "mistral/mistral-small-latest") + entry(sandbox, CLAUDE, "claude")
    one = router(text + "router_settings: {fallbacks: [{m: [claude]}]}", {"routing": "strict_search: true"})
    arrived, receipt = await asked(one, sandbox, enable_search=True)
    assert (arrived["tools"], receipt.deployment) == ([CLAUDES], "claude")
    assert (await asked(one, sandbox))[1].deployment == "m"
    said = one.explain(model="m", messages=[{"role": "user", "content": "hi"}], enable_search=True)
    assert "with a search" in said
    assert "m  search: it has no search" in said
    with pytest.raises(InvalidRequest, match="it has no search") as caught:
        await asked(one, sandbox, enable_search=True, fallback_enabled=False)
    assert (caught.value.code, caught.value.param) == ("search_unavailable", "enable_search")


async def test_strict_holds_for_the_operators_default(router: RouterFrom, sandbox: Sandbox) -> None:
    text = "model_list:" + entry(sandbox, "mistral/mistral-small-latest", info=", enable_search: true")
    one = router(text, {"routing": "strict_search: true"})
    with pytest.raises(InvalidRequest, match="it has no search"):
        await asked(one, sandbox)
    assert (await asked(one, sandbox, enable_search=False))[1].deployment == "m"


PRICED = """
model_list:
  - model_name: m
    litellm_params: {{model: anthropic/claude-sonnet-5-5, api_base: {base}, api_key: k}}
    model_info: {{max_input_tokens: 100000}}
"""
WIDE = {"budgets": "limits: [{id: day, scope: user, window: day, usd: 10, when_short: reject}]"}
# Below the bound of three searches: 400,000 tokens at 4 USD per million, written to the cache for an hour.
NARROW = {"budgets": "limits: [{id: day, scope: user, window: day, usd: 1.6, when_short: reject}]"}


async def test_below_a_limit_it_is_bounded_as_claudes_own_tool_is(router: RouterFrom, sandbox: Sandbox) -> None:
    text = PRICED.format(base=f"{sandbox.url}/anthropic")
    bounds = []
    for more in ({"enable_search": True}, {"tools": [CLAUDES]}):
        one = router(text, WIDE)
        await asked(one, sandbox, **more)
        await one.ledger.flush()
        bounds += [row["bound"] for row in await one.ledger.rows()]
    assert bounds[0] == bounds[1] > 1_600_000_000 + 30_000_000
    with pytest.raises(BudgetExceeded):
        await asked(router(text, NARROW), sandbox, enable_search=True)
    assert sandbox.received == []


@pytest.mark.parametrize(
    "model", ["dashscope/qwen3-max", "openrouter/vendor/model", "openai/gpt-4o-search-preview", "gemini/gemini-3-flash"]
)
@pytest.mark.parametrize("default", [False, True])
async def test_below_a_limit_what_nothing_bounds_is_refused(
    router: RouterFrom, sandbox: Sandbox, model: str, default: bool
) -> None:
    one = router("model_list:" + entry(sandbox, model, info=", enable_search: true" if default else ""), WIDE)
    with pytest.raises(InvalidRequest, match="enable_search can cost more than the listed rates") as caught:
        await asked(one, sandbox, **({} if default else {"enable_search": True}))
    assert (caught.value.code, caught.value.param, sandbox.received) == ("unbounded_parameter", "enable_search", [])
    assert (await asked(one, sandbox, enable_search=False))[1].attempts == 1
