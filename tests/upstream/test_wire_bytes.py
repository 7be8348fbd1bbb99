"""What leaves for hosts that speak OpenAI's format, over both lanes: the client's fields as they came, none of ours."""

import json
from typing import Any

import pytest

from scribe_router import __version__
from scribe_router.exchange import Call
from scribe_router.principals import LOCAL, Principal
from scribe_router.router import Router
from scribe_router.sandbox import Received, Sandbox
from scribe_router.stream import AnswerStream
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
LANES = ("wire", "litellm")
lanes = pytest.mark.parametrize("lane", LANES)
ROW = """
  - model_name: {name}
    litellm_params: {{model: {provider}/echo, api_base: {url}/v1, api_key: sandbox-key{params}}}
    model_info: {{id: {name}, lane: {lane}, max_input_tokens: 9000000, max_output_tokens: 16384{facts}}}
"""
PRICE = ", input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6"
EMBEDDING = PRICE + ", mode: embedding"


def row(sandbox: Sandbox, lane: str, name: str = "m", **more: str) -> str:
    given = {"provider": "openai", "params": "", "facts": PRICE, **more}
    return ROW.format(name=name, url=sandbox.url, lane=lane, **given)


async def ask(router: Router, body: dict[str, Any], api: Any = "chat") -> Any:
    answer = await router.serve(Call(api, body))
    if isinstance(answer, AnswerStream):
        return [chunk async for chunk in answer]
    return answer.body


async def sent(router: Router, sandbox: Sandbox, body: dict[str, Any], api: Any = "chat") -> Received:
    """The one request that reached the sandbox."""
    sandbox.clear()
    await ask(router, {"model": "m", **body}, api)
    [received] = sandbox.received
    return received


MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "be brief"},
    {"role": "system", "content": "and kind", "name": "dev"},
    {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "text", "text": "here"}]},
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
SCHEMA = {"type": "object", "properties": {"z": {"type": "number"}, "a": {"type": "string"}}, "required": ["z"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA, "strict": True}}
EVERYTHING: dict[str, Any] = {
    "messages": MESSAGES,
    "temperature": 1e-7,
    "top_p": 0.1,
    "n": 1,
    "stop": ["\n\n", "END"],
    "seed": 12345678901234567890,
    "presence_penalty": -1.5,
    "frequency_penalty": 0,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "user": "somebody",
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema": SCHEMA, "strict": True}},
    "metadata": {"ticket": "42"},
    "store": False,
    "service_tier": "auto",
    "max_tokens": 77,
    # what only some provider knows
    "top_k": 40,
    "min_p": 0.05,
    "plugins": [{"id": "web", "max_results": 3}],
    "provider": {"order": ["a", "b"], "allow_fallbacks": False},
    "reasoning": {"effort": "low", "exclude": True},
    "vendor_switch": {"deep": [1, {"er": None}, 10**30, 1e22, 0.1]},
    "chat_template_kwargs": {"enable_thinking": False},
}
OURS = {
    "fallback_enabled": True,
    "optimize_for": "cost",
    "hide_thinking": True,
    "thinking_budget": 1000,
}


@lanes
@pytest.mark.parametrize("stream", [False, True])
async def test_every_field_arrives_as_it_was_sent(
    sandbox: Sandbox, router: RouterFrom, lane: str, *, stream: bool
) -> None:
    text = json.dumps({"model": "m", **EVERYTHING, **({"stream": True} if stream else {})})
    one = router("model_list:" + row(sandbox, lane))
    received = await sent(one, sandbox, json.loads(text))
    expected = {**EVERYTHING, "model": "echo", "max_completion_tokens": 77}
    del expected["max_tokens"]
    if stream:
        expected |= {"stream": True, "stream_options": {"include_usage": True}}
    assert received.json == expected
    assert list(received.json["tools"][0]["function"]["parameters"]["properties"]) == ["z", "a"]
    assert (received.method, received.path, received.query) == ("POST", "/v1/chat/completions", "")
    assert received.headers["authorization"] == "Bearer sandbox-key"
    assert received.headers["content-type"] == "application/json"


@lanes
async def test_nothing_of_ours_leaves(sandbox: Sandbox, router: RouterFrom, lane: str) -> None:
    one = router("model_list:" + row(sandbox, lane))
    hello = [{"role": "user", "content": "hi"}]
    metadata = {"task": "t", "experiment_unit": "u", "tags": ["x"], "theirs": "kept"}
    received = await sent(one, sandbox, {"messages": hello, **OURS, "provider": "openai", "metadata": metadata})
    assert received.json == {
        "model": "echo",
        "messages": hello,
        "metadata": {"theirs": "kept"},
        "max_completion_tokens": 4096,
    }
    received = await sent(one, sandbox, {"messages": hello, "metadata": {"task": "t"}})
    assert "metadata" not in received.json


@lanes
async def test_the_operators_defaults_fill_in_what_is_absent(sandbox: Sandbox, router: RouterFrom, lane: str) -> None:
    params = ", temperature: 0.3, top_p: 0.9, max_tokens: 50, presence_penalty: 0.5, frequency_penalty: -0.5"
    params += ", extra_body: {vendor: here, top_k: 7}"
    one = router("model_list:" + row(sandbox, lane, params=params))
    hello = [{"role": "user", "content": "hi"}]
    received = await sent(one, sandbox, {"messages": hello})
    assert received.json == {
        "model": "echo",
        "messages": hello,
        "temperature": 0.3,
        "top_p": 0.9,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "vendor": "here",
        "top_k": 7,
        "max_completion_tokens": 50,
    }
    received = await sent(one, sandbox, {"messages": hello, "temperature": 0, "top_k": 1, "max_completion_tokens": 9})
    assert (received.json["temperature"], received.json["top_p"], received.json["top_k"]) == (0, 0.9, 1)
    assert received.json["max_completion_tokens"] == 9


NEW, OLD = "max_completion_tokens", "max_tokens"


@lanes
@pytest.mark.parametrize(
    ("provider", "name"), [("openai", NEW), ("moonshot", NEW), ("deepseek", OLD), ("mistral", OLD)]
)
async def test_the_cap_has_the_name_that_the_provider_knows(
    sandbox: Sandbox, router: RouterFrom, lane: str, provider: str, name: str
) -> None:
    one = router("model_list:" + row(sandbox, lane, provider=provider))
    for asked in (NEW, OLD):
        received = await sent(one, sandbox, {"messages": [{"role": "user", "content": "hi"}], asked: 33})
        assert {each: received.json[each] for each in (NEW, OLD) if each in received.json} == {name: 33}


@lanes
async def test_messages_arrive_as_they_are(sandbox: Sandbox, router: RouterFrom, lane: str) -> None:
    """LiteLLM has an own opinion of an image for DeepSeek, and of an empty assistant."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aWNo"}}
    said = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "look"}, image]},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "user", "content": "hi"},
    ]
    received = await sent(router("model_list:" + row(sandbox, lane, provider="deepseek")), sandbox, {"messages": said})
    assert received.json["messages"] == said


@lanes
@pytest.mark.parametrize("asked", [None, {}, {"include_usage": False}, {"include_usage": True, "vendor": 1}])
async def test_usage_is_always_asked_for(
    sandbox: Sandbox, router: RouterFrom, lane: str, asked: dict[str, Any] | None
) -> None:
    one = router("model_list:" + row(sandbox, lane))
    options = {} if asked is None else {"stream_options": asked}
    hello = [{"role": "user", "content": "hi"}]
    received = await sent(one, sandbox, {"messages": hello, "stream": True, **options})
    assert received.json["stream_options"] == {**(asked or {}), "include_usage": True}
    received = await sent(one, sandbox, {"messages": hello})
    assert "stream_options" not in received.json


@lanes
async def test_headers(sandbox: Sandbox, router: RouterFrom, lane: str) -> None:
    params = ', organization: org-1, extra_headers: {X-Team: "blue", X-Empty: ""}'
    one = router("model_list:" + row(sandbox, lane, params=params))
    received = await sent(one, sandbox, {"messages": [{"role": "user", "content": "hi"}]})
    assert received.headers["openai-organization"] == "org-1"
    assert received.headers["x-team"] == "blue"
    assert "x-empty" not in received.headers
    assert "cookie" not in received.headers
    if lane == "wire":
        assert received.headers["user-agent"] == f"scribe-router/{__version__}"


UNICODE = ["naïve 漢字 👩‍🚀", "\u0000\u001f\u2028\u2029", 'quotes " and \\ and / stay', "\ufeffmark", "a" * 5_000_000]


@lanes
@pytest.mark.parametrize("text", UNICODE, ids=["letters", "controls", "quotes", "mark", "five million"])
async def test_text_arrives_as_it_was(sandbox: Sandbox, router: RouterFrom, lane: str, text: str) -> None:
    one = router("model_list:" + row(sandbox, lane))
    sandbox.clear()
    answer = await ask(one, {"model": "m", "messages": [{"role": "user", "content": text}]})
    assert sandbox.received[0].json["messages"][0]["content"] == text
    assert answer["choices"][0]["message"]["content"] == text


async def test_half_of_a_pair_is_passed_on_as_the_escape_that_it_was(sandbox: Sandbox, router: RouterFrom) -> None:
    one = router("model_list:" + row(sandbox, "wire"))
    body = json.loads('{"messages": [{"role": "user", "content": "half \\ud800 and \\u00e9"}]}')
    received = await sent(one, sandbox, body)
    assert b"half \\ud800 and \\u00e9" in received.body


async def test_half_of_a_pair_is_a_bad_request_where_it_cannot_be_passed_on(
    sandbox: Sandbox, router: RouterFrom
) -> None:
    from scribe_router.errors import InvalidRequest

    one = router("model_list:" + row(sandbox, "litellm"))
    with pytest.raises(InvalidRequest, match="not valid Unicode"):
        await ask(one, {"model": "m", "messages": [{"role": "user", "content": "half \ud800"}]})
    assert sandbox.received == []
    assert [row["mark"] for row in await one.ledger.rows()] == ["zero"]


@lanes
async def test_embeddings(sandbox: Sandbox, router: RouterFrom, lane: str) -> None:
    one = router("model_list:" + row(sandbox, lane, facts=EMBEDDING))
    body = {"input": ["a", "b"], "dimensions": 4, "encoding_format": "float", "user": "u", "input_type": "query"}
    received = await sent(one, sandbox, body, "embeddings")
    assert received.path == "/v1/embeddings"
    assert received.json == {"model": "echo", **body}


@lanes
async def test_an_upstream_sees_one_request_and_no_principal(sandbox: Sandbox, router: RouterFrom, lane: str) -> None:
    one = router("model_list:" + row(sandbox, lane))
    sandbox.clear()
    call = Call("chat", {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    await one.serve(call, Principal("a-virtual-key", "somebody@example.org", grant=LOCAL.grant))
    [received] = sandbox.received
    everything = received.body + repr(list(received.headers.items())).encode()
    assert b"somebody" not in everything
    assert b"virtual-key" not in everything
