"""Anthropic and Gemini are reached in their own formats: the bytes that the sandbox got, field by field."""

from copy import deepcopy
from typing import Any

import pytest

from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Call
from scribe_router.router import Router
from scribe_router.sandbox import Received, Sandbox
from scribe_router.stream import AnswerStream
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG = """
model_list:
  - model_name: anthropic
    litellm_params:
      {model: anthropic/claude-sonnet-4-6, api_base: os.environ/ANTHROPIC, api_key: sandbox-key,
       extra_headers: {X-Team: blue}}
    model_info: {id: a, max_output_tokens: 4096, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
  - model_name: gemini
    litellm_params:
      {model: gemini/gemini-2.5-flash, api_base: os.environ/GEMINI, api_key: sandbox-key,
       extra_headers: {X-Team: blue}}
    model_info: {id: g, max_output_tokens: 4096, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}
"""
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}]
FORMAT = {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "be brief"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Åre"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "user", "content": "thanks 👩‍🚀"},
]
HELLO = [{"role": "user", "content": "hi"}]


@pytest.fixture
def one(sandbox: Sandbox, router: RouterFrom) -> Router:
    environment = {"ANTHROPIC": f"{sandbox.url}/anthropic", "GEMINI": f"{sandbox.url}/gemini/v1beta"}
    return router(CONFIG, environment=environment)


async def sent(one: Router, sandbox: Sandbox, body: dict[str, Any]) -> Received:
    """The one request that reached the sandbox."""
    sandbox.clear()
    answer = await one.serve(Call("chat", body))
    if isinstance(answer, AnswerStream):
        assert [chunk async for chunk in answer]
    [received] = sandbox.received
    return received


@pytest.mark.parametrize("stream", [False, True])
async def test_anthropic(one: Router, sandbox: Sandbox, *, stream: bool) -> None:
    body = {"model": "anthropic", "messages": MESSAGES, "tools": TOOLS, **({"stream": True} if stream else {})}
    received = await sent(one, sandbox, body)
    assert (received.method, received.path, received.query) == ("POST", "/anthropic/v1/messages", "")
    assert received.headers["x-api-key"] == "sandbox-key"
    assert received.headers["anthropic-version"] == "2023-06-01"
    assert received.headers["x-team"] == "blue"
    assert "authorization" not in received.headers
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    expected = {
        "model": "claude-sonnet-4-6",
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Åre"}}],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                    {"type": "text", "text": "thanks 👩‍🚀"},
                ],
            },
        ],
        "tools": [{"type": "custom", "name": "weather", "description": "d", "input_schema": SCHEMA}],
        "max_tokens": 4096,
    }
    assert received.json == ({**expected, "stream": True} if stream else expected)


@pytest.mark.parametrize("stream", [False, True])
async def test_gemini(one: Router, sandbox: Sandbox, *, stream: bool) -> None:
    body = {"model": "gemini", "messages": MESSAGES, "tools": TOOLS, **({"stream": True} if stream else {})}
    received = await sent(one, sandbox, body)
    verb, query = ("streamGenerateContent", "alt=sse") if stream else ("generateContent", "")
    assert (received.method, received.query) == ("POST", query)
    assert received.path == f"/gemini/v1beta/models/gemini-2.5-flash:{verb}"
    assert received.headers["x-goog-api-key"] == "sandbox-key"
    assert received.headers["x-team"] == "blue"
    assert "authorization" not in received.headers
    schema = {name: value for name, value in SCHEMA.items() if name != "additionalProperties"}
    assert received.json == {
        "system_instruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "look"}, {"inline_data": {"data": PIXEL, "mime_type": "image/png"}}]},
            {"role": "model", "parts": [{"function_call": {"name": "weather", "args": {"city": "Åre"}}}]},
            {
                "role": "user",
                "parts": [{"function_response": {"name": "weather", "response": {"content": "sunny"}}}],
            },
            {"role": "user", "parts": [{"text": "thanks 👩‍🚀"}]},
        ],
        "tools": [{"function_declarations": [{"name": "weather", "description": "d", "parameters": schema}]}],
        "generationConfig": {"max_output_tokens": 4096},
    }


THINKING = {"type": "enabled", "budget_tokens": 1024}
FIELDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("anthropic", {"max_tokens": 77}, {"max_tokens": 77}),
    ("anthropic", {"max_completion_tokens": 77}, {"max_tokens": 77}),
    ("anthropic", {"temperature": 0.5, "stop": ["X"]}, {"temperature": 0.5, "stop_sequences": ["X"]}),
    ("anthropic", {"user": "u", "metadata": {"task": "t", "a": "b"}}, {"metadata": {"user_id": "u"}}),
    ("anthropic", {"tools": TOOLS, "tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
    ("anthropic", {"top_k": 5}, {"top_k": 5}),
    ("anthropic", {"top_k": 5, "thinking": THINKING}, {"top_k": None, "thinking": THINKING}),
    ("anthropic", {"response_format": FORMAT}, {"output_format": {"type": "json_schema", "schema": SCHEMA}}),
    ("gemini", {"max_tokens": 77}, {"generationConfig": {"max_output_tokens": 77}}),
    (
        "gemini",
        {"temperature": 0.5, "stop": ["X"], "top_k": 5, "max_tokens": 9},
        {"generationConfig": {"temperature": 0.5, "stop_sequences": ["X"], "top_k": 5, "max_output_tokens": 9}},
    ),
    (
        "gemini",
        {"thinking": THINKING, "max_tokens": 2048},
        {
            "generationConfig": {
                "max_output_tokens": 2048,
                "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024},
            }
        },
    ),
    (
        "gemini",
        {"tools": TOOLS, "tool_choice": "required"},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    ),
    (
        "gemini",
        {"response_format": FORMAT, "max_tokens": 9},
        {
            "generationConfig": {
                "max_output_tokens": 9,
                "response_mime_type": "application/json",
                "response_json_schema": SCHEMA,
            }
        },
    ),
    ("gemini", {"vendor_switch": {"deep": [1]}}, {"vendor_switch": {"deep": [1]}}),
]


@pytest.mark.parametrize(("model", "asked", "expected"), FIELDS)
async def test_fields(
    one: Router, sandbox: Sandbox, model: str, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    received = await sent(one, sandbox, {"model": model, "messages": HELLO, **asked})
    assert {name: received.json.get(name) for name in expected} == expected
    assert not received.json.keys() & {"extra_body", "fallback_enabled", "stream_options", "task"}


@pytest.mark.parametrize("model", ["anthropic", "gemini"])
async def test_nothing_of_ours_leaves(one: Router, sandbox: Sandbox, model: str) -> None:
    plain = await sent(one, sandbox, {"model": model, "messages": HELLO})
    ours = {"fallback_enabled": True, "optimize_for": "cost", "hide_thinking": True}
    metadata = {"task": "t", "tags": ["x"]}
    body = {"model": model, "messages": HELLO, **ours, "provider": model, "metadata": metadata}
    with_ours = await sent(one, sandbox, body)
    assert with_ours.json == plain.json


async def test_what_anthropic_cannot_take_is_refused_by_name(one: Router, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequest, match="it does not take n"):
        await one.serve(Call("chat", {"model": "anthropic", "messages": HELLO, "n": 2}))
    assert sandbox.received == []
    assert [row["mark"] for row in await one.ledger.rows()] == ["zero"]


@pytest.mark.parametrize("model", ["anthropic", "gemini"])
async def test_a_request_is_not_changed_by_being_sent(one: Router, sandbox: Sandbox, model: str) -> None:
    """LiteLLM rewrites what it is given; the next attempt, and the job that asked, need it as it was."""
    body = {"model": model, "messages": deepcopy(MESSAGES), "tools": deepcopy(TOOLS), "response_format": FORMAT}
    before = deepcopy(body)
    await sent(one, sandbox, body)
    assert body == before
