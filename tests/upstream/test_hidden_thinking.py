"""`hide_thinking`: what the model thought does not reach the client, and is counted all the same."""

import json
from typing import Any

import pytest

from scribe_router.exchange import Call
from scribe_router.receipt import Receipt
from scribe_router.sandbox import Sandbox
from scribe_router.stream import AnswerStream
from scribe_router.upstream.events import unthinking
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
PRICE = "model_info: {input_cost_per_token: 0, output_cost_per_token: 1.0e-6}"
CONFIG = f"""
model_list:
  - model_name: openai
    litellm_params: {{model: deepseek/think, api_base: BASE/v1, api_key: k}}
    {PRICE}
  - model_name: anthropic
    litellm_params: {{model: anthropic/think, api_base: BASE/anthropic, api_key: k}}
    {PRICE}
  - model_name: gemini
    litellm_params: {{model: gemini/think, api_base: BASE/gemini/v1beta, api_key: k}}
    {PRICE}
"""


async def asked(router: RouterFrom, sandbox: Sandbox, model: str, **more: Any) -> tuple[list[Any], Any]:
    """(the answer or its chunks, the receipt)."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello big world"}], **more}
    answer = await router(CONFIG.replace("BASE", sandbox.url)).serve(Call("chat", body))
    if isinstance(answer, AnswerStream):
        return [chunk async for chunk in answer], Receipt.of(answer.exchange)
    return [answer.body], Receipt.of(answer.exchange)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["openai", "anthropic", "gemini"])
async def test_it_is_hidden_and_counted(router: RouterFrom, sandbox: Sandbox, model: str, stream: bool) -> None:
    options = {"stream": stream, "stream_options": {"include_usage": True}} if stream else {}
    shown, receipt = await asked(router, sandbox, model, **options)
    hidden, quiet = await asked(router, sandbox, model, hide_thinking=True, **options)
    assert "reasoning_content" in json.dumps(shown)
    for name in ("reasoning_content", "thinking", "reasoning_details"):
        assert f'"{name}"' not in json.dumps([each.get("choices") for each in hidden])
    assert [text(each) for each in hidden if text(each)] == [text(each) for each in shown if text(each)]
    assert hidden[-1]["usage"] == shown[-1]["usage"]
    assert receipt.cost == quiet.cost > 3_000
    assert "hide_thinking" not in sandbox.received[-1].json


def text(part: Any) -> str:
    return "".join(
        (choice.get("message") or choice.get("delta") or {}).get("content") or "" for choice in part["choices"]
    )


async def test_the_answer_ends_as_it_should(router: RouterFrom, sandbox: Sandbox) -> None:
    parts, _ = await asked(router, sandbox, "openai", stream=True, hide_thinking=True)
    assert parts[0]["choices"][0]["delta"].get("role") == "assistant"
    assert parts[-1]["choices"][0]["finish_reason"] == "stop"
    assert len(parts) == len([part for part in parts if text(part)]) + 2


async def test_what_has_no_choices_gets_none() -> None:
    vectors = {"object": "list", "data": [{"embedding": [0.5]}]}
    assert unthinking(vectors) == vectors
