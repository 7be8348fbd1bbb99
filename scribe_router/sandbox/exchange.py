"""One request through the sandbox, from its bytes to the last byte of its reply.

`Exchange.run` is the whole path, top to bottom. Everything here holds for all wires alike: keys, delays, failures,
broken connections. What the bytes look like is the wire's.
"""

import asyncio
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from aiohttp import web

from scribe_router.sandbox.answers import Answers
from scribe_router.sandbox.behaviour import Behaviour, parse
from scribe_router.sandbox.fault import Fault, Refused, invalid, of_status
from scribe_router.sandbox.prompt import Prompt
from scribe_router.sandbox.received import Log, Received
from scribe_router.sandbox.turn import Turn, compose
from scribe_router.sandbox.wire import Call, Endpoint, Frame, Wire, dumps

HTML: Final = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center><hr>sandbox</body></html>\n"
BROKEN_EVENT: Final = b'data: {"choices": [\n\n'
NO_LINGER: Final = struct.pack("ii", 1, 0)
GARBAGE: Final = b"this is neither JSON nor an event\n<<<\x00\n\n"
WRONG: Final = "wrong"
BROKEN: Final = of_status(503)
ORDINARY: Final = Behaviour()
T = TypeVar("T")


@dataclass
class State:
    """What exchanges share: the log, the counts behind `flaky`, the dice behind `random`."""

    log: Log
    answers: Answers
    dice: random.Random
    clock: Callable[[], float]
    require_key: bool
    calls: Counter[str] = field(default_factory=Counter)


class Exchange:
    """One request and its reply."""

    def __init__(self, state: State, wire: Wire, endpoint: Endpoint, request: web.Request) -> None:
        self._state = state
        self._wire = wire
        self._endpoint = endpoint
        self._request = request
        self._number = 0

    async def run(self) -> web.StreamResponse:
        arrived_at = self._state.clock()
        try:
            body = await self._request.read()
        except web.HTTPRequestEntityTooLarge:
            body = None
        self._number = self._state.log.open(self._record(body or b"", arrived_at))
        try:
            return await self._reply(body)
        except ConnectionError:
            return web.Response()  # the client left; there is nobody to tell

    def _record(self, body: bytes, arrived_at: float) -> Received:
        request = self._request
        return Received(request.method, request.path, request.query_string, request.headers, body, arrived_at)

    async def _reply(self, body: bytes | None) -> web.StreamResponse:
        try:
            return await self._answer(body)
        except Refused as refused:
            return await self._refuse(refused.fault)

    async def _answer(self, body: bytes | None) -> web.StreamResponse:
        if body is None:
            raise Refused(of_status(413))
        call = self._call(body)
        prompt = understood(self._endpoint.read, call)
        behaviour = parse(prompt.model) if self._endpoint.behaves else ORDINARY
        self._note(model=prompt.model)
        await self._wait(behaviour)
        if behaviour.refuse:
            return self._abort(reset=behaviour.reset)
        self._fail(behaviour, prompt.model)
        if behaviour.html:
            return await self._plain(HTML.replace(b"%d", b"%d" % behaviour.html), behaviour.html, "text/html")
        if behaviour.garbage or behaviour.blank:
            kind = self._wire.stream_type if prompt.stream else "application/json"
            return await self._plain(b"" if behaviour.blank else GARBAGE, 200, kind)
        if behaviour.disguised:
            return await self._plain(dumps(self._wire.error(BROKEN)))
        turn = understood(compose, prompt, behaviour, self._state.answers, self._number, int(time.time()))
        return await self._speak(prompt, behaviour, turn)

    def _call(self, body: bytes) -> Call:
        request = self._request
        call = Call({}, request.match_info, request.query, request.headers)
        if self._state.require_key and self._wire.key:
            key = self._wire.key(call)
            if not key or key.startswith(WRONG):
                raise Refused(of_status(401))
        return call if self._endpoint.method != "POST" else Call(parsed(body), call.path, call.query, call.headers)

    async def _wait(self, behaviour: Behaviour) -> None:
        if behaviour.hang:
            await asyncio.Event().wait()
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)

    def _fail(self, behaviour: Behaviour, model: str) -> None:
        """Raises the error that the behaviour has for this call, if any."""
        if behaviour.status:
            fault = of_status(behaviour.status, behaviour.retry_after, behaviour.reason)
            raise Refused(fault if behaviour.patience else replace(fault, retry_after=None))
        if behaviour.flaky:
            self._state.calls[model] += 1
            if self._state.calls[model] % (behaviour.flaky + 1):
                raise Refused(of_status(500))
        if behaviour.percent and self._state.dice.random() * 100 < behaviour.percent:
            raise Refused(of_status(500))

    async def _speak(self, prompt: Prompt, behaviour: Behaviour, turn: Turn) -> web.StreamResponse:
        if prompt.stream and self._endpoint.stream:
            self._note(billed=turn.billed)
            return await self._stream(self._endpoint.stream(prompt, turn), behaviour)
        body = dumps(self._endpoint.plain(prompt, turn))
        if self._endpoint.behaves:
            self._note(billed=turn.billed)
        return await self._plain(body, behaviour=behaviour)

    async def _refuse(self, fault: Fault) -> web.StreamResponse:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return await self._plain(dumps(self._wire.error(fault)), fault.status, headers=headers)

    async def _plain(
        self,
        body: bytes,
        status: int = 200,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
        behaviour: Behaviour = ORDINARY,
    ) -> web.StreamResponse:
        reply = await self._open(status, kind, {"Content-Length": str(len(body)), **(headers or {})})
        await asyncio.sleep(behaviour.first)
        if behaviour.cut_after is None and behaviour.stall_after is None:
            return await self._close(reply, body)
        await reply.write(body[: len(body) // 2])
        return await self._stop(reply, behaviour)

    async def _stream(self, frames: Iterable[Frame], behaviour: Behaviour) -> web.StreamResponse:
        reply = await self._open(200, self._wire.stream_type, {"Cache-Control": "no-cache"})
        if behaviour.cut_after == 0:
            return self._abort(reply)
        await asyncio.sleep(behaviour.first)
        sent, tail = 0, b""
        for frame in kept(frames, behaviour):
            if sent == behaviour.breaks_after:
                break
            if frame.kind not in ("start", "content"):
                tail += frame.data
                continue
            if frame.kind == "content":
                await asyncio.sleep(behaviour.pace if sent else 0)
                sent += 1
            await reply.write(frame.data)
        if behaviour.cut_after is not None or behaviour.stall_after is not None:
            return await self._stop(reply, behaviour)
        if behaviour.garbage_after is not None:
            tail = BROKEN_EVENT
        return await self._close(reply, tail if behaviour.error_after is None else self._wire.error_event(BROKEN))

    async def _stop(self, reply: web.StreamResponse, behaviour: Behaviour) -> web.StreamResponse:
        """Sends no more of a reply that has begun: drops the connection, or is silent until the client leaves."""
        if behaviour.stall_after is not None:
            await asyncio.Event().wait()
        return self._abort(reply)

    async def _open(self, status: int, kind: str, headers: Mapping[str, str]) -> web.StreamResponse:
        """Sends the head of a reply."""
        stamp = {self._wire.request_id: f"req_sandbox_{self._number}"}
        reply = web.StreamResponse(status=status, headers={"Content-Type": kind, **stamp, **headers})
        self._note(status=status)
        await reply.prepare(self._request)
        return reply

    async def _close(self, reply: web.StreamResponse, last: bytes = b"") -> web.StreamResponse:
        # Noted before it is written: a client in another thread may look as soon as it has the last byte.
        self._note(replied_at=self._state.clock(), finished=True)
        try:
            await reply.write_eof(last)
        except BaseException:
            self._note(replied_at=None, finished=False)
            raise
        return reply

    def _abort(self, reply: web.StreamResponse | None = None, *, reset: bool = False) -> web.StreamResponse:
        """Drops the connection without an end; what was written before is already with the kernel."""
        self._note(replied_at=self._state.clock())
        if self._request.transport:
            if reset:
                held = self._request.transport.get_extra_info("socket")
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self._request.transport.abort()
        return reply or web.Response()

    def _note(self, **changes: Any) -> None:
        self._state.log.amend(self._number, **changes)


def parsed(body: bytes) -> Mapping[str, Any]:
    """The request's JSON object; a 400 when it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("We could not parse the JSON body of your request.") from None
    if not isinstance(found, Mapping):
        raise invalid("The body of your request must be a JSON object.")
    return found


def understood(step: Callable[..., T], *arguments: Any) -> T:
    """What a step makes of the client's data; a 400 when they are not of the shape that the step takes for granted."""
    try:
        return step(*arguments)
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise invalid(f"invalid parameter: something has an unexpected shape ({error!r})") from error


def kept(frames: Iterable[Frame], behaviour: Behaviour) -> Iterable[Frame]:
    """The frames that the behaviour lets out."""
    dropped = set() if behaviour.end else {"end", "usage", "done"}
    if not behaviour.done:
        dropped.add("done")
    return (frame for frame in frames if frame.kind not in dropped)
