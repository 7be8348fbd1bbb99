"""The official Python client against the proxy: what it returns, what it raises, and when it asks again."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.parity.cases import CALLED, FORMAT, MESSAGES, TEXT, TOOLS
from tests.parity.stage import LANES, Stage

lanes = pytest.mark.parametrize("lane", LANES)
asked: list[httpx.Request] = []


@pytest.fixture
def client(stage: Stage) -> Iterator[Any]:
    """The client as people use it, with its own two retries. Not typed: its overloads know no plain dictionaries."""
    asked.clear()
    counting = httpx.Client(event_hooks={"request": [asked.append]})
    with openai.OpenAI(base_url=f"{stage.url}/v1", api_key="any", http_client=counting) as client:
        stage.sandbox.clear()
        yield client


@lanes
def test_plain(client: Any, lane: str) -> None:
    answer = client.chat.completions.create(model=f"{lane}/echo", messages=MESSAGES)
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", TEXT, "stop")
    assert (answer.object, answer.model) == ("chat.completion", f"{lane}/echo")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 6


@lanes
def test_stream(client: Any, lane: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=f"{lane}/echo",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [6]
    assert chunks[-1].choices == []


@lanes
def test_the_clients_own_stream_accumulates(client: Any, lane: str) -> None:
    with client.chat.completions.stream(model=f"{lane}/tools-2", messages=MESSAGES, tools=TOOLS) as stream:
        message = stream.get_final_completion().choices[0].message
    calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    assert calls == [CALLED, ("news", CALLED[1])]


@lanes
def test_tools_there_and_back(client: Any, lane: str) -> None:
    model: Any = {"model": f"{lane}/tool", "tools": TOOLS}
    first = client.chat.completions.create(messages=MESSAGES, **model).choices[0].message
    assert first.tool_calls is not None
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "sunny 21"}
    messages: Any = [*MESSAGES, first.model_dump(exclude_none=True), result]
    assert client.chat.completions.create(messages=messages, **model).choices[0].message.content == "sunny 21"


@lanes
def test_json_schema(client: Any, lane: str) -> None:
    answer = client.chat.completions.create(model=f"{lane}/echo", messages=MESSAGES, response_format=FORMAT)
    assert json.loads(answer.choices[0].message.content) == {"name": TEXT}


@lanes
def test_embeddings(client: Any, lane: str) -> None:
    answer = client.embeddings.create(model=f"{lane}/embed", input=["a", "b"])
    assert [len(each.embedding) for each in answer.data] == [1536, 1536]
    assert answer.model == f"{lane}/embed"


def test_models(client: Any) -> None:
    listed = {model.id for model in client.models.list()}
    assert {"wire/echo", "litellm/echo", "wire/embed"} <= listed
    assert client.models.retrieve("wire/echo").owned_by == "openai"
    with pytest.raises(openai.NotFoundError, match="did you mean wire/echo"):
        client.models.retrieve("wire/ecko")


NEVER_AGAIN: list[tuple[str, dict[str, Any], type[openai.APIStatusError], str, int]] = [
    ("error-400", {}, openai.BadRequestError, "invalid_request", 1),
    ("error-422", {}, openai.BadRequestError, "invalid_request", 1),
    ("error-context", {}, openai.BadRequestError, "context_length_exceeded", 1),
    ("error-content", {}, openai.BadRequestError, "content_filter", 1),
    ("error-401", {}, openai.InternalServerError, "upstream_authentication", 1),
    ("echo", {"api_base": "http://elsewhere"}, openai.BadRequestError, "unknown_parameter", 0),
    ("ecko", {}, openai.NotFoundError, "model_not_found", 0),
]


@lanes
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("model", "extra", "error", "code", "sent"), NEVER_AGAIN, ids=[row[3] + row[0] for row in NEVER_AGAIN]
)
def test_what_cannot_succeed_is_asked_once(
    stage: Stage,
    client: Any,
    lane: str,
    model: str,
    extra: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
    sent: int,
    *,
    stream: bool,
) -> None:
    with pytest.raises(error) as raised:
        client.chat.completions.create(model=f"{lane}/{model}", messages=MESSAGES, stream=stream, extra_body=extra)
    assert raised.value.code == code
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert len(asked) == 1
    assert len(stage.sandbox.received) == sent


MAY_PASS: list[tuple[str, type[openai.APIStatusError], int, str]] = [
    ("error-429", openai.RateLimitError, 429, "upstream_rate_limited"),
    ("error-500", openai.InternalServerError, 502, "server"),
    ("html-502", openai.InternalServerError, 502, "server"),
    ("refuse", openai.InternalServerError, 502, "network"),
]


@lanes
@pytest.mark.parametrize(("model", "error", "status", "code"), MAY_PASS, ids=[row[0] for row in MAY_PASS])
def test_what_may_pass(
    client: Any, lane: str, model: str, error: type[openai.APIStatusError], status: int, code: str
) -> None:
    with pytest.raises(error) as raised:
        client.with_options(max_retries=0).chat.completions.create(model=f"{lane}/{model}", messages=MESSAGES)
    assert (raised.value.status_code, raised.value.code) == (status, code)
    assert "x-should-retry" not in raised.value.response.headers
    assert ("retry-after" in raised.value.response.headers) is (status == 429)


@lanes
def test_an_interrupted_stream_is_an_error_of_the_client(client: Any, lane: str) -> None:
    said = ""
    with pytest.raises(openai.APIError) as raised:  # noqa: PT012  (it breaks while it is read)
        for chunk in client.chat.completions.create(model=f"{lane}/cut-after-2", messages=MESSAGES, stream=True):
            said += chunk.choices[0].delta.content or ""
    assert said == "hello big "
    assert (raised.value.type, raised.value.code) == ("upstream_error", "stream_interrupted")
    assert len(asked) == 1


@lanes
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_the_headers_tell_what_served_it(client: Any, lane: str, *, stream: bool) -> None:
    create = client.chat.completions.with_raw_response.create
    reply = create(model=f"{lane}/echo", messages=MESSAGES, stream=stream)
    told = {name: value for name, value in reply.headers.items() if name.startswith("x-scribe-")}
    assert told.pop("x-scribe-request-id").startswith("ex-")
    assert told == {
        "x-scribe-model": "echo",
        "x-scribe-deployment": f"{lane}/echo",
        "x-scribe-provider": "openai",
        "x-scribe-lane": lane,
        "x-scribe-attempts": "1",
        "x-scribe-output-cap": "4096; default",
        **({} if stream else {"x-scribe-cost-usd": "0.000009"}),
    }
    if stream:
        assert ': scribe {"request_id":' in "".join(reply.http_response.iter_text())


def test_a_limit_of_money_is_asked_once(stage: Stage, client: Any) -> None:
    """The limit is 1000 USD a day; this asks for more than a thousand million tokens."""
    body: Any = {"n": 16, "max_tokens": 100_000_000}
    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model="wire/echo", messages=MESSAGES, extra_body=body)
    assert (raised.value.type, raised.value.code) == ("insufficient_quota", "budget_exceeded")
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert (len(asked), len(stage.sandbox.received)) == (1, 0)
