"""A stream as it is read: when it commits, what it used, whether it ended as it should.

Knows OpenAI's chunk format, which both lanes deliver; never where the chunks came from.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from scribe_router.encoding import json_bytes
from scribe_router.exchange import AttemptFailed, Category, Json, Reached, Thought

THINKING: tuple[Thought, ...] = (
    *("reasoning_content", "reasoning"),
    *("thinking_blocks", "reasoning_details", "reasoning_items"),
)
LONGEST_NAME = 200
DONE: Json = {}  # what a lane yields for `[DONE]`
Events = AsyncIterator[Json]


def usage_of(reply: Json, *, cited: bool = False) -> Json | None:
    """The usage of a reply or a chunk, with what else the reply says of its price: the service tier, who served
    it, and that a web search was made, which OpenAI tells by citations alone."""
    usage = reply.get("usage")
    if not isinstance(usage, Mapping) or not usage:
        return None
    tier = {"service_tier": reply["service_tier"]} if isinstance(reply.get("service_tier"), str) else {}
    choices = reply.get("choices")
    cited = cited or (isinstance(choices, list) and any(map(_cites, choices)))
    searched = {"web_search_requests": 1} if cited else {}
    provider, model = served_by(reply)
    behind = {"served_by": {"provider": provider, "model": model}} if provider else {}
    return {**tier, **searched, **behind, **usage}


def served_by(reply: Json) -> tuple[str, str]:
    """(provider, model) behind a reply that names its provider, as a router of others' models does; else empty."""
    provider, model = reply.get("provider"), reply.get("model")
    if not isinstance(provider, str) or not isinstance(model, str):
        return "", ""
    return provider[:LONGEST_NAME], model[:LONGEST_NAME]


def _cites(choice: Any) -> bool:
    said = (choice.get("message") or choice.get("delta") or {}) if isinstance(choice, Mapping) else {}
    notes = said.get("annotations") if isinstance(said, Mapping) else None
    return any(
        isinstance(note, Mapping) and note.get("type") == "url_citation"
        for note in (notes if isinstance(notes, list) else ())
    )


class StreamReader:
    """Watches the chunks of one stream. `expected` is the number of choices that were asked for.

    `committed` is set by the first delta that carries anything: content, reasoning, a tool call, an image. With
    `counting`, `streamed` is the number of bytes that came: at least as many as tokens.
    """

    def __init__(self, expected: int = 1, *, counting: bool = False) -> None:
        self._expected, self._counting = expected, counting
        self._finished: set[int] = set()
        self.committed = False
        self.done = False
        self._cited = False
        self.usage: Json | None = None
        self.streamed = 0

    @property
    def complete(self) -> bool:
        """A finish reason for every choice, or the end mark."""
        return self.done or len(self._finished) >= self._expected

    def see(self, chunk: Json) -> None:
        """Take note of one chunk. Raises `AttemptFailed` for one that is no chunk at all."""
        if chunk is DONE:
            self.done = True
            return
        try:
            self._note(chunk)
        except (AttributeError, TypeError):
            strange = "the provider sent an event that is no chunk of an answer"
            raise AttemptFailed(Category.STREAM, Reached.STREAMED, strange) from None

    def _note(self, chunk: Json) -> None:
        self.usage = usage_of(chunk, cited=self._cited) or self.usage
        for choice in chunk.get("choices") or ():
            self._cited = self._cited or _cites(choice)
            if choice.get("finish_reason"):
                self._finished.add(choice.get("index") or 0)
            delta = choice.get("delta") or {"text": choice.get("text")}
            carried = {name: value for name, value in delta.items() if name != "role" and value}
            if carried:
                self.committed = True
                self.streamed += len(json_bytes(carried)) if self._counting else 0


def only_usage(chunk: Json) -> bool:
    """Whether a chunk carries usage and nothing else."""
    return bool(chunk.get("usage")) and _silent(chunk)


def unthinking(answer: Json) -> Json:
    """An answer, or a chunk of one, without what the model thought. Signatures that a vendor's tools need stay."""
    choices = answer.get("choices")
    return {**answer, "choices": [_unthinking(choice) for choice in choices]} if choices else answer


def _unthinking(choice: Json) -> Json:
    parts = {name: choice[name] for name in ("message", "delta") if isinstance(choice.get(name), Mapping)}
    said = {name: {k: v for k, v in part.items() if k not in THINKING} for name, part in parts.items()}
    return {**choice, **said}


def for_client(chunk: Json, model: str, *, wants_usage: bool, hides_thinking: bool = False) -> Json | None:
    """The chunk as the client gets it: its own name for the model, usage only where it asked, thinking unless it is
    hidden; None to leave it out."""
    if only_usage(chunk):
        return {**chunk, "model": model, "choices": []} if wants_usage else None
    shown: dict[str, Any] = {**chunk, "model": model}
    if hides_thinking:
        shown = unthinking(shown)
        if _silent(shown) and not _silent(chunk) and not chunk.get("usage"):
            return None
    if not wants_usage:
        shown.pop("usage", None)
    return shown


def completed(answer: Json) -> Json:
    """An answer of text completions, or a chunk of one, in OpenAI's shape; Mistral's is that of a chat."""
    choices = [_completed(choice) for choice in answer.get("choices") or ()]
    return {**answer, "object": "text_completion", "choices": choices}


def _completed(choice: Json) -> Json:
    if "text" in choice:
        return choice
    said = choice.get("message") or choice.get("delta") or {}
    content = said.get("content") or ""
    parts = [content] if isinstance(content, str) else [part.get("text") or "" for part in content]
    rest = {name: value for name, value in choice.items() if name not in ("message", "delta")}
    return {"logprobs": None, **rest, "text": "".join(parts)}


def _silent(chunk: Json) -> bool:
    """Whether no choice of a chunk says anything, or ends."""
    choices = chunk.get("choices") or ()
    says = (choice.get("text") or any((choice.get("delta") or {}).values()) for choice in choices)
    return not any(says) and not any(choice.get("finish_reason") for choice in choices)
