"""A chat stream as it is read: when it commits, what it used, whether it ended as it should.

Knows OpenAI's chunk format, which both lanes deliver; never where the chunks came from.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from scribe_router.encoding import json_bytes
from scribe_router.exchange import AttemptFailed, Category, Json, Reached

DONE: Json = {}  # what a lane yields for `[DONE]`
Events = AsyncIterator[Json]


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
        usage = chunk.get("usage")
        if isinstance(usage, Mapping) and usage:
            self.usage = dict(usage)
        for choice in chunk.get("choices") or ():
            if choice.get("finish_reason"):
                self._finished.add(choice.get("index") or 0)
            delta = choice.get("delta") or {}
            carried = {name: value for name, value in delta.items() if name != "role" and value}
            if carried:
                self.committed = True
                self.streamed += len(json_bytes(carried)) if self._counting else 0


def only_usage(chunk: Json) -> bool:
    """Whether a chunk carries usage and nothing else."""
    return bool(chunk.get("usage")) and not any(
        choice.get("finish_reason") or any((choice.get("delta") or {}).values())
        for choice in chunk.get("choices") or ()
    )


def for_client(chunk: Json, model: str, *, wants_usage: bool) -> Json | None:
    """The chunk as the client gets it: its own name for the model, usage only where it asked; None to leave it out."""
    if only_usage(chunk):
        return {**chunk, "model": model, "choices": []} if wants_usage else None
    shown: dict[str, Any] = {**chunk, "model": model}
    if not wants_usage:
        shown.pop("usage", None)
    return shown
