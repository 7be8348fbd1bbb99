"""What is answered, in no provider's words: `compose` decides what to say, each wire renders it.

Pure: the same prompt, behaviour and answers make the same turn.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from scribe_router.sandbox.answers import Answers
from scribe_router.sandbox.behaviour import Behaviour
from scribe_router.sandbox.example import example
from scribe_router.sandbox.prompt import Prompt, Tool, count, tokens

Finish = Literal["stop", "length", "tool_calls"]
UNCAPPED: Final = 4096
FRAGMENT: Final = 8


@dataclass(frozen=True)
class Usage:
    """Tokens of one exchange: `cached` is part of `input`, `reasoning` part of `output`."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class ToolCall:
    name: str
    arguments: str

    @property
    def size(self) -> int:
        return 1 + count(self.arguments)

    @property
    def input(self) -> Any:
        """The arguments as an object, for the wires that want one."""
        return json.loads(self.arguments)

    @property
    def fragments(self) -> tuple[str, ...]:
        """The arguments in the pieces that a stream sends; their borders fall inside words on purpose."""
        return tuple(self.arguments[at : at + FRAGMENT] for at in range(0, len(self.arguments), FRAGMENT))


@dataclass(frozen=True)
class Spoken:
    """The content of an answer, in tokens."""

    thinking: tuple[str, ...]
    text: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    finish: Finish

    @property
    def size(self) -> int:
        return len(self.thinking) + len(self.text) + sum(call.size for call in self.calls)


@dataclass(frozen=True)
class Turn(Spoken):
    """An answer to render. `billed` is the truth, `usage` what the provider reports of it.

    `canned` is a usage object in the provider's own words that stands for what the wire would make of `usage`, `extra`
    are fields beside the text.
    `number` and `created` (seconds of the epoch) make the ids and times, so that they are stable within a response.
    """

    billed: Usage
    usage: Usage | None
    number: int
    created: int
    canned: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def compose(prompt: Prompt, behaviour: Behaviour, answers: Answers, number: int = 1, created: int = 0) -> Turn:
    """The answer of a behaviour to a prompt."""
    spoken = within(prompt.cap, say(prompt, behaviour, answers))
    billed = bill(prompt, behaviour, spoken)
    canned = answers.find(prompt.model, prompt.text)
    return Turn(
        spoken.thinking,
        spoken.text,
        spoken.calls,
        spoken.finish,
        billed=billed,
        usage=billed if behaviour.usage else None,
        number=number,
        created=created,
        canned=canned.usage if canned else None,
        extra=canned.extra if canned else {},
    )


def say(prompt: Prompt, behaviour: Behaviour, answers: Answers) -> Spoken:
    thinking = tuple(f"step-{step} " for step in range(1, behaviour.think + 1))
    if behaviour.empty:
        return Spoken(thinking, (), (), "stop")
    if tools := wanted(prompt, behaviour):
        said = tokens(prompt.text) if behaviour.aloud else ()
        return Spoken(thinking, said, tuple(call(tool, prompt.text) for tool in tools), "tool_calls")
    return Spoken(thinking, words(prompt, behaviour, answers), (), "stop")


def wanted(prompt: Prompt, behaviour: Behaviour) -> tuple[Tool, ...]:
    """The tools to call: as many as the behaviour says until their results are there, or one in each of its rounds;
    one whenever one is forced."""
    asked = behaviour.tools if prompt.tool_result is None else 0
    asked = max(asked, int(prompt.results < behaviour.rounds))
    return prompt.tools[: max(asked, int(prompt.must_call))]


def call(tool: Tool, text: str) -> ToolCall:
    return ToolCall(tool.name, json.dumps(example({"type": "object", **tool.schema}, text)))


def words(prompt: Prompt, behaviour: Behaviour, answers: Answers) -> tuple[str, ...]:
    if behaviour.words is not None:
        return ("word ",) * behaviour.words
    spoken = tokens(sentence(prompt, behaviour, answers))
    missing = behaviour.least_words - len(spoken)
    if missing <= 0:
        return spoken
    return (*spoken[:-1], *(f"{last} " for last in spoken[-1:]), *("word ",) * missing)


def sentence(prompt: Prompt, behaviour: Behaviour, answers: Answers) -> str:
    canned = answers.find(prompt.model, prompt.text)
    if canned is not None:
        return canned.text
    if (behaviour.tools or behaviour.rounds) and prompt.tool_result is not None:
        return prompt.tool_result
    return prompt.text if prompt.schema is None else json.dumps(example(prompt.schema, prompt.text))


def within(cap: int | None, spoken: Spoken) -> Spoken:
    """The part of an answer that fits under the cap: thinking first, then text; a call is whole or left out."""
    if cap is None or spoken.size <= cap:
        return spoken
    thinking = spoken.thinking[:cap]
    text = spoken.text[: cap - len(thinking)]
    room, calls = cap - len(thinking) - len(text), []
    for one in spoken.calls:
        room -= one.size
        if room < 0:
            break
        calls.append(one)
    return Spoken(thinking, text, tuple(calls), "length")


def bill(prompt: Prompt, behaviour: Behaviour, spoken: Spoken) -> Usage:
    """The true usage; each of the `n` choices is billed."""
    taken = prompt.input_tokens if behaviour.input is None else behaviour.input
    given = spoken.size * prompt.n if behaviour.output is None else behaviour.output
    if behaviour.max_bill:
        given = (prompt.cap or UNCAPPED) * prompt.n
    reasoning = len(spoken.thinking) * prompt.n
    return Usage(taken, given, min(behaviour.cached, taken), min(reasoning, given))
