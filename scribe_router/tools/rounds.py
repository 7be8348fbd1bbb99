"""A request with MCP tools: the model is asked, what it calls is run, and it is asked again, until it only answers.

Knows the order of the steps of such a conversation; never which deployment serves, nor how a tool is reached.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from scribe_router.accounts import Accounts
from scribe_router.errors import InvalidRequest, Unavailable, UpstreamError
from scribe_router.exchange import Call, Exchange, Json, ToolCall
from scribe_router.policies.mcp import McpPolicy, Tool, catalogue, fingerprint
from scribe_router.policies.residency import Place, misplaced
from scribe_router.policies.schema import days
from scribe_router.policies.tool_requests import Wanted, asked_servers, chosen, permitted
from scribe_router.stream import Answer, AnswerStream
from scribe_router.tools.accounts import ToolAccounts
from scribe_router.tools.turns import Screen, Turn, Wish, joined, turn_of
from scribe_router.upstream.assembly import Assembly
from scribe_router.upstream.events import DONE, Events, unthinking
from scribe_router.upstream.mcp_results import ToolReply
from scribe_router.upstream.mcp_sessions import McpSessions
from scribe_router.upstream.shape import Shaped

log = logging.getLogger("scribe_router.mcp")
OVERHEAD = 256  # bytes that a tool's result adds around its text, for money only


class Ask(Protocol):
    """One round: the call of an exchange goes to a model."""

    async def __call__(self, exchange: Exchange, deadline: float) -> Answer | AnswerStream: ...


Following = Callable[[Exchange, Exchange], Shaped]


@dataclass(slots=True)
class Conversation:
    """A request under way: its tools by the name that the model calls, the request's `own`, and the messages so far."""

    exchange: Exchange
    tools: dict[str, Tool]
    own: tuple[Any, ...]
    deadline: float
    until: float
    messages: list[Any]
    rounds: int = 0
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def next(self, *, last: bool) -> Exchange:
        """The next round. After the first one nothing has to be called, and in the `last` one nothing may be."""
        left_out = ("mcp_tools", "tools", "hide_thinking", *(("tool_choice",) if self.rounds else ()))
        body = {name: value for name, value in self.exchange.call.body.items() if name not in left_out}
        body["messages"] = list(self.messages)
        if offered := [*self.own, *(tool.offered() for tool in self.tools.values())]:
            body["tools"] = offered
        if self.own and self.tools:
            body["parallel_tool_calls"] = False
        if last and offered:
            body["tool_choice"] = "none"
        if self.exchange.call.stream:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        self.rounds += 1
        return self.exchange.round(Call(self.exchange.call.api, body, self.exchange.call.options), self.rounds)


class ToolRounds:
    """Serves requests that ask for MCP tools. `ask` sends one round; `following` shapes a round as whoever served the
    one before gets it; `told` is what a model may read of what a tool said."""

    def __init__(
        self,
        policy: McpPolicy,
        accounts: Accounts,
        clock: Callable[[], float],
        ask: Ask,
        following: Following,
        told: Callable[[str], str],
    ) -> None:
        self._policy, self._clock, self._ask, self._following, self._told = policy, clock, ask, following, told
        self._accounts, self._tools = accounts, ToolAccounts(accounts, policy, clock)
        self.sessions = McpSessions(policy)

    async def begin(self, exchange: Exchange, asked: Wanted, deadline: float) -> Conversation:
        """Find the tools that a request asks for. Raises `InvalidRequest` and `Unavailable`."""
        if (exchange.call.body.get("n") or 1) > 1:
            raise InvalidRequest("n must be 1 with MCP tools", code="invalid_value", param="n")
        policy = self._policy
        left, servers = deadline - self._clock(), asked_servers(policy, asked, exchange.principal)
        listings, problems = await self.sessions.listed(self._within(exchange, servers), left)
        for name, problem in problems.items():
            log.warning("%s", problem)
            exchange.warnings.append(f"MCP server {name} cannot be asked now, so its tools are missing")
        listed = catalogue(policy, listings).values()
        usable = permitted(policy, listed, exchange.principal)
        try:
            tools = {tool.function: tool for tool in chosen(policy, asked, usable)}
        except InvalidRequest as error:
            if problems and error.code == "unknown_tool":
                raise Unavailable("an MCP server cannot be asked now", code="mcp_unavailable") from None
            raise
        messages, until = exchange.call.body["messages"], self._clock() + policy.seconds
        return Conversation(exchange, tools, asked.own, deadline, until, list(messages))

    def _within(self, exchange: Exchange, servers: list[str]) -> list[str]:
        """The servers that may see what the request is about; the others are not even asked what they have."""
        found = []
        for name in servers:
            row = self._policy.servers[name]
            why = misplaced(Place(row.region, days(row.retention), row.covered), exchange.demand)
            if why is None:
                found.append(name)
            else:
                exchange.warnings.append(f"the tools of the MCP server {name} are left out: {why[1]}")
        return found

    async def plain(self, talk: Conversation) -> Answer:
        """The whole answer. Raises a `RequestError`."""
        said: list[Json] = []
        try:
            while True:
                current = talk.next(last=self._over(talk))
                answer = cast("Answer", await self._answer(talk, current))
                said.append(answer.body)
                if not await self._ran(talk, current, turn_of(answer.body, talk.tools)):
                    body, hides = joined(said), talk.exchange.call.body.get("hide_thinking") is True
                    return Answer(talk.exchange, unthinking(body) if hides else body)
        finally:
            self._accounts.let_go(talk.exchange)

    async def events(self, talk: Conversation) -> Events:
        """The chunks of all rounds as one stream. Raises a `RequestError`."""
        screen, more = Screen(talk.tools), True
        try:
            while more:
                current, assembly = talk.next(last=self._over(talk)), Assembly()
                screen.begin()
                answer = cast("AnswerStream", await self._answer(talk, current))
                async with aclosing(answer):
                    async for chunk in answer:
                        assembly.add(chunk)
                        for shown in screen.see(chunk):
                            yield shown
                more = await self._ran(talk, current, turn_of(assembly.answer(), talk.tools))
            for shown in screen.end():
                yield shown
            yield DONE
        finally:
            self._accounts.let_go(talk.exchange)

    async def _answer(self, talk: Conversation, current: Exchange) -> Answer | AnswerStream:
        try:
            return await self._ask(current, talk.deadline)
        finally:  # what was planned is recorded of a round that failed too
            if talk.exchange.plan is None:
                talk.exchange.plan = current.plan
            elif current.plan is not None:
                talk.exchange.later.append(current.plan)
            talk.exchange.unplanned = talk.exchange.unplanned or current.unplanned

    def _over(self, talk: Conversation) -> bool:
        """Whether the next round is the last: it may call nothing more."""
        return talk.rounds + 1 >= self._policy.rounds or self._clock() >= talk.until

    async def _ran(self, talk: Conversation, current: Exchange, turn: Turn | None) -> bool:
        """Run what a model wants run, so that it can be asked again; False where it is all said."""
        if turn is None or talk.exchange.abandoned:
            return False
        if current.call.body.get("tool_choice") == "none":
            text = (
                f"the model still calls tools after {talk.rounds} rounds, which is as many as policies/mcp.yaml allows"
            )
            raise UpstreamError(text, code="tool_rounds_exceeded")
        given = [_arguments(wish) for wish in turn.wishes]
        calls = [
            None if arguments is None else self._call(talk, wish, arguments)
            for wish, arguments in zip(turn.wishes, given, strict=True)
        ]
        talk.messages.append(turn.message)
        await self._reserve(talk, current, turn, [call for call in calls if call is not None])
        one_by_one = current.call.body.get("parallel_tool_calls") is False
        gate = asyncio.Semaphore(1 if one_by_one else len(calls))
        work = (self._run(talk, *each, gate) for each in zip(turn.wishes, given, calls, strict=True))
        try:
            texts = await asyncio.gather(*work)
        finally:
            for call in calls:  # one that was cancelled before its first step knows nothing of its reservation
                if call is not None and call.ended is None:
                    self._tools.settle(call, "not_connected", None)
        for wish, text in zip(turn.wishes, texts, strict=True):
            talk.messages.append({"role": "tool", "tool_call_id": wish.id, "content": text})
        return not talk.exchange.abandoned

    async def _reserve(self, talk: Conversation, current: Exchange, turn: Turn, calls: list[ToolCall]) -> None:
        """The calls, and the least that the model can cost that reads what they say."""
        empty = [{"role": "tool", "tool_call_id": wish.id, "content": ""} for wish in turn.wishes]
        body = {**current.call.body, "messages": [*talk.messages, *empty]}
        following = self._following(current, talk.exchange.round(Call("chat", body, current.call.options), talk.rounds))
        sizes = [self._policy.servers[talk.tools[wish.function].server].result_bytes for wish in turn.wishes]
        await self._tools.reserve(talk.exchange, calls, following, sum(sizes) + OVERHEAD * len(sizes))

    def _call(self, talk: Conversation, wish: Wish, arguments: Json) -> ToolCall:
        tool, mark = talk.tools[wish.function], fingerprint(arguments)
        talk.seen[wish.function, mark] += 1
        if talk.seen[wish.function, mark] == self._policy.repeats:
            told = f"{wish.function} was called {self._policy.repeats} times with the same arguments"
            talk.exchange.warnings.append(told)
            log.warning("%s: %s", talk.exchange.id, told)
        now = self._clock()
        return ToolCall("", tool.server, tool.name, tool.function, mark, tool.fee, now, round=talk.rounds)

    async def _run(
        self,
        talk: Conversation,
        wish: Wish,
        arguments: Json | None,
        call: ToolCall | None,
        gate: asyncio.Semaphore,
    ) -> str:
        """Run one call and settle it; what the model is told."""
        if arguments is None or call is None:
            return f"error: the arguments of {wish.function} are no JSON object; nothing was run"
        reply = ToolReply("not_connected", "")
        try:
            async with gate:
                reply = ToolReply("lost", "")
                within = min(talk.deadline, talk.until) - self._clock()
                reply = await self.sessions.call(talk.tools[wish.function], arguments, within)
        finally:
            self._tools.settle(call, reply.outcome, reply.reported)
        return self._told(reply.text)


def _arguments(wish: Wish) -> Json | None:
    """The arguments of a call; None where they are no JSON object that can be sent. Some models write them as a text
    that holds the object, and nothing at all as null."""
    try:
        given = json.loads(wish.arguments or "{}")
        given = json.loads(given) if isinstance(given, str) else given
        given = {} if given is None else given
        json.dumps(given, ensure_ascii=False).encode()  # half of a letter would end the session with the server
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None
