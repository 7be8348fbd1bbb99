"""A stream of chunks as server-sent events. The head goes out when the stream has committed; the client may hang up."""

from collections.abc import Iterable

from starlette.responses import Response

from scribe_router.encoding import json_bytes
from scribe_router.errors import StreamError
from scribe_router.exchange import Json
from scribe_router.receipt import Receipt
from scribe_router.server.connection import ClientGone, Receive, Scope, Send, while_connected
from scribe_router.server.headers import answer_headers
from scribe_router.stream import AnswerStream

HEADERS = [
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
]


class EventStream(Response):
    """Sends an `AnswerStream`, with `more` headers; closes it whatever happens."""

    def __init__(self, stream: AnswerStream, more: Iterable[tuple[str, str]] = ()) -> None:
        self._stream = stream
        super().__init__(status_code=200)
        headers = [*HEADERS, *answer_headers(Receipt.of(stream.exchange), stream=True), *more]
        self.raw_headers = [(name.encode(), value.encode()) for name, value in headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await while_connected(receive, self._send(send))
        except ClientGone:
            return
        finally:
            await self._stream.aclose()

    async def _send(self, send: Send) -> None:
        try:
            async for chunk in self._stream:
                await _event(send, chunk)
        except StreamError as error:
            await _event(send, error.to_openai())
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        receipt = Receipt.of(self._stream.exchange)
        tools = {"tool_calls": receipt.tool_calls, "tool_cost_usd": receipt.tool_cost_usd} if receipt.tool_calls else {}
        last = json_bytes(
            {"request_id": receipt.request_id, "cost_usd": receipt.cost_usd, "mark": receipt.mark, **tools}
        )
        await send({"type": "http.response.body", "body": b": scribe " + last + b"\n\ndata: [DONE]\n\n"})


async def _event(send: Send, payload: Json) -> None:
    await send({"type": "http.response.body", "body": b"data: " + json_bytes(payload) + b"\n\n", "more_body": True})
