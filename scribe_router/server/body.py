"""What a client sends after its head: how long that may take, how large it may be, and that it is JSON."""

import asyncio
import json
import math
from typing import Any

from scribe_router.errors import InvalidRequest
from scribe_router.exchange import Json
from scribe_router.server.connection import ClientGone, Message, Receive

LARGEST_BODY = 64 * 1024 * 1024
BODY_SECONDS = 120.0


def in_time(receive: Receive) -> Receive:
    """The same messages; a body that is not here after `BODY_SECONDS` raises `InvalidRequest` (408)."""
    until = asyncio.get_running_loop().time() + BODY_SECONDS
    complete = False

    async def timely() -> Message:
        nonlocal complete
        if complete:  # what comes now is that the client hangs up
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            text = f"the body did not come within {BODY_SECONDS:g} seconds"
            raise InvalidRequest(text, code="body_too_slow", status=408) from None
        complete = not message.get("more_body", False)
        return message

    return timely


async def whole(receive: Receive) -> bytes:
    """The body. Raises `InvalidRequest` where it is too large, and `ClientGone`."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client hung up")
        part = message.get("body", b"")
        size += len(part)
        if size > LARGEST_BODY:
            text = f"the body is larger than {LARGEST_BODY // 1024**2} MiB"
            raise InvalidRequest(text, code="body_too_large", status=413)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def again(body: bytes, receive: Receive) -> Receive:
    """The messages of a request whose body was read already."""
    told = False

    async def repeated() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return repeated


async def json_body(receive: Receive) -> Json:
    """The body as a JSON object. Raises `InvalidRequest` and `ClientGone`."""
    try:
        body = json.loads(await whole(receive), parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest(f"the body is not valid JSON{where}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object", code="invalid_json")
    return body


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no number in JSON")
