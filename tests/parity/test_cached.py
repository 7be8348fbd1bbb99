"""A hit says what the answer said, through every door and over both lanes, plain and streamed."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest

from scribe_router.router import Router
from scribe_router.sandbox import running_sandbox
from tests.parity.cases import ANSWERS, MESSAGES, Case
from tests.parity.doors import Body, Gathered, Row
from tests.parity.stage import DOORS, LANES, POLICIES, Stage, configuration
from tests.support.served import served
from tests.support.yaml_text import registry_from

ROW = Row(0, 0, 0, "", "", None)  # a hit has none
CACHED = {**POLICIES, "cache": "enabled: true"}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as opened:
        sandbox = opened.enter_context(running_sandbox())
        text = configuration(sandbox.url)
        folders = (tmp_path_factory.mktemp(name) for name in ("python", "proxy"))
        router, proxied = (Router(registry_from(folder, text, CACHED)) for folder in folders)
        stage = Stage(sandbox, router, proxied, opened.enter_context(served(proxied)))
        opened.callback(stage.close)
        yield stage


async def awaited(router: Router, body: Body) -> tuple[str | None, Gathered]:
    gathered, answer = Gathered(), await router.acompletion(**body)
    for part in [each async for each in answer] if body.get("stream") else [answer]:
        gathered.see(part.model_dump())
    return answer.scribe.cache, gathered


def synchronous(router: Router, body: Body) -> tuple[str | None, Gathered]:
    gathered, answer = Gathered(), router.completion(**body)
    for part in answer if body.get("stream") else [answer]:
        gathered.see(part.model_dump())
    return answer.scribe.cache, gathered


async def over_http(client: openai.AsyncOpenAI, body: Body) -> tuple[str | None, Gathered]:
    gathered = Gathered()
    named = {name: body[name] for name in ("model", "messages", "stream") if name in body}
    rest = {name: value for name, value in body.items() if name not in named}
    reply = await client.chat.completions.with_raw_response.create(**named, extra_body=rest)
    answer: Any = reply.parse()
    for part in [each async for each in answer] if body.get("stream") else [answer]:
        gathered.see(part.model_dump())
    return reply.headers.get("x-scribe-cache"), gathered


def ask(stage: Stage, door: str, body: Body) -> tuple[str | None, Gathered]:
    if door == "synchronous":
        return synchronous(stage.router, body)
    one = awaited(stage.router, body) if door == "awaited" else over_http(stage.client, body)
    return stage.runner.run(one)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case.name)
def test_a_hit_says_the_same(cached: Stage, case: Case, door: str, lane: str) -> None:
    body = {"model": f"{lane}/{case.model}", "messages": MESSAGES, "user": door, **case.extra}
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}, "seed": 1}
    for each in (body, streamed):
        before = len(cached.sandbox.received)
        (first, said), (second, again) = (ask(cached, door, each) for _ in range(2))
        assert (first, second) == ("miss", "hit")
        assert vars(again) == vars(said)
        assert again.choices
        assert len(cached.sandbox.received) == before + 1
    found, replayed = ask(cached, door, {**body, "stream": True, "stream_options": {"include_usage": True}})
    assert found == "hit", "a stream is made of the plain answer"
    plain = ask(cached, door, body)[1].said(ROW)
    assert replayed.said(ROW) == plain


def test_embeddings_through_both_doors(cached: Stage) -> None:
    asked: dict[str, Any] = {"model": "wire/embed", "input": ["hello", "world"]}
    first, second = (cached.router.embedding(**asked) for _ in range(2))
    assert (first.scribe.cache, second.scribe.cache) == ("miss", "hit")
    assert second.model_dump() == first.model_dump()
    replies = [httpx.post(f"{cached.url}/v1/embeddings", json=asked, timeout=20) for _ in range(2)]
    assert [each.headers["x-scribe-cache"] for each in replies] == ["miss", "hit"]
    assert replies[1].content == replies[0].content


def question(words: str, **more: Any) -> Body:
    return {"model": "wire/echo", "messages": [{"role": "user", "content": words}], **more}


@pytest.mark.parametrize(
    ("header", "seen"),
    [
        (None, ["miss", "hit", "hit"]),
        ("no-cache", ["miss", "miss", "hit"]),
        ("No-Cache, max-age=0", ["miss", "miss", "hit"]),
        ("no-store", [None, None, "miss"]),
        ("no-cache, no-store", [None, None, "miss"]),
        ("max-age=0", ["miss", "hit", "hit"]),
    ],
)
def test_what_a_client_says_of_stored_answers(cached: Stage, header: str | None, seen: list[str | None]) -> None:
    headers = {"cache-control": header} if header else {}
    body = question(f"asked with {header}")
    with httpx.Client(base_url=cached.url, timeout=20) as client:
        replies = [client.post("/v1/chat/completions", json=body, headers=each) for each in (headers, headers, {})]
    assert [each.headers.get("x-scribe-cache") for each in replies] == seen
    assert {each.status_code for each in replies} == {200}


def test_what_the_headers_of_a_hit_say(cached: Stage) -> None:
    body = question("what the headers say")
    first, second = (httpx.post(f"{cached.url}/v1/chat/completions", json=body, timeout=20) for _ in range(2))
    assert second.content == first.content
    names = ("x-scribe-cache", "x-scribe-cost-usd", "x-scribe-attempts", "x-scribe-deployment")
    assert [second.headers.get(name) for name in names] == ["hit", "0", "0", None]
    assert first.headers["x-scribe-cost-usd"] != "0"
    assert second.headers["x-scribe-request-id"] != first.headers["x-scribe-request-id"]


def test_the_last_comment_of_a_replayed_stream(cached: Stage) -> None:
    body = question("a stream with a comment", stream=True)
    texts = [httpx.post(f"{cached.url}/v1/chat/completions", json=body, timeout=20).text for _ in range(2)]
    assert len({text.partition(": scribe ")[0] for text in texts}) == 1
    assert '"cost_usd":"0"' in texts[1]
    assert texts[1].endswith("data: [DONE]\n\n")
