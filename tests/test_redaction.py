"""Redaction in the path of a request, over sockets: what the provider sees, what the client gets, what is kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scribe_router.exchange import Call, Json
from scribe_router.principals import EVERYTHING, Principal
from scribe_router.router import Router
from scribe_router.sandbox import Sandbox
from scribe_router.stream import Answer, AnswerStream
from tests.support.yaml_text import RouterFrom

pytestmark = pytest.mark.asyncio(loop_scope="session")
both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
lanes = pytest.mark.parametrize("lane", ["wire", "litellm"])
ROW = """
  - model_name: {name}
    litellm_params: {{model: openai/{model}, api_base: {url}/v1, api_key: k}}
    model_info: {{id: {name}, lane: {lane}, input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6}}"""
CARD, MAIL, TOKEN = "4111 1111 1111 1111", "jane.doe@example.com", "sk-proj-a1B2c3D4e5F6g7H8i9J0k1"
SAID = f"charge {CARD} of {MAIL}, the key is {TOKEN} , thanks"
KEY = "key: 0123456789abcdef0123456789\n"
UPSTREAM = KEY + "upstream: [card, email, key]\n"
Build = Callable[..., Router]


@pytest.fixture
def built(router: RouterFrom, sandbox: Sandbox) -> Build:
    """`built(policy)` is a router with this `redaction.yaml`."""

    def build(policy: str, **policies: str) -> Router:
        sandbox.clear()
        names = [("wire", "echo", "wire"), ("litellm", "echo", "litellm"), ("no-done", "no-done", "wire")]
        rows = [ROW.format(name=name, model=model, lane=lane, url=sandbox.url) for name, model, lane in names]
        return router("model_list:" + "".join(rows), {"redaction": policy, **policies})

    return build


def call(model: str, content: str = SAID, **more: Any) -> Call:
    return Call("chat", {"model": model, "messages": [{"role": "user", "content": content}], **more})


async def asked(router: Router, one: Call, principal: Principal | None = None) -> tuple[str, AnswerStream | Answer]:
    """What the client reads, and the answer."""
    answer = await (router.serve(one, principal) if principal else router.serve(one))
    if isinstance(answer, Answer):
        return str(answer.body["choices"][0]["message"]["content"]), answer
    chunks = [chunk async for chunk in answer]
    return "".join(each["delta"].get("content") or "" for chunk in chunks for each in chunk["choices"]), answer


def kept(folder: Path) -> bytes:
    """All that the cache has on disk."""
    return b"".join(path.read_bytes() for path in folder.rglob("cache.sqlite3*"))


def arrived(sandbox: Sandbox) -> str:
    content: str = sandbox.received[-1].json["messages"][-1]["content"]
    return content


@lanes
@both
async def test_the_provider_sees_placeholders_and_so_does_the_client(
    built: Build, sandbox: Sandbox, lane: str, stream: bool
) -> None:
    one = built(UPSTREAM)
    text, answer = await asked(one, call(lane, stream=stream))
    seen = arrived(sandbox)
    assert text == seen
    assert not any(secret in sandbox.received[-1].body.decode() for secret in (CARD, MAIL, TOKEN))
    assert "[card:" in seen
    assert "jan***@example.com" in seen
    assert "[key:" in seen
    assert answer.exchange.call.body["messages"][0]["content"] == seen
    assert answer.exchange.attempts[-1].lane == lane


@lanes
@both
async def test_a_client_gets_its_own_words_back(built: Build, sandbox: Sandbox, lane: str, stream: bool) -> None:
    one = built(UPSTREAM + "restore: true")
    assert (await asked(one, call(lane, stream=stream)))[0] == SAID
    assert CARD not in arrived(sandbox)


@lanes
@both
async def test_answers_are_redacted(built: Build, sandbox: Sandbox, lane: str, stream: bool) -> None:
    one = built(KEY + "answers: [card]")
    text, _ = await asked(one, call(lane, stream=stream))
    assert arrived(sandbox) == SAID
    assert CARD not in text
    assert (text.replace(text[7:24], CARD), text[7:13]) == (SAID, "[card:")


async def test_a_stream_without_a_finish_says_all(built: Build) -> None:
    one = built(UPSTREAM + "answers: [phone]\nrestore: true")
    assert (await asked(one, call("no-done", f"it is {CARD}", stream=True)))[0] == f"it is {CARD}"


async def test_without_the_file_nothing_changes(router: RouterFrom, sandbox: Sandbox) -> None:
    one = router("model_list:" + ROW.format(name="wire", model="echo", lane="wire", url=sandbox.url))
    assert (await asked(one, call("wire")))[0] == SAID == arrived(sandbox)


@both
async def test_the_cache_keeps_placeholders_and_gives_each_client_its_own_words(
    built: Build, sandbox: Sandbox, tmp_path: Path, stream: bool
) -> None:
    one = built(UPSTREAM + "restore: true", cache="enabled: true\nstore: disk\npath: cache.sqlite3\nshare: all")
    first, _ = await asked(
        one, call("wire", "write jane.doe@example.com", stream=stream), Principal("a", "a", grant=EVERYTHING)
    )
    second, answer = await asked(
        one, call("wire", "write jan.roe@example.com", stream=stream), Principal("b", "b", grant=EVERYTHING)
    )
    assert (first, second) == ("write jane.doe@example.com", "write jan.roe@example.com")
    assert answer.exchange.cache == "hit"
    assert len(sandbox.received) == 1
    await one.aclose()
    stored = kept(tmp_path)
    assert b"jan***@example.com" in stored
    assert b"jane.doe" not in stored


async def test_the_cache_keeps_answers_as_they_were_redacted(built: Build, tmp_path: Path) -> None:
    one = built(KEY + "answers: [card]", cache="enabled: true\nstore: disk\npath: cache.sqlite3")
    for stream in (False, True):
        assert CARD not in (await asked(one, call("wire", stream=stream)))[0]
    await one.aclose()
    stored = kept(tmp_path)
    assert CARD.encode() not in stored


async def test_tools_keep_their_names_and_ids(built: Build, sandbox: Sandbox) -> None:
    one = built(UPSTREAM)
    arguments = json.dumps({"to": MAIL, "note": f'"{CARD}"'})
    turn = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    messages: list[Json] = [
        {"role": "user", "content": "send it"},
        {"role": "assistant", "content": None, "tool_calls": [turn]},
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"sent": MAIL})},
    ]
    await one.serve(Call("chat", {"model": "wire", "messages": messages}))
    _, asked_for, result = sandbox.received[-1].json["messages"]
    assert asked_for["tool_calls"][0]["id"] == result["tool_call_id"] == "call_1"
    assert asked_for["tool_calls"][0]["function"]["name"] == "send"
    sent = json.loads(asked_for["tool_calls"][0]["function"]["arguments"])
    assert (sent["to"], sent["note"][:7]) == ("jan***@example.com", '"[card:')
    assert json.loads(result["content"]) == {"sent": "jan***@example.com"}


async def test_embeddings_and_prompts(built: Build, sandbox: Sandbox) -> None:
    one = built(UPSTREAM)
    shown = one._redaction.request(Call("embeddings", {"model": "wire", "input": [MAIL, [1, 2]]}))[0]
    assert shown.body == {"model": "wire", "input": ["jan***@example.com", [1, 2]]}
