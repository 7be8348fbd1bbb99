"""LiteLLM's replies and chunks as OpenAI would word them, without what LiteLLM makes up. Knows its shapes, no call."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from scribe_router.exchange import Json


def as_openai(reply: Json, wire: str) -> Json:
    """A reply of LiteLLM's as OpenAI would word it: nothing empty, nothing twice, and no usage that nobody reported."""
    usage = reply.get("usage") or {}
    if not any(usage.get(name) for name in ("prompt_tokens", "completion_tokens", "cost")):
        reply.pop("usage", None)
    shown = {name: value for name, value in reply.items() if name in ("choices", "data") or not _empty(value)}
    if "choices" in shown:
        shown["choices"] = [_choice(choice, wire) for choice in shown["choices"]]
    return shown


def _choice(choice: Json, wire: str) -> Json:
    message = _unfolded(choice.pop("message", None) or {}, wire)
    for call in message.get("tool_calls") or ():
        call.pop("index", None)
    silent = message.keys() & {"tool_calls", "function_call", "refusal"}
    return {**_unfolded(choice, wire), "message": {"role": "assistant", "content": None if silent else "", **message}}


def _unfolded(part: Json, wire: str) -> Json:
    """A message, delta or choice without what is empty. LiteLLM folds what OpenAI does not know, and repeats some of
    it, in `provider_specific_fields`: of a host that speaks OpenAI's format it goes back to where it came from."""
    folded = part.pop("provider_specific_fields", None) or {}
    shown = {name: value for name, value in part.items() if not _empty(value)}
    rest = {name: value for name, value in folded.items() if not _empty(value) and name not in shown}
    if wire == "openai":
        return {**shown, **rest}
    if "refusal" in rest:
        shown["refusal"] = rest.pop("refusal")
    return {**shown, "provider_specific_fields": rest} if rest else shown


def _empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


async def translated(response: Any, wire: str) -> AsyncIterator[Json]:
    """The chunks of a stream, from under LiteLLM's own iterator: that one invents a finish reason and usage where none
    came, and loses those of a second choice. For a format that no row knows it is all there is."""
    if wire == "other":
        async for chunk in response:
            if chunk.choices and chunk.choices[0].finish_reason and not response.received_finish_reason:
                return
            dumped = chunk.model_dump(mode="json", exclude_none=True)
            if not any(getattr(each, "usage", None) for each in response.chunks):
                dumped.pop("usage", None)
            yield dumped
        return
    stream = _Translated(response.completion_stream, wire)
    async for chunk in response.completion_stream:
        shown = stream.see(chunk)
        if shown is not None:
            yield shown
    if stream.finished and stream.usage:
        yield {**stream.head, "choices": [], "usage": stream.usage}


class _Translated:
    """Chunks of one stream as OpenAI would send them. `usage` is the truth once the stream has `finished`."""

    def __init__(self, stream: Any, wire: str) -> None:
        self.head: Json = {}
        self.usage: Json = {}
        self.finished = False
        self._wire = wire
        self._began: set[int] = set()
        self._ends = True
        if wire == "gemini":
            self._watch(stream)

    def _watch(self, stream: Any) -> None:
        """LiteLLM says "stop" in each chunk of Gemini's, so look at what came before it is translated."""
        parse = stream.chunk_parser

        def watched(chunk: Json) -> Any:
            candidates = chunk.get("candidates") or ()
            self._ends = any(candidate.get("finishReason") for candidate in candidates) or "promptFeedback" in chunk
            return parse(chunk)

        stream.chunk_parser = watched

    def see(self, chunk: Any) -> Json | None:
        """The chunk for the client; None when it holds nothing but usage, which comes at the end."""
        if chunk is None or isinstance(chunk, Mapping):  # lines between events
            return None
        if type(chunk).__module__.startswith("openai."):
            return chunk.model_dump(mode="json", exclude_unset=True)  # type: ignore[no-any-return]
        dumped = chunk.model_dump(mode="json", exclude_none=True)
        self.usage = _added(self.usage, dumped.pop("usage", None) or {})
        choices = [shown for choice in dumped.pop("choices", ()) if (shown := self._choice(choice)) is not None]
        # Ollama has no ids, so LiteLLM makes one up for each chunk: the first one stays.
        same = {name: self.head[name] for name in ("id", "created") if name in self.head}
        self.head = {name: value for name, value in {**dumped, **same}.items() if not _empty(value)}
        return {**self.head, "choices": choices} if choices else None

    def _choice(self, choice: Json) -> Json | None:
        index = choice.get("index") or 0
        delta = _unfolded(choice.get("delta") or {}, self._wire)
        finish = choice.get("finish_reason") if self._ends else None
        if not delta and not finish:
            return None
        self.finished = self.finished or bool(finish)
        if index not in self._began:
            self._began.add(index)
            delta = {"role": "assistant", **delta}
        return {**choice, "index": index, "delta": delta, "finish_reason": finish}


def _added(before: Json, after: Json) -> Json:
    """Usage as it grows: Anthropic tells of the input when a stream begins and of the output when it ends."""
    both = {**before}
    for name, value in after.items():
        if isinstance(value, Mapping):
            both[name] = _added(before.get(name) or {}, dict(value))
        elif value or name not in both:
            both[name] = value
    if "total_tokens" in both:
        both["total_tokens"] = both["prompt_tokens"] + both["completion_tokens"]
    return both
