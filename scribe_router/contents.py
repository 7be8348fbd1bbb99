"""What a request's body holds: its texts, the parts of its messages, its definitions, and how large they are.

Of whatever the body is, since `explain` plans what nobody has admitted. Knows a body, and nothing of models.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scribe_router.exchange import Api
from scribe_router.policies.tokens import Counted, Size

_SAID = frozenset({"text", "thinking", "content", "title", "context"})  # of a part: what is read as words


def messages(given: Any) -> list[Mapping[str, Any]]:
    """The messages that are some."""
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def parts(said: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts of messages whose contents are lists of them."""
    contents = (message.get("content") for message in said)
    return [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]


def links(inside: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """What parts of messages point to elsewhere, in place of bringing it: `file` by its id, `data` where its bytes
    belong, else `https` and `other`."""
    found = ((part.get("type"), name, link) for part in inside for name, link in _links(part))
    return frozenset(
        "data" if name == "file_data"
        else "file" if kind == "file"
        else "https" if link.lower().startswith("https://")
        else "other"
        for kind, name, link in found
    )  # fmt: skip


def _links(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts that hold an address, wherever they are, each with its name; LiteLLM finds one in the middle of a text
    too, and takes the tabs out of one before it asks."""
    if isinstance(value, str) and (":/" in value or value[:5].lower() in ("http:", "https")):
        yield name, value
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield from _links(inner, key) if key not in _SAID or not isinstance(inner, str) else ()
    for inner in value if isinstance(value, list) else ():
        yield from _links(inner, name)


def texts(said: Iterable[Mapping[str, Any]], inside: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The texts of messages: contents, and those of the parts `inside`."""
    for each, name in (*((message, "content") for message in said), *((part, "text") for part in inside)):
        if isinstance(each.get(name), str):
            yield each[name]


def prompts(body: Mapping[str, Any]) -> Iterator[str]:
    """What a text completion goes between."""
    prompt = body.get("prompt")
    for each in (*(prompt if isinstance(prompt, list) else (prompt,)), body.get("suffix")):
        if isinstance(each, str):
            yield each


def asks_schema(body: Mapping[str, Any]) -> bool:
    """Whether the answer is to follow a JSON schema."""
    wanted = body.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") == "json_schema"


def read(api: Api, body: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts that a model reads in one go. Of several prompts or inputs that is the longest, since each has the
    window to itself. Earlier thinking is left out, as it is for most models, and so are arrays of token numbers."""
    if api == "chat":
        said = messages(body.get("messages"))
        return (*texts(said, parts(said)), *_called(said))
    given = body.get("prompt" if api == "completions" else "input")
    several = [each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str)]
    suffix = body.get("suffix") if api == "completions" else None
    return max(several, key=len, default=""), suffix if isinstance(suffix, str) else ""


def definitions(api: Api, body: Mapping[str, Any]) -> tuple[str, str]:
    """(tools, schema of the answer) as JSON; empty for none."""
    tools = (body.get("tools") or body.get("functions")) if api == "chat" else None
    schema = body["response_format"] if api == "chat" and asks_schema(body) else None
    return _json(tools) if tools else "", _json(schema) if schema else ""


def size(api: Api, body: Mapping[str, Any], counted: tuple[Counted, ...] = ()) -> Size:
    """How large a request is, as far as that costs nothing; with what of it was counted."""
    tools, schema = definitions(api, body)
    listed = (body.get("tools") or body.get("functions")) if tools else ()
    said = messages(body.get("messages"))
    return Size(
        text=sum(map(_bytes, read(api, body))),
        messages=len(said) if api == "chat" else 0,
        tools=_bytes(tools),
        tool_count=len(listed) if isinstance(listed, list) else 0,
        schema=_bytes(schema),
        images=sum(part.get("type") == "image_url" for part in parts(said)),
        counted=counted,
    )


def _called(given: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Names and arguments of the tools that were called in earlier turns."""
    for message in given:
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, Mapping) else None
            said = (function.get("name"), function.get("arguments")) if isinstance(function, Mapping) else ()
            yield from (each for each in said if isinstance(each, str))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
