"""One conversation that goes from vendor to vendor by fallback: what arrives at each, message by message."""

import json
from typing import Any

import pytest

from scribe_router.exchange import Call
from scribe_router.sandbox import Sandbox
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
PRICE = "model_info: {input_cost_per_token: 0, output_cost_per_token: 0}"
CONFIG = f"""
model_list:
  - model_name: claude
    litellm_params: {{model: anthropic/error-500, api_base: BASE/anthropic, api_key: sandbox-key}}
    {PRICE}
  - model_name: kimi
    litellm_params: {{model: moonshot/error-500, api_base: BASE/v1, api_key: sandbox-key}}
    {PRICE}
  - model_name: gpt
    litellm_params: {{model: openai/echo, api_base: BASE/v1, api_key: sandbox-key}}
    {PRICE}
router_settings: {{fallbacks: [{{claude: [kimi, gpt]}}]}}
"""
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def called(identity: str) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": "weather", "arguments": "{}"}}


SIGNED = {"type": "thinking", "thinking": "what claude thought", "signature": "c2lnbmVk"}
# Asked of Claude, then answered by Kimi, then asked again.
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "weather?"},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [called("toolu_01AbC")],
        "thinking_blocks": [SIGNED],
        "reasoning_content": "what claude thought",
    },
    {"role": "tool", "tool_call_id": "toolu_01AbC", "content": "sunny"},
    {
        "role": "assistant",
        "content": "Once more.",
        "tool_calls": [called("functions.weather:1")],
        "reasoning_content": "what kimi thought",
    },
    {"role": "tool", "tool_call_id": "functions.weather:1", "content": "rain"},
    {"role": "user", "content": "so?"},
]


async def test_each_vendor_gets_the_words_and_its_own_thoughts(router: RouterFrom, sandbox: Sandbox) -> None:
    one = router(CONFIG.replace("BASE", sandbox.url), {"retries": "server: {retries: 0}"})
    await one.serve(Call("chat", {"model": "claude", "messages": HISTORY, "tools": TOOLS, "max_tokens": 4_000}))
    claude, kimi, gpt = bodies = [json.loads(each.body) for each in sandbox.received]
    texts = [json.dumps(body) for body in bodies]
    again = claude["messages"][3]["content"][1]["id"]
    schema = {"name": "weather", "type": "custom", "input_schema": {"type": "object", "properties": {}}}
    assert claude.pop("messages") == [
        {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
        {
            "role": "assistant",
            "content": [
                SIGNED,
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_01AbC", "name": "weather", "input": {}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01AbC", "content": "sunny"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Once more."},
                {"type": "tool_use", "id": again, "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": again, "content": "rain"},
                {"type": "text", "text": "so?"},
            ],
        },
    ]
    assert claude == {"model": "error-500", "max_tokens": 4_000, "tools": [schema]}
    assert again.isalnum()
    plain = [
        {name: value for name, value in each.items() if name not in ("thinking_blocks", "reasoning_content")}
        for each in HISTORY
    ]
    rest = {"tools": TOOLS, "max_completion_tokens": 4_000}
    assert gpt == {"model": "echo", "messages": plain, **rest}
    assert kimi == {"model": "error-500", "messages": [*plain[:3], HISTORY[3], *plain[4:]], **rest}
    assert [("what claude thought" in text, "what kimi thought" in text) for text in texts] == [
        (True, False),
        (False, True),
        (False, False),
    ]
