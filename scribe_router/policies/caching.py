"""Marks that tell a provider where the repeated beginning of a prompt ends, so that it keeps it. Pure."""

import json
from collections.abc import Mapping
from typing import Any

LETTERS_PER_TOKEN = 4  # of JSON: an estimate, which decides whether marks are worth their place and nothing else
_SYSTEM = ("system", "developer")


def marked(body: Mapping[str, Any], ttl: str, *, minimum: int, tools: bool) -> dict[str, Any]:
    """The body with `cache_control` at the end of its `tools` (where they may have it), of its system text and of its
    last message's last text: three of the four marks that providers read.

    As it is where the client has marked anything itself, and where tools and messages are shorter than `minimum`
    tokens, which providers do not keep.
    """
    written = json.dumps([body.get("tools"), body["messages"]], ensure_ascii=False)
    if "cache_control" in body or '"cache_control":' in written or len(written) < minimum * LETTERS_PER_TOKEN:
        return dict(body)
    mark = {"cache_control": {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}}
    messages = list(body["messages"])
    system = max((index for index, each in enumerate(messages) if each["role"] in _SYSTEM), default=-1)
    for index in {system, len(messages) - 1} - {-1}:
        messages[index] = {**messages[index], "content": _ended(messages[index].get("content"), mark)}
    marks: dict[str, Any] = {"messages": messages}
    last = body["tools"][-1] if tools and body.get("tools") else None
    if isinstance(last, Mapping):
        marks["tools"] = [*body["tools"][:-1], {**last, **mark}]
    return {**body, **marks}


def _ended(content: Any, mark: Mapping[str, Any]) -> Any:
    """The content with a mark at its last text. An empty text takes none, nor does what is no text."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        return content
    texts = [index for index, part in enumerate(parts) if isinstance(part, Mapping) and part.get("type") == "text"]
    if not texts or not str(parts[texts[-1]].get("text")).strip():
        return content
    return [{**part, **mark} if index == texts[-1] else part for index, part in enumerate(parts)]
