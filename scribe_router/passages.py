"""Texts that come in parts, redacted or restored: what could be the beginning of something is held back until it is
told what it is. Pure. Knows the chunks of OpenAI's streams, never where they come from.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Protocol

from scribe_router.exchange import Json
from scribe_router.patterns import find
from scribe_router.patterns.unfinished import BEFORE, LONGEST, finished
from scribe_router.redaction import KEPT, Mask, Secrets, put_back, unweighed

Path = tuple[str | int, ...]  # names of fields, and the `index` of what a list has at that place


class Passage(Protocol):
    """One text that comes in parts. `held` is what was taken and not given out yet."""

    held: str

    def push(self, text: str, *, last: bool = False) -> str: ...


class Redacting:
    """Gives out what a mask makes of a text, as the whole of it would be redacted."""

    def __init__(self, mask: Mask) -> None:
        self._mask, self._before, self.held = mask, "", ""

    def push(self, text: str, *, last: bool = False) -> str:
        """Take the next part, which may be the last one; what can be said by now."""
        whole, start = self._before + self.held + text, len(self._before)
        cut = len(whole) if last else max(start, finished(whole, self._mask.names, self._mask.reach))
        parts, at = [], start
        for found in find(whole, self._mask.kinds, start):
            if found.start >= cut:
                break
            if found.end > cut and len(whole) - found.start <= LONGEST:  # it may turn out to be a part of another
                cut = found.start
                break
            parts += [whole[at : found.start], self._mask.stand_in(found.kind, whole[found.start : found.end])]
            at, cut = found.end, max(cut, found.end)
        parts.append(whole[at:cut])
        self._before, self.held = whole[max(0, cut - BEFORE) : cut], whole[cut:]
        return "".join(parts)


class Restoring:
    """Gives out a text with what its placeholders stand for."""

    def __init__(self, secrets: Secrets, *, within_json: bool) -> None:
        self._secrets, self._within_json, self.held = secrets, within_json, ""

    def push(self, text: str, *, last: bool = False) -> str:
        """Take the next part, which may be the last one; what can be said by now."""
        whole = put_back(self.held + text, self._secrets, within_json=self._within_json)
        size = 0 if last else max((_begun(whole, name) for name in self._secrets), default=0)
        self.held = whole[len(whole) - size :]
        return whole[: len(whole) - size]


def _begun(text: str, name: str) -> int:
    """How much of a name a text ends with."""
    return next(size for size in range(min(len(name) - 1, len(text)), -1, -1) if text.endswith(name[:size]))


class Chunks:
    """The chunks of one stream, each text of which goes through a passage of its own."""

    def __init__(self, passage: Callable[[str], Passage], *, weighed: bool = True) -> None:
        self._new, self._weighed = passage, weighed
        self._passages: dict[int, dict[Path, Passage]] = {}
        self._head: Json = {}

    def chunk(self, chunk: Json) -> Json:
        """The next chunk, with what can be said by now."""
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return chunk
        self._head = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
        return {**chunk, "choices": [self._choice(each) if isinstance(each, Mapping) else each for each in choices]}

    def rest(self) -> Json | None:
        """A chunk of what is held back at the end; None where that is nothing."""
        choices = []
        for index, passages in self._passages.items():
            choice: Json = {"index": index, "finish_reason": None}
            left = list(_left(passages, ()))
            for path, said in left:
                _put(choice, path, said)
            choices += [choice] if left else []
        return {**self._head, "choices": choices} if choices else None

    def _choice(self, choice: Mapping[str, Any]) -> Json:
        passages = self._passages.setdefault(choice.get("index") or 0, {})
        last, seen = bool(choice.get("finish_reason")), set[Path]()

        def said(text: str, path: Path | None) -> str:
            if path is None:
                return self._new("").push(text, last=True)
            seen.add(path)
            return passages.setdefault(path, self._new(str(path[-1]))).push(text, last=last)

        new: Json = _walked(choice, (), said)
        if last or seen:  # one text at a time: where another one goes on, this one has ended
            for path, text in _left(passages, seen):
                _put(new, path, text)
        return new if self._weighed else unweighed(new)


def _left(passages: Mapping[Path, Passage], seen: Any) -> Iterator[tuple[Path, str]]:
    for path, passage in passages.items():
        if passage.held and path not in seen:
            yield path, passage.push("", last=True)


def _walked(value: Any, path: Path | None, said: Callable[[str, Path | None], str]) -> Any:
    """A copy of a value with its texts as they are `said`; those in lists without an `index` are whole."""
    if isinstance(value, str):
        return said(value, path) if value else value
    if isinstance(value, Mapping):
        return {
            name: each if name in KEPT else _walked(each, None if path is None else (*path, name), said)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_walked(each, _place(each, path), said) for each in value]
    return value


def _place(part: Any, path: Path | None) -> Path | None:
    index = part.get("index") if isinstance(part, Mapping) else None
    return (*path, index) if path is not None and isinstance(index, int) else None


def _put(into: Any, path: Path, text: str) -> None:
    """Write a text at a path that is not there, or empty."""
    for step, following in pairwise(path):
        inner = _at(into, step)
        if not isinstance(inner, dict | list):
            inner = [] if isinstance(following, int) else {}
            into[step] = inner
        into = inner
    into[path[-1]] = text


def _at(into: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return into.get(step)
    found = next((each for each in into if each.get("index") == step), None)
    if found is None:
        into.append(found := {"index": step})
    return found


def redacting(mask: Mask | None) -> Chunks | None:
    """The chunks of an answer that a mask goes over."""
    return None if mask is None else Chunks(lambda _: Redacting(mask), weighed=False)


def restoring(secrets: Secrets) -> Chunks | None:
    """The chunks of an answer in which placeholders are put back."""
    return Chunks(lambda name: Restoring(secrets, within_json=name == "arguments")) if secrets else None
