"""What a failed attempt means: its category, and how far it got. Read from replies and from the causes of exceptions.

LiteLLM's own classes hide the cause (a refused connection, a lost reply and a provider's 500 all arrive as
`InternalServerError`), so the chain behind the exception is what counts.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp

from scribe_router.exchange import AttemptFailed, Category, Json, Reached

_BY_STATUS = {
    400: Category.BAD_REQUEST,
    401: Category.AUTHENTICATION,
    402: Category.AUTHENTICATION,
    403: Category.AUTHENTICATION,
    404: Category.NOT_FOUND,
    408: Category.TIMEOUT,
    409: Category.SERVER,
    413: Category.CONTEXT_LENGTH,
    429: Category.RATE_LIMIT,
    504: Category.TIMEOUT,
    529: Category.RATE_LIMIT,
}
_CONTEXT = re.compile(
    r"context_length_exceeded|maximum context length|context window|prompt is too long|too many tokens"
    r"|input token count .{0,80}exceeds|exceeds the (?:maximum|available) (?:number of tokens|context)"
    r"|input length .{0,40}exceed|range of input length",
    re.IGNORECASE,
)
_CONTENT = re.compile(
    r"content_filter|content_policy|content management policy|data_inspection_failed|safety system"
    r"|blocked by .{0,40}safety|usage policies|output blocked|prohibited_content|content exists risk",
    re.IGNORECASE,
)
# Parameters' names only: enough to say which one the provider means, never its text.
_PARAM = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]]{0,63}")
_WORDS = {
    Category.RATE_LIMIT: "the provider's rate limit is reached",
    Category.SERVER: "the provider failed",
    Category.NETWORK: "the provider could not be reached",
    Category.TIMEOUT: "the provider did not answer in time",
    Category.AUTHENTICATION: "the provider refused the deployment's key",
    Category.NOT_FOUND: "the provider does not know this model or path",
    Category.BAD_REQUEST: "the provider refused the request",
    Category.CONTEXT_LENGTH: "the request is too long for this model",
    Category.CONTENT_POLICY: "the provider refused the content",
}


def words(category: Category) -> str:
    """A sentence for a category that is safe to show."""
    return _WORDS.get(category, "the attempt failed")


def from_reply(status: int, body: bytes | str, headers: Mapping[str, str]) -> AttemptFailed:
    """A complete error reply. The provider's error object is kept for the client of a bad request."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    error = _error_object(text)
    category = _BY_STATUS.get(status, Category.BAD_REQUEST if 400 <= status < 500 else Category.SERVER)
    if status in (400, 403, 413, 422):
        probe = f"{error.get('code')} {error.get('type')} {error.get('message')}" if error else text[:2000]
        if _CONTEXT.search(probe):
            category = Category.CONTEXT_LENGTH
        elif _CONTENT.search(probe):
            category = Category.CONTENT_POLICY
    if status == 429 and error and error.get("code") == "insufficient_quota":
        category = Category.AUTHENTICATION
    return AttemptFailed(
        category,
        Reached.REPLIED,
        f"{words(category)} (HTTP {status})",
        status=status,
        retry_after=_seconds(headers.get("retry-after")),
        error=error if category is Category.BAD_REQUEST else None,
    )


def _error_object(text: str) -> Json | None:
    try:
        parsed = json.loads(text.removeprefix("b'").removesuffix("'"))
    except ValueError:
        return None
    parsed = parsed[0] if isinstance(parsed, list) and parsed else parsed
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else None


def _seconds(value: str | None) -> float | None:
    try:
        return min(max(float(value or ""), 0.0), 3600.0)
    except ValueError:
        return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and its causes, from the outside in."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def from_exception(error: BaseException) -> AttemptFailed:
    """An exception of aiohttp, httpx, the OpenAI client or LiteLLM as what it means."""
    causes = list(chain(error))
    for cause in reversed(causes):
        reply = _reply_in(cause)
        if reply is not None:
            return reply
    for cause in reversed(causes):
        failure = _transport(cause)
        if failure is not None:
            return failure
    return _local(error)


def _reply_in(cause: BaseException) -> AttemptFailed | None:
    response = getattr(cause, "response", None)
    status = getattr(response, "status_code", None)
    if not isinstance(status, int) or type(cause).__module__.startswith("litellm.exceptions"):
        return None
    return from_reply(
        status, _text(cause, response), {k.lower(): v for k, v in getattr(response, "headers", {}).items()}
    )


def _text(cause: BaseException, response: Any) -> str:
    try:
        return str(response.text)
    except Exception:  # noqa: BLE001  (an unread streamed reply raises one of several classes; the cause has its text)
        return str(getattr(cause, "message", "") or cause)


_CONNECT = ("ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol", "PoolTimeout")
_LOST = ("ReadError", "WriteError", "CloseError", "RemoteProtocolError", "ReadTimeout", "WriteTimeout")


def _transport(cause: BaseException) -> AttemptFailed | None:
    name, module = type(cause).__name__, type(cause).__module__.partition(".")[0]
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.InvalidURL | aiohttp.ConnectionTimeoutError):
        return _network(Reached.NOT_CONNECTED)
    if isinstance(cause, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return _network(Reached.NOT_CONNECTED)
    if isinstance(cause, asyncio.TimeoutError) or (module == "httpx" and name in ("ReadTimeout", "WriteTimeout")):
        return AttemptFailed(Category.TIMEOUT, Reached.LOST, words(Category.TIMEOUT))
    if isinstance(cause, aiohttp.ClientError | ConnectionError) or (module == "httpx" and name in _LOST):
        return _network(Reached.LOST)
    if module == "httpx" and name in _CONNECT:
        return _network(Reached.NOT_CONNECTED)
    if isinstance(cause, json.JSONDecodeError):
        return AttemptFailed(Category.SERVER, Reached.LOST, "the provider's reply is not json")
    return None


def _network(reached: Reached) -> AttemptFailed:
    lost = "the connection broke before the reply was complete"
    return AttemptFailed(
        Category.NETWORK, reached, words(Category.NETWORK) if reached is Reached.NOT_CONNECTED else lost
    )


def _local(error: BaseException) -> AttemptFailed:
    """LiteLLM refused before anything was sent, or something unforeseen happened after that."""
    name = type(error).__name__
    if name in ("UnsupportedParamsError", "BadRequestError"):
        named = re.search(r"parameters?:? \[?'?([A-Za-z_][A-Za-z0-9_]*)", str(error))
        what = f": it does not take {named[1]}" if named else ""
        return AttemptFailed(Category.BAD_REQUEST, Reached.NOT_CONNECTED, f"the model cannot be asked like this{what}")
    if name == "AuthenticationError":
        return AttemptFailed(Category.AUTHENTICATION, Reached.NOT_CONNECTED, words(Category.AUTHENTICATION))
    return AttemptFailed(Category.SERVER, Reached.LOST, f"{words(Category.SERVER)} ({name})")


def from_stream_error(error: Any) -> AttemptFailed:
    """An error event inside a stream."""
    code = error.get("code") if isinstance(error, Mapping) else None
    category = _BY_STATUS.get(code, Category.STREAM) if isinstance(code, int) else Category.STREAM
    return AttemptFailed(category, Reached.STREAMED, "the provider reported an error inside the stream")
