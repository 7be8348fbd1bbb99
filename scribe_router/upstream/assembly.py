"""A plain answer from the chunks of a stream, exactly: what a provider sends in parts is what it would have sent whole.

Knows OpenAI's two formats; fields that it does not know are put together by what they are.
"""

from typing import Any

from scribe_router.exchange import AttemptFailed, Category, Json, Reached

# Texts that come whole, in one part or in each. Every other text of a delta comes in pieces.
WHOLE = ("role", "id", "type", "name", "format", "signature")


class _Pieces(list[str]):
    """A text that still grows."""


class Assembly:
    """Takes chunks in their order, in time that grows with their number. Of a field of the answer or of a choice, the
    last value counts; what a delta holds is joined."""

    def __init__(self) -> None:
        self._answer: Json = {}
        self._choices: dict[int, Json] = {}

    def add(self, chunk: Json) -> None:
        """One more chunk. Raises `AttemptFailed` for what is no chunk of an answer."""
        try:
            _newer(self._answer, chunk)
            for part in chunk.get("choices") or ():
                self._part(part)
        except (AttributeError, TypeError, ValueError):
            strange = "the provider sent an event that is no chunk of an answer"
            raise AttemptFailed(Category.STREAM, Reached.STREAMED, strange) from None

    def _part(self, part: Json) -> None:
        choice = self._choices.setdefault(int(part.get("index") or 0), {})
        _newer(choice, {name: value for name, value in part.items() if name not in ("delta", "logprobs")})
        _join(choice, {name: part[name] for name in ("delta", "logprobs") if name in part})

    def answer(self) -> Json:
        """The answer as it is so far."""
        choices = [_message(_settled(self._choices[index])) for index in sorted(self._choices)]
        kind = {"object": "chat.completion"} if "object" in self._answer else {}
        return {**self._answer, **kind, "choices": choices}


def _newer(fields: Json, part: Json) -> None:
    fields |= {name: value for name, value in part.items() if value is not None or name not in fields}


def _message(choice: Json) -> Json:
    said = {"role": "assistant", "content": None, **(choice.pop("delta", None) or {})}
    if isinstance(said.get("tool_calls"), list):
        said["tool_calls"] = [{name: call[name] for name in call if name != "index"} for call in said["tool_calls"]]
    return {**choice, "message": said}


def _join(into: Json, part: Json) -> None:
    """Add an object's fields: texts in pieces grow, lists are extended, objects are merged, all else is replaced."""
    for name, value in part.items():
        if into.get(name) is None:
            into[name] = _growing(name, value)
        before = into[name]
        if isinstance(before, _Pieces) and isinstance(value, str):
            before.append(value)
        elif isinstance(before, dict) and isinstance(value, dict):
            _join(before, value)
        elif type(before) is list and isinstance(value, list):
            (_extend_thinking if name == "thinking_blocks" else _extend)(before, value)
        elif isinstance(before, list | dict) and value is not None:
            raise TypeError(f"{name} goes on as something else")
        elif value is not None and not (name in WHOLE and before):
            into[name] = value


def _growing(name: str, value: Any) -> Any:
    """What a value of this kind is put into."""
    if isinstance(value, str):
        return value if name in WHOLE else _Pieces()
    return type(value)() if isinstance(value, dict | list) else value


def _extend(into: list[Any], parts: list[Any]) -> None:
    """Add a list's parts: one with an `index` belongs to the one that has the same."""
    for part in parts:
        if not _indexed(part):
            into.append(part)
            continue
        found = next((each for each in into if _indexed(each) and each["index"] == part["index"]), None)
        if found is None:
            into.append(found := {})
        _join(found, part)


def _extend_thinking(into: list[Any], parts: list[Any]) -> None:
    """Add parts of signed thinking: a block has no index, and goes on until its signature."""
    for part in parts:
        if not into or into[-1].get("signature") or part.get("type") != into[-1].get("type"):
            into.append({})
        _join(into[-1], part)


def _settled(value: Any) -> Any:
    if isinstance(value, _Pieces):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _settled(each) for name, each in value.items()}
    if isinstance(value, list):
        in_order = sorted(value, key=lambda each: each["index"]) if all(map(_indexed, value)) else value
        return [_settled(each) for each in in_order]
    return value


def _indexed(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("index"), int)
