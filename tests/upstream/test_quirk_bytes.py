"""Where providers differ from OpenAI's format: what arrives there, on every lane that carries it, by a golden table."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from scribe_router.exchange import Call, Json
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
CASES: list[Json] = yaml.safe_load((Path(__file__).parent.parent / "cases" / "quirks.yaml").read_text())
BY_DEPLOYMENT: dict[tuple[str, str], list[Json]] = defaultdict(list)
for each in CASES:
    BY_DEPLOYMENT[each["model"], json.dumps(each.get("has", {}))].append(each)
BASES = {"anthropic": "/anthropic", "gemini": "/gemini/v1beta", "ollama_chat": "/ollama"}
PLAIN: Json = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 40_000}
STRICT = {"type": "object", "properties": {}, "additionalProperties": False}


def tool(name: str) -> Json:
    strict: Json = {"strict": True, "parameters": STRICT} if name == "strict" else {"parameters": {"type": "object"}}
    return {"type": "function", "function": {"name": name, **strict}}


def written_out(ask: Json) -> Json:
    """What is asked, with tools where the table has their names."""
    full = {**ask}
    if "tools" in ask:
        full["tools"] = [tool(name) for name in ask["tools"]]
        if ask.get("tool_choice") in ask["tools"]:
            full["tool_choice"] = {"type": "function", "function": {"name": ask["tool_choice"]}}
    return full


def shown(arrived: Json) -> Json:
    """What arrived, beyond what every request has; names in the place of tools."""
    for inner in ("generationConfig", "options"):
        arrived |= arrived.pop(inner, {})
    ours = ("model", "messages", "contents", "max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict")
    plain: Any = (("stream", False), ("tools", []), ("thinkingConfig", {}))
    found = {name: value for name, value in arrived.items() if name not in ours and (name, value) not in plain}
    if "tools" in found:
        listed = found["tools"][0].get("function_declarations") or found["tools"]
        assert {"strict"} != {each.get("function", {}).get("name") for each in listed} or listed == [tool("strict")]
        found["tools"] = [(each.get("function") or each)["name"] for each in listed]
    choice = found.get("tool_choice")
    if isinstance(choice, dict) and "function" in choice:
        found["tool_choice"] = choice["function"]["name"]
    return found


def values(header: str | None) -> set[str]:
    """Those of a header; LiteLLM adds what it knows itself, once more."""
    return {each.strip() for each in (header or "").split(",")}


def built(router: RouterFrom, sandbox: Sandbox, case: Json) -> tuple[Router, list[str]]:
    """A router with the model on each lane that can carry it."""
    model = case["model"]
    provider = model.partition("/")[0]
    lanes = case.get("lanes") or (["litellm"] if provider in BASES else ["wire", "litellm"])
    params = {"model": model, "api_base": sandbox.url + BASES.get(provider, "/v1"), "api_key": "sandbox-key"}
    info = {"input_cost_per_token": 0, "output_cost_per_token": 0}
    entries = [
        {
            "model_name": lane,
            "litellm_params": {**params, **case.get("has", {})},
            "model_info": {"id": lane, "lane": lane, **info},
        }
        for lane in lanes
    ]
    return router(yaml.safe_dump({"model_list": entries})), lanes


async def sent(router: Router, sandbox: Sandbox, lane: str, ask: Json) -> tuple[Json, Any, Any]:
    """(what arrived, its headers, the receipt)."""
    sandbox.clear()
    answer = await router.serve(Call("chat", {"model": lane, **PLAIN, **written_out(ask)}))
    (received,) = sandbox.received
    return shown(json.loads(received.body)), received.headers, Receipt.of(answer.exchange)


@pytest.mark.parametrize(("model", "has"), BY_DEPLOYMENT)
async def test_what_arrives(router: RouterFrom, sandbox: Sandbox, model: str, has: str) -> None:
    cases = BY_DEPLOYMENT[model, has]
    one, lanes = built(router, sandbox, cases[0])
    usual = {lane: (await sent(one, sandbox, lane, {}))[0] for lane in lanes}
    for case in cases:
        for lane in lanes:
            arrived, headers, receipt = await sent(one, sandbox, lane, case["ask"])
            if case["ask"] and "gemini" in model:  # LiteLLM writes a temperature of its own
                arrived = {name: value for name, value in arrived.items() if usual[lane].get(name) != value}
            assert (lane, case["ask"], arrived) == (lane, case["ask"], case["sends"])
            assert list(receipt.warnings) == case.get("says", []), case["ask"]
            assert receipt.effort == case.get("effort"), case["ask"]
            for name, value in case.get("headers", {}).items():
                assert values(headers.get(name)) == values(value), case["ask"]


async def test_below_a_limit_what_a_row_adds_is_known(router: RouterFrom, sandbox: Sandbox) -> None:
    text = f"""
model_list:
  - model_name: m
    litellm_params: {{model: hosted_vllm/m, api_base: "{sandbox.url}/v1", api_key: k}}
    model_info: {{input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}}
"""
    row = "{defaults: {vendor_switch: on}, headers: {x-long: {value: l, longer_than: 100}}}"
    quirks = f"hosted_vllm: {{quirks: {{mine: {row}}}}}"
    one = router(text, {"providers": quirks, "budgets": "limits: [{id: all, scope: all, usd: 1}]"})
    answer = await one.serve(Call("chat", {"model": "m", **PLAIN}))
    [received] = sandbox.received
    assert (received.json["vendor_switch"], "x-long" in received.headers) == ("on", False)
    assert answer.exchange.attempts[0].ceiling >= len(received.body)
    await one.serve(Call("chat", {"model": "m", "messages": [{"role": "user", "content": "x" * 500}]}))
    assert sandbox.received[-1].headers["x-long"] == "l"


async def test_a_row_is_taken_out_by_its_name(router: RouterFrom, sandbox: Sandbox) -> None:
    text = f"""
model_list:
  - model_name: m
    litellm_params: {{model: moonshot/moonshot-v1-8k, api_base: "{sandbox.url}/v1", api_key: k}}
    model_info: {{lane: wire}}
"""
    one = router(text, {"providers": "moonshot: {quirks: {v1: {models: []}}}"})
    await one.serve(Call("chat", {"model": "m", "temperature": 1.4, **PLAIN}))
    assert sandbox.received[-1].json["temperature"] == 1.4


async def test_the_operators_num_ctx_is_the_window(router: RouterFrom) -> None:
    text = """
model_list:
  - model_name: m
    litellm_params: {model: ollama_chat/llama3, api_base: "http://127.0.0.1:11434", num_ctx: 8192}
    model_info: {max_input_tokens: 99999}
"""
    assert router(text).registry.deployments["m"].window == 8_192
