"""What a request's body holds: its texts, the parts of its messages, its definitions, and how large they are.

Of whatever the body is, since `explain` plans what nobody has admitted. Knows a body, and nothing of models.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scribe_router.exchange import Api
from scribe_router.policies.tokens import Counted, Size

_SAID = frozenset({"text", "thinking", "content", "title", "context"})  # of a part: what is read as words


class Contents:
    """The contents of one body, found once: the `messages` that are some, the `kinds` of the parts of those whose
    contents are lists, and the `texts` of both; a chat's `tools`, and the JSON `schema` of its answer."""

    def __init__(self, api: Api, body: Mapping[str, Any]) -> None:
        self.api, self.body = api, body
        self.messages = messages(body.get("messages"))
        self._parts = parts(self.messages)
        self.kinds = [part.get("type") for part in self._parts]
        self.texts = texts(self.messages, self._parts)
        self.tools = (body.get("tools") or body.get("functions")) if api == "chat" else None
        wanted = body.get("response_format") if api == "chat" else None
        self.schema = wanted if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema" else None

    def letters(self) -> int:
        """How long the texts of its messages are, and what a text completion goes between."""
        return sum(map(len, self.texts)) + sum(map(len, prompts(self.body)))

    def links(self) -> frozenset[str]:
        """What parts of messages point to elsewhere, in place of bringing it: `file` by its id, `data` where its bytes
        belong, else `https` and `other`."""
        if not self._parts:
            return frozenset()
        return frozenset(
            _aimed(kind, name, link)
            for part, kind in zip(self._parts, self.kinds, strict=True)
            for name, link in _links(part)
        )

    def read(self) -> tuple[str, ...]:
        """The texts that a model reads in one go. Of several prompts or inputs that is the longest, since each has the
        window to itself. Earlier thinking is left out, as it is for most models, and so are arrays of token numbers."""
        if self.api == "chat":
            return (*self.texts, *_called(self.messages))
        given = self.body.get("prompt" if self.api == "completions" else "input")
        several = [each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str)]
        suffix = self.body.get("suffix") if self.api == "completions" else None
        return max(several, key=len, default=""), suffix if isinstance(suffix, str) else ""

    def definitions(self) -> tuple[str, str]:
        """(tools, schema of the answer) as JSON; empty for none."""
        return _json(self.tools) if self.tools else "", _json(self.schema) if self.schema else ""

    def size(self, counted: tuple[Counted, ...] = ()) -> Size:
        """How large the request is, as far as that costs nothing; with what of it was counted."""
        tools, schema = self.definitions()
        return Size(
            text=sum(map(_bytes, self.read())),
            messages=len(self.messages) if self.api == "chat" else 0,
            tools=_bytes(tools),
            tool_count=len(self.tools) if isinstance(self.tools, list) else 0,
            schema=_bytes(schema),
            images=self.kinds.count("image_url"),
            counted=counted,
        )


def messages(given: Any) -> list[Mapping[str, Any]]:
    """The messages that are some."""
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def parts(said: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts of messages whose contents are lists of them."""
    contents = [content for message in said if isinstance(content := message.get("content"), list)]
    return [part for content in contents for part in content if isinstance(part, dict)]


def texts(said: Iterable[Mapping[str, Any]], inside: Iterable[Mapping[str, Any]]) -> list[str]:
    """The texts of messages: contents, and those of the parts `inside`."""
    found = [message.get("content") for message in said] + [part.get("text") for part in inside]
    return [each for each in found if isinstance(each, str)]


def prompts(body: Mapping[str, Any]) -> list[str]:
    """What a text completion goes between."""
    prompt = body.get("prompt")
    given = prompt if isinstance(prompt, list) else [prompt]
    return [each for each in (*given, body.get("suffix")) if isinstance(each, str)]


def _aimed(kind: Any, name: str, link: str) -> str:
    if name == "file_data":
        return "data"
    if kind == "file":
        return "file"
    return "https" if link.lower().startswith("https://") else "other"


def _links(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts that hold an address, wherever they are, each with its name; LiteLLM finds one in the middle of a text
    too, and takes the tabs out of one before it asks."""
    if isinstance(value, str) and (":/" in value or value[:5].lower() in ("http:", "https")):
        yield name, value
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield from _links(inner, key) if key not in _SAID or not isinstance(inner, str) else ()
    for inner in value if isinstance(value, list) else ():
        yield from _links(inner, name)


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
