"""What of a conversation travels to another vendor."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scribe_router.policies.history import THOUGHTS, fitting, readable

DETAILS = [{"type": "reasoning.text"}]
BLOCKS = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
ANTHROPIC, KIMI, OPENROUTER = ["thinking_blocks"], ["reasoning_content"], ["reasoning", "reasoning_details"]

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
EMPTY = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}


def said(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "hello", **more}


@pytest.mark.parametrize(
    ("message", "understood", "travels"),
    [
        (said(thinking_blocks=BLOCKS, reasoning_content="hm"), ANTHROPIC, said(thinking_blocks=BLOCKS)),
        (said(thinking_blocks=BLOCKS, reasoning_content="hm"), KIMI, said()),
        (said(thinking_blocks=BLOCKS, reasoning_content="hm"), [], said()),
        (said(reasoning_content="hm"), KIMI, said(reasoning_content="hm")),
        (said(reasoning_content="hm"), ANTHROPIC, said()),
        (said(reasoning="hm", reasoning_details=DETAILS), OPENROUTER, said(reasoning="hm", reasoning_details=DETAILS)),
        (said(reasoning="hm", reasoning_details=DETAILS), ["reasoning_content", "reasoning"], said()),
        (said(provider_specific_fields={"x": 1}), [], said()),
        (said(provider_specific_fields=None, reasoning_content="hm"), KIMI, said(reasoning_content="hm")),
        (said(content=[*BLOCKS, {"type": "text", "text": "hi"}]), KIMI, said(content=[{"type": "text", "text": "hi"}])),
        (said(content=BLOCKS), ANTHROPIC, said(content=BLOCKS)),
        (said(content=BLOCKS), KIMI, said(content="")),
        (said(content=BLOCKS, tool_calls=[CALL]), KIMI, said(content=None, tool_calls=[CALL])),
        (said(content=[]), KIMI, said(content=[])),
        ({"role": "user", "content": "hi"}, [], {"role": "user", "content": "hi"}),
        ("strange", [], "strange"),
        (said(tool_calls=[EMPTY, "strange"]), [], said(tool_calls=[CALL, "strange"])),
    ],
)  # fmt: skip
def test_thinking_stays_with_its_vendor(message: Any, understood: list[str], travels: Any) -> None:
    assert readable([message], understood, None) == [travels]


@pytest.mark.parametrize(
    ("message", "travels"),
    [
        (said(tool_calls=[CALL]), said(tool_calls=[CALL], reasoning_content=" ")),
        (said(tool_calls=[CALL], reasoning_content="hm"), said(tool_calls=[CALL], reasoning_content="hm")),
        (said(tool_calls=[CALL], reasoning="hm"), said(tool_calls=[CALL], reasoning_content=" ")),
        (said(), said()),
    ],
)  # fmt: skip
def test_a_space_stands_in_for_thinking_that_is_wanted(message: Any, travels: Any) -> None:
    assert readable([message], KIMI, None, wants=True) == [travels]


def test_ids_of_calls_and_results_stay_together() -> None:
    call = {"id": "functions.weather:0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        said(tool_calls=[call, "strange", {"id": 5}]),
        {"role": "tool", "tool_call_id": call["id"], "content": "x"},
    ]
    first, second = readable(messages, [], "[a-zA-Z0-9_-]{1,64}")
    assert first["tool_calls"] == [{**call, "id": second["tool_call_id"]}, "strange", {"id": 5}]
    assert re.fullmatch("[a-z0-9]{9}", second["tool_call_id"])
    assert readable(messages, [], "[!-~]{1,40}") == messages


@given(st.text(max_size=60), st.sampled_from(["[a-zA-Z0-9]{9}", "[a-zA-Z0-9_-]{1,64}", "[!-~]{1,40}"]))
def test_an_id_fits_and_stays(identity: str, pattern: str) -> None:
    found = fitting(identity, pattern)
    assert re.fullmatch(pattern, found)
    assert fitting(found, pattern) == found == fitting(identity, pattern)


names = st.sampled_from([*THOUGHTS, "content", "name", "refusal"])
conversations = st.lists(st.dictionaries(names, st.none() | st.text(max_size=3) | st.just(BLOCKS)))


@given(
    st.lists(st.dictionaries(names, st.none() | st.text(max_size=3) | st.just(BLOCKS))),
    st.sets(st.sampled_from(THOUGHTS)),
)
def test_nothing_but_thinking_is_lost(messages: list[dict[str, Any]], understood: set[str]) -> None:
    for before, after in zip(messages, readable(messages, understood, None), strict=True):
        assert set(after) <= set(before)
        assert {name: value for name, value in before.items() if name not in after}.keys() <= set(THOUGHTS)
        assert not {name for name in after if name in THOUGHTS} - understood
