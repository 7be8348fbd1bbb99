"""What of a conversation may travel to another vendor: the words and the tools, never what someone else thought.

Messages come from clients, who send back what they got; so the fields themselves tell whose thinking it is. Pure.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from scribe_router.exchange import Thought

THOUGHTS: tuple[Thought, ...] = get_args(Thought)
SIGNED = THOUGHTS[2:]  # of use to the vendor that signed them alone
_BLOCKS = ("thinking", "redacted_thinking")
_ID = "abcdefghijklmnopqrstuvwxyz0123456789"


def readable(
    messages: Sequence[Any], understood: Collection[str], ids: str | None, *, wants: bool = False
) -> list[Any]:
    """The messages with those fields of thinking that the target has `understood`, and with ids of tool calls that
    match its pattern `ids`. What is signed by another vendor takes its readable form with it; where the target `wants`
    some beside every call of a tool, a space stands in."""
    return [_message(each, understood, ids, wants) if isinstance(each, Mapping) else each for each in messages]


def _message(
    message: Mapping[str, Any], understood: Collection[str], ids: str | None, wants: bool
) -> Mapping[str, Any]:
    foreign = any(message.get(name) and name not in understood for name in SIGNED)
    own = any(message.get(name) and name in understood for name in SIGNED)
    dropped = {name for name in THOUGHTS if name in message and (name not in understood or (foreign and not own))}
    kept = {name: value for name, value in message.items() if name not in dropped}
    if isinstance(kept.get("content"), list) and "thinking_blocks" not in understood:
        said = [part for part in kept["content"] if not _thinks(part)]
        # An empty list is refused, and so is nothing at all beside no calls.
        kept["content"] = said or (kept["content"] and (None if kept.get("tool_calls") else ""))
    _calls(kept, ids)
    if wants and kept.get("tool_calls") and not kept.get("reasoning_content"):
        kept["reasoning_content"] = " "
    return kept if kept != message else message


def _thinks(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _BLOCKS


def _calls(message: dict[str, Any], ids: str | None) -> None:
    """Gives calls of tools, and the result of one, an id that fits, and a call without arguments an empty object: who
    reads them as JSON refuses an empty text."""
    if ids is not None and isinstance(message.get("tool_call_id"), str):
        message["tool_call_id"] = fitting(message["tool_call_id"], ids)
    if isinstance(message.get("tool_calls"), list):
        message["tool_calls"] = [_call(call, ids) for call in message["tool_calls"]]


def _call(call: Any, ids: str | None) -> Any:
    if not isinstance(call, Mapping):
        return call
    called = dict(call)
    if ids is not None and isinstance(call.get("id"), str):
        called["id"] = fitting(call["id"], ids)
    if isinstance(call.get("function"), Mapping) and call["function"].get("arguments") == "":
        called["function"] = {**call["function"], "arguments": "{}"}
    return called


def fitting(identity: str, pattern: str) -> str:
    """The id, or one made of it that matches: nine letters and digits, the same each time."""
    if re.fullmatch(pattern, identity):
        return identity
    number = int.from_bytes(hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()[:8])
    return "".join(_ID[number // len(_ID) ** place % len(_ID)] for place in range(9))
