"""The OpenAI wire through the official client, and byte for byte where the client hides things."""

import json
from typing import Any

import httpx
import openai
import pytest

from scribe_router.sandbox import Sandbox
from tests.sandbox.asks import ARGUMENTS, MESSAGES, SCHEMA, TEXT, TOOLS, ask, events

Client = openai.AsyncOpenAI
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}}
RESULT: list[Any] = [
    *MESSAGES,
    {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "a", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "sunny 21"},
]


async def chat(client: Client, model: str, **more: Any) -> Any:
    return await client.chat.completions.create(**{"model": model, "messages": MESSAGES, **more})


async def chunks(client: Client, model: str, **more: Any) -> list[Any]:
    return [chunk async for chunk in await chat(client, model, stream=True, **more)]


async def test_plain(openai_client: Client) -> None:
    reply = await chat(openai_client, "vendor/echo")
    assert (reply.object, reply.model, reply.choices[0].finish_reason) == ("chat.completion", "vendor/echo", "stop")
    assert reply.choices[0].message.content == TEXT
    assert reply.choices[0].message.model_extra == {}
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (3, 3, 6)
    assert reply.created > 1_700_000_000


async def test_parts_of_a_message(openai_client: Client) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    content = [{"type": "text", "text": "one"}, image, {"type": "text", "text": "two"}]
    reply = await chat(openai_client, "echo", messages=[{"role": "user", "content": content}])
    assert reply.choices[0].message.content == "one\ntwo"


@pytest.mark.parametrize("asked", [True, False])
async def test_stream(openai_client: Client, asked: bool) -> None:
    got = await chunks(openai_client, "echo", **({"stream_options": {"include_usage": True}} if asked else {}))
    assert [choice.delta.content for chunk in got for choice in chunk.choices] == ["", "hello ", "big ", "world", None]
    assert {(chunk.id, chunk.created) for chunk in got} == {(got[0].id, got[0].created)}
    assert [chunk.usage.total_tokens for chunk in got if chunk.usage] == ([6] if asked else [])
    assert bool(got[-1].choices) != asked
    assert all(("usage" in chunk.model_fields_set) == asked for chunk in got)


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_half_a_surrogate_pair(http: httpx.AsyncClient, stream: str) -> None:
    body = r'{"model": "echo", "messages": [{"role": "user", "content": "\ud83d \ud83d\ude00 ü"}], "stream": %s}'
    text = (await http.post("/v1/chat/completions", content=body % stream)).text
    assert all(word in text for word in ("? ", "\U0001f600 ", "ü"))


async def test_stream_ends_with_done(http: httpx.AsyncClient) -> None:
    request = ask("openai", "echo", stream=True)
    reply = await http.post(request.path, json=request.body)
    assert reply.headers["content-type"] == "text/event-stream"
    assert events("openai", reply.text)[-1] == "[DONE]"
    assert reply.text.endswith("data: [DONE]\n\n")


async def test_choices(openai_client: Client) -> None:
    reply = await chat(openai_client, "echo", n=3)
    assert [choice.message.content for choice in reply.choices] == [TEXT] * 3
    assert reply.usage.completion_tokens == 9
    got = await chunks(openai_client, "echo", n=2)
    finished = [choice.index for chunk in got for choice in chunk.choices if choice.finish_reason]
    assert finished == [0, 1]


async def test_thinking(openai_client: Client) -> None:
    reply = await chat(openai_client, "think-3")
    assert reply.choices[0].message.reasoning_content == "step-1 step-2 step-3 "
    assert reply.usage.completion_tokens_details.reasoning_tokens == 3
    assert reply.usage.completion_tokens == 6
    deltas = [chunk.choices[0].delta for chunk in await chunks(openai_client, "think-3")]
    assert [getattr(delta, "reasoning_content", None) for delta in deltas[1:5]] == [
        "step-1 ",
        "step-2 ",
        "step-3 ",
        None,
    ]


async def test_tools(openai_client: Client) -> None:
    reply = await chat(openai_client, "tools-2", tools=TOOLS)
    message = reply.choices[0].message
    assert (message.content, reply.choices[0].finish_reason) == (None, "tool_calls")
    assert [call.function.name for call in message.tool_calls] == ["weather", "news"]
    assert len({call.id for call in message.tool_calls}) == 2


async def test_streamed_tools(openai_client: Client) -> None:
    deltas = [chunk.choices[0].delta for chunk in await chunks(openai_client, "tools-2", tools=TOOLS)]
    parts = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [(call.index, call.function.name) for call in parts if call.id] == [(0, "weather"), (1, "news")]
    for index in (0, 1):
        fragments = [call.function.arguments for call in parts if call.index == index]
        assert (len(fragments) > 3, json.loads("".join(fragments))) == (True, ARGUMENTS)


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("required", "weather"),
        ({"type": "function", "function": {"name": "news"}}, "news"),
        ("auto", None),
        ("none", None),
    ],
)
async def test_choice_of_tools(openai_client: Client, choice: Any, name: str | None) -> None:
    message = (await chat(openai_client, "echo", tools=TOOLS, tool_choice=choice)).choices[0].message
    assert [call.function.name for call in message.tool_calls or ()] == ([name] if name else [])
    assert message.content == (None if name else TEXT)


async def test_result_of_a_tool(openai_client: Client) -> None:
    reply = await chat(openai_client, "tool", tools=TOOLS, messages=RESULT)
    assert reply.choices[0].message.content == "sunny 21"


@pytest.mark.parametrize(
    ("wanted", "text"),
    [(FORMAT, '{"name": "hello big world", "kind": "a"}'), ({"type": "json_object"}, '{"text": "hello big world"}')],
)
async def test_json(openai_client: Client, wanted: Any, text: str) -> None:
    reply = await chat(openai_client, "echo", response_format=wanted)
    assert reply.choices[0].message.content == text
    streamed = await chunks(openai_client, "echo", response_format=wanted)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == text


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_cap(openai_client: Client, name: str) -> None:
    reply = await chat(openai_client, "long-4096", **{name: 7})
    assert (reply.usage.completion_tokens, reply.choices[0].finish_reason) == (7, "length")
    whole = await chat(openai_client, "long-4096", **{name: 5000})
    assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (4096, "stop")


async def test_given_usage(openai_client: Client) -> None:
    usage = (await chat(openai_client, "usage-1000-200+cached-300+think-50")).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (1000, 200)
    assert usage.prompt_tokens_details.cached_tokens == 300
    assert usage.completion_tokens_details.reasoning_tokens == 50


@pytest.mark.parametrize("given", ["a b c", ["a b", "c"], [1, 2, 3], [[1, 2], [3]]])
@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings(openai_client: Client, given: Any, encoding: Any) -> None:
    reply = await openai_client.embeddings.create(model="embed", input=given, dimensions=64, encoding_format=encoding)
    assert [one.index for one in reply.data] == list(range(len(reply.data)))
    assert reply.usage.prompt_tokens == 3
    if encoding == "float":
        assert {len(one.embedding) for one in reply.data} == {64}


async def test_embeddings_as_the_client_asks_by_default(openai_client: Client, sandbox: Sandbox) -> None:
    reply = await openai_client.embeddings.create(model="embed", input="a b c")
    assert sandbox.received[0].json["encoding_format"] == "base64"
    assert len(reply.data[0].embedding) == 1536
    with pytest.raises(openai.RateLimitError):
        await openai_client.embeddings.create(model="error-429", input="a")


async def test_models(openai_client: Client) -> None:
    listed = [model.id async for model in openai_client.models.list()]
    assert "echo" in listed
    assert (await openai_client.models.retrieve("vendor/any")).id == "vendor/any"
    with pytest.raises(openai.NotFoundError):
        await openai_client.models.retrieve("error-404")


@pytest.mark.parametrize("prompt", ["a b c", [1, 2, 3]])
async def test_legacy_completion(openai_client: Client, prompt: Any) -> None:
    reply = await openai_client.completions.create(model="echo", prompt=prompt, n=2)
    text = prompt if isinstance(prompt, str) else "1 2 3"
    assert [choice.text for choice in reply.choices] == [text, text]
    stream = await openai_client.completions.create(
        model="echo", prompt=prompt, stream=True, stream_options={"include_usage": True}
    )
    got = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in got for choice in chunk.choices) == text
    assert got[-1].usage is not None
    assert got[-1].usage.completion_tokens == 3


BAD: list[dict[str, Any]] = [
    {"model": None},
    {"model": 7},
    {"messages": None},
    {"messages": []},
    {"messages": ["text"]},
    {"n": 0},
    {"n": 17},
    {"max_tokens": 0},
    {"max_tokens": "many"},
    {"tools": [7]},
    {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "unheard-of"}}},
    {"tools": TOOLS, "tool_choice": {"type": "function", "function": "weather"}},
    {"response_format": {"type": "json_schema"}},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": {"enum": {"a": 1}}}}},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "string", "minLength": "a"}}}},
]


@pytest.mark.parametrize("changes", BAD)
async def test_bad_request(http: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    reply = await http.post("/v1/chat/completions", json={**ask("openai", "echo").body, **changes})
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "parameter" in reply.json()["error"]["message"]
