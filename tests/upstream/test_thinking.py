"""What was thought is `reasoning_content`, whatever its provider calls it: on both lanes, in Python and over HTTP."""

import json
from typing import Any

import openai
import pytest

from scribe_router.exchange import Json
from scribe_router.router import Router
from scribe_router.upstream.thinking import Thoughts
from tests.support.raw_server import http, replying
from tests.support.served import served
from tests.support.yaml_text import RouterFrom

CONFIG = """
model_list:
  - model_name: m
    litellm_params: {{model: {model}, api_base: "{base}/v1", api_key: k}}
    model_info: {{lane: {lane}, input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6}}
"""
DETAIL = {"type": "reasoning.text", "format": "some-v1", "index": 0}
# 7 of the 10 output tokens are reasoning.
USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 10,
    "total_tokens": 15,
    "completion_tokens_details": {"reasoning_tokens": 7},
}
Parts = list[Json]
NAMED: Parts = [{"reasoning_content": "well "}, {"reasoning_content": "hm"}, {"content": "hello"}]
REASONING: Parts = [{"reasoning": "well "}, {"reasoning": "hm"}, {"content": "hello"}]
DETAILED: Parts = [{"reasoning_details": [{**DETAIL, "text": text}]} for text in ("well ", "hm")] + [
    {"content": "hello"}
]
BOTH: Parts = [{**one, **other} for one, other in zip(REASONING, DETAILED, strict=True)]
TAGGED: Parts = [{"content": text} for text in ("<thi", "nk>well ", "hm</", "think>hel", "lo")]
CASES = [
    ("deepseek/deepseek-flash", NAMED),
    ("openrouter/vendor/model", BOTH),
    ("hosted_vllm/model", REASONING),
    ("hosted_vllm/model", TAGGED),
    ("minimax/minimax-m3", DETAILED),
    ("minimax/minimax-m3", TAGGED),
]
IDS = ["reasoning_content", "openrouter", "vllm", "vllm-tags", "minimax", "minimax-tags"]
cases = pytest.mark.parametrize(("model", "parts"), CASES, ids=IDS)


def whole(parts: Parts) -> Json:
    """The parts of a stream as one message."""
    message: Json = {"role": "assistant", "content": ""}
    for part in parts:
        for name, value in part.items():
            message[name] = message.get(name, type(value)()) + value
    return message


def reply(parts: Parts, *, stream: bool) -> bytes:
    head = {"id": "c", "object": "chat.completion.chunk" if stream else "chat.completion", "created": 1, "model": "m"}
    if not stream:
        choice = {"index": 0, "message": whole(parts), "finish_reason": "stop"}
        return http(
            "200 OK",
            json.dumps({**head, "choices": [choice], "usage": USAGE}).encode(),
            "Content-Type: application/json",
        )
    said: Parts = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}]
    said += [{"choices": [{"index": 0, "delta": part, "finish_reason": None}]} for part in parts]
    said += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": USAGE}]
    lines = [f"data: {json.dumps({**head, **each})}\n\n" for each in said]
    return http("200 OK", "".join([*lines, "data: [DONE]\n\n"]).encode(), "Content-Type: text/event-stream")


async def told(answer: Any) -> tuple[Json, Any]:
    """(all that was said, as one message; the usage)."""
    if hasattr(answer, "choices"):
        dumped = answer.model_dump(mode="json", exclude_none=True)
        return dumped["choices"][0]["message"], dumped["usage"]
    chunks = [chunk.model_dump(mode="json", exclude_none=True) async for chunk in answer]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    spoken = [{name: value for name, value in delta.items() if name != "role"} for delta in deltas]
    return whole(spoken), next(chunk["usage"] for chunk in chunks if chunk.get("usage"))


def check(message: Json, usage: Any, parts: Parts, *, hidden: bool) -> None:
    assert message["content"].strip() == "hello"
    assert message.get("reasoning_content") == (None if hidden else "well hm")
    kept = "".join(detail["text"] for detail in message.get("reasoning_details") or ())
    assert kept == ("well hm" if "reasoning_details" in parts[0] and not hidden else "")
    assert "<think" not in str(message)
    assert not hidden or "well" not in str(message)
    assert usage["completion_tokens"] == 10
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 7


def asked(stream: bool, hidden: bool) -> Json:
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], "hide_thinking": hidden, **options}


def built(router: RouterFrom, url: str, model: str, lane: str, **policies: str) -> Router:
    policies["providers"] = "minimax: {default_region: china}"
    return router(CONFIG.format(model=model, base=url, lane=lane), policies)


@cases
@pytest.mark.parametrize("lane", ["wire", "litellm"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.asyncio(loop_scope="session")
async def test_in_python(router: RouterFrom, model: str, parts: Parts, lane: str, *, stream: bool) -> None:
    async with replying(reply(parts, stream=stream)) as upstream:
        one = built(router, upstream.url, model, lane)
        for hidden in (False, True):
            answer = await one.acompletion(**asked(stream, hidden))
            check(*await told(answer), parts, hidden=hidden)
            assert (answer.scribe.lane, answer.scribe.cost) == (lane, 15_000)


@cases
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.asyncio(loop_scope="session")
async def test_from_the_cache(router: RouterFrom, model: str, parts: Parts, *, stream: bool) -> None:
    async with replying(reply(parts, stream=stream)) as upstream:
        one = built(router, upstream.url, model, "wire", cache="enabled: true")
        for hidden in (False, True):
            for cache, again in (("miss", stream), ("hit", stream), ("hit", True)):
                answer = await one.acompletion(**asked(again, hidden))
                check(*await told(answer), parts, hidden=hidden)
                assert answer.scribe.cache == cache


@cases
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.asyncio(loop_scope="session")
async def test_over_http(router: RouterFrom, model: str, parts: Parts, *, stream: bool) -> None:
    async with replying(reply(parts, stream=stream)) as upstream:
        with served(built(router, upstream.url, model, "wire")) as url:
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
                for hidden in (False, True):
                    body = asked(stream, hidden)
                    body["extra_body"] = {"hide_thinking": body.pop("hide_thinking")}
                    check(*await told(await client.chat.completions.create(**body)), parts, hidden=hidden)


def split(*texts: str, finish: bool = True) -> tuple[str, str]:
    """(what was thought, what was said) of a stream with these pieces of content."""
    thoughts = Thoughts(tagged=True)
    last = len(texts) - 1 if finish else len(texts)
    chunks = [
        {"choices": [{"delta": {"content": text}, "finish_reason": "stop" if index == last else None}]}
        for index, text in enumerate(texts)
    ]
    deltas = [thoughts.named(chunk)["choices"][0]["delta"] for chunk in chunks]
    return tuple("".join(delta.get(name) or "" for delta in deltas) for name in ("reasoning_content", "content"))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a b</think> c", ("a b", " c")),
        ("\n <think>a</think>", ("a", "")),
        ("<think></think>c", ("", "c")),
        ("<think>cut off", ("cut off", "")),
        ("<think>a </th", ("a </th", "")),
        ("say <think>no</think>", ("", "say <think>no</think>")),
        ("<thinking about it", ("", "<thinking about it")),
        ("<thi", ("", "<thi")),
        (" ", ("", " ")),
        ("a</think>b", ("", "a</think>b")),
        ("<think>a</think>b<think>c</think>", ("a", "b<think>c</think>")),
    ],
)
def test_tags_are_found_however_the_text_is_cut(text: str, expected: tuple[str, str]) -> None:
    assert split(text) == expected
    assert split(*text) == expected
    assert split(*text, "") == expected
    for size in range(1, len(text)):
        assert split(text[:size], text[size:]) == expected


def test_each_choice_has_tags_of_its_own() -> None:
    thoughts = Thoughts(tagged=True)
    for index in (0, 1):
        thoughts.named({"choices": [{"index": index, "delta": {"content": "<think>a"}}]})
    found = thoughts.named(
        {"choices": [{"index": 0, "delta": {"content": "</think>b"}}, {"index": 1, "delta": {"content": "c"}}]}
    )
    assert [choice["delta"] for choice in found["choices"]] == [
        {"content": "b"},
        {"content": "", "reasoning_content": "c"},
    ]


@pytest.mark.parametrize(
    "part", [None, "?", {"content": [{"type": "text"}]}, {"content": None}, {"reasoning": {"a": 1}}]
)
@pytest.mark.parametrize("tagged", [False, True])
def test_what_has_another_shape_stays(part: Any, tagged: bool) -> None:
    answer = {"choices": [{"index": 0, "message": part}]}
    assert Thoughts(tagged=tagged).named(answer) == answer
    assert Thoughts(tagged=tagged).named({"data": []}) == {"data": []}


def test_tags_beside_thinking_that_is_no_text() -> None:
    message = {"content": "<think>a</think>b", "reasoning_content": ["x"]}
    [choice] = Thoughts(tagged=True).named({"choices": [{"message": message}]})["choices"]
    assert choice["message"] == {"content": "b", "reasoning_content": "a"}
