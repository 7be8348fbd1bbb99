"""LiteLLM's providers against the sandbox: plain and streaming, text, tools, JSON, usage and errors.

The sandbox is in a thread: LiteLLM asks Ollama for its models with a blocking client, inside the event loop.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import litellm
import pytest
import pytest_asyncio
from litellm import exceptions as raised

from scribe_router.sandbox import Sandbox
from tests.sandbox.asks import ARGUMENTS, DOCUMENT, MESSAGES, SCHEMA, TEXT, TOOLS
from tests.support.litellm_clients import close_litellm_clients

BASES = {"openai": "/v1", "anthropic": "/anthropic", "gemini": "/gemini", "ollama_chat": "/ollama"}
COMPATIBLE = ("openrouter", "moonshot", "dashscope", "deepseek", "mistral", "codestral", "minimax", "hosted_vllm")
FORMAT = {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}}
RESULT: list[Any] = [
    *MESSAGES,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "sunny 21"},
]
both = pytest.mark.parametrize("stream", [False, True])
providers = pytest.mark.parametrize("provider", BASES)
pytestmark = [
    # One loop for all: LiteLLM keeps its clients by loop, and closes them only when told to.
    pytest.mark.asyncio(loop_scope="module"),
    # LiteLLM's own: types with read-only fields, and a field of pydantic's read from an instance.
    pytest.mark.filterwarnings("ignore:Item.* on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:pydantic.warnings.PydanticDeprecatedSince211"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module", autouse=True)
async def closing() -> AsyncIterator[None]:
    yield
    await close_litellm_clients()


async def complete(sandbox: Sandbox, provider: str, model: str, stream: bool, **more: Any) -> Any:
    """The whole answer; a stream is put together by LiteLLM."""
    reply: Any = await litellm.acompletion(
        **{
            "model": f"{provider}/{model}",
            "messages": MESSAGES,
            "api_base": sandbox.url + BASES.get(provider, "/v1"),
            "api_key": "any",
            "stream": stream,
            "stream_options": {"include_usage": True} if stream else None,
            "max_retries": 0,
            "timeout": 20,
            # With tools LiteLLM imports the mcp package, which its base install lacks.
            "_skip_mcp_handler": True,
            **more,
        }
    )
    return litellm.stream_chunk_builder([chunk async for chunk in reply], messages=MESSAGES) if stream else reply


@both
@pytest.mark.parametrize("provider", [*BASES, *COMPATIBLE])
async def test_text(threaded: Sandbox, provider: str, stream: bool) -> None:
    reply = await complete(threaded, provider, "echo", stream)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (TEXT, "stop")
    # To Mistral LiteLLM does not pass the wish for usage on, and counts by itself.
    if not (stream and provider in ("mistral", "codestral")):
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 3)


@both
@providers
async def test_thinking(threaded: Sandbox, provider: str, stream: bool) -> None:
    reply = await complete(threaded, provider, "think-3", stream)
    assert reply.choices[0].message.reasoning_content == "step-1 step-2 step-3 "
    assert reply.choices[0].message.content == TEXT
    assert reply.usage.completion_tokens == 6
    if provider != "ollama_chat":
        assert reply.usage.completion_tokens_details.reasoning_tokens == 3


def calls(reply: Any) -> list[tuple[str, Any]]:
    made = reply.choices[0].message.tool_calls or ()
    return [(call.function.name, json.loads(call.function.arguments)) for call in made]


@both
@providers
async def test_tools(threaded: Sandbox, provider: str, stream: bool) -> None:
    reply = await complete(threaded, provider, "tools-2", stream, tools=TOOLS)
    assert calls(reply) == [("weather", ARGUMENTS), ("news", ARGUMENTS)]
    assert reply.choices[0].finish_reason == "tool_calls"
    after = await complete(threaded, provider, "tools-2", stream, tools=TOOLS, messages=RESULT)
    assert after.choices[0].message.content == "sunny 21"


@both
@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
async def test_forced_tool(threaded: Sandbox, provider: str, stream: bool) -> None:
    named = {"type": "function", "function": {"name": "news"}}
    reply = await complete(threaded, provider, "echo", stream, tools=TOOLS, tool_choice=named)
    assert calls(reply) == [("news", ARGUMENTS)]
    reply = await complete(threaded, provider, "echo", stream, tools=TOOLS, tool_choice="required")
    assert calls(reply) == [("weather", ARGUMENTS)]


@both
@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "echo"),
        ("anthropic", "echo"),
        ("anthropic", "claude-sonnet-4-6"),
        ("gemini", "gemini-2.5-flash"),
        ("ollama_chat", "echo"),
    ],
)
async def test_json(threaded: Sandbox, provider: str, model: str, stream: bool) -> None:
    reply = await complete(threaded, provider, model, stream, response_format=FORMAT)
    assert json.loads(reply.choices[0].message.content) == DOCUMENT


@both
@providers
async def test_cap_and_usage(threaded: Sandbox, provider: str, stream: bool) -> None:
    reply = await complete(threaded, provider, "long-64", stream, max_tokens=7)
    assert (reply.usage.completion_tokens, reply.choices[0].finish_reason) == (7, "length")
    usage = (await complete(threaded, provider, "usage-1000-200+cached-300", stream)).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (1000, 200)
    if provider != "ollama_chat":
        assert usage.prompt_tokens_details.cached_tokens == 300


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("error-401", raised.AuthenticationError),
        ("error-404", raised.NotFoundError),
        ("error-429", raised.RateLimitError),
        ("error-400", raised.BadRequestError),
    ],
)
@providers
async def test_errors(threaded: Sandbox, provider: str, model: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await complete(threaded, provider, model, stream=False)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
async def test_context(threaded: Sandbox, provider: str) -> None:
    with pytest.raises(raised.ContextWindowExceededError):
        await complete(threaded, provider, "error-context", stream=False)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_content_policy(threaded: Sandbox, provider: str) -> None:
    with pytest.raises(raised.ContentPolicyViolationError):
        await complete(threaded, provider, "error-content", stream=False)


@pytest.mark.parametrize(("provider", "base"), [("openai", "/v1"), ("ollama", "/ollama")])
async def test_embeddings(threaded: Sandbox, provider: str, base: str) -> None:
    reply = await litellm.aembedding(
        model=f"{provider}/embed", input=["a b", "c"], api_base=threaded.url + base, api_key="any"
    )
    assert [len(one["embedding"]) for one in reply.data] == [1536, 1536]


PATHS = {
    "/gemini": "/gemini/models/echo:generateContent",
    "/gemini/v1beta": "/gemini/v1beta/models/echo:generateContent",
}


@pytest.mark.parametrize("base", PATHS)
async def test_paths_that_litellm_forms_for_gemini(threaded: Sandbox, base: str) -> None:
    await complete(threaded, "gemini", "echo", False, api_base=threaded.url + base)
    assert [record.path for record in threaded.received] == [PATHS[base]]
