"""A router with a cache, asked; where the answer came from, and what a client sees."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from scribe_router.exchange import Call, CallOptions
from scribe_router.principals import EVERYTHING, LOCAL, Principal
from scribe_router.receipt import Receipt
from scribe_router.router import Router
from scribe_router.stream import Answer, AnswerStream

both = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
NAMES = (
    *("echo", "slow-500ms", "error-500", "error-400", "cut-after-2", "no-end", "hang", "pace-50ms"),
    *("flaky-1", "slow-500ms+error-503", "think-3", "tool", "tools-2", "empty", "no-usage", "no-done", "long-4096"),
)
ROW = """
  - model_name: {name}
    litellm_params: {{model: openai/{name}, api_base: {url}/v1, api_key: k}}
    model_info: {{id: {name}, {lane}input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6, mode: {mode}}}"""
ON = "enabled: true"
MESSAGES = [{"role": "user", "content": "hello big world of many words"}]
ANN, BOB = Principal("key", "ann", grant=EVERYTHING), Principal("key", "bob", grant=EVERYTHING)
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "news")
]


def rows(url: str, names: tuple[str, ...] = NAMES) -> str:
    listed = [ROW.format(name=name, url=url, lane="", mode="chat") for name in names]
    lane = ROW.format(name="echo", url=url, lane="lane: litellm, ", mode="chat").replace("name: echo", "name: litellm")
    embed = ROW.format(name="embed", url=url, lane="", mode="embedding")
    return "model_list:" + "".join([*listed, lane.replace("id: echo", "id: litellm"), embed])


Build = Callable[..., Router]


async def read(answer: Answer | AnswerStream) -> Any:
    """What a client sees: the body, or the chunks."""
    return answer.body if isinstance(answer, Answer) else [chunk async for chunk in answer]


async def ask(
    one: Router, model: str = "echo", who: Principal = LOCAL, options: CallOptions | None = None, **more: Any
) -> tuple[str | None, Any]:
    """Where the answer came from, and what a client sees."""
    body = {"model": model, "messages": MESSAGES, **more}
    answer = await one.serve(Call("chat", body, options or CallOptions()), who)
    said = await read(answer)
    return Receipt.of(answer.exchange).cache, said


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  (what it waits for has no event)
            await asyncio.sleep(0.005)


def settled(one: Router) -> bool:
    """Whether the store has what was answered: what waits for that is shared."""
    return not one._cache._flights


def text(said: Any) -> str:
    """The words of an answer, plain or streamed."""
    choices = said["choices"] if isinstance(said, dict) else [each for chunk in said for each in chunk["choices"]]
    return "".join((each.get("message") or each.get("delta")).get("content") or "" for each in choices)
