"""What a model thought, under one name: `reasoning_content`, whatever its provider calls it. Knows OpenAI's format.

What the provider calls it stays beside it, since the next turn may need it: OpenRouter reads its `reasoning_details`.
"""

from collections.abc import Mapping
from typing import Any

from scribe_router.exchange import Json

OPEN, CLOSE = "<think>", "</think>"


class Thoughts:
    """Names the thinking of one answer, whole or in chunks. `tagged` says that its content may begin with
    `<think>...</think>`, which is taken out of it."""

    def __init__(self, *, tagged: bool) -> None:
        self._tagged = tagged
        self._tags: dict[int, _Tags] = {}

    def named(self, answer: Json) -> Json:
        """An answer, or the next chunk of one."""
        choices = answer.get("choices")
        return {**answer, "choices": [self._choice(each) for each in choices]} if choices else answer

    def _choice(self, choice: Json) -> Json:
        name = "message" if "message" in choice else "delta"
        part = choice.get(name)
        if not isinstance(part, Mapping):
            return choice
        last = name == "message" or bool(choice.get("finish_reason"))
        said = self._untagged(_named(part), choice.get("index") or 0, last) if self._tagged else _named(part)
        return {**choice, name: said}

    def _untagged(self, part: Json, index: int, last: bool) -> Json:
        text = part.get("content") or ""
        if not isinstance(text, str) or not (text or last):
            return part
        thought, said = self._tags.setdefault(index, _Tags()).split(text, last)
        if said == text and not thought:
            return part
        before = part.get("reasoning_content")
        whole = (before if isinstance(before, str) else "") + thought
        return {**part, "content": said, **({"reasoning_content": whole} if whole else {})}


def _named(part: Mapping[str, Any]) -> Json:
    thought = part.get("reasoning_content") or part.get("reasoning") or _told(part.get("reasoning_details"))
    return {**part, "reasoning_content": thought} if thought and isinstance(thought, str) else dict(part)


def _told(details: Any) -> str:
    """The text of OpenRouter's and MiniMax's details. In a stream each has its own piece."""
    parts = [each for each in details if isinstance(each, Mapping)] if isinstance(details, list) else []
    return "".join(str(each.get("text") or each.get("summary") or "") for each in parts)


class _Tags:
    """Where the content of one choice stands: before, within or behind its tags. Half of a tag is held back."""

    def __init__(self) -> None:
        self._place, self._held = "before", ""

    def split(self, text: str, last: bool) -> tuple[str, str]:
        """(what was thought, what is said) of the next piece of content."""
        text, self._held = self._held + text, ""
        if self._place == "before":
            begun = text.lstrip()
            if OPEN.startswith(begun[: len(OPEN)]) and len(begun) < len(OPEN) and not last:
                self._held = text
                return "", ""
            self._place = "within" if begun.startswith(OPEN) else "behind"
            text = begun.removeprefix(OPEN) if self._place == "within" else text
        if self._place == "behind":
            return "", text
        thought, closed, said = text.partition(CLOSE)
        if closed:
            self._place = "behind"
            return thought, said
        half = 0 if last else next(size for size in range(len(CLOSE) - 1, -1, -1) if thought.endswith(CLOSE[:size]))
        self._held = thought[len(thought) - half :]
        return thought[: len(thought) - half], ""
