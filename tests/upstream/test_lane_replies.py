"""What the LiteLLM lane makes of its answers: what a provider really said, as OpenAI would word it."""

import json
from typing import Any

import pytest

from scribe_router.errors import StreamError
from scribe_router.exchange import Call
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from tests.support.raw_server import http, replying
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
BASES = {"anthropic": "/anthropic", "gemini": "/gemini", "ollama_chat": "/ollama"}
HELLO = [{"role": "user", "content": "hello big world"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": PARAMETERS}}]


def config(provider: str, model: str, url: str, lane: str = "litellm") -> str:
    return f"""
    model_list:
      - model_name: m
        litellm_params: {{model: {provider}/{model}, api_base: "{url}{BASES.get(provider, "/v1")}", api_key: k}}
        model_info: {{id: m, lane: {lane}, max_input_tokens: 100000, input_cost_per_token: 1.0e-6,
                      output_cost_per_token: 2.0e-6}}
    """


async def ask(one: Router, **more: Any) -> Any:
    answer = await one.serve(Call("chat", {"model": "m", "messages": HELLO, **more}))
    return [chunk async for chunk in answer] if isinstance(answer, AnswerStream) else answer.body


VENDOR: dict[str, Any] = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "provider": "somewhere",
    "citations": ["u"],
    "system_fingerprint": "f",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "native_finish_reason": "eos",
            "logprobs": {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]},
            "message": {
                "role": "assistant",
                "content": "a",
                "reasoning": "r",
                "reasoning_details": [{"type": "reasoning.text", "text": "r"}],
                "vendor": {"deep": [1]},
            },
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.5, "is_byok": False},
}


@pytest.mark.parametrize("provider", ["openai", "openrouter", "hosted_vllm"])
async def test_what_only_a_vendor_knows_stays_where_it_was(router: RouterFrom, provider: str) -> None:
    async with replying(http("200 OK", json.dumps(VENDOR).encode(), "Content-Type: application/json")) as server:
        by_lane = {}
        for lane in ("wire", "litellm"):
            by_lane[lane] = await ask(router(config(provider, "m", server.url, lane)))
    for answer in by_lane.values():
        assert answer["choices"][0]["message"].pop("reasoning_content") == "r"  # the one name that it has everywhere
        assert answer == VENDOR


@pytest.mark.parametrize("provider", BASES)
@pytest.mark.parametrize("model", ["echo", "think-3", "empty", "long-40"])
async def test_a_plain_answer_holds_nothing_empty(
    sandbox: Sandbox, router: RouterFrom, provider: str, model: str
) -> None:
    answer = await ask(router(config(provider, model, sandbox.url)))
    [choice] = answer["choices"]
    allowed = {"role", "content", "reasoning_content", "thinking_blocks"}
    assert choice["message"].keys() <= allowed
    assert choice["message"]["content"] == {"empty": "", "long-40": "word " * 40}.get(model, "hello big world")
    assert choice["message"].get("reasoning_content") == ("step-1 step-2 step-3 " if model == "think-3" else None)
    assert not [name for name, value in answer.items() if value in (None, [], {}, "")]


@pytest.mark.parametrize("provider", BASES)
async def test_tool_calls_have_no_index_and_no_content(sandbox: Sandbox, router: RouterFrom, provider: str) -> None:
    [choice] = (await ask(router(config(provider, "tool", sandbox.url)), tools=TOOLS))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    [call] = choice["message"]["tool_calls"]
    assert call.keys() - {"provider_specific_fields"} == {"id", "type", "function"}


@pytest.mark.parametrize("provider", BASES)
@pytest.mark.parametrize("model", ["echo", "think-3", "tool"])
async def test_a_stream_begins_with_a_role_and_ends_with_a_reason(
    sandbox: Sandbox, router: RouterFrom, provider: str, model: str
) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}, "tools": TOOLS}
    chunks = await ask(router(config(provider, model, sandbox.url)), **options)
    *said, last = chunks
    assert [chunk["choices"][0]["delta"].get("role") for chunk in said] == ["assistant"] + [None] * (len(said) - 1)
    assert all("finish_reason" in chunk["choices"][0] for chunk in said)
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in said if chunk["choices"][0]["finish_reason"]]
    assert reasons == ["tool_calls" if model == "tool" else "stop"]
    assert (last["choices"], last["object"], last["id"]) == ([], "chat.completion.chunk", said[0]["id"])
    usage = last["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert not [chunk for chunk in said if "usage" in chunk]


async def test_anthropics_thinking_keeps_its_signature(sandbox: Sandbox, router: RouterFrom) -> None:
    """It has to be sent back with the next turn."""
    one = router(config("anthropic", "think-3", sandbox.url))
    [choice] = (await ask(one))["choices"]
    blocks = choice["message"]["thinking_blocks"]
    assert [block["thinking"] for block in blocks] == ["step-1 step-2 step-3 "]
    streamed = [
        block
        for chunk in await ask(one, stream=True)
        for block in chunk["choices"][0]["delta"].get("thinking_blocks") or ()
    ]
    assert "".join(block.get("thinking") or "" for block in streamed) == "step-1 step-2 step-3 "
    assert [block["signature"] for block in streamed if block.get("signature")] == [blocks[0]["signature"]]


async def test_geminis_signatures_stay_with_their_calls(sandbox: Sandbox, router: RouterFrom) -> None:
    [choice] = (await ask(router(config("gemini", "tool", sandbox.url)), tools=TOOLS))["choices"]
    [call] = choice["message"]["tool_calls"]
    assert call["provider_specific_fields"]["thought_signature"]


# A provider without a row: LiteLLM's own iterator is all that is known of its format.
STRANGER = "together_ai"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_provider_without_a_row(sandbox: Sandbox, router: RouterFrom, *, stream: bool) -> None:
    one = router(config(STRANGER, "usage-10-20", sandbox.url))
    parts = await ask(one, stream=stream)
    said = [
        choice.get("message") or choice["delta"]
        for part in (parts if stream else [parts])
        for choice in part["choices"]
    ]
    assert "".join(each.get("content") or "" for each in said) == "hello big world"
    [row] = await one.ledger.rows()
    assert (row["mark"], row["cost"]) == ("computed", 10 * 1000 + 20 * 2000)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_provider_without_a_row_and_without_usage(
    sandbox: Sandbox, router: RouterFrom, *, stream: bool
) -> None:
    one = router(config(STRANGER, "no-usage", sandbox.url))
    await ask(one, stream=stream)
    [row] = await one.ledger.rows()
    assert (row["outcome"], row["mark"], row["cost"]) == ("answered", "bound", row["granted"])


async def test_a_provider_without_a_row_and_without_an_end(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router(config(STRANGER, "no-end", sandbox.url))
    with pytest.raises(StreamError):
        await ask(one, stream=True)
    [row] = await one.ledger.rows()
    assert (row["outcome"], row["mark"], row["cost"]) == ("stream", "bound", row["granted"])
