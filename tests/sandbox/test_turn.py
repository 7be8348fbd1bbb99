"""What is said: prompts and behaviours in, turns out."""

import json
from dataclasses import replace
from typing import Any

import pytest

from scribe_router.sandbox.answers import Answers, Canned
from scribe_router.sandbox.behaviour import parse
from scribe_router.sandbox.prompt import Prompt, Said, Tool
from scribe_router.sandbox.turn import Turn, Usage, compose

NONE = Answers({})
TOOLS = (Tool("a", {"properties": {"x": {"type": "string"}}}), Tool("b", {}))
ASKED = Prompt("echo", (Said("user", "one two three"),), input_tokens=3)
WITH_TOOLS = replace(ASKED, tools=TOOLS)
WITH_RESULT = replace(WITH_TOOLS, said=(*ASKED.said, Said("assistant", ""), Said("tool", "it is 7")))


def turn(behaviour: str, prompt: Prompt = ASKED, answers: Answers = NONE) -> Turn:
    return compose(prompt, parse(behaviour), answers)


@pytest.mark.parametrize(
    ("behaviour", "prompt", "text", "finish", "usage"),
    [
        ("echo", ASKED, "one two three", "stop", Usage(3, 3)),
        ("echo", replace(ASKED, said=()), "", "stop", Usage(3, 0)),
        ("echo", replace(ASKED, cap=2), "one two ", "length", Usage(3, 2)),
        ("echo", replace(ASKED, cap=3), "one two three", "stop", Usage(3, 3)),
        ("echo", replace(ASKED, n=2), "one two three", "stop", Usage(3, 6)),
        ("empty", ASKED, "", "stop", Usage(3, 0)),
        ("long-4", ASKED, "word word word word ", "stop", Usage(3, 4)),
        ("long-4", replace(ASKED, cap=2), "word word ", "length", Usage(3, 2)),
        ("think-2", ASKED, "one two three", "stop", Usage(3, 5, reasoning=2)),
        ("think-2", replace(ASKED, cap=1), "", "length", Usage(3, 1, reasoning=1)),
        ("tool", ASKED, "one two three", "stop", Usage(3, 3)),
        ("tool", WITH_RESULT, "it is 7", "stop", Usage(3, 3)),
        ("usage-1000-200", ASKED, "one two three", "stop", Usage(1000, 200)),
        ("usage-1000-200+cached-300+think-50", ASKED, "one two three", "stop", Usage(1000, 200, 300, 50)),
        ("usage-10-5+cached-300+think-50", ASKED, "one two three", "stop", Usage(10, 5, 10, 5)),
        ("max-bill", replace(ASKED, cap=50), "one two three", "stop", Usage(3, 50)),
        ("max-bill", ASKED, "one two three", "stop", Usage(3, 4096)),
        ("max-bill-70", replace(ASKED, cap=50, n=2), "one two three", "stop", Usage(70, 100)),
        ("cut-after-4", ASKED, "one two three word word ", "stop", Usage(3, 5)),
        ("error-mid-1", ASKED, "one two three", "stop", Usage(3, 3)),
        ("echo", replace(ASKED, schema={"properties": {"q": {}}}), '{"q": "one two three"}', "stop", Usage(3, 4)),
        ("echo", replace(ASKED, schema={}), '{"text": "one two three"}', "stop", Usage(3, 4)),
    ],
)
def test_text(behaviour: str, prompt: Prompt, text: str, finish: str, usage: Usage) -> None:
    found = turn(behaviour, prompt)
    assert ("".join(found.text), found.finish, found.billed, found.usage) == (text, finish, usage, usage)
    assert found.calls == ()


@pytest.mark.parametrize(
    ("behaviour", "prompt", "names"),
    [
        ("tool", WITH_TOOLS, "a"),
        ("tools-2", WITH_TOOLS, "ab"),
        ("tools-9", WITH_TOOLS, "ab"),
        ("echo", WITH_TOOLS, ""),
        ("echo", replace(WITH_TOOLS, must_call=True), "a"),
        ("echo", replace(WITH_RESULT, must_call=True), "a"),
        ("empty", replace(WITH_TOOLS, must_call=True), ""),
    ],
)
def test_calls(behaviour: str, prompt: Prompt, names: str) -> None:
    found = turn(behaviour, prompt)
    assert "".join(call.name for call in found.calls) == names
    assert found.finish == ("tool_calls" if names else "stop")
    assert not (found.calls and found.text)


def test_a_call_has_minimal_arguments_in_fragments() -> None:
    (call,) = turn("tool", WITH_TOOLS).calls
    assert call.input == {"x": "one two three"}
    assert len(call.fragments) > 1
    assert json.loads("".join(call.fragments)) == call.input


def test_a_call_that_does_not_fit_is_left_out() -> None:
    found = turn("tools-2", replace(WITH_TOOLS, cap=6))
    assert ([call.name for call in found.calls], found.finish) == (["a"], "length")


def test_no_usage_hides_what_is_billed() -> None:
    found = turn("no-usage")
    assert (found.usage, found.billed) == (None, Usage(3, 3))


CANNED: list[tuple[Answers, dict[str, Any], str]] = [
    (Answers({"m": Canned("canned")}), {"model": "m"}, "canned"),
    (Answers({"m": Canned("canned")}), {"model": "vendor/m"}, "canned"),
    (Answers({"m": Canned("canned")}), {"model": "other"}, "one two three"),
    (Answers({"m": Canned("canned")}), {"model": "m", "schema": {}}, "canned"),
]


@pytest.mark.parametrize(("answers", "changes", "text"), CANNED)
def test_canned_answers(answers: Answers, changes: dict[str, Any], text: str) -> None:
    assert "".join(turn("echo", replace(ASKED, **changes), answers).text) == text


def test_the_same_in_gives_the_same_out() -> None:
    assert turn("think+tools-2", WITH_TOOLS) == turn("think+tools-2", WITH_TOOLS)
