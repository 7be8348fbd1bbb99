"""The parts that a wire is made of. A wire is data and pure functions: it reads a `Call` and renders a `Turn`.

It knows one provider's format and nothing of sockets, of behaviours, or of the other wires.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from scribe_router.sandbox.fault import Fault, invalid
from scribe_router.sandbox.prompt import Object, Prompt
from scribe_router.sandbox.turn import Turn

Kind = Literal["start", "content", "end", "usage", "done"]
T = TypeVar("T")
LISTED: Final = ("echo", "think", "tool", "long-256", "slow-500ms", "pace-20ms", "flaky-1", "error-429", "hang")


@dataclass(frozen=True)
class Call:
    """What a wire sees of a request: headers in any case, `path` holds the variable parts of the path."""

    body: Object
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Frame:
    """One write of a stream. Only `content` counts for behaviours that break a stream after some chunks."""

    kind: Kind
    data: bytes


@dataclass(frozen=True)
class Endpoint:
    """One route: how its request is read and its reply rendered. Listings do not behave, they only answer."""

    path: str
    read: Callable[[Call], Prompt]
    plain: Callable[[Prompt, Turn], Any]
    stream: Callable[[Prompt, Turn], Iterator[Frame]] | None = None
    method: str = "POST"
    behaves: bool = True


@dataclass(frozen=True)
class Wire:
    """A provider: where it is, how it takes a key (`None`: it needs none) and how it words an error."""

    prefix: str
    endpoints: tuple[Endpoint, ...]
    error: Callable[[Fault], Any]
    error_event: Callable[[Fault], bytes]
    key: Callable[[Call], str | None] | None
    request_id: str = "x-request-id"
    stream_type: str = "text/event-stream"


def read_nothing(_: Call) -> Prompt:
    """A request for a list of models."""
    return Prompt("")


def dumps(value: Any) -> bytes:
    """JSON in UTF-8 without escapes; halves of a surrogate pair, which UTF-8 has no bytes for, become `?`."""
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def sse(data: Any, event: str | None = None) -> bytes:
    """One server-sent event; bytes go as they are."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + (data if isinstance(data, bytes) else dumps(data)) + b"\n\n"


def need(body: Object, name: str, kind: type[T]) -> T:
    """A field that the request must have; a 400 otherwise."""
    found = body.get(name)
    if not isinstance(found, kind):
        problem = "missing" if found is None else "invalid"
        raise invalid(f"{problem} parameter: '{name}' must be a {kind.__name__}")
    return found


def may(body: Object, name: str, kind: type[T]) -> T | None:
    """A field that the request may have; a 400 if it is of another kind."""
    return None if body.get(name) is None else need(body, name, kind)


def objects(body: Object, name: str) -> list[Object]:
    """A list of objects, empty when the field is absent."""
    found = may(body, name, list) or []
    if not all(isinstance(one, Mapping) for one in found):
        raise invalid(f"invalid parameter: '{name}' must hold objects")
    return found


def cap_of(body: Object, *names: str) -> int | None:
    """The output cap under the first of the names that is set; a 400 when it is not positive."""
    for name in names:
        if (cap := may(body, name, int)) is not None:
            if cap < 1:
                raise invalid(f"invalid parameter: '{name}' must be at least 1")
            return cap
    return None


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or the texts among its parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def bearer(headers: Mapping[str, str]) -> str | None:
    """The key of an `Authorization: Bearer` header."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None
