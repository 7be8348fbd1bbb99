"""The doors of the router, each reduced to what it said: two doors are equal when their `Said` is."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import openai

from scribe_router.errors import RequestError, StreamError
from scribe_router.router import Router
from scribe_router.stores.contract import Ledger

Body = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    content: str | None
    reasoning: str | None
    calls: tuple[tuple[str, str], ...]
    refusal: str | None
    finish: str | None


@dataclass(frozen=True)
class Tokens:
    input: int
    output: int
    total: int
    cached: int
    reasoning: int


@dataclass(frozen=True)
class Row:
    """What the ledger says of the one attempt."""

    bound: int
    granted: int
    cost: int | None
    mark: str
    outcome: str
    usage: tuple[tuple[str, Any], ...] | None


@dataclass(frozen=True)
class Said:
    """An answer, an error, or both: a stream that was interrupted. `error` is status, type, code."""

    models: frozenset[str]
    choices: tuple[Choice, ...]
    tokens: Tokens | None
    error: tuple[int, str, str] | None
    row: Row


class Gathered:
    """Chunks, or one answer, put together."""

    def __init__(self) -> None:
        self.models: set[str] = set()
        self.choices: dict[int, dict[str, Any]] = {}
        self.usage: Mapping[str, Any] | None = None
        self.usages = 0
        self.error: tuple[int, str, str] | None = None

    def see(self, part: Mapping[str, Any]) -> None:
        self.models.add(part["model"])
        if part.get("usage"):
            self.usage = part["usage"]
            self.usages += 1
        for choice in part["choices"]:
            whole = self.choices.setdefault(choice.get("index") or 0, {})
            said = choice.get("message") or choice.get("delta") or {}
            for name in ("content", "reasoning_content", "refusal"):
                if said.get(name) is not None:
                    whole[name] = whole.get(name, "") + said[name]
            for place, call in enumerate(said.get("tool_calls") or ()):
                function = call.get("function") or {}
                one = whole.setdefault("calls", {}).setdefault(call.get("index", place), ["", ""])
                one[0] += function.get("name") or ""
                one[1] += function.get("arguments") or ""
            whole["finish"] = choice.get("finish_reason") or whole.get("finish")

    def said(self, row: Row) -> Said:
        return Said(
            models=frozenset(self.models),
            choices=tuple(_choice(self.choices[index]) for index in sorted(self.choices)),
            tokens=_tokens(self.usage),
            error=self.error,
            row=row,
        )


def _choice(whole: Mapping[str, Any]) -> Choice:
    calls = tuple((name, arguments) for name, arguments in whole.get("calls", {}).values())
    content = whole.get("content")
    return Choice(
        content=None if calls and not content else content or "",
        reasoning=whole.get("reasoning_content"),
        calls=calls,
        refusal=whole.get("refusal"),
        finish=whole.get("finish"),
    )


def _tokens(usage: Mapping[str, Any] | None) -> Tokens | None:
    if usage is None:
        return None
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return Tokens(usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"], cached, reasoning)


async def row_of(ledger: Ledger, exchange: str | None) -> Row:
    """The row of an exchange's only attempt; of the latest exchange when none is named."""
    await ledger.flush()
    rows = await ledger.rows(exchange=exchange, limit=10 if exchange else 1)
    assert len(rows) == 1, rows
    row = rows[0]
    assert row["state"] == "settled"
    usage = tuple(sorted(row["usage"].items())) if row["usage"] else None
    return Row(row["bound"], row["granted"], row["cost"], row["mark"], row["outcome"], usage)


def _of_request_error(error: RequestError) -> tuple[int, str, str]:
    return error.status, error.type, error.code


async def awaited(router: Router, body: Body) -> Said:
    """`await router.acompletion`."""
    gathered, exchange = Gathered(), None
    try:
        answer = await router.acompletion(**body)
        if body.get("stream"):
            async for chunk in answer:
                gathered.see(chunk.model_dump())
        else:
            gathered.see(answer.model_dump())
        exchange = answer.scribe.request_id
    except RequestError as error:
        gathered.error = _of_request_error(error)
        exchange = error.exchange.id if error.exchange else None
    return gathered.said(await row_of(router.ledger, exchange))


def synchronous(router: Router, body: Body) -> Said:
    """`router.completion`, where no loop is running."""
    gathered = Gathered()
    try:
        answer = router.completion(**body)
        parts: Iterable[Any] = answer if body.get("stream") else [answer]
        for part in parts:
            gathered.see(part.model_dump())
    except RequestError as error:
        gathered.error = _of_request_error(error)
    return gathered.said(asyncio.run(row_of(router.ledger, None)))


async def over_http(client: openai.AsyncOpenAI, ledger: Ledger, body: Body) -> Said:
    """The official client through the proxy."""
    gathered, exchange = Gathered(), None
    named = {name: body[name] for name in ("model", "messages", "stream") if name in body}
    try:
        reply = await client.chat.completions.with_raw_response.create(
            **named, extra_body={name: value for name, value in body.items() if name not in named}
        )
        exchange = reply.headers["x-scribe-request-id"]
        answer: Any = reply.parse()
        if body.get("stream"):
            async for chunk in answer:
                gathered.see(chunk.model_dump())
        else:
            gathered.see(answer.model_dump())
    except openai.APIStatusError as error:
        gathered.error = error.status_code, str(error.type), str(error.code)
        exchange = error.response.headers["x-scribe-request-id"]
    except openai.APIError as error:  # an error event inside the stream has no status
        gathered.error = StreamError.status, str(error.type), str(error.code)
    return gathered.said(await row_of(ledger, exchange))


Door = Callable[[Body], Said]
