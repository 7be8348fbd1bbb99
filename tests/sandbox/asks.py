"""The same request in every wire's words, so that one table can go over all of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT = "hello big world"
MESSAGES = [{"role": "user", "content": TEXT}]
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
ARGUMENTS = {"city": TEXT, "days": 1}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": PARAMETERS}}
    for name in ("weather", "news")
]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "kind": {"type": "string", "enum": ["a", "b"]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}
DOCUMENT = {"name": TEXT, "kind": "a"}


@dataclass(frozen=True)
class Ask:
    """A request to one wire."""

    path: str
    body: dict[str, Any]


def ask(wire: str, model: str, stream: bool = False, **more: Any) -> Ask:
    if wire == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        contents = [{"role": "user", "parts": [{"text": TEXT}]}]
        return Ask(f"/gemini/v1beta/models/{model}:{verb}", {"contents": contents, **more})
    body = {"model": model, "messages": MESSAGES, "stream": stream, **more}
    if wire == "anthropic":
        return Ask("/anthropic/v1/messages", {"max_tokens": 1000, **body})
    return Ask({"openai": "/v1/chat/completions", "ollama": "/ollama/api/chat"}[wire], body)


def events(wire: str, text: str) -> list[Any]:
    """The JSON of a stream's events; `[DONE]` stays text."""
    if wire == "ollama":
        return [json.loads(line) for line in text.splitlines()]
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def words(wire: str, event: Any) -> str:
    """The answer's text in one event."""
    if not isinstance(event, Mapping):
        return ""
    if wire == "openai":
        return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
    if wire == "anthropic":
        return str(event.get("delta", {}).get("text", ""))
    if wire == "gemini":
        parts = [part for one in event.get("candidates", ()) for part in one["content"]["parts"]]
        return "".join(part["text"] for part in parts if not part.get("thought"))
    return str(event.get("message", {}).get("content", ""))
