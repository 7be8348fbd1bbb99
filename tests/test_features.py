"""Features that are switched off: what leaves, who serves, what is refused; and words for true and false."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scribe_router.errors import ConfigError, InvalidRequest
from scribe_router.exchange import Call, Json
from scribe_router.policies.features import FeaturesPolicy
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from tests.support.yaml_text import RouterFrom, registry_from

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHIPPED = (Path(__file__).parents[1] / "policies" / "features.yaml").read_text(encoding="utf-8")
MODELS = ("openai/gpt-6-luna", "openai/gpt-6-astra", "openai/gpt-4.1", "openai/gpt-5.1", "anthropic/claude-opus-4-8")
ENTRY = """
  - model_name: {name}
    litellm_params: {{model: "{model}", api_base: "{base}", api_key: k{params}}}
    model_info: {{id: {name}, input_cost_per_token: 0, output_cost_per_token: 0{info}}}
"""
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def config(url: str) -> str:
    rows = [(model.partition("/")[2], model, "", "") for model in MODELS]
    rows += [("busy", "openai/gpt-6-luna", ", reasoning_effort: high", "")]
    rows += [("unknown", "openai/nobody-knows", "", ""), ("thinker", "openai/no-one", "", ", supports_reasoning: true")]
    return "model_list:" + "".join(
        ENTRY.format(
            name=name, model=model, base=url + ("/anthropic" if "claude" in model else "/v1"), params=params, info=info
        )
        for name, model, params, info in rows
    )


def built(router: RouterFrom, sandbox: Sandbox, **off: str) -> Router:
    features = {name: {"enabled": False, "when_off": how} for name, how in off.items()}
    return router(config(sandbox.url), {"features": yaml.safe_dump(features)})


async def asked(one: Router, sandbox: Sandbox, model: str, **more: Any) -> tuple[Json, Any]:
    """(the body that arrived, the receipt)."""
    sandbox.clear()
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    answer = await one.serve(Call("chat", body))
    arrived: Json = sandbox.received[-1].json
    return arrived, Receipt.of(answer.exchange)


@pytest.mark.parametrize("how", ["refuse", "strip"])
@pytest.mark.parametrize(
    ("model", "arrives"),
    [("gpt-6-luna", "none"), ("busy", "none"), ("gpt-5.1", "none"), ("gpt-4.1", None), ("unknown", None)],
)
async def test_without_reasoning_models_are_told_not_to_think(
    router: RouterFrom, sandbox: Sandbox, how: str, model: str, arrives: str | None
) -> None:
    one = built(router, sandbox, reasoning=how)
    assert (await asked(one, sandbox, model))[0].get("reasoning_effort") == arrives
    if how == "strip":
        arrived, receipt = await asked(one, sandbox, model, reasoning_effort="max", thinking={"type": "enabled"})
        assert (arrived.get("reasoning_effort"), "thinking" in arrived) == (arrives, False)
        assert receipt.warnings[0] == "reasoning_effort is taken out: it is switched off in policies/features.yaml"
    else:
        with pytest.raises(InvalidRequest) as caught:
            await asked(one, sandbox, model, thinking_budget=500)
        assert (caught.value.code, caught.value.param) == ("feature_off", "thinking_budget")


@pytest.mark.parametrize(("model", "why"), [("gpt-6-astra", "cannot stop"), ("thinker", "not known how it is told")])
async def test_without_reasoning_who_cannot_stop_is_left_out(
    router: RouterFrom, sandbox: Sandbox, model: str, why: str
) -> None:
    one = built(router, sandbox, reasoning="strip")
    assert why in one.explain(model="gpt-4.1", messages=[]) + str(one.registry.deployments[model].off)
    with pytest.raises(InvalidRequest, match=why) as caught:
        await asked(one, sandbox, model)
    assert (caught.value.code, sandbox.received) == ("feature_off", [])


async def test_without_tools(router: RouterFrom, sandbox: Sandbox) -> None:
    tools = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    arrived, receipt = await asked(built(router, sandbox, tools="strip"), sandbox, "gpt-4.1", **tools)
    assert arrived.keys() & tools.keys() == set()
    assert receipt.warnings == ("tools is taken out: it is switched off in policies/features.yaml",)
    # Tools would have taken it to LiteLLM's lane.
    assert (await asked(built(router, sandbox, tools="strip"), sandbox, "gpt-6-luna", **tools))[1].lane == "wire"
    refusing = built(router, sandbox, tools="refuse")
    with pytest.raises(InvalidRequest) as caught:
        await asked(refusing, sandbox, "gpt-4.1", **tools)
    assert (caught.value.code, caught.value.param, sandbox.received) == ("feature_off", "tools", [])
    with pytest.raises(InvalidRequest, match="tools is switched off"):
        refusing.explain(model="gpt-4.1", messages=[], tools=[TOOL])
    assert (await asked(refusing, sandbox, "gpt-4.1"))[1].warnings == ()


MCP_OFF = "switched off in policies/features.yaml"


@pytest.mark.parametrize(
    ("asks", "arrives", "warnings"),
    [
        ({"mcp_tools": ["*"]}, {}, [f"mcp_tools is taken out: it is {MCP_OFF}"]),
        (
            {"tools": [{"type": "mcp", "server_label": "a"}], "tool_choice": "auto"},
            {},
            [f"MCP servers are taken out of tools: {MCP_OFF}"],
        ),
        (
            {"tools": [TOOL, {"type": "mcp", "server_label": "a", "server_url": "http://b"}], "mcp_tools": ["*"]},
            {"tools": [TOOL]},
            [f"mcp_tools is taken out: it is {MCP_OFF}", f"MCP servers are taken out of tools: {MCP_OFF}"],
        ),
    ],
)
async def test_without_mcp_servers(
    router: RouterFrom, sandbox: Sandbox, asks: Json, arrives: Json, warnings: list[str]
) -> None:
    arrived, receipt = await asked(built(router, sandbox, mcp_integration="strip"), sandbox, "gpt-4.1", **asks)
    assert {name: arrived[name] for name in ("mcp_tools", "tools", "tool_choice") if name in arrived} == arrives
    assert list(receipt.warnings) == warnings
    refusing = built(router, sandbox, mcp_integration="refuse")
    with pytest.raises(InvalidRequest) as caught:
        await asked(refusing, sandbox, "gpt-4.1", **asks)
    assert (caught.value.code, caught.value.param) == (
        "feature_off",
        next(n for n in ("mcp_tools", "tools") if n in asks),
    )
    assert (await asked(refusing, sandbox, "gpt-4.1", tools=[TOOL]))[1].warnings == ()


async def test_without_tools_there_are_none_of_mcp_servers(router: RouterFrom, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequest, match="mcp_tools is switched off"):
        await asked(built(router, sandbox, tools="refuse"), sandbox, "gpt-4.1", mcp_tools=["*"])
    _, receipt = await asked(built(router, sandbox, tools="strip"), sandbox, "gpt-4.1", mcp_tools=["*"])
    assert receipt.warnings == (f"mcp_tools is taken out: it is {MCP_OFF}",)


@pytest.mark.parametrize(
    "ask", [{"reasoning_effort": "high"}, {"thinking": {"type": "enabled", "budget_tokens": 2000}}]
)
async def test_without_hybrid_reasoning(router: RouterFrom, sandbox: Sandbox, ask: Json) -> None:
    stripping = built(router, sandbox, hybrid_reasoning="strip")
    for model in ("claude-opus-4-8", "gpt-5.1"):
        arrived, receipt = await asked(stripping, sandbox, model, **ask)
        assert arrived.get("reasoning_effort") in (None, "none")
        assert arrived.keys() & {"thinking", "output_config"} == set()
        assert "sent=none; degraded" in str(receipt.effort)
    assert (await asked(stripping, sandbox, "gpt-6-luna", reasoning_effort="high"))[0]["reasoning_effort"] == "high"
    refusing = built(router, sandbox, hybrid_reasoning="refuse")
    with pytest.raises(InvalidRequest, match="it thinks only when it is asked to") as caught:
        await asked(refusing, sandbox, "claude-opus-4-8", **ask)
    assert (caught.value.code, caught.value.param) == ("feature_off", "reasoning_effort")
    assert (await asked(refusing, sandbox, "claude-opus-4-8"))[1].attempts == 1


@pytest.mark.parametrize(
    ("word", "on"),
    [
        *((word, True) for word in ("", "true", "TRUE", "tRuE", "1", "Yes")),
        *((word, False) for word in ("false", "False", "0", "no", "NO")),
    ],
)
async def test_words_of_the_environment(tmp_path: Path, word: str, on: bool) -> None:
    environment = {"FF_ENABLE_TOOL_CALLING": word}
    found = registry_from(tmp_path, config("http://127.0.0.1:9"), {"features": SHIPPED}, environment).features
    assert (found.tools.enabled, found.reasoning.enabled, found.hybrid_reasoning.enabled) == (on, True, True)
    assert found == FeaturesPolicy() or not on


@pytest.mark.parametrize("word", ["maybe", "2", "on", "0.0"])
async def test_other_words_are_refused_where_they_stand(tmp_path: Path, word: str) -> None:
    line = SHIPPED[: SHIPPED.index("FF_ENABLE_TOOL")].count("\n") + 1
    with pytest.raises(ConfigError) as caught:
        registry_from(tmp_path, config("http://127.0.0.1:9"), {"features": SHIPPED}, {"FF_ENABLE_TOOL_CALLING": word})
    expected = "tools.enabled: expected true or false, found something else in FF_ENABLE_TOOL_CALLING"
    assert re.search(rf"features\.yaml:{line}:18: {expected}", str(caught.value))
