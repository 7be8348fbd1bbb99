"""What a failed attempt means: its category, and how far it got. Read from replies and from the causes of exceptions.

LiteLLM's own classes hide the cause (a refused connection, a lost reply and a provider's 500 all arrive as
`InternalServerError`), so the chain behind the exception is what counts.
"""

import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from math import isnan
from traceback import walk_tb
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
# What LiteLLM and the clients below it are in before they send: where the exception comes from one, nothing was sent.
_UNSENT = frozenset(
    "async_get_available_deployment function_setup validate_and_fix_openai_messages get_optional_params "
    "transform_request async_transform_request transform_request_body async_transform_request_body "
    "build_request _build_request".split()
)
# And in these while it gets what a message points to: whatever fails there says nothing of the provider.
_FETCHING = frozenset("safe_get async_safe_get validate_url convert_url_to_base64 async_convert_url_to_base64".split())
# Gemini refuses a wrong key with 400.
_KEY = re.compile(r"api_key_invalid|api key (?:not valid|expired|not found)", re.IGNORECASE)
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
        elif _KEY.search(probe):
            category = Category.AUTHENTICATION
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


def concealed(error: Json | None, secrets: Iterable[str]) -> Json | None:
    """A provider's error without what the operator sent it in secret: some repeat the key that they refuse."""
    if error is None:
        return None
    texts = {name: value for name, value in error.items() if isinstance(value, str)}
    for secret in secrets:
        texts = {name: value.replace(secret, "(a secret)") for name, value in texts.items()}
    return {**error, **texts}


def _error_object(text: str) -> Json | None:
    """The provider's error: `{"error": {…}}`, `{"error": "…"}`, a list around it, or `{"message": "…"}` alone."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    parsed = parsed[0] if isinstance(parsed, list) and parsed else parsed
    if not isinstance(parsed, dict):
        return None
    error = parsed.get("error", parsed)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else None


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "nan")
    except ValueError:
        return None
    return None if isnan(seconds) else min(max(seconds, 0.0), 3600.0)


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
    return _seen_on_the_way(causes) or _local(causes)


def from_stream_exception(error: BaseException) -> AttemptFailed:
    """An exception while a stream was read: the connection broke, or the provider reported an error inside it."""
    causes = list(chain(error))
    event = getattr(error, "body", None) or {"code": getattr(error, "status_code", None)}
    reported = len(causes) == 1 and hasattr(error, "message")
    return _seen_on_the_way(causes) or (from_stream_error(event) if reported else _local(causes))


def _seen_on_the_way(causes: list[BaseException]) -> AttemptFailed | None:
    """What the chain says of the connection or a reply. The connection goes first: LiteLLM puts replies that nobody
    sent around lost ones."""
    for read in (_unfetched, _not_connected, _lost, _replied, _unreadable):
        for cause in causes:
            failure = read(cause)
            if failure is not None:
                return failure
    return None


def _unfetched(cause: BaseException) -> AttemptFailed | None:
    if not any(frame.f_code.co_name in _FETCHING for frame, _ in walk_tb(cause.__traceback__)):
        return None
    text = "what a message points to could not be fetched, or may not be; send it as data:"
    return AttemptFailed(Category.BAD_REQUEST, Reached.NOT_CONNECTED, text, error={"param": "messages"})


def _not_connected(cause: BaseException) -> AttemptFailed | None:
    connect = (
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.ClientHttpProxyError,
        aiohttp.InvalidURL,
        ConnectionRefusedError,
        socket.gaierror,
    )
    if isinstance(cause, connect) or _is_httpx(cause, "ConnectTimeout", "PoolTimeout", "ProxyError", "InvalidURL"):
        return AttemptFailed(Category.NETWORK, Reached.NOT_CONNECTED, words(Category.NETWORK))
    return None


def _lost(cause: BaseException) -> AttemptFailed | None:
    if isinstance(cause, TimeoutError) or _is_httpx(cause, "TimeoutException"):
        return AttemptFailed(Category.TIMEOUT, Reached.LOST, words(Category.TIMEOUT))
    # Through LiteLLM a connection that was reset after the request is an httpx.ConnectError as well.
    if isinstance(cause, aiohttp.ClientError | ConnectionError) or _is_httpx(cause, "TransportError", "DecodingError"):
        return AttemptFailed(Category.NETWORK, Reached.LOST, "the connection broke before the reply was complete")
    return None


def _replied(cause: BaseException) -> AttemptFailed | None:
    """A reply that really came: httpx and the OpenAI client tell of those only, LiteLLM's own classes invent some; but
    for the one that a package's own provider raises."""
    if type(cause).__name__ == "CustomLLMError" and isinstance(status := getattr(cause, "status_code", None), int):
        return from_reply(status, str(cause), {})
    if not (_is_httpx(cause, "HTTPStatusError") or type(cause).__module__.partition(".")[0] == "openai"):
        return None
    response = getattr(cause, "response", None)
    if response is None or response.status_code < 400:
        return None
    headers = {name.lower(): value for name, value in response.headers.items()}
    return from_reply(response.status_code, _text(cause, response), headers)


def _text(cause: BaseException, response: Any) -> str:
    try:
        return str(response.text)
    except Exception:  # noqa: BLE001  (an unread streamed reply raises one of several classes; the cause has its text)
        return str(getattr(cause, "message", "") or cause)


def _unreadable(cause: BaseException) -> AttemptFailed | None:
    if isinstance(cause, json.JSONDecodeError | UnicodeDecodeError):
        return AttemptFailed(Category.SERVER, Reached.LOST, "the provider's reply is not json")
    return None


def _is_httpx(cause: BaseException, *names: str) -> bool:
    """By name, since httpx comes with LiteLLM and the wire lane does without both."""
    return any(kind.__name__ in names and kind.__module__.startswith("httpx") for kind in type(cause).__mro__)


def _local(causes: list[BaseException]) -> AttemptFailed:
    """No reply and no connection is behind it: LiteLLM refused before anything was sent, or could not translate.

    A translation fails on the way back as well, so it counts as sent unless its traceback says that it was not.
    """
    if any(isinstance(cause, UnicodeEncodeError) for cause in causes):
        return AttemptFailed(
            Category.BAD_REQUEST, Reached.NOT_CONNECTED, "the request holds text that is not valid Unicode"
        )
    error, name = causes[0], type(causes[0]).__name__
    if len(causes) == 1 and name in ("UnsupportedParamsError", "BadRequestError"):
        named = re.search(r"parameters?:? \[?'?([A-Za-z_][A-Za-z0-9_]*)", str(error))
        what = f": it does not take {named[1]}" if named else ""
        return AttemptFailed(Category.BAD_REQUEST, Reached.NOT_CONNECTED, f"the model cannot be asked like this{what}")
    if len(causes) == 1 and name == "AuthenticationError":
        return AttemptFailed(Category.AUTHENTICATION, Reached.NOT_CONNECTED, words(Category.AUTHENTICATION))
    why = type(causes[-1]).__name__
    if any(frame.f_code.co_name in _UNSENT for frame, _ in walk_tb(causes[-1].__traceback__)):
        unsent = f"the request could not be translated ({why})"
        return AttemptFailed(Category.SERVER, Reached.NOT_CONNECTED, unsent, blameless=True)
    what = f"the request or its reply could not be translated ({why})"
    return AttemptFailed(Category.SERVER, Reached.LOST, what, blameless=True)


def from_stream_error(error: Any) -> AttemptFailed:
    """An error event inside a stream."""
    code = error.get("code") if isinstance(error, Mapping) else None
    category = _BY_STATUS.get(code, Category.STREAM) if isinstance(code, int) else Category.STREAM
    return AttemptFailed(category, Reached.STREAMED, "the provider reported an error inside the stream")
