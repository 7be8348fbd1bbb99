"""What was asked, in no provider's words: each wire reads its request into a `Prompt`.

The sandbox's token is one word with the white space that follows it (white space at the very start belongs to the
first word). Input is counted over the text of all messages and the JSON of the tools; images count nothing.
"""

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from scribe_router.sandbox.fault import invalid

Object = Mapping[str, Any]
Role = Literal["system", "user", "assistant", "tool"]
TOKEN: Final = re.compile(r"\s*\S+\s*|\s+")


def tokens(text: str) -> tuple[str, ...]:
    """The text in tokens; joined, they are the text again."""
    return tuple(TOKEN.findall(text))


def count(text: str) -> int:
    return sum(1 for _ in TOKEN.finditer(text))


@dataclass(frozen=True)
class Said:
    """The text of one message, or the result of one tool call."""

    role: Role
    text: str


@dataclass(frozen=True)
class Tool:
    name: str
    schema: Object


@dataclass(frozen=True)
class Prompt:
    """One request. `tools` are those that may be called now, `must_call` whether one has to be.

    `schema` is set when JSON is wanted (empty: any object), `cap` is the most output in tokens, reasoning included.
    """

    model: str
    said: tuple[Said, ...] = ()
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    schema: Object | None = None
    cap: int | None = None
    input_tokens: int = 0
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    body: Object = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The last text of the user."""
        return next((said.text for said in reversed(self.said) if said.role == "user"), "")

    @property
    def results(self) -> int:
        """The results of tools since the user spoke last."""
        since = itertools.takewhile(lambda said: said.role != "user", reversed(self.said))
        return sum(said.role == "tool" for said in since)

    @property
    def tool_result(self) -> str | None:
        """The results of the tool calls in the last turn, if there were any."""
        results: list[str] = []
        for said in reversed(self.said):
            if said.role == "assistant":
                break
            if said.role == "tool":
                results.insert(0, said.text)
        return "\n".join(results) if results else None


def measure(said: Iterable[Said], tools: object = None) -> int:
    """Input tokens of the messages and of the tools as the request carries them."""
    return sum(count(one.text) for one in said) + (count(json.dumps(tools)) if tools else 0)


def narrow(tools: tuple[Tool, ...], mode: str, name: str | None = None) -> tuple[tuple[Tool, ...], bool]:
    """The tools that may be called and whether one must be, after a choice of `none`, `auto` or `any`."""
    if mode == "none":
        return (), False
    chosen = tuple(tool for tool in tools if name in (None, tool.name))
    if mode == "any" and not chosen:
        raise invalid(f"invalid parameter: the choice of tools names {name or 'some'}, which is not offered")
    return chosen, mode == "any"
