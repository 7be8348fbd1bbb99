"""Tokens, the last text, and the choice of tools."""

import pytest

from scribe_router.sandbox.fault import Refused
from scribe_router.sandbox.prompt import Prompt, Said, Tool, count, measure, narrow, tokens

TOOLS = (Tool("a", {}), Tool("b", {}))
USER, TOOL, ASSISTANT = Said("user", "question"), Said("tool", "result"), Said("assistant", "answer")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("one", ("one",)),
        ("one two", ("one ", "two")),
        ("one  two\n", ("one  ", "two\n")),
        ("  one two", ("  one ", "two")),
        (" \n", (" \n",)),
        ("ünï çode", ("ünï ", "çode")),
    ],
)
def test_tokens(text: str, expected: tuple[str, ...]) -> None:
    assert tokens(text) == expected
    assert "".join(tokens(text)) == text
    assert count(text) == len(expected)


def test_measure_counts_messages_and_tools() -> None:
    said = (Said("system", "be brief"), Said("user", "one two three"))
    assert measure(said) == 5
    assert measure(said, [{"name": "a", "x": 1}]) == 5 + 4
    assert measure(said, []) == 5


@pytest.mark.parametrize(
    ("said", "text", "result"),
    [
        ((), "", None),
        ((USER,), "question", None),
        ((Said("user", "first"), ASSISTANT, USER), "question", None),
        ((USER, ASSISTANT, TOOL), "question", "result"),
        ((USER, ASSISTANT, TOOL, Said("tool", "second")), "question", "result\nsecond"),
        ((USER, ASSISTANT, TOOL, ASSISTANT, Said("user", "next")), "next", None),
    ],
)
def test_last_text_and_result(said: tuple[Said, ...], text: str, result: str | None) -> None:
    prompt = Prompt("echo", said)
    assert (prompt.text, prompt.tool_result) == (text, result)


@pytest.mark.parametrize(
    ("mode", "name", "expected", "must"),
    [
        ("auto", None, "ab", False),
        ("none", None, "", False),
        ("any", None, "ab", True),
        ("any", "b", "b", True),
    ],
)
def test_narrow(mode: str, name: str | None, expected: str, must: bool) -> None:
    chosen, must_call = narrow(TOOLS, mode, name)
    assert ("".join(tool.name for tool in chosen), must_call) == (expected, must)


def test_a_choice_that_is_not_offered_is_refused() -> None:
    with pytest.raises(Refused, match="names c"):
        narrow(TOOLS, "any", "c")
