"""What a model says in one round of a request with MCP tools, and how the rounds are put together for the client.

Pure: knows OpenAI's format of answers and chunks; never what a tool does.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scribe_router.exchange import Json

BETWEEN_TEXTS = "\n\n"
TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


@dataclass(frozen=True, slots=True)
class Wish:
    """A call that a model wants made: its id, the function's name, and its arguments as the model wrote them."""

    id: str
    function: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A round that ends in calls of our tools alone: the message that asks for them, as it came."""

    message: Json
    wishes: tuple[Wish, ...]


def turn_of(body: Json, ours: Collection[str]) -> Turn | None:
    """The turn of a round's answer; None where it calls nothing of ours, or something else beside it: then nothing is
    run, and all goes to the caller. Ids that are missing, or that two calls have, are replaced: what the tools say
    belongs to its call by them."""
    message = (body.get("choices") or [{}])[0].get("message") or {}
    wishes = [_wish(each) for each in message.get("tool_calls") or ()]
    if not wishes or any(wish is None or wish.function not in ours for wish in wishes):
        return None
    found = tuple(wish for wish in wishes if wish is not None)
    if len({wish.id for wish in found} - {""}) < len(found):
        found = tuple(replace(wish, id=f"call_{number}") for number, wish in enumerate(found))
        calls = [{**call, "id": wish.id} for call, wish in zip(message["tool_calls"], found, strict=True)]
        message = {**message, "tool_calls": calls}
    return Turn(message, found)


def _wish(call: Any) -> Wish | None:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    arguments = function.get("arguments")
    return Wish(str(call.get("id") or ""), function["name"], arguments if isinstance(arguments, str) else "{}")


def joined(rounds: list[Json]) -> Json:
    """The answer of all rounds: the texts of each, all else of the last, the usage of all."""
    last = rounds[-1]
    if len(rounds) > 1:
        messages = [each["choices"][0]["message"] for each in rounds]
        message = dict(messages[-1])
        for name in TEXTS:
            texts = [each[name] for each in messages if isinstance(each.get(name), str) and each[name]]
            if texts and isinstance(message.get(name), str | None):
                message[name] = BETWEEN_TEXTS.join(texts)
        usage = total([each["usage"] for each in rounds if isinstance(each.get("usage"), Mapping)])
        choices = [{**last["choices"][0], "message": message}]
        last = {**last, "id": rounds[0].get("id"), "choices": choices, **({"usage": usage} if usage else {})}
    return last


def total(usages: list[Mapping[str, Any]]) -> Json:
    """Usage objects added up, number by number; of anything else the last value counts."""
    result: Json = {}
    for usage in usages:
        for name, value in usage.items():
            before = result.get(name)
            if isinstance(value, Mapping):
                result[name] = total([before if isinstance(before, Mapping) else {}, value])
            elif _number(value):
                result[name] = (before if _number(before) else 0) + value
            elif value is not None or name not in result:
                result[name] = value
    return result


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Screen:
    """What of a stream's rounds the client sees, as one stream: texts as they come, no call of ours, one end. What is
    no text (signed thinking, citations) belongs to its round, so it is shown once it is known that there is no other.
    """

    def __init__(self, ours: Collection[str]) -> None:
        self._ours = ours
        self._id: Any = None
        self._begun = False
        self._spoken: set[str] = set()  # texts that earlier rounds have said something of
        self._said: set[str] = set()  # and those of this one
        self._usages: list[Mapping[str, Any]] = []
        self._usage: Mapping[str, Any] | None = None  # of this round: a provider may count anew with every chunk
        self._theirs: dict[int, bool] = {}
        self._held: list[Json] = []
        self._end: Json | None = None

    def begin(self) -> None:
        """A round begins; what is held of the one before is gone."""
        self._spoken |= self._said
        self._counted()
        self._said, self._theirs, self._held, self._end = set(), {}, [], None

    def see(self, chunk: Json) -> list[Json]:
        """One chunk of a round: what the client gets of it now."""
        if isinstance(chunk.get("usage"), Mapping):
            self._usage = chunk["usage"]
        self._id = self._id or chunk.get("id")
        chunk = {**{name: value for name, value in chunk.items() if name != "usage"}, "id": self._id}
        return [shown for choice in chunk.get("choices") or () for shown in self._part(chunk, choice)]

    def _part(self, chunk: Json, choice: Json) -> list[Json]:
        delta = {name: value for name, value in (choice.get("delta") or {}).items() if value not in (None, "", [])}
        if choice.get("finish_reason"):
            self._end = {**chunk, "choices": [{**choice, "delta": {}}]}
        calls = delta.pop("tool_calls", [])
        theirs = [each for each in calls if self._is_theirs(each)]
        now = {name: delta.pop(name) for name in ("role", *TEXTS) if isinstance(delta.get(name), str)}
        if ours := [each for each in calls if each not in theirs]:
            delta["tool_calls"] = ours
        if delta:
            self._held.append(_with(chunk, choice, delta))
        if self._begun:
            now.pop("role", None)
        now |= {"tool_calls": theirs} if theirs else {}
        if not now:
            return []
        self._begun = True
        first = [name for name in TEXTS if name in now and name not in self._said]
        self._said.update(first)
        between = [_with(chunk, choice, {name: BETWEEN_TEXTS}) for name in first if name in self._spoken]
        return [*between, _with(chunk, choice, now)]

    def _is_theirs(self, call: Json) -> bool:
        """Whether a part belongs to a call of the client's own tools; the name comes with the first part alone."""
        place, name = call.get("index") or 0, (call.get("function") or {}).get("name")
        if name:
            self._theirs[place] = name not in self._ours
        return self._theirs.get(place, False)

    def end(self) -> list[Json]:
        """What was held of the last round, its end, and the usage of all rounds."""
        self._counted()
        chunks = [*self._held, *([self._end] if self._end is not None else [])]
        if self._usages and chunks:
            chunks.append({**chunks[-1], "choices": [], "usage": total(self._usages)})
        return chunks

    def _counted(self) -> None:
        self._usages += [self._usage] if self._usage is not None else []
        self._usage = None


def _with(chunk: Json, choice: Json, delta: Json) -> Json:
    return {**chunk, "choices": [{**choice, "delta": delta, "finish_reason": None}]}
